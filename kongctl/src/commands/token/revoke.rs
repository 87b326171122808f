//! `token revoke`: a token, or a subject's tokens, refused before they expire.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::Revoke;
use crate::clock;
use crate::limiter::client::Client;
use crate::limiter::model::Revocation;
use crate::output::failure::{Refused, UsageError};
use crate::output::numbers::{moment, time};
use crate::output::{self, Format, Printer, text};
use crate::tokens::anatomy::{Anatomy, sha256};
use crate::tokens::given;

use super::super::consent::{agree, can_agree};
use super::Exit;

/// How long after its `exp` a token may still pass, in seconds: the largest `leeway`.
const LARGEST_LEEWAY: i64 = 300;
/// The longest issuer and `jti` that the server takes, in bytes.
const LONGEST_NAME: usize = 512;

/// What is to be revoked, as the server is told and as a person is.
struct Plan {
    body: Value,
    words: String,
}

pub(super) async fn run(
    client: &Client,
    arguments: Revoke,
    printer: Printer,
) -> anyhow::Result<Exit> {
    can_agree(arguments.consent, "this refuses tokens")?;
    let now = i64::try_from(clock::unix_seconds()).unwrap_or(i64::MAX);
    let consent = arguments.consent;
    let Plan { body, words } = plan(arguments, now)?;
    agree(consent, &format!("revoke {words}"))?;
    let revoked = client
        .revoke(&body)
        .await
        .with_context(|| format!("cannot revoke {words}"))?;
    match printer.format {
        Format::Json | Format::Yaml => printer.value(&json!({
            "action": "revoke",
            "revocations": revoked.data,
            "issuer_is_known": revoked.issuer_is_known,
        }))?,
        Format::Name => {
            let names = revoked.data.iter().take(1).map(Revocation::name);
            printer.result(&names.collect::<String>())?;
        }
        Format::Table => {
            let lines = revoked.data.iter().map(|one| {
                let until = moment(one.expires_at, now);
                let store = text::clean(&one.store);
                format!(
                    "revoke {words}: {} in {store}, until {until}\n",
                    one.shown_id()
                )
            });
            printer.result(&lines.collect::<String>())?;
        }
    }
    if revoked.issuer_is_known == Some(false) {
        output::note(
            "No plugin at work there accepts tokens of this issuer: is it spelled as in their `iss`?",
        );
    }
    Ok(Exit::Done)
}

fn plan(arguments: Revoke, now: i64) -> anyhow::Result<Plan> {
    let Revoke {
        given,
        issuer,
        jti,
        subject,
        issued_before,
        expires_at,
        ..
    } = arguments;
    let Some(issuer) = issuer else {
        return of_token(&given::token(&given)?, expires_at, now);
    };
    let of = |text: &str| text::fit(text, 80);
    let (mut body, words) = match (&jti, &subject) {
        (Some(jti), _) => (
            json!({ "issuer": issuer, "jti": jti }),
            format!("the token {} of {}", of(jti), of(&issuer)),
        ),
        (None, Some(subject)) => {
            let mut body = json!({ "issuer": issuer, "subject": subject });
            let before = issued_before.map(|before| moment(before, now));
            if let Some(before) = issued_before {
                body["issued_before"] = json!(before);
            }
            let before = before.map_or("so far".to_owned(), |before| format!("before {before}"));
            let words = format!(
                "all tokens of {} by {} issued {before}",
                of(subject),
                of(&issuer)
            );
            (body, words)
        }
        (None, None) => {
            return Err(UsageError {
                message: "--issuer alone revokes nothing: say --jti or --subject".to_owned(),
            }
            .into());
        }
    };
    if let Some(expires_at) = expires_at {
        body["expires_at"] = json!(expires_at);
    }
    Ok(Plan { body, words })
}

/// A token that the user has: by issuer and jti where it has both and the server takes them, as every other token of that jti.
fn of_token(token: &str, expires_at: Option<i64>, now: i64) -> anyhow::Result<Plan> {
    let anatomy = Anatomy::of(token).ok();
    let text = |claim: &str| anatomy.as_ref()?.text(claim);
    let name = |claim| text(claim).filter(|text| (1..=LONGEST_NAME).contains(&text.len()));
    let names = name("iss").zip(name("jti"));
    let (mut body, mut words) = if let Some((issuer, jti)) = names {
        let words = format!(
            "the token {} of {}",
            text::fit(jti, 80),
            text::fit(issuer, 80)
        );
        (json!({ "issuer": issuer, "jti": jti }), words)
    } else {
        let hash = sha256(token);
        let words = format!("the token with the SHA-256 {hash}");
        (json!({ "token_sha256": hash }), words)
    };
    if let Some(subject) = text("sub") {
        words = format!("{words} (sub {})", text::fit(subject, 80));
    }
    let exp = anatomy
        .as_ref()
        .and_then(|anatomy| anatomy.claims.get("exp")?.as_f64());
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
    let exp = exp.map(|exp| exp as i64);
    match (expires_at, exp) {
        (Some(expires_at), _) => body["expires_at"] = json!(expires_at),
        (None, Some(exp)) if exp.saturating_add(LARGEST_LEEWAY) <= now => {
            let ago = u64::try_from(now.saturating_sub(exp)).unwrap_or_default();
            return Err(Refused {
                message: format!("{words} expired {} ago", time(ago.saturating_mul(1000))),
                hint: "no plugin accepts it any more; nothing is left to revoke".to_owned(),
            }
            .into());
        }
        (None, Some(exp)) if exp > now => body["expires_at"] = json!(exp),
        // Within its leeway it may pass for a moment yet.
        (None, Some(_)) => body["expires_at"] = json!(now.saturating_add(LARGEST_LEEWAY)),
        (None, None) => {}
    }
    Ok(Plan { body, words })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn body(claims: &Value) -> Value {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims));
        let plan = of_token(&token, None, NOW).unwrap();
        assert!(!plan.body.to_string().contains("c2ln") && !plan.words.contains("c2ln"));
        plan.body
    }

    #[test]
    fn a_token_is_revoked_by_its_jti_until_it_expires() {
        let exp = NOW + 3600;
        let claims = json!({"iss": "https://i", "jti": "1", "exp": exp});
        let expected = json!({"issuer": "https://i", "jti": "1", "expires_at": exp});
        assert_eq!(body(&claims), expected);
    }

    #[test]
    fn a_token_without_a_jti_is_revoked_by_its_hash() {
        for claims in [
            json!({"iss": "https://i"}),
            json!({"jti": "1"}),
            json!({"iss": ["i"], "jti": 1}),
            json!({"iss": "https://i", "jti": ""}),
            json!({"iss": "https://i", "jti": "1".repeat(513)}),
        ] {
            let body = body(&claims);
            assert_eq!(body["token_sha256"].as_str().unwrap().len(), 64);
            assert_eq!(body.as_object().unwrap().len(), 1);
        }
        let opaque = of_token("opaque", None, NOW).unwrap();
        assert_eq!(opaque.body["token_sha256"], sha256("opaque"));
    }

    #[test]
    fn a_token_that_no_leeway_saves_is_not_revoked() {
        let expired = json!({"iss": "https://i", "jti": "1", "exp": NOW - 10});
        assert_eq!(body(&expired)["expires_at"], NOW + 300);
        let token = format!(
            "e30.{}.AA",
            URL_SAFE_NO_PAD.encode(json!({"exp": NOW - 300}).to_string())
        );
        assert!(of_token(&token, None, NOW).is_err());
        assert!(
            of_token(&token, Some(NOW + 5), NOW).is_ok(),
            "the user knows better"
        );
    }
}
