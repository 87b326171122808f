//! Which requests a limit, or a priority, is for: by model, by the consumer's tags, by verified claims. This is how tiers work.

use globset::{GlobBuilder, GlobMatcher};
use serde_json::Value;

use super::identity::Caller;

/// A pattern of model names: `*`, `?`, `[a-z]` and `{a,b}`, whatever the letters' case.
///
/// Providers differ in whether they tell cases apart; a limit that could be dodged by another spelling would be none.
#[derive(Clone, Debug)]
pub struct ModelPattern(GlobMatcher);

impl ModelPattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, globset::Error> {
        let glob = GlobBuilder::new(pattern).case_insensitive(true).build()?;
        Ok(Self(glob.compile_matcher()))
    }

    /// Whether the pattern is for this model.
    pub fn is_match(&self, model: &str) -> bool {
        self.0.is_match(model)
    }
}

/// What a request must be like. Everything that is given must hold; of each list, one entry suffices.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// The model; a request that names none matches no pattern.
    pub models: Vec<ModelPattern>,
    /// Tags of the consumer.
    pub consumer_tags: Vec<String>,
    /// Claims that `llm-jwt` verified.
    pub claims: Vec<ClaimMatch>,
}

/// A verified claim, and the values that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMatch {
    /// Where the claim is, step by step.
    pub path: Vec<String>,
    /// The values. A claim that is a list matches if one of its members does; numbers and booleans match by their text.
    pub one_of: Vec<String>,
    /// Whether its absence, or null, matches too.
    pub or_absent: bool,
}

impl Match {
    /// Whether every request is one of these.
    pub fn is_for_all(&self) -> bool {
        self.models.is_empty() && self.consumer_tags.is_empty() && self.claims.is_empty()
    }

    /// Whether the request is one of these.
    pub fn fits(&self, caller: &Caller) -> bool {
        let model = || match &caller.model {
            Some(model) => self.models.iter().any(|pattern| pattern.is_match(model)),
            None => false,
        };
        let tagged = || {
            self.consumer_tags
                .iter()
                .any(|tag| caller.consumer_tags.contains(tag))
        };
        (self.models.is_empty() || model())
            && (self.consumer_tags.is_empty() || tagged())
            && self.claims.iter().all(|claim| claim.fits(&caller.claims))
    }
}

impl ClaimMatch {
    fn fits(&self, claims: &Value) -> bool {
        let found = self
            .path
            .iter()
            .try_fold(claims, |value, step| value.get(step));
        match found {
            None | Some(Value::Null) => self.or_absent,
            Some(Value::Array(members)) => members.iter().any(|member| self.accepts(member)),
            Some(value) => self.accepts(value),
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        let is = |text: &str| self.one_of.iter().any(|accepted| accepted == text);
        match value {
            Value::String(text) => is(text),
            Value::Number(number) => is(&number.to_string()),
            Value::Bool(value) => is(if *value { "true" } else { "false" }),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller(model: Option<&str>, tags: &[&str], claims: Value) -> Caller {
        Caller {
            model: model.map(str::to_owned),
            consumer_tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            claims,
            ..Caller::default()
        }
    }

    fn tier(or_absent: bool) -> Match {
        Match {
            claims: vec![ClaimMatch {
                path: vec!["org".to_owned(), "tier".to_owned()],
                one_of: vec!["free".to_owned(), "7".to_owned()],
                or_absent,
            }],
            ..Match::default()
        }
    }

    fn models(patterns: &[&str]) -> Match {
        Match {
            models: patterns
                .iter()
                .map(|pattern| ModelPattern::new(pattern).unwrap())
                .collect(),
            ..Match::default()
        }
    }

    #[test]
    fn no_condition_fits_everybody() {
        assert!(Match::default().fits(&Caller::default()));
    }

    #[test]
    fn models_match_by_pattern_in_any_case_and_an_unnamed_one_never() {
        let gpt = models(&["gpt-4*", "*/claude-?"]);
        for (model, fits) in [
            (Some("gpt-4"), true),
            (Some("GPT-4o-mini"), true),
            (Some("anthropic/claude-4"), true),
            (Some("gpt-3.5"), false),
            (Some("my-gpt-4"), false),
            (None, false),
        ] {
            assert_eq!(gpt.fits(&caller(model, &[], json!({}))), fits, "{model:?}");
        }
        assert!(models(&["*"]).fits(&caller(Some("a/b:c"), &[], json!({}))));
        assert!(ModelPattern::new("gpt-[").is_err());
    }

    #[test]
    fn claims_match_by_value_and_lists_by_a_member() {
        let free = tier(false);
        for (tier, fits) in [
            (json!("free"), true),
            (json!(["pro", "free"]), true),
            (json!(7), true),
            (json!("Free"), false),
            (json!(null), false),
            (json!({"free": true}), false),
            (json!([]), false),
        ] {
            let claims = json!({"org": {"tier": tier}});
            assert_eq!(free.fits(&caller(None, &[], claims)), fits, "{tier}");
        }
        assert!(!free.fits(&caller(None, &[], json!({"tier": "free"}))));
    }

    #[test]
    fn a_missing_tier_is_the_lowest_where_that_is_said() {
        let fits = |claims| tier(true).fits(&caller(None, &[], claims));
        for absent in [
            Value::Null,
            json!({}),
            json!({"org": {}}),
            json!({"org": "acme"}),
            json!({"org": {"tier": null}}),
        ] {
            assert!(fits(absent.clone()), "{absent}");
            assert!(!tier(false).fits(&caller(None, &[], absent)));
        }
        assert!(fits(json!({"org": {"tier": "free"}})));
        assert!(!fits(json!({"org": {"tier": "pro"}})));
        assert!(!fits(json!({"org": {"tier": []}})));
    }

    #[test]
    fn all_conditions_must_hold() {
        let both = Match {
            consumer_tags: vec!["free".to_owned(), "trial".to_owned()],
            ..models(&["gpt-4*"])
        };
        assert!(both.fits(&caller(Some("gpt-4"), &["trial"], json!({}))));
        assert!(!both.fits(&caller(Some("gpt-4"), &["pro"], json!({}))));
        assert!(!both.fits(&caller(Some("o3"), &["trial"], json!({}))));
    }
}
