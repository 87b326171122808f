//! Refusals as HTTP answers: the one place where they become statuses, challenges (RFC 6750 §3) and bodies.
//!
//! What a client learns is the class of the refusal, never its reason: a body is one of a handful of fixed texts.

use std::time::Duration;

use serde_json::json;

use super::algorithm::Algorithm;
use super::config::{ErrorFormat, Settings};
use super::presented::Scheme;
use super::proof::Mode;
use super::proof::dpop::ALGORITHMS;
use super::refusal::{Forbidden, Refusal};
use super::resource::ProtectedResource;

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, `Content-Type` among them. A name may be repeated.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// A class of refusals.
struct Class {
    status: u16,
    message: &'static str,
    /// An error code: of RFC 6750 where the challenge carries one.
    code: &'static str,
}

impl Answer {
    /// The answer to `refusal` of a token sent by `scheme`, under `settings`.
    pub fn new(refusal: &Refusal, scheme: Scheme, settings: &Settings) -> Self {
        let class = class(refusal);
        let (content_type, body) = body(&class, settings.error_format);
        let mut headers = vec![("Content-Type", content_type.to_owned())];
        let challenges = challenges(refusal, scheme, settings);
        headers.extend(
            challenges
                .into_iter()
                .map(|challenge| ("WWW-Authenticate", challenge)),
        );
        let retry_after = match refusal {
            Refusal::KeysUnavailable { retry_after }
            | Refusal::DenylistUnavailable { retry_after }
            | Refusal::IntrospectionUnavailable { retry_after } => Some(*retry_after),
            Refusal::MemoryFull => Some(Duration::from_secs(1)),
            _ => None,
        };
        headers.extend(retry_after.map(|pause| ("Retry-After", whole_seconds(pause).to_string())));
        Self {
            status: class.status,
            headers,
            body,
        }
    }
}

/// The answer to a request for the resource's metadata: to anybody, from any origin, since they are public.
///
/// Browsers ask before they send a header of MCP's own, so preflights are answered as well.
pub fn metadata(resource: &ProtectedResource, settings: &Settings, method: &str) -> Answer {
    let mut headers = vec![("Access-Control-Allow-Origin", "*".to_owned())];
    let (status, body) = match method {
        "GET" | "HEAD" => {
            headers.push(("Content-Type", "application/json".to_owned()));
            headers.push(("Cache-Control", "public, max-age=300".to_owned()));
            (200, resource.document(settings).to_string())
        }
        "OPTIONS" => {
            headers.push(("Access-Control-Allow-Methods", METADATA_METHODS.to_owned()));
            headers.push(("Access-Control-Allow-Headers", "*".to_owned()));
            (204, String::new())
        }
        _ => {
            headers.push(("Allow", METADATA_METHODS.to_owned()));
            (405, String::new())
        }
    };
    Answer {
        status,
        headers,
        body,
    }
}

const METADATA_METHODS: &str = "GET, HEAD, OPTIONS";

fn class(refusal: &Refusal) -> Class {
    let class = |status, message, code| Class {
        status,
        message,
        code,
    };
    match refusal {
        Refusal::Missing => class(401, "Unauthorized", "missing_token"),
        Refusal::Invalid(_) => class(401, "Unauthorized", "invalid_token"),
        Refusal::Proof(_) => class(401, "Unauthorized", "invalid_dpop_proof"),
        Refusal::Ambiguous | Refusal::TooManyHeaders => {
            class(400, "Bad request", "invalid_request")
        }
        Refusal::Forbidden(_) => class(403, "Forbidden", "insufficient_scope"),
        Refusal::NoConsumer => class(403, "Forbidden", "no_consumer"),
        Refusal::KeysUnavailable { .. }
        | Refusal::DenylistUnavailable { .. }
        | Refusal::IntrospectionUnavailable { .. }
        | Refusal::MemoryFull => class(
            503,
            "Authentication is temporarily unavailable",
            "temporarily_unavailable",
        ),
        Refusal::NoAnonymousConsumer => class(500, "llm-jwt is misconfigured", "misconfigured"),
    }
}

