//! Tokens that were revoked: to list, to revoke, and to let pass again.
//!
//! A change is made in every denylist that a configuration at work looks into. It can be repeated: what one list has and another
//! had not, because it was away, is then in both.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Path, Query, State as Shared};
use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::answer::Problem;
use super::counters::{page_size, read};
use super::listener::Peer;
use crate::jwt::claims::LAST_DATE;
use crate::jwt::denylist::list::{List, NotRevoked};
use crate::jwt::denylist::memory::Full;
use crate::jwt::denylist::revocation::{
    InvalidRevocationId, Revocation, RevocationId, Target, TokenDigest,
};
use crate::jwt::process::DenylistsAtWork;
use crate::stores::failover::Unavailable;

/// The longest issuer, subject or `jti`, in bytes. A token with longer ones can be revoked by its hash.
const LONGEST_NAME: usize = 512;
/// Beyond all that any list holds.
const LARGEST_OFFSET: usize = 10_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    size: Option<usize>,
    #[serde(default)]
    offset: usize,
}

pub(super) async fn list(
    Shared(state): Shared<State>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let size = page_size(query.size)?;
    let now = state.jwt.clock().unix_seconds();
    let mut skipped = query.offset.min(LARGEST_OFFSET);
    let (mut total, mut data) = (0, Vec::new());
    for list in at_work(&state)?.lists {
        let (count, page) = list
            .page(skipped, size - data.len(), now)
            .await
            .map_err(|error| away(&list, error))?;
        data.extend(page.iter().map(|revocation| described(&list, revocation)));
        total += count;
        skipped = skipped.saturating_sub(count);
    }
    let end = query.offset.saturating_add(size);
    Ok(Json(json!({
        "data": data,
        "total": total,
        "next": (end < total).then_some(end),
    })))
}

/// What is to be revoked: one of a token's SHA-256, issuer and jti, issuer and subject.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    token_sha256: Option<TokenDigest>,
    issuer: Option<String>,
    jti: Option<String>,
    subject: Option<String>,
    issued_before: Option<i64>,
    expires_at: Option<i64>,
}

pub(super) async fn revoke(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let wanted: Wanted = read(
        &body?,
        r#"{"issuer": "https://idp.example", "jti": "7f3a"}"#,
    )?;
    let at_work = at_work(&state)?;
    let now = state.jwt.clock().unix_seconds();
    let revocation = wanted.revocation(now, &at_work)?;
    let mut data = Vec::new();
    let mut problem = None;
    for list in &at_work.lists {
        match list.revoke(revocation.clone(), now).await {
            Ok(kept) => {
                audit(&peer, "revoke", list, &kept);
                data.push(described(list, &kept));
            }
            Err(NotRevoked::Full(Full)) => {
                problem = Some(Problem::DenylistFull(list.name().to_string()));
            }
            Err(NotRevoked::Away(error)) => problem = Some(away(list, error)),
        }
    }
    if let Some(problem) = problem {
        return Err(problem);
    }
    let issuer = revocation.target.issuer();
    let is_known = issuer.map(|issuer| at_work.issuers.iter().any(|known| known == issuer));
    Ok(Json(json!({ "data": data, "issuer_is_known": is_known })))
}

pub(super) async fn unrevoke(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(id) = id?;
    let id: RevocationId = id
        .parse()
        .map_err(|error: InvalidRevocationId| Problem::BadRequest(error.to_string()))?;
    let now = state.jwt.clock().unix_seconds();
    let mut data = Vec::new();
    let mut problem = None;
    for list in at_work(&state)?.lists {
        match list.unrevoke(id, now).await {
            Ok(Some(removed)) => {
                audit(&peer, "unrevoke", &list, &removed);
                data.push(described(&list, &removed));
            }
            Ok(None) => {}
            Err(error) => problem = Some(away(&list, error)),
        }
    }
    match problem {
        Some(problem) => Err(problem),
        None if data.is_empty() => Err(Problem::NoSuchRevocation),
        None => Ok(Json(json!({ "data": data }))),
    }
}

