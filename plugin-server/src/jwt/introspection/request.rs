//! One question to the endpoint and its answer (RFC 7662 §2), bounded in size; the caller bounds its time.

use std::sync::OnceLock;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::MOST_AT_ONCE;
use super::settings::{ClientAuthentication, ClientCredentials, IntrospectionSettings};
use crate::jwt::claims::Claims;
use crate::jwt::keys::http::{self, NoBody, chain};
use crate::jwt::token::{NotStrictJson, strict_object};

/// The largest answer, in bytes: what a token of the largest `max_token_size` could say.
const MAX_ANSWER_BYTES: usize = 65_536;

/// What the endpoint says about a token.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is valid, and what it stands for.
    Active(Claims),
    /// It is not, for whatever reason: the endpoint tells none (RFC 7662 §2.2).
    Inactive,
}

/// Why there is no usable answer. Holds nothing of a token and no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntrospectionError {
    /// The HTTP client could not be made: usually the machine has no root certificates.
    #[error("no HTTP client: {}", chain(.0))]
    Client(reqwest::Error),
    /// No answer.
    #[error("{}", chain(.0))]
    Transport(reqwest::Error),
    /// Not everything within `introspection_timeout`.
    #[error("no whole answer within introspection_timeout")]
    TimedOut,
    /// 401: it is we who are not let in, the token has not been judged.
    #[error(
        "the endpoint does not accept our credentials (401): check introspection_client_id, introspection_client_secret and introspection_endpoint_auth_method"
    )]
    Credentials,
    /// Another status than 200. Redirects are not followed: another host is not to see tokens.
    #[error("the endpoint answered {0}")]
    Status(u16),
    /// More than we read.
    #[error("the answer is larger than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
    /// Not one strict JSON object.
    #[error("the answer: {0}")]
    Json(#[from] NotStrictJson),
    /// `active` is absent or no boolean.
    #[error("the answer's `active` is neither true nor false")]
    Active,
}

/// The endpoint. Its client is made at the first question, not when a configuration is loaded.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    client: OnceLock<Client>,
}

impl Endpoint {
    /// Asks about `token`.
    ///
    /// # Errors
    ///
    /// See [`IntrospectionError`].
    pub(super) async fn ask(
        &self,
        token: &str,
        settings: &IntrospectionSettings,
    ) -> Result<Answer, IntrospectionError> {
        let question = self.question(token, settings)?;
        let response = question
            .send()
            .await
            .map_err(IntrospectionError::Transport)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(IntrospectionError::Credentials),
            other => return Err(IntrospectionError::Status(other.as_u16())),
        }
        let body = http::body(response, MAX_ANSWER_BYTES).await;
        let body = body.map_err(|problem| match problem {
            NoBody::Transport(error) => IntrospectionError::Transport(error),
            NoBody::TooLarge => IntrospectionError::TooLarge,
        })?;
        read(&body)
    }

    fn question(
        &self,
        token: &str,
        settings: &IntrospectionSettings,
    ) -> Result<RequestBuilder, IntrospectionError> {
        let ClientCredentials { id, secret, method } = &settings.client;
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token)
            .append_pair("token_type_hint", &settings.hint);
        let mut question = self
            .client(settings)?
            .post(&settings.endpoint)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match method {
            // Both are form-encoded before they are joined, which many forget (RFC 6749 §2.3.1).
            ClientAuthentication::Basic => {
                let encoded = |bytes| byte_serialize(bytes).collect::<String>();
                let (id, secret) = (encoded(id.as_bytes()), encoded(secret.bytes()));
                question = question.basic_auth(id, Some(secret));
            }
            ClientAuthentication::Post => {
                form.append_pair("client_id", id)
                    .append_pair("client_secret", &String::from_utf8_lossy(secret.bytes()));
            }
        }
        Ok(question.body(form.finish()))
    }

    fn client(&self, settings: &IntrospectionSettings) -> Result<&Client, IntrospectionError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client =
            http::client(settings.reach, MOST_AT_ONCE).map_err(IntrospectionError::Client)?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn read(body: &[u8]) -> Result<Answer, IntrospectionError> {
    let claims = strict_object(body)?;
    match claims.get("active") {
        Some(Value::Bool(true)) => Ok(Answer::Active(claims)),
        Some(Value::Bool(false)) => Ok(Answer::Inactive),
        _ => Err(IntrospectionError::Active),
    }
}
