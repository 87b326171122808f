//! What a verified token says, judged: times, audience, required claims, scopes.
//!
//! # Model
//!
//! A NumericDate is seconds since the epoch, possibly with a fraction that is cut off. Only dates from 1970 to 9999
//! are believed: `-1`, `1e300` and `u64::MAX` are mistakes or attacks, never dates.
//!
//! A token is valid at `now` when `nbf - leeway ≤ now < exp + leeway`, `iat ≤ now + leeway`, and
//! `exp ≤ now + maximum_expiration + leeway`.

use std::fmt;

use serde_json::{Map, Value};

/// The last second of the year 9999.
pub(crate) const LAST_DATE: i64 = 253_402_300_799;

/// The payload of a token.
pub type Claims = Map<String, Value>;

/// Names that lead from the payload to a claim: `[org, id]` is `org.id`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// A path of these names; `None` when there is none or one is empty.
    pub fn new(names: Vec<String>) -> Option<Self> {
        (!names.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(Self(names))
    }

    /// The claim there, if the payload has it and it is not null.
    pub fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        let mut value = claims.get(first)?;
        for name in rest {
            value = value.as_object()?.get(name)?;
        }
        (!value.is_null()).then_some(value)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("."))
    }
}

/// The dates of a token, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// `exp`: from here on the token is over.
    pub expires: Option<i64>,
    /// `nbf`: before this it is not yet valid.
    pub not_before: Option<i64>,
    /// `iat`: when it was made.
    pub issued: Option<i64>,
}

/// The bounds that [`Times`] are held against, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeBounds {
    /// How far the clocks of issuer and gateway may differ.
    pub leeway: i64,
    /// How far `exp` may lie ahead; 0 is any distance.
    pub maximum_expiration: i64,
}

