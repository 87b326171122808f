//! An OpenID Connect provider: metadata, keys, and tokens for programs (RFC 6749, section 4.4).

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Json;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::issuer::Issuer;

/// The audience of its tokens.
pub const AUDIENCE: &str = "agent-gateway";
/// The scope of its tokens.
pub const SCOPE: &str = "agent.call";
/// The secret of each of its clients, whatever the client's id.
pub const CLIENT_SECRET: &str = "secret-of-every-client";
/// How long its tokens last, in seconds.
const EXPIRES_IN: i64 = 600;

/// A running provider in this process.
#[derive(Debug)]
pub struct IdentityProvider {
    shared: Arc<Shared>,
    server: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    issuer: Arc<Issuer>,
}

impl IdentityProvider {
    /// Starts one on a free port of loopback that signs with the issuer's key.
    pub async fn start(issuer: &Arc<Issuer>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared {
            url: format!("http://{}", listener.local_addr()?),
            issuer: Arc::clone(issuer),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks.json", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self { shared, server })
    }

    /// Its `iss`, and where it answers.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// A token for someone of `tenant` in the free tier, with whatever `change` makes of its claims.
    pub fn token(&self, tenant: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
        let mut claims = self.shared.claims(tenant);
        change(&mut claims);
        self.shared.issuer.sign(&claims)
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn claims(&self, tenant: &str) -> Value {
        let mut claims = Issuer::claims(tenant, EXPIRES_IN);
        claims["iss"] = self.url.as_str().into();
        claims["aud"] = AUDIENCE.into();
        claims["scope"] = SCOPE.into();
        claims
    }
}

async fn metadata(State(provider): State<Arc<Shared>>) -> Json<Value> {
    let url = &provider.url;
    Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks.json"), "token_endpoint": format!("{url}/token"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn keys(State(provider): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"keys": [provider.issuer.jwk()]}))
}

/// The client says who it is by HTTP Basic, and is given the one scope that there is.
async fn token(
    State(provider): State<Arc<Shared>>,
    headers: HeaderMap,
    form: String,
) -> (StatusCode, Json<Value>) {
    let refused = |error: &str| (StatusCode::UNAUTHORIZED, Json(json!({"error": error})));
    if form != "grant_type=client_credentials" {
        return refused("unsupported_grant_type");
    }
    let Some(client) = client(&headers) else {
        return refused("invalid_client");
    };
    let mut claims = provider.claims("acme");
    claims["sub"] = client.as_str().into();
    claims["client_id"] = client.into();
    match provider.issuer.sign(&claims) {
        Ok(token) => {
            let body =
                json!({"access_token": token, "token_type": "Bearer", "expires_in": EXPIRES_IN});
            (StatusCode::OK, Json(body))
        }
        Err(_) => refused("server_error"),
    }
}

fn client(headers: &HeaderMap) -> Option<String> {
    let basic = headers.get("authorization")?.to_str().ok()?;
    let decoded = STANDARD.decode(basic.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    let (id, secret) = pair.split_once(':')?;
    (secret == CLIENT_SECRET).then(|| id.to_owned())
}
