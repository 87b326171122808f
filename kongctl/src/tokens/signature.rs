//! Whether an issuer's key signed a token, and which.

use llm_plugin_server::jwt::token::Jws;
use serde_json::{Value, json};

use super::keys::Key;

/// The longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 65_536;

/// What trying keys on a token came to.
#[derive(Debug)]
pub(crate) enum Signature<'k> {
    /// This key signed it.
    By(&'k Key),
    /// None did, for this reason.
    Wrong(String),
}

/// Tries the keys that fit, as `llm-jwt` does.
pub(crate) fn verify<'k>(token: &str, keys: &'k [Key]) -> Signature<'k> {
    let jws = match Jws::parse(token.as_bytes(), LONGEST_TOKEN) {
        Ok((jws, _)) => jws,
        Err(problem) => return Signature::Wrong(problem.to_string()),
    };
    let kid = jws.kid.as_deref();
    let fitting: Vec<&Key> = keys
        .iter()
        .filter(|key| {
            let judged = key.judged.as_ref();
            judged.is_ok_and(|judged| judged.fits(kid, jws.algorithm))
        })
        .collect();
    let signer = fitting.iter().find(|key| {
        let judged = key.judged.as_ref();
        judged.is_ok_and(|judged| judged.verifies(&jws))
    });
    if let Some(key) = signer {
        return Signature::By(key);
    }
    let named = kid.and_then(|kid| keys.iter().find(|key| key.kid.as_deref() == Some(kid)));
    Signature::Wrong(match (&fitting[..], named, kid) {
        ([_, ..], ..) => "the issuer's keys that fit have not signed this".to_owned(),
        ([], Some(key), _) => match &key.judged {
            Ok(_) => format!("the key of its kid is not for {}", jws.algorithm),
            Err(reason) => format!("the key of its kid cannot be used: {reason}"),
        },
        ([], None, Some(_)) => "the issuer has no key of its kid".to_owned(),
        ([], None, None) => format!("the issuer has no key for {}", jws.algorithm),
    })
}

impl Signature<'_> {
    /// The same for a program.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::By(key) => json!({ "verified": true, "key": key.value() }),
            Self::Wrong(reason) => json!({ "verified": false, "reason": reason }),
        }
    }
}
