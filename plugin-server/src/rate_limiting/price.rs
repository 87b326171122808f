//! What tokens cost: a price table by model, in micro-dollars.
//!
//! # Algorithm
//!
//! A price of one dollar for a million tokens is one micro-dollar a token; prices are kept in nano-dollars a token, so that every
//! published price is an integer. Integers only:
//!
//! ```text
//! nano = (prompt − cached_read − cache_write) · input + cached_read · cached_input + cache_write · cache_write
//!      + (completion − reasoning) · output + reasoning · reasoning
//! cost = ⌈nano / 1000⌉ micro-dollars
//! ```
//!
//! Worked: 1,000 prompt tokens, 400 of them read from the cache, and 200 of completion at $2.50, $1.25 and $10 a million cost
//! 600 · 2,500 + 400 · 1,250 + 200 · 10,000 = 4,000,000 nano-dollars, 4,000 micro-dollars.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::matching::ModelPattern;
use super::usage::Usage;

/// A price of tokens, in nano-dollars a token: thousandths of a dollar for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPrice(u64);

/// A price that cannot be.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("a price is 0 to 1,000,000 dollars for a million tokens, in steps of 0.001, not {0}")]
pub struct InvalidPrice(f64);

impl TokenPrice {
    /// A price in dollars for a million tokens.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range has been checked, and the nearest step is meant"
    )]
    pub fn dollars_per_million(dollars: f64) -> Result<Self, InvalidPrice> {
        let nano = (dollars * 1e3).round();
        // A price that the step would make free, or another one, is a mistake that nobody would see.
        let exact = (nano - dollars * 1e3).abs() < 1e-6;
        if !(0.0..=1e6).contains(&dollars) || !exact {
            return Err(InvalidPrice(dollars));
        }
        Ok(Self(nano as u64))
    }

    fn of(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

/// The prices of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Of a token of the prompt.
    pub input: TokenPrice,
    /// Of a token of the answer.
    pub output: TokenPrice,
    /// Of a token of the prompt that the provider read from its cache.
    pub cached_input: TokenPrice,
    /// Of a token of the prompt that the provider wrote to its cache.
    pub cache_write: TokenPrice,
    /// Of a token of the answer that was spent on reasoning.
    pub reasoning: TokenPrice,
}

impl Price {
    /// What this usage costs, in micro-dollars, rounded up.
    pub fn of(&self, usage: &Usage) -> u64 {
        let prompt = usage
            .prompt_tokens
            .saturating_sub(usage.cached_read_tokens)
            .saturating_sub(usage.cache_write_tokens);
        let completion = usage
            .completion_tokens
            .saturating_sub(usage.reasoning_tokens);
        let nano = self.input.of(prompt)
            + self.cached_input.of(usage.cached_read_tokens)
            + self.cache_write.of(usage.cache_write_tokens)
            + self.output.of(completion)
            + self.reasoning.of(usage.reasoning_tokens);
        u64::try_from(nano.div_ceil(1_000)).unwrap_or(u64::MAX)
    }
}

/// Prices by model: the first pattern that fits decides.
#[derive(Clone, Debug, Default)]
pub struct PriceTable {
    /// The patterns, in the order in which they are tried.
    pub entries: Vec<(ModelPattern, Price)>,
}

impl PriceTable {
    /// The price of a model; a request that names no model has the price of one named by the empty text, which only `*` fits.
    pub fn get(&self, model: Option<&str>) -> Option<&Price> {
        let model = model.unwrap_or_default();
        self.entries
            .iter()
            .find_map(|(pattern, price)| pattern.is_match(model).then_some(price))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars(dollars: f64) -> TokenPrice {
        TokenPrice::dollars_per_million(dollars).unwrap()
    }

    fn gpt() -> Price {
        Price {
            input: dollars(2.5),
            output: dollars(10.0),
            cached_input: dollars(1.25),
            cache_write: dollars(2.5),
            reasoning: dollars(10.0),
        }
    }

    #[test]
    fn the_worked_numbers_of_the_documentation_hold() {
        let usage = Usage {
            prompt_tokens: 1_000,
            cached_read_tokens: 400,
            completion_tokens: 200,
            total_tokens: 1_200,
            ..Usage::default()
        };
        assert_eq!(gpt().of(&usage), 4_000);
    }

    #[test]
    fn a_fraction_of_a_micro_dollar_is_charged_as_one() {
        let one = Usage {
            prompt_tokens: 1,
            ..Usage::default()
        };
        let cheap = Price {
            input: dollars(0.075),
            ..Price::default()
        };
        assert_eq!(cheap.of(&one), 1);
        assert_eq!(cheap.of(&Usage::default()), 0);
    }

    #[test]
    fn absurd_usage_saturates_and_never_wraps() {
        let absurd = Usage {
            prompt_tokens: u64::MAX,
            completion_tokens: u64::MAX,
            total_tokens: u64::MAX,
            cached_read_tokens: 3,
            cache_write_tokens: u64::MAX,
            reasoning_tokens: u64::MAX,
        };
        assert_eq!(
            Price {
                input: dollars(1e6),
                output: dollars(1e6),
                cached_input: dollars(1e6),
                cache_write: dollars(1e6),
                reasoning: dollars(1e6),
            }
            .of(&absurd),
            u64::MAX
        );
    }

    #[test]
    fn a_price_that_would_be_rounded_to_another_is_refused() {
        for wrong in [-1.0, 1e7, f64::NAN, f64::INFINITY, 0.0001, 0.0755] {
            assert!(TokenPrice::dollars_per_million(wrong).is_err(), "{wrong}");
        }
        for right in [0.0, 0.001, 0.075, 0.15, 1.1, 2.5, 75.0, 1e6] {
            assert!(TokenPrice::dollars_per_million(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_decides() {
        let table = PriceTable {
            entries: vec![
                (ModelPattern::new("gpt-4o*").unwrap(), gpt()),
                (ModelPattern::new("*").unwrap(), Price::default()),
            ],
        };
        assert_eq!(table.get(Some("gpt-4o-mini")), Some(&gpt()));
        assert_eq!(table.get(Some("o3")), Some(&Price::default()));
        assert_eq!(table.get(None), Some(&Price::default()));
        assert_eq!(PriceTable::default().get(Some("gpt-4o")), None);
    }
}
