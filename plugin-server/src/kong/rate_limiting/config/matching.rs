//! Which requests a limit or a class is for.

use kong_pdk::PluginConfig;
use serde::Deserialize;

use super::each;
use crate::rate_limiting::config::{ConfigError, LimitProblem, Priority, Share};
use crate::rate_limiting::matching::{ClaimMatch, Match, ModelPattern};

#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub(super) struct MatchConfig {
    /// Patterns of models, such as gpt-4*, in any case; one must fit.
    models: Option<Vec<String>>,
    /// Tags of the consumer, one of which it must have.
    consumer_tags: Option<Vec<String>>,
    /// Claims that llm-jwt has verified; all must fit.
    claims: Option<Vec<ClaimConfig>>,
}

#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub(super) struct ClaimConfig {
    /// Where the claim is, step by step.
    #[kong(len_min = 1)]
    path: Vec<String>,
    /// The values of which it must have one.
    #[kong(len_min = 1)]
    one_of: Vec<String>,
    /// Whether a request without the claim fits too, so that a missing tier is the lowest.
    #[kong(default = false)]
    or_absent: bool,
}

#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub(super) struct PriorityConfig {
    /// The class's name, for people.
    #[kong(len_min = 1, len_max = 64)]
    name: String,
    /// The requests of this class; by default all.
    #[serde(rename = "match")]
    matches: Option<MatchConfig>,
    /// How full this class may make a limit: 0.8 leaves a fifth to the others.
    #[kong(between = [0, 1])]
    share: f64,
}

impl PriorityConfig {
    pub(super) fn read(at: usize, config: Self) -> Result<Priority, ConfigError> {
        let read = || {
            Ok(Priority {
                name: config.name.clone(),
                matches: matches(config.matches)?,
                share: Share::new(config.share)
                    .map_err(|error| LimitProblem::Share("share", error))?,
            })
        };
        read().map_err(|problem| ConfigError::Priority {
            at,
            name: config.name.clone(),
            problem,
        })
    }
}

pub(super) fn matches(config: Option<MatchConfig>) -> Result<Match, LimitProblem> {
    let Some(config) = config else {
        return Ok(Match::default());
    };
    let claims = config.claims.unwrap_or_default();
    Ok(Match {
        models: each(config.models.unwrap_or_default(), |_, pattern| {
            ModelPattern::new(&pattern).map_err(LimitProblem::Pattern)
        })?,
        consumer_tags: config.consumer_tags.unwrap_or_default(),
        claims: claims
            .into_iter()
            .map(|claim| ClaimMatch {
                path: claim.path,
                one_of: claim.one_of,
                or_absent: claim.or_absent,
            })
            .collect(),
    })
}