/// The challenges, where they belong: one for each scheme that is spoken, the error in the one that was used.
fn challenges(refusal: &Refusal, used: Scheme, settings: &Settings) -> Vec<String> {
    let error = match refusal {
        Refusal::Missing => None,
        Refusal::Invalid(_) => Some(("invalid_token", "The access token is not valid")),
        Refusal::Proof(_) => Some(("invalid_dpop_proof", "The DPoP proof is not valid")),
        Refusal::Ambiguous | Refusal::TooManyHeaders => {
            Some(("invalid_request", "The request must carry one access token"))
        }
        Refusal::Forbidden(_) => {
            Some(("insufficient_scope", "The access token does not allow this"))
        }
        Refusal::NoConsumer
        | Refusal::KeysUnavailable { .. }
        | Refusal::DenylistUnavailable { .. }
        | Refusal::IntrospectionUnavailable { .. }
        | Refusal::MemoryFull
        | Refusal::NoAnonymousConsumer => return Vec::new(),
    };
    let (spoken, used): (&[Scheme], Scheme) = match settings.proof_of_possession.dpop {
        Mode::Off => (&[Scheme::Bearer], Scheme::Bearer),
        Mode::Optional => (&[Scheme::Bearer, Scheme::Dpop], used),
        Mode::Required => (&[Scheme::Dpop], Scheme::Dpop),
    };
    spoken
        .iter()
        .map(|scheme| {
            let error = error.filter(|_| *scheme == used);
            challenge(*scheme, error, refusal, settings)
        })
        .collect()
}

fn challenge(
    scheme: Scheme,
    error: Option<(&str, &str)>,
    refusal: &Refusal,
    settings: &Settings,
) -> String {
    let mut parameters = vec![format!("realm={}", quoted(&settings.realm))];
    if let Some((code, description)) = error {
        parameters.push(format!(
            "error=\"{code}\", error_description=\"{description}\""
        ));
    }
    if scheme == Scheme::Dpop {
        let algorithms = ALGORITHMS.map(Algorithm::name).join(" ");
        parameters.push(format!("algs={}", quoted(&algorithms)));
    }
    if let Some(resource) = &settings.protected_resource {
        parameters.push(format!(
            "resource_metadata={}",
            quoted(&resource.metadata_url())
        ));
    }
    let names_scopes = matches!(
        refusal,
        Refusal::Missing | Refusal::Forbidden(Forbidden::Scopes)
    );
    if let Some(scopes) = settings.scopes_required.first().filter(|_| names_scopes) {
        // A challenge can name one set of scopes; the first alternative is the one that the operator put first.
        parameters.push(format!("scope={}", quoted(&scopes.to_string())));
    }
    format!("{} {}", scheme.name(), parameters.join(", "))
}

fn body(class: &Class, format: ErrorFormat) -> (&'static str, String) {
    let Class {
        status,
        message,
        code,
    } = class;
    let json = "application/json; charset=utf-8";
    match format {
        ErrorFormat::Kong => (json, json!({ "message": message }).to_string()),
        ErrorFormat::OpenAi => {
            let kind = if *status < 500 {
                "invalid_request_error"
            } else {
                "server_error"
            };
            (json, json!({ "error": { "message": message, "type": kind, "param": null, "code": code } }).to_string())
        }
        ErrorFormat::Problem => (
            "application/problem+json",
            json!({ "type": "about:blank", "title": message, "status": status, "code": code })
                .to_string(),
        ),
    }
}

