//! Whoever signs the tokens: an Ed25519 key, used through `kongctl token mint`, and an address with its public half.

use std::path::Path;

use axum::response::Redirect;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

pub(crate) struct Issuer {
    key: KeyPair,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self {
            key: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        }
    }

    /// A token of an hour, minted as a user would, with these further words.
    pub(crate) async fn token(&self, directory: &Path, kid: &str, further: &str) -> String {
        let file = directory.join("key.pem");
        std::fs::write(&file, self.key.serialize_pem()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_kongctl"))
            .args(["token", "mint", "--algorithm", "EdDSA", "--key-file"])
            .arg(&file)
            .args(["--key-id", kid, "--issuer", "https://idp.example"])
            .args(["--subject", "alice", "--audience", "llm"])
            .args(further.split_whitespace())
            .output()
            .await
            .unwrap();
        assert!(output.status.success());
        let token = String::from_utf8(output.stdout).unwrap();
        token.trim().to_owned()
    }

    /// What looks like a token that is long over.
    pub(crate) fn expired(&self) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"alg": "EdDSA"}));
        let claims = part(json!({"iss": "https://idp.example", "jti": "1", "exp": 1_500_000_000}));
        let shape = URL_SAFE_NO_PAD.encode(self.key.der_bytes());
        format!("{header}.{claims}.{shape}")
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = URL_SAFE_NO_PAD.encode(self.key.der_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "x": point, "kid": kid, "use": "sig", "alg": "EdDSA"})
    }

    pub(crate) fn jwks(&self, kid: &str) -> String {
        json!({"keys": [self.jwk(kid)]}).to_string()
    }

    /// Serves metadata and keys on a free port.
    pub(crate) async fn serve(&self, kid: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metadata =
            json!({"issuer": "https://other.example", "jwks_uri": format!("{url}/jwks")});
        let keys = json!({"keys": [self.jwk(kid)]});
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(move || async move { Json(metadata) }),
            )
            .route("/jwks", get(move || async move { Json(keys) }))
            .route("/moved", get(|| async { Redirect::permanent("/jwks") }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}
