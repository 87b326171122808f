//! What tokens of a model cost.

use kong_pdk::PluginConfig;
use serde::Deserialize;

use crate::rate_limiting::config::{ConfigError, LimitProblem};
use crate::rate_limiting::matching::ModelPattern;
use crate::rate_limiting::price::{Price, TokenPrice};

#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub(super) struct PriceConfig {
    /// The pattern of models that have this price; * fits every model, one that is not named included.
    #[kong(len_min = 1)]
    model: String,
    /// Dollars for a million tokens of the prompt.
    #[kong(between = [0, 1_000_000])]
    input: f64,
    /// Dollars for a million tokens of the answer.
    #[kong(between = [0, 1_000_000])]
    output: f64,
    /// Dollars for a million tokens of the prompt that the provider read from its cache; by default those of input.
    #[kong(between = [0, 1_000_000])]
    cached_input: Option<f64>,
    /// Dollars for a million tokens of the prompt that the provider wrote to its cache; by default those of input.
    #[kong(between = [0, 1_000_000])]
    cache_write: Option<f64>,
    /// Dollars for a million tokens of reasoning; by default those of output.
    #[kong(between = [0, 1_000_000])]
    reasoning: Option<f64>,
}

impl PriceConfig {
    pub(super) fn read(at: usize, config: &Self) -> Result<(ModelPattern, Price), ConfigError> {
        let price = |field, dollars| {
            TokenPrice::dollars_per_million(dollars)
                .map_err(|error| LimitProblem::Price(field, error))
        };
        let read = || {
            let price = Price {
                input: price("input", config.input)?,
                output: price("output", config.output)?,
                cached_input: price("cached_input", config.cached_input.unwrap_or(config.input))?,
                cache_write: price("cache_write", config.cache_write.unwrap_or(config.input))?,
                reasoning: price("reasoning", config.reasoning.unwrap_or(config.output))?,
            };
            Ok((
                ModelPattern::new(&config.model).map_err(LimitProblem::Pattern)?,
                price,
            ))
        };
        read().map_err(|problem| ConfigError::Price {
            at,
            model: config.model.clone(),
            problem,
        })
    }
}
