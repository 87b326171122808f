//! A server that gives out tokens which nobody else can read, and says what they stand for to whom it knows (RFC 7662).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The credentials of the one client that may ask.
const CLIENT: (&str, &str) = ("gateway", "secret-of-the-gateway");

/// The server, on a free port of this process.
#[derive(Debug)]
pub struct TokenServer {
    endpoint: String,
    books: Arc<Mutex<Books>>,
    // Dropping it lets the server end.
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Books {
    /// What each token that is not revoked stands for.
    tokens: HashMap<String, Value>,
    given: usize,
    is_away: bool,
    questions: Vec<String>,
}

impl TokenServer {
    /// Starts it.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}/introspect", listener.local_addr()?);
        let books = Arc::new(Mutex::new(Books::default()));
        let app = Router::new()
            .route("/introspect", post(introspect))
            .with_state(Arc::clone(&books));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        tokio::spawn(serving.into_future());
        Ok(Self {
            endpoint,
            books,
            _stop: stop,
        })
    }

    /// The URL at which it is asked.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// A new token that stands for `claims`.
    pub fn give(&self, mut claims: Value) -> String {
        claims["active"] = json!(true);
        let mut books = lock(&self.books);
        books.given += 1;
        let token = format!("opaque-{}", books.given);
        books.tokens.insert(token.clone(), claims);
        token
    }

    /// From now on, `token` stands for nothing.
    pub fn revoke(&self, token: &str) {
        lock(&self.books).tokens.remove(token);
    }

    /// Whether it answers each question with 503.
    pub fn be_away(&self, is_away: bool) {
        lock(&self.books).is_away = is_away;
    }

    /// How often it was asked about `token`.
    pub fn questions_about(&self, token: &str) -> usize {
        let books = lock(&self.books);
        books
            .questions
            .iter()
            .filter(|asked| *asked == token)
            .count()
    }
}

async fn introspect(
    State(books): State<Arc<Mutex<Books>>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let (id, secret) = CLIENT;
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let shown = headers.get(header::AUTHORIZATION);
    if shown.is_none_or(|shown| shown.as_bytes() != basic.as_bytes()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(token) = form.get("token") else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut books = lock(&books);
    books.questions.push(token.clone());
    if books.is_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let answer = books.tokens.get(token).cloned();
    Json(answer.unwrap_or_else(|| json!({"active": false}))).into_response()
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