impl Wanted {
    fn revocation(self, now: i64, at_work: &DenylistsAtWork) -> Result<Revocation, Problem> {
        let expires_at = self.expires_at;
        let target = self.target(now)?;
        let expires_at = match (expires_at, at_work.maximum_expiration) {
            (Some(date), _) if date <= now => {
                return Err(bad("expires_at: has passed, so nothing is left to revoke"));
            }
            (Some(date), _) => self::date("expires_at", date)?,
            (None, Some(longest)) => now.max(target.issued_before()).saturating_add(longest),
            (None, None) => {
                return Err(bad(
                    "expires_at: needed, since a configuration at work accepts tokens of any lifetime (maximum_expiration: 0)",
                ));
            }
        };
        Ok(Revocation {
            target,
            revoked_at: now,
            expires_at,
        })
    }

    fn target(self, now: i64) -> Result<Target, Problem> {
        let moment = self.issued_before;
        match (self.token_sha256, self.issuer, self.jti, self.subject) {
            (Some(token_sha256), None, None, None) if moment.is_none() => {
                Ok(Target::Token { token_sha256 })
            }
            (None, Some(issuer), Some(jti), None) if moment.is_none() => Ok(Target::Jti {
                issuer: name("issuer", issuer)?,
                jti: name("jti", jti)?,
            }),
            (None, Some(issuer), None, Some(subject)) => Ok(Target::Subject {
                issuer: name("issuer", issuer)?,
                subject: name("subject", subject)?,
                // `iat` counts whole seconds: what was issued in this one is among them.
                issued_before: date("issued_before", moment.unwrap_or(now.saturating_add(1)))?,
            }),
            _ => Err(bad(
                "one of token_sha256, issuer with jti, and issuer with subject (to which alone issued_before belongs)",
            )),
        }
    }
}

fn bad(problem: &str) -> Problem {
    Problem::BadRequest(problem.to_owned())
}

fn name(field: &str, text: String) -> Result<String, Problem> {
    if (1..=LONGEST_NAME).contains(&text.len()) {
        Ok(text)
    } else {
        Err(bad(&format!("{field}: 1 to {LONGEST_NAME} bytes")))
    }
}

fn date(field: &str, seconds: i64) -> Result<i64, Problem> {
    if (0..=LAST_DATE).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(bad(&format!("{field}: Unix seconds, 0 to {LAST_DATE}")))
    }
}

fn at_work(state: &State) -> Result<DenylistsAtWork, Problem> {
    let at_work = state.jwt.denylists();
    if at_work.lists.is_empty() {
        Err(Problem::NoDenylist)
    } else {
        Ok(at_work)
    }
}

fn away(list: &List, error: Unavailable) -> Problem {
    let store = list.name();
    tracing::warn!(%store, %error, "the admin listener cannot ask a denylist");
    Problem::StoreAway(store.to_string())
}

/// A revocation as the API shows it; dates in Unix seconds.
fn described(list: &List, revocation: &Revocation) -> Value {
    let Revocation {
        target,
        revoked_at,
        expires_at,
    } = revocation;
    let mut value = serde_json::to_value(target).expect("a target has only string keys");
    value["id"] = json!(target.id().to_string());
    value["revoked_at"] = json!(revoked_at);
    value["expires_at"] = json!(expires_at);
    value["store"] = json!(super::kind(&list.name()));
    value
}

/// What was revoked is an operator's word, not a token: it is said whole.
fn audit(peer: &Peer, action: &str, list: &List, revocation: &Revocation) {
    let (token, issuer, jti, subject, issued_before) = match &revocation.target {
        Target::Token { token_sha256 } => (Some(token_sha256.to_string()), None, None, None, None),
        Target::Jti { issuer, jti } => (None, Some(issuer), Some(jti), None, None),
        Target::Subject {
            issuer,
            subject,
            issued_before,
        } => (None, Some(issuer), None, Some(subject), Some(issued_before)),
    };
    tracing::info!(
        target: super::AUDIT,
        %peer,
        action,
        id = %revocation.target.id(),
        token_sha256 = token,
        issuer,
        jti,
        subject,
        issued_before,
        expires_at = revocation.expires_at,
        store = %list.name(),
        "the denylist was changed"
    );
}
