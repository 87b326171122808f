//! Completing a client's body: asking a stream for its usage, and capping the answer.
//!
//! The body is not written anew but edited where it must be: every other byte of the client's stays as it was, its numbers, its
//! order and its repeated names included.
//!
//! # Edits
//!
//! - `include_usage`: every `stream_options` gets `include_usage: true`; without any, one is put first. Options of a kind that no
//!   server accepts stay: that error is the provider's to tell.
//! - `clamp`: every cap above it becomes it, wherever it stands and however often, and so does every negative one, which asks for no
//!   cap. Anthropic's `thinking.budget_tokens` stays, and the provider refuses a budget above the cap.
//! - `inject`: every negative cap becomes it, and where no cap is stated at all, the one that the API knows is put first, in place of whatever stands under its name
//!   (`null`, say).
//!
//! # Invariants
//!
//! 1. JSON stays JSON, and differs only in these members (test: `only_what_must_change_changes`).
//! 2. Twice is once (the same test).
//! 3. What is sent is read again as what was priced (the same test, and the fuzz target `request`).

mod edits;
mod scan;
#[cfg(test)]
mod tests;

use self::edits::{Ceiling, Edits, Setting};
pub(super) use self::scan::value_end;
use super::request::{CapPlace, Request};

/// What is to be done to a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Ask a stream to report its usage.
    pub include_usage: bool,
    /// The most that any cap may say, in tokens.
    pub clamp: Option<u64>,
    /// A cap where there is none: where it goes, and its tokens.
    pub inject: Option<(CapPlace, u64)>,
}

impl Rewrite {
    /// The edits that cap an answer: no cap above `clamp`, and `inject` (at most `clamp`) where there is none. The request becomes what
    /// its body will then say, so that it is priced as it is sent.
    pub fn capping(request: &mut Request, clamp: Option<u64>, inject: Option<u64>) -> Self {
        if let Some(most) = clamp {
            request.output_cap = request.output_cap.map(|cap| cap.min(most));
            if request.unlimited {
                request.output_cap = Some(most);
                request.unlimited = false;
            }
        }
        let place = CapPlace::of(request.api, request.model.as_deref());
        let uncapped = request.generates && (request.output_cap.is_none() || request.unlimited);
        let inject = place
            .zip(inject)
            .filter(|_| uncapped)
            .map(|(place, tokens)| (place, tokens.min(clamp.unwrap_or(tokens))));
        if let Some((_, tokens)) = inject {
            request.output_cap = request.output_cap.max(Some(tokens));
            request.unlimited = false;
        }
        Self {
            include_usage: false,
            clamp,
            inject,
        }
    }

    /// The body with these edits, or `None` if there is nothing to change. Precondition: the body has been read as a JSON object.
    pub fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let usage = Setting::new(Some("stream_options"), "include_usage", "true".to_owned());
        let clamp = Ceiling {
            most: self.clamp.unwrap_or(u64::MAX),
            text: self
                .clamp
                .or(self.inject.map(|(_, tokens)| tokens))
                .map(|tokens| tokens.to_string()),
        };
        let cap = self.inject.map(|(place, tokens)| {
            let setting = Setting::new(place.section_name(), place.name, tokens.to_string());
            (place, setting)
        });
        let mut edits = Edits::of(body);
        if self.include_usage {
            edits.set_in(
                |name| name == "stream_options",
                &usage,
                |other| other == b"null",
            );
        }
        let states_cap = edits.clamp(&clamp);
        match &cap {
            Some((place, cap)) if !states_cap && place.section_name().is_some() => {
                edits.set_in(|name| place.section.is_named(name), cap, |_| true);
            }
            Some((_, cap)) if !states_cap => edits.set(0, cap.name, &cap.value, &cap.member),
            _ => {}
        }
        edits.apply()
    }
}
