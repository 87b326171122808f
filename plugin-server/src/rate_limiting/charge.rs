//! What a request costs each unit: before the answer, as far as it can be told, and after it.
//!
//! # Algorithm
//!
//! `room` is how full the caller may make the limit. The answer's part of an estimate is bounded by what the prompt leaves of the
//! room, so that a first request is always admissible; a prompt alone above the room can never pass.
//!
//! | unit | reserved | settled |
//! |---|---|---|
//! | requests | 1 | 1 |
//! | concurrent requests | 1 | 0 |
//! | prompt tokens | prompt | prompt |
//! | completion tokens | min(answer, room) | completion |
//! | total tokens | max(prompt, min(prompt + answer, room)) | total |
//! | cost | the same of their prices | price of the usage |
//!
//! Where cached reads weigh less than others, prompt and total count `prompt − cached + ⌈weight · cached⌉`; cost has its own
//! price for them. An upstream that failed before it generated anything is owed no tokens, but the request was one.

use super::config::{LimitSettings, Unit};
use super::estimate::Estimate;
use super::handle::Charged;
use super::price::Price;
use super::usage::Usage;

/// What to reserve of a limit that this caller may fill to `room`.
pub(super) fn reserve(
    limit: &LimitSettings,
    estimate: &Estimate,
    price: Option<&Price>,
    room: u64,
) -> u64 {
    let bounded = |prompt: u64, answer: u64| prompt.max(prompt.saturating_add(answer).min(room));
    let (prompt, answer) = (estimate.prompt_tokens, estimate.output_tokens);
    match limit.unit {
        Unit::Requests | Unit::ConcurrentRequests => 1,
        Unit::PromptTokens => prompt,
        Unit::CompletionTokens => bounded(0, answer),
        Unit::TotalTokens => bounded(prompt, answer),
        Unit::Cost => price.map_or(0, |price| {
            bounded(
                price.of(&Usage::of(prompt, 0)),
                price.of(&Usage::of(0, answer)),
            )
        }),
    }
}

/// What a charge comes to with the usage that was found; `None` is a usage that nobody saw, and the reservation stands.
pub(super) fn settle(charged: &Charged, usage: Option<&Usage>, price: Option<&Price>) -> u64 {
    match (charged.unit, usage) {
        (Unit::ConcurrentRequests, _) => 0,
        (Unit::Requests, _) | (_, None) => charged.reserved,
        (Unit::PromptTokens, Some(usage)) => weighted(charged, usage.prompt_tokens, usage),
        (Unit::CompletionTokens, Some(usage)) => usage.completion_tokens,
        (Unit::TotalTokens, Some(usage)) => weighted(charged, usage.total_tokens, usage),
        (Unit::Cost, Some(usage)) => price.map_or(charged.reserved, |price| price.of(usage)),
    }
}

fn weighted(charged: &Charged, tokens: u64, usage: &Usage) -> u64 {
    let cached = usage.cached_read_tokens.min(tokens);
    (tokens - cached).saturating_add(charged.cached_weight.of(cached))
}

#[cfg(test)]
mod tests {
    use super::super::config::Share;
    use super::super::config::tests::limit;
    use super::super::estimate::Vocabulary;
    use super::super::price::TokenPrice;
    use super::*;

    const ESTIMATED: Estimate = Estimate {
        prompt_tokens: 300,
        output_tokens: 5_000,
        counted_tokens: 0,
        vocabulary: Vocabulary::O200k,
    };

    fn reserved(unit: Unit, room: u64) -> u64 {
        reserve(
            &limit("a", unit, room, &["ip"]),
            &ESTIMATED,
            Some(&price()),
            room,
        )
    }

    fn price() -> Price {
        Price {
            input: TokenPrice::dollars_per_million(1.0).unwrap(),
            output: TokenPrice::dollars_per_million(2.0).unwrap(),
            ..Price::default()
        }
    }

    #[test]
    fn an_answer_is_bounded_by_the_room_and_a_prompt_is_not() {
        assert_eq!(reserved(Unit::TotalTokens, 1_000), 1_000);
        assert_eq!(reserved(Unit::TotalTokens, 100_000), 5_300);
        assert_eq!(reserved(Unit::TotalTokens, 200), 300);
        assert_eq!(reserved(Unit::PromptTokens, 200), 300);
        assert_eq!(reserved(Unit::CompletionTokens, 200), 200);
        assert_eq!(reserved(Unit::Cost, 100_000), 300 + 10_000);
        assert_eq!(reserved(Unit::Cost, 1_000), 1_000);
        assert_eq!(reserved(Unit::Cost, 200), 300);
        assert_eq!(reserved(Unit::Requests, 200), 1);
    }

    #[test]
    fn each_unit_is_settled_with_its_part_of_the_usage() {
        let usage = Usage {
            cached_read_tokens: 100,
            ..Usage::of(300, 50)
        };
        let settled = |unit, cached_weight| {
            let charged = Charged {
                unit,
                reserved: 77,
                cached_weight,
            };
            settle(&charged, Some(&usage), Some(&price()))
        };
        assert_eq!(settled(Unit::Requests, Share::WHOLE), 77);
        assert_eq!(settled(Unit::ConcurrentRequests, Share::WHOLE), 0);
        assert_eq!(settled(Unit::PromptTokens, Share::WHOLE), 300);
        assert_eq!(settled(Unit::CompletionTokens, Share::WHOLE), 50);
        assert_eq!(settled(Unit::TotalTokens, Share::WHOLE), 350);
        assert_eq!(settled(Unit::TotalTokens, Share::new(0.1).unwrap()), 260);
        assert_eq!(settled(Unit::PromptTokens, Share::new(0.0).unwrap()), 200);
        // Cached reads have no price of their own here, so they are free.
        assert_eq!(settled(Unit::Cost, Share::WHOLE), 200 + 100);
    }

    #[test]
    fn what_nobody_saw_stands_as_reserved_but_holds_no_slot() {
        let unseen = |unit| {
            let charged = Charged {
                unit,
                reserved: 77,
                cached_weight: Share::WHOLE,
            };
            settle(&charged, None, Some(&price()))
        };
        for unit in [
            Unit::PromptTokens,
            Unit::CompletionTokens,
            Unit::TotalTokens,
            Unit::Cost,
        ] {
            assert_eq!(unseen(unit), 77);
        }
        assert_eq!(unseen(Unit::ConcurrentRequests), 0);
    }
}