/// A quoted-string (RFC 9110 §5.6.4). The settings have already ruled out what cannot stand in one.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Seconds, rounded up, at least one: `Retry-After: 0` invites a storm.
fn whole_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::claims::{ScopeSet, UnacceptableClaims};
    use crate::jwt::config::KeySource;
    use crate::jwt::proof::InvalidProof;
    use crate::jwt::refusal::InvalidToken;
    use crate::jwt::testing::settings;

    fn answer(refusal: &Refusal, change: impl FnOnce(&mut Settings)) -> Answer {
        let mut settings = settings(KeySource::Jwks(String::new()));
        change(&mut settings);
        Answer::new(refusal, Scheme::Bearer, &settings)
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        answer
            .headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    fn with_scopes(settings: &mut Settings) {
        settings.scopes_required = vec![
            ScopeSet::parse("chat write").unwrap(),
            ScopeSet::parse("admin").unwrap(),
        ];
    }

    #[test]
    fn no_token_is_a_challenge_without_error() {
        let plain = answer(&Refusal::Missing, |_| {});
        assert_eq!(plain.status, 401);
        assert_eq!(
            header(&plain, "WWW-Authenticate"),
            Some(r#"Bearer realm="kong""#)
        );
        let scoped = answer(&Refusal::Missing, |settings| {
            with_scopes(settings);
            settings.realm = r#"the "llm" \ realm"#.into();
        });
        let expected = r#"Bearer realm="the \"llm\" \\ realm", scope="chat write""#;
        assert_eq!(header(&scoped, "WWW-Authenticate"), Some(expected));
    }

    #[test]
    fn every_invalid_token_gets_the_same_answer() {
        let reasons = [
            UnacceptableClaims::Expired,
            UnacceptableClaims::Audience,
            UnacceptableClaims::Missing("jti".into()),
        ];
        for reason in reasons {
            let answer = answer(&reason.into(), with_scopes);
            assert_eq!(answer.status, 401);
            let expected = r#"Bearer realm="kong", error="invalid_token", error_description="The access token is not valid""#;
            assert_eq!(header(&answer, "WWW-Authenticate"), Some(expected));
            assert_eq!(answer.body, r#"{"message":"Unauthorized"}"#);
        }
    }

    fn with_resource(settings: &mut Settings) {
        settings.protected_resource = Some(ProtectedResource {
            identifier: "https://gateway.example/mcp".into(),
            authorization_servers: vec!["https://idp.example".into()],
            scopes_supported: vec![],
            metadata_endpoint: "/.well-known/oauth-protected-resource/mcp".into(),
        });
    }

    #[test]
    fn a_challenge_leads_to_the_metadata() {
        let named = r#"resource_metadata="https://gateway.example/.well-known/oauth-protected-resource/mcp""#;
        let missing = answer(&Refusal::Missing, |settings| {
            with_resource(settings);
            with_scopes(settings);
        });
        let expected = format!(r#"Bearer realm="kong", {named}, scope="chat write""#);
        assert_eq!(
            header(&missing, "WWW-Authenticate"),
            Some(expected.as_str())
        );
        for refusal in [
            Refusal::from(UnacceptableClaims::Expired),
            Refusal::Forbidden(Forbidden::Scopes),
        ] {
            let answer = answer(&refusal, with_resource);
            assert!(header(&answer, "WWW-Authenticate").unwrap().contains(named));
        }
    }

    #[test]
    fn the_metadata_are_public_and_only_read() {
        let mut settings = settings(KeySource::Jwks(String::new()));
        with_resource(&mut settings);
        let resource = settings.protected_resource.clone().unwrap();
        let ask = |method| metadata(&resource, &settings, method);
        let document = ask("GET");
        assert_eq!(document.status, 200);
        assert_eq!(header(&document, "Content-Type"), Some("application/json"));
        assert_eq!(header(&document, "Access-Control-Allow-Origin"), Some("*"));
        assert!(
            document
                .body
                .contains(r#""resource":"https://gateway.example/mcp""#)
        );
        let preflight = ask("OPTIONS");
        assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
        assert_eq!(
            header(&preflight, "Access-Control-Allow-Headers"),
            Some("*")
        );
        let changed = ask("POST");
        assert_eq!(changed.status, 405);
        assert_eq!(header(&changed, "Allow"), Some("GET, HEAD, OPTIONS"));
    }

    #[test]
    fn two_tokens_are_a_bad_request() {
        let answer = answer(&Refusal::Ambiguous, |_| {});
        assert_eq!(answer.status, 400);
        assert!(
            header(&answer, "WWW-Authenticate")
                .unwrap()
                .contains(r#"error="invalid_request""#)
        );
    }

    #[test]
    fn a_token_without_the_scope_is_forbidden_and_told_which() {
        let scopes = answer(&Refusal::Forbidden(Forbidden::Scopes), with_scopes);
        assert_eq!(scopes.status, 403);
        let challenge = header(&scopes, "WWW-Authenticate").unwrap();
        assert!(
            challenge.contains(r#"error="insufficient_scope""#)
                && challenge.ends_with(r#", scope="chat write""#)
        );
        let claim = answer(
            &Refusal::Forbidden(Forbidden::Claim("tier".into())),
            with_scopes,
        );
        assert_eq!(claim.status, 403);
        assert!(
            !header(&claim, "WWW-Authenticate")
                .unwrap()
                .contains("scope=\""),
            "more scopes would not help"
        );
    }

    fn challenges_of(refusal: &Refusal, scheme: Scheme, dpop: Mode) -> Vec<String> {
        let mut settings = settings(KeySource::Jwks(String::new()));
        settings.proof_of_possession.dpop = dpop;
        Answer::new(refusal, scheme, &settings)
            .headers
            .into_iter()
            .filter_map(|(name, value)| (name == "WWW-Authenticate").then_some(value))
            .collect()
    }

    #[test]
    fn a_challenge_for_each_scheme_with_the_error_in_the_one_that_was_used() {
        const ALGS: &str = r#"algs="ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512""#;
        const INVALID: &str =
            r#"error="invalid_token", error_description="The access token is not valid""#;
        let plain = InvalidToken::SentPlain.into();
        assert_eq!(
            challenges_of(&Refusal::Missing, Scheme::Bearer, Mode::Optional),
            [
                r#"Bearer realm="kong""#.to_owned(),
                format!(r#"DPoP realm="kong", {ALGS}"#)
            ]
        );
        assert_eq!(
            challenges_of(&plain, Scheme::Bearer, Mode::Optional),
            [
                format!(r#"Bearer realm="kong", {INVALID}"#),
                format!(r#"DPoP realm="kong", {ALGS}"#)
            ]
        );
        assert_eq!(
            challenges_of(&plain, Scheme::Bearer, Mode::Required),
            [format!(r#"DPoP realm="kong", {INVALID}, {ALGS}"#)]
        );
        let proof = InvalidProof::Replayed.into();
        let [bearer, dpop] = &challenges_of(&proof, Scheme::Dpop, Mode::Optional)[..] else {
            panic!("two challenges");
        };
        assert_eq!(bearer, r#"Bearer realm="kong""#);
        assert!(dpop.starts_with(r#"DPoP realm="kong", error="invalid_dpop_proof""#));
        assert_eq!(answer(&proof, |_| {}).status, 401);
    }

    #[test]
    fn a_full_memory_of_proofs_is_503_without_challenge() {
        let answer = answer(&Refusal::MemoryFull, |_| {});
        assert_eq!(answer.status, 503);
        assert_eq!(header(&answer, "Retry-After"), Some("1"));
        assert_eq!(header(&answer, "WWW-Authenticate"), None);
    }

    #[test]
    fn a_missing_consumer_is_forbidden_without_a_challenge() {
        let answer = answer(&Refusal::NoConsumer, |_| {});
        assert_eq!(
            (answer.status, header(&answer, "WWW-Authenticate")),
            (403, None)
        );
    }

    #[test]
    fn absent_keys_and_answers_are_503_with_whole_seconds_to_wait_and_no_challenge() {
        for (pause, seconds) in [
            (Duration::ZERO, "1"),
            (Duration::from_millis(1500), "2"),
            (Duration::from_secs(30), "30"),
        ] {
            for refusal in [
                Refusal::KeysUnavailable { retry_after: pause },
                Refusal::IntrospectionUnavailable { retry_after: pause },
            ] {
                let answer = answer(&refusal, |_| {});
                assert_eq!(answer.status, 503);
                assert_eq!(header(&answer, "Retry-After"), Some(seconds));
                assert_eq!(header(&answer, "WWW-Authenticate"), None);
            }
        }
    }

    #[test]
    fn bodies_come_in_three_shapes() {
        let shape = |format| answer(&Refusal::Missing, |settings| settings.error_format = format);
        assert_eq!(
            shape(ErrorFormat::Kong).body,
            r#"{"message":"Unauthorized"}"#
        );
        let openai = shape(ErrorFormat::OpenAi);
        assert_eq!(
            openai.body,
            r#"{"error":{"message":"Unauthorized","type":"invalid_request_error","param":null,"code":"missing_token"}}"#
        );
        let problem = shape(ErrorFormat::Problem);
        assert_eq!(
            header(&problem, "Content-Type"),
            Some("application/problem+json")
        );
        assert_eq!(
            problem.body,
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"code":"missing_token"}"#
        );
    }
}