/// Why the claims of a correctly signed token are not acceptable. Not for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnacceptableClaims {
    /// A registered claim has the wrong type or an impossible value.
    #[error("the claim `{0}` has an impossible value")]
    Impossible(&'static str),
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iat` lies ahead.
    #[error("the token was issued in the future")]
    IssuedInTheFuture,
    /// `exp` is absent or lies beyond `maximum_expiration`.
    #[error("the token lives longer than maximum_expiration")]
    LivesTooLong,
    /// No audience of ours.
    #[error("the token is not meant for this audience")]
    Audience,
    /// One of `required_claims` is absent.
    #[error("the required claim `{0}` is absent")]
    Missing(String),
    /// A claim cannot be sent upstream as a header's value.
    #[error("the claim for the header `{0}` cannot be a header's value")]
    NotAHeaderValue(String),
}

impl Times {
    /// Reads the dates of `claims`.
    ///
    /// # Errors
    ///
    /// When one is present and not a believable date.
    pub fn read(claims: &Claims) -> Result<Self, UnacceptableClaims> {
        Ok(Self {
            expires: numeric_date(claims, "exp")?,
            not_before: numeric_date(claims, "nbf")?,
            issued: numeric_date(claims, "iat")?,
        })
    }

    /// Holds the dates against the clock: at verification and again whenever a remembered token is used.
    ///
    /// # Errors
    ///
    /// When the token is not valid at `now` (Unix seconds).
    pub fn check(self, now: i64, bounds: TimeBounds) -> Result<(), UnacceptableClaims> {
        let TimeBounds {
            leeway,
            maximum_expiration,
        } = bounds;
        if self
            .expires
            .is_some_and(|expires| now >= expires.saturating_add(leeway))
        {
            return Err(UnacceptableClaims::Expired);
        }
        if self
            .not_before
            .is_some_and(|not_before| now < not_before.saturating_sub(leeway))
        {
            return Err(UnacceptableClaims::NotYet);
        }
        if self
            .issued
            .is_some_and(|issued| issued > now.saturating_add(leeway))
        {
            return Err(UnacceptableClaims::IssuedInTheFuture);
        }
        let latest = now
            .saturating_add(maximum_expiration)
            .saturating_add(leeway);
        if maximum_expiration > 0 && self.expires.is_none_or(|expires| expires > latest) {
            return Err(UnacceptableClaims::LivesTooLong);
        }
        Ok(())
    }
}

/// The date in the claim `name`, if it is there: seconds, without their fraction.
pub(super) fn numeric_date(
    claims: &Claims,
    name: &'static str,
) -> Result<Option<i64>, UnacceptableClaims> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let date = value
        .as_i64()
        .or_else(|| value.as_f64().and_then(whole_seconds));
    match date {
        Some(date) if (0..=LAST_DATE).contains(&date) => Ok(Some(date)),
        _ => Err(UnacceptableClaims::Impossible(name)),
    }
}

fn whole_seconds(seconds: f64) -> Option<i64> {
    let cut = seconds.trunc();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked first and lies far below 2^53"
    )]
    (0.0..=LAST_DATE as f64)
        .contains(&cut)
        .then_some(cut as i64)
}

/// Whether one of `accepted` is among the audiences at `path`: a string, or a list of strings only.
///
/// # Errors
///
/// When it is absent, of another type, or names nobody of `accepted`.
pub fn check_audience(
    claims: &Claims,
    path: &ClaimPath,
    accepted: &[String],
) -> Result<(), UnacceptableClaims> {
    let named = match path.find(claims) {
        Some(Value::String(one)) => accepted.contains(one),
        Some(Value::Array(many)) if many.iter().all(Value::is_string) => many
            .iter()
            .filter_map(Value::as_str)
            .any(|audience| accepted.iter().any(|known| known == audience)),
        _ => false,
    };
    if named {
        Ok(())
    } else {
        Err(UnacceptableClaims::Audience)
    }
}

/// Whether each of `names` is present and not null.
///
/// # Errors
///
/// Names the first that is not.
pub fn check_required(claims: &Claims, names: &[String]) -> Result<(), UnacceptableClaims> {
    match names
        .iter()
        .find(|name| claims.get(*name).is_none_or(Value::is_null))
    {
        Some(name) => Err(UnacceptableClaims::Missing(name.clone())),
        None => Ok(()),
    }
}

/// One alternative of `scopes_required`: all of these scopes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScopeSet(Vec<String>);

impl ScopeSet {
    /// The scopes of a space-separated list (RFC 6749 §3.3); `None` when it is empty or holds what no scope may hold.
    pub fn parse(list: &str) -> Option<Self> {
        let scopes: Vec<String> = list.split_ascii_whitespace().map(str::to_owned).collect();
        let legal = |byte: u8| {
            byte == 0x21 || (0x23..=0x5B).contains(&byte) || (0x5D..=0x7E).contains(&byte)
        };
        (!scopes.is_empty() && scopes.iter().all(|scope| scope.bytes().all(legal)))
            .then_some(Self(scopes))
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(" "))
    }
}

/// Whether the scopes at `path` (a space-separated string or a list of strings) include all of one alternative.
pub fn has_scopes(claims: &Claims, path: &ClaimPath, alternatives: &[ScopeSet]) -> bool {
    if alternatives.is_empty() {
        return true;
    }
    let granted: Vec<&str> = match path.find(claims) {
        Some(Value::String(list)) => list.split(' ').collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => return false,
    };
    alternatives
        .iter()
        .any(|ScopeSet(needed)| needed.iter().all(|scope| granted.contains(&scope.as_str())))
}

/// One entry of `claims_required` or `claims_forbidden`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimValues {
    /// Which claim.
    pub path: ClaimPath,
    /// Values as text: of a string, number or boolean, or of an element of a list.
    pub one_of: Vec<String>,
}

impl ClaimValues {
    /// Whether the claim has one of the values.
    pub fn are_in(&self, claims: &Claims) -> bool {
        let named =
            |value: &Value| scalar_text(value).is_some_and(|text| self.one_of.contains(&text));
        match self.path.find(claims) {
            Some(Value::Array(list)) => list.iter().any(named),
            Some(value) => named(value),
            None => false,
        }
    }
}

/// A string, number or boolean as text.
pub fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_767_225_600;
    const BOUNDS: TimeBounds = TimeBounds {
        leeway: 30,
        maximum_expiration: 86_400,
    };

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(claims) => claims,
            other => panic!("not an object: {other}"),
        }
    }

    fn path(names: &[&str]) -> ClaimPath {
        ClaimPath::new(names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn judged(value: Value) -> Result<(), UnacceptableClaims> {
        Times::read(&claims(value))?.check(NOW, BOUNDS)
    }

    #[test]
    fn a_token_is_valid_from_nbf_until_exp_within_the_leeway() {
        assert_eq!(
            judged(json!({"exp": NOW + 60, "nbf": NOW - 60, "iat": NOW - 60})),
            Ok(())
        );
        assert_eq!(judged(json!({"exp": NOW - 29})), Ok(()));
        assert_eq!(
            judged(json!({"exp": NOW - 30})),
            Err(UnacceptableClaims::Expired)
        );
        assert_eq!(judged(json!({"exp": NOW + 60, "nbf": NOW + 30})), Ok(()));
        assert_eq!(
            judged(json!({"exp": NOW + 60, "nbf": NOW + 31})),
            Err(UnacceptableClaims::NotYet)
        );
        assert_eq!(judged(json!({"exp": NOW + 60, "iat": NOW + 30})), Ok(()));
        assert_eq!(
            judged(json!({"exp": NOW + 60, "iat": NOW + 31})),
            Err(UnacceptableClaims::IssuedInTheFuture)
        );
        assert_eq!(judged(json!({"exp": NOW as f64 + 1.5})), Ok(()));
    }

    #[test]
    fn a_token_that_lives_too_long_or_for_ever_is_refused() {
        assert_eq!(judged(json!({"exp": NOW + 86_430})), Ok(()));
        assert_eq!(
            judged(json!({"exp": NOW + 86_431})),
            Err(UnacceptableClaims::LivesTooLong)
        );
        assert_eq!(judged(json!({})), Err(UnacceptableClaims::LivesTooLong));
        let unbounded = TimeBounds {
            maximum_expiration: 0,
            ..BOUNDS
        };
        assert_eq!(
            Times::read(&claims(json!({"exp": LAST_DATE})))
                .unwrap()
                .check(NOW, unbounded),
            Ok(())
        );
    }

    #[test]
    fn impossible_dates_are_refused() {
        for date in [
            json!("1767225700"),
            json!(-1),
            json!(1e300),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(-0.5e9),
            json!(null),
            json!(true),
            json!([NOW]),
            json!({}),
        ] {
            for name in ["exp", "nbf", "iat"] {
                let read = Times::read(&claims(json!({name: date})));
                assert_eq!(
                    read,
                    Err(UnacceptableClaims::Impossible(name)),
                    "{name}: {date}"
                );
            }
        }
    }

    #[test]
    fn an_audience_is_a_string_or_a_list_of_strings() {
        let accepted = strings(&["llm", "chat"]);
        let judged = |aud: Value| {
            check_audience(&claims(json!({"aud": aud})), &path(&["aud"]), &accepted).is_ok()
        };
        assert!(judged(json!("llm")));
        assert!(judged(json!(["other", "chat"])));
        for aud in [
            json!("LLM"),
            json!("llm "),
            json!([]),
            json!(["llm", 7]),
            json!(7),
            json!(null),
            json!({"llm": 1}),
            json!(["x"]),
        ] {
            assert!(!judged(aud.clone()), "{aud}");
        }
        assert!(check_audience(&claims(json!({})), &path(&["aud"]), &accepted).is_err());
    }

    #[test]
    fn a_required_claim_must_be_there() {
        let present = claims(json!({"exp": 1, "sub": "a", "gone": null}));
        assert_eq!(check_required(&present, &strings(&["exp", "sub"])), Ok(()));
        assert_eq!(
            check_required(&present, &strings(&["sub", "gone"])),
            Err(UnacceptableClaims::Missing("gone".into()))
        );
        assert_eq!(
            check_required(&present, &strings(&["jti"])),
            Err(UnacceptableClaims::Missing("jti".into()))
        );
    }

    #[test]
    fn scopes_are_alternatives_of_whole_words() {
        let alternatives = [
            ScopeSet::parse("chat write").unwrap(),
            ScopeSet::parse("admin").unwrap(),
        ];
        let judged = |scope: Value| {
            has_scopes(
                &claims(json!({"scope": scope})),
                &path(&["scope"]),
                &alternatives,
            )
        };
        assert!(judged(json!("write openid chat")));
        assert!(judged(json!(["admin"])));
        for scope in [
            json!("chat"),
            json!("chat writes"),
            json!("chat:write"),
            json!("Admin"),
            json!(""),
            json!(7),
            json!(null),
        ] {
            assert!(!judged(scope.clone()), "{scope}");
        }
        assert!(
            has_scopes(&claims(json!({})), &path(&["scope"]), &[]),
            "nothing required"
        );
    }

    #[test]
    fn a_scope_holds_no_quote() {
        assert_eq!(ScopeSet::parse("a\"b"), None);
        assert_eq!(ScopeSet::parse("  "), None);
        assert_eq!(ScopeSet::parse(" a  b ").unwrap().to_string(), "a b");
    }

    #[test]
    fn a_claim_requirement_reads_scalars_and_lists() {
        let values = ClaimValues {
            path: path(&["org", "tier"]),
            one_of: strings(&["gold", "7", "true"]),
        };
        for tier in [
            json!("gold"),
            json!(7),
            json!(true),
            json!(["silver", "gold"]),
        ] {
            assert!(values.are_in(&claims(json!({"org": {"tier": tier}}))));
        }
        for value in [
            json!({"org": {"tier": "silver"}}),
            json!({"org": {}}),
            json!({"org": "tier"}),
            json!({"org.tier": "gold"}),
            json!({}),
        ] {
            assert!(!values.are_in(&claims(value.clone())), "{value}");
        }
    }
}
