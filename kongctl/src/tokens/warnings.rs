//! What is unusual about a token: what `llm-jwt` refuses with its defaults, and what is better known.

use llm_plugin_server::jwt::algorithm::Algorithm;
use llm_plugin_server::jwt::claims::Times;
use llm_plugin_server::jwt::token::{Token, normalized_type};
use serde_json::Value;

use super::anatomy::Anatomy;
use crate::output::numbers::time;

/// Defaults of `llm-jwt`: `max_token_size` in bytes, `maximum_expiration` and `leeway` in seconds.
const MAX_TOKEN_SIZE: usize = 8192;
const MAXIMUM_EXPIRATION: i64 = 86_400;
const LEEWAY: i64 = 30;
/// The longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 65_536;

/// What there is to say of a token at `now` (Unix seconds), the gravest first.
pub(crate) fn of(token: &str, anatomy: &Anatomy, now: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    signature(anatomy, &mut warnings);
    if let Err(problem) = Token::parse(token.as_bytes(), LONGEST_TOKEN) {
        warnings.push(format!("llm-jwt refuses its form: {problem}"));
    }
    if token.len() > MAX_TOKEN_SIZE {
        warnings.push(format!(
            "it has {} bytes: more than max_token_size unless that is raised",
            token.len()
        ));
    }
    times(anatomy, now, &mut warnings);
    identity(anatomy, &mut warnings);
    warnings
}

fn signature(anatomy: &Anatomy, warnings: &mut Vec<String>) {
    let header = &anatomy.header;
    let alg = header
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match Algorithm::from_name(alg) {
        _ if alg.eq_ignore_ascii_case("none") => {
            warnings.push("alg is none: nobody signed it, anybody can have made it".to_owned());
        }
        None => warnings.push("its alg is unknown to llm-jwt".to_owned()),
        Some(algorithm) if algorithm.is_symmetric() => {
            warnings.push(format!("{alg}: whoever can verify it can make others"));
        }
        Some(_) => {}
    }
    for member in ["jwk", "jku", "x5u", "x5c"] {
        if header.contains_key(member) {
            warnings.push(format!(
                "it brings a key of its own ({member}), which proves nothing and is never used"
            ));
        }
    }
    let typ = header.get("typ").and_then(Value::as_str).unwrap_or("JWT");
    if !["jwt", "at+jwt"].contains(&normalized_type(typ).as_str()) {
        warnings.push("its typ is not among allowed_typ unless that is extended".to_owned());
    }
}

fn times(anatomy: &Anatomy, now: i64, warnings: &mut Vec<String>) {
    let times = match Times::read(&anatomy.claims) {
        Ok(times) => times,
        Err(problem) => {
            warnings.push(problem.to_string());
            return;
        }
    };
    let span = |seconds: i64| time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    match times.expires {
        None => warnings.push("it has no exp: it never expires".to_owned()),
        Some(expires) if now >= expires => {
            warnings.push(format!("it expired {} ago", span(now - expires)));
        }
        Some(expires) if expires - now > MAXIMUM_EXPIRATION + LEEWAY => warnings.push(format!(
            "it lives for another {}: longer than maximum_expiration unless that is raised",
            span(expires - now)
        )),
        Some(_) => {}
    }
    for (name, date) in [("nbf", times.not_before), ("iat", times.issued)] {
        if let Some(date) = date.filter(|date| *date > now + LEEWAY) {
            warnings.push(format!("its {name} lies {} ahead", span(date - now)));
        }
    }
}

fn identity(anatomy: &Anatomy, warnings: &mut Vec<String>) {
    if anatomy.text("iss").is_none() {
        warnings.push("it names no issuer (iss), so no key can be found for it".to_owned());
    }
    if anatomy.text("sub").is_none() {
        warnings.push("it has no sub, which required_claims asks for by default".to_owned());
    }
    if !anatomy.claims.contains_key("aud") {
        warnings.push("it has no aud: it is meant for nobody in particular".to_owned());
    }
    if anatomy.text("jti").is_none() {
        warnings.push("it has no jti: to revoke it takes the token, or its subject".to_owned());
    }
    if let Some(bound) = anatomy.claims.get("cnf").and_then(Value::as_object) {
        for (member, to) in [("jkt", "a DPoP key"), ("x5t#S256", "a client certificate")] {
            if bound.contains_key(member) {
                warnings.push(format!("it is bound to {to} (cnf): alone it may not do"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn warnings(header: &Value, claims: &Value) -> Vec<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2ln", part(header), part(claims));
        of(&token, &Anatomy::of(&token).unwrap(), NOW)
    }

    fn claims(change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = json!({"iss": "https://i", "sub": "a", "aud": "llm", "jti": "1", "exp": NOW + 60, "iat": NOW});
        change(&mut claims);
        claims
    }

    #[test]
    fn an_ordinary_token_is_not_warned_of() {
        let none = warnings(&json!({"alg": "RS256", "typ": "at+JWT"}), &claims(|_| {}));
        assert_eq!(none, Vec::<String>::new());
    }

    #[test]
    fn each_oddity_is_said() {
        for (header, claims, expected) in [
            (json!({"alg": "none"}), claims(|_| {}), "nobody signed it"),
            (json!({"alg": "NONE"}), claims(|_| {}), "refuses its form"),
            (json!({"alg": "HS256"}), claims(|_| {}), "can make others"),
            (
                json!({"alg": "ES256K"}),
                claims(|_| {}),
                "unknown to llm-jwt",
            ),
            (
                json!({"alg": "RS256", "jku": "https://evil"}),
                claims(|_| {}),
                "(jku)",
            ),
            (
                json!({"alg": "RS256", "typ": "logout+jwt"}),
                claims(|_| {}),
                "typ",
            ),
            (
                json!({"alg": "RS256"}),
                claims(|c| c["exp"] = Value::Null),
                "exp",
            ),
            (
                json!({"alg": "RS256"}),
                claims(|c| c["exp"] = json!("soon")),
                "impossible",
            ),
            (
                json!({"alg": "RS256"}),
                claims(|c| c["exp"] = json!(NOW - 90)),
                "expired 1m 30s ago",
            ),
            (
                json!({"alg": "RS256"}),
                claims(|c| c["exp"] = json!(NOW + 864_000)),
                "another 10d",
            ),
            (
                json!({"alg": "RS256"}),
                claims(|c| c["nbf"] = json!(NOW + 3600)),
                "nbf lies 1h ahead",
            ),
            (
                json!({"alg": "RS256"}),
                claims(|c| c["iss"] = json!(["https://i"])),
                "no issuer",
            ),
            (
                json!({"alg": "RS256"}),
                claims(|c| c["cnf"] = json!({"jkt": "x"})),
                "DPoP",
            ),
        ] {
            let warnings = warnings(&header, &claims);
            assert!(
                warnings.iter().any(|warning| warning.contains(expected)),
                "{expected}: {warnings:?}"
            );
        }
        let absent = claims(|claims| {
            for name in ["exp", "sub", "aud", "jti"] {
                claims.as_object_mut().unwrap().remove(name);
            }
        });
        assert_eq!(warnings(&json!({"alg": "RS256"}), &absent).len(), 4);
    }

    #[test]
    fn a_claim_that_is_there_twice_is_said() {
        let token = format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#),
            URL_SAFE_NO_PAD.encode(r#"{"sub":"a","sub":"b"}"#)
        );
        let warnings = of(&token, &Anatomy::of(&token).unwrap(), NOW);
        assert!(warnings[0].contains("repeated"), "{warnings:?}");
    }
}
