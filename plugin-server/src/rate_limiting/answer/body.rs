//! The bodies of refusals, each in the form that the client's own vendor would send.
//!
//! | format | source |
//! |---|---|
//! | `openai` | OpenAI's error object |
//! | `anthropic` | Anthropic's error event, with its error types |
//! | `problem` | RFC 9457; the type `quota-exceeded` of draft-ietf-httpapi-ratelimit-headers |
//! | `kong` | what Kong's own plugins answer |

use serde_json::{Value, json};

use crate::rate_limiting::api::Api;
use crate::rate_limiting::config::ErrorFormat;

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A limit has no room now.
    LimitReached {
        /// The word for what is counted.
        noun: &'static str,
        /// The limit's name.
        limit: String,
    },
    /// It costs more than a whole limit.
    TooLarge {
        /// The limit's name.
        limit: String,
    },
    /// The model is not one that may be asked.
    ModelNotAllowed,
    /// Nobody can tell whether there is room.
    Unavailable,
}

/// The format for a request to this API.
pub(super) fn format_for(configured: ErrorFormat, api: Api) -> ErrorFormat {
    match (configured, api) {
        (ErrorFormat::Auto, Api::Anthropic) => ErrorFormat::Anthropic,
        (ErrorFormat::Auto, _) => ErrorFormat::Openai,
        (format, _) => format,
    }
}

/// The body, and its media type.
pub(super) fn body(
    format: ErrorFormat,
    status: u16,
    kind: &Kind,
    message: &str,
) -> (String, &'static str) {
    const JSON: &str = "application/json";
    let (body, media_type) = match format {
        ErrorFormat::Auto | ErrorFormat::Openai => (openai(kind, message), JSON),
        ErrorFormat::Anthropic => (anthropic(kind, message), JSON),
        ErrorFormat::Problem => (problem(status, kind, message), "application/problem+json"),
        ErrorFormat::Kong => (json!({"message": message}), JSON),
    };
    (body.to_string(), media_type)
}

fn openai(kind: &Kind, message: &str) -> Value {
    let (kind, code) = match kind {
        Kind::LimitReached { noun, .. } => (*noun, "rate_limit_exceeded"),
        Kind::TooLarge { .. } => ("invalid_request_error", "request_too_large"),
        Kind::ModelNotAllowed => ("invalid_request_error", "model_not_allowed"),
        Kind::Unavailable => ("server_error", "limits_unavailable"),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

fn anthropic(kind: &Kind, message: &str) -> Value {
    let kind = match kind {
        Kind::LimitReached { .. } => "rate_limit_error",
        Kind::TooLarge { .. } => "request_too_large",
        Kind::ModelNotAllowed => "permission_error",
        Kind::Unavailable => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

fn problem(status: u16, kind: &Kind, message: &str) -> Value {
    let (kind, title, limit) = match kind {
        Kind::LimitReached { limit, .. } => (
            "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "Quota exceeded",
            Some(limit),
        ),
        Kind::TooLarge { limit } => ("about:blank", "Content Too Large", Some(limit)),
        Kind::ModelNotAllowed => ("about:blank", "Forbidden", None),
        Kind::Unavailable => ("about:blank", "Service Unavailable", None),
    };
    let mut problem = json!({"type": kind, "title": title, "status": status, "detail": message});
    if let Some(limit) = limit {
        problem["violated-policies"] = json!([limit]);
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_tells_the_four_kinds_apart() {
        let reached = Kind::LimitReached {
            noun: "tokens",
            limit: "minute".to_owned(),
        };
        let large = Kind::TooLarge {
            limit: "minute".to_owned(),
        };
        let kinds = [reached, large, Kind::ModelNotAllowed, Kind::Unavailable];
        for format in [
            ErrorFormat::Openai,
            ErrorFormat::Anthropic,
            ErrorFormat::Problem,
        ] {
            let bodies: Vec<_> = kinds
                .iter()
                .map(|kind| body(format, 429, kind, "a \"message\""))
                .collect();
            for (index, (text, _)) in bodies.iter().enumerate() {
                let parsed: Value = serde_json::from_str(text).unwrap();
                assert!(parsed.is_object());
                assert!(
                    !bodies[..index].iter().any(|(other, _)| other == text),
                    "{format:?}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_problem_names_the_policy_and_its_own_media_type() {
        let kind = Kind::LimitReached {
            noun: "tokens",
            limit: "minute".to_owned(),
        };
        let (text, media_type) = body(ErrorFormat::Problem, 429, &kind, "slow down");
        assert_eq!(media_type, "application/problem+json");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["violated-policies"], json!(["minute"]));
        assert_eq!(
            (&problem["status"], &problem["detail"]),
            (&json!(429), &json!("slow down"))
        );
    }

    #[test]
    fn auto_picks_the_vendor_of_the_path() {
        assert_eq!(
            format_for(ErrorFormat::Auto, Api::Anthropic),
            ErrorFormat::Anthropic
        );
        assert_eq!(
            format_for(ErrorFormat::Auto, Api::Gemini),
            ErrorFormat::Openai
        );
        assert_eq!(
            format_for(ErrorFormat::Kong, Api::Anthropic),
            ErrorFormat::Kong
        );
    }
}
