//! `llm-jwt` as Kong meets it: what is asked, what is set, what is answered.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

mod flood;
mod identity;
mod introspection;
mod metadata;
mod proof;
mod refusals;
mod revocation;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod tracing;
