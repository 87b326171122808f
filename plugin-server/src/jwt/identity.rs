//! What the rest of the gateway learns from a token: headers upstream, names of a consumer, claims for the limiter.

use serde_json::{Map, Value};

use super::claims::{ClaimPath, Claims, UnacceptableClaims, scalar_text};
use super::config::Settings;

/// One entry of `upstream_headers`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamHeader {
    /// The header's name, lower-case.
    pub name: String,
    /// Which claim it carries.
    pub path: ClaimPath,
    /// Whether a token without the claim is refused (403).
    pub required: bool,
}

/// Who a verified token says is calling.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// `iss`, one of the configured issuers.
    pub issuer: String,
    /// `sub`.
    pub subject: Option<String>,
    /// The identifier of the virtual credential: what `credential_claim` holds.
    pub credential: Option<String>,
    /// What may name the consumer: the texts at `consumer_claims`, in that order.
    pub consumer_names: Vec<String>,
    /// Headers for the upstream that the token has a claim for.
    pub headers: Vec<(String, String)>,
    /// The names of required upstream headers that the token has no claim for.
    pub missing_headers: Vec<String>,
    /// What `limiter_claims` names and the token has.
    pub limiter_claims: Map<String, Value>,
}

impl Identity {
    /// Reads an identity out of verified claims.
    ///
    /// # Errors
    ///
    /// When `sub` is not a string, or a claim cannot be the value of its header.
    pub fn read(
        issuer: &str,
        claims: &Claims,
        settings: &Settings,
    ) -> Result<Self, UnacceptableClaims> {
        let subject = match claims.get("sub") {
            None | Some(Value::Null) => None,
            Some(Value::String(subject)) => Some(subject.clone()),
            Some(_) => return Err(UnacceptableClaims::Impossible("sub")),
        };
        let text_at = |path: &ClaimPath| {
            path.find(claims)
                .and_then(scalar_text)
                .filter(|text| !text.is_empty())
        };
        let mut headers = Vec::new();
        let mut missing_headers = Vec::new();
        for header in &settings.upstream_headers {
            match header.path.find(claims) {
                Some(value) => {
                    let value = header_value(value)
                        .ok_or_else(|| UnacceptableClaims::NotAHeaderValue(header.name.clone()))?;
                    headers.push((header.name.clone(), value));
                }
                None if header.required => missing_headers.push(header.name.clone()),
                None => {}
            }
        }
        let limiter_claims = settings
            .limiter_claims
            .iter()
            .filter_map(|(name, path)| Some((name.clone(), path.find(claims)?.clone())))
            .collect();
        let credential = text_at(&settings.credential_claim);
        if credential
            .as_deref()
            .is_some_and(|text| !is_header_text(text))
        {
            return Err(UnacceptableClaims::NotAHeaderValue(
                "x-credential-identifier".to_owned(),
            ));
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            subject,
            credential,
            consumer_names: settings
                .consumer_claims
                .iter()
                .filter_map(text_at)
                // No consumer is called so, and PostgreSQL answers NUL with an error.
                .filter(|name| !name.contains(char::is_control))
                .collect(),
            headers,
            missing_headers,
            limiter_claims,
        })
    }
}

/// A claim as a header's value: a scalar as text, a list of scalars joined by commas, an object as compact JSON.
///
/// `None` when it could be read as something else: a control character (which splits headers), a comma inside a list's
/// element (which would look like two), white space at an end (which is cut off on the way).
fn header_value(value: &Value) -> Option<String> {
    let text = match value {
        Value::Array(list) => {
            let texts: Option<Vec<String>> = list.iter().map(scalar_text).collect();
            let texts = texts?;
            if texts.iter().any(|text| text.contains(',')) {
                return None;
            }
            texts.join(",")
        }
        Value::Object(_) => value.to_string(),
        scalar => scalar_text(scalar)?,
    };
    is_header_text(&text).then_some(text)
}

fn is_header_text(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim().len() == text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::header_value;

    #[test]
    fn values_become_header_text() {
        assert_eq!(header_value(&json!("a b")).unwrap(), "a b");
        assert_eq!(header_value(&json!(7)).unwrap(), "7");
        assert_eq!(header_value(&json!(true)).unwrap(), "true");
        assert_eq!(header_value(&json!(["a", 1])).unwrap(), "a,1");
        assert_eq!(
            header_value(&json!({"a": "b\r\n"})).unwrap(),
            r#"{"a":"b\r\n"}"#
        );
    }

    #[test]
    fn a_value_that_could_split_a_header_is_none() {
        for value in [
            json!("a\r\nX-Admin: 1"),
            json!("a\nb"),
            json!("a\u{0}"),
            json!("a\u{7f}"),
            json!(["a", "b\r"]),
            json!(["a,b"]),
            json!(" a"),
            json!([["a"]]),
        ] {
            assert_eq!(header_value(&value), None, "{value}");
        }
    }
}
