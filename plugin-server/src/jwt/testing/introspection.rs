//! An introspection endpoint on loopback that can be slow, huge, redirecting, lying or away.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::routing::post;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::endpoint::{Behaviour, answer};
use super::{AUDIENCE, ISSUER, NOW, TestKey, jwks, path, settings};
use crate::jwt::config::Settings;
use crate::jwt::introspection::{ClientAuthentication, ClientCredentials, IntrospectionSettings};
use crate::jwt::keys::{Reach, Secret};

/// What the endpoint was asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) headers: HeaderMap,
    pub(crate) form: Vec<(String, String)>,
}

/// The endpoint.
pub(crate) struct IntrospectionEndpoint {
    pub(crate) url: String,
    behaviour: Arc<Mutex<Behaviour>>,
    questions: Arc<Mutex<Vec<Question>>>,
    pub(crate) server: JoinHandle<()>,
}

impl IntrospectionEndpoint {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let behaviour = Arc::new(Mutex::new(behaviour));
        let questions = Arc::new(Mutex::new(Vec::new()));
        let (doing, asked) = (Arc::clone(&behaviour), Arc::clone(&questions));
        let app = Router::new().route(
            "/introspect",
            post(move |headers: HeaderMap, body: String| {
                let form = url::form_urlencoded::parse(body.as_bytes())
                    .into_owned()
                    .collect();
                asked.lock().push(Question { headers, form });
                answer(doing.lock().clone())
            }),
        );
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            behaviour,
            questions,
            server,
        }
    }

    pub(crate) fn becomes(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.lock().clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.questions.lock().len()
    }

    /// Settings that know one issuer by its keys and ask here about opaque tokens.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
        settings.introspection = Some(IntrospectionSettings {
            endpoint: self.url.clone(),
            issuer: ISSUER.to_owned(),
            client: ClientCredentials {
                id: "gateway".to_owned(),
                secret: Secret::from_text("hush"),
                method: ClientAuthentication::Basic,
            },
            hint: "access_token".to_owned(),
            audience_claim: path(&["aud"]),
            audience_required: Some(vec![AUDIENCE.to_owned()]),
            introspects_jwts: false,
            cache_ttl: Duration::from_mins(1),
            timeout: Duration::from_secs(5),
            reach: Reach {
                allow_http: true,
                allow_private: true,
            },
        });
        settings
    }
}

impl Drop for IntrospectionEndpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Question {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What the endpoint says of a token that passes the settings.
pub(crate) fn active() -> Value {
    json!({"active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "agent-7", "scope": "chat files", "client_id": "cli", "exp": NOW + 600})
}

/// The same with one member replaced, or removed by null.
pub(crate) fn active_with(name: &str, value: Value) -> Value {
    let mut document = active();
    let members = document.as_object_mut().unwrap();
    if value.is_null() {
        members.shift_remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    document
}
