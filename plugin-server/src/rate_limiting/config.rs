//! The settings of one `llm-rate-limiting`, typed, and what makes them ones that cannot work.
//!
//! Reading Kong's JSON is the front's business; what JSON's types and Kong's schema cannot rule out is ruled out here, when
//! the configuration is loaded.

mod problem;
mod share;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use token_limiter::{Limit, Window};

pub use self::problem::{ConfigError, LimitProblem};
pub use self::share::{InvalidShare, Share};
pub use super::estimate::EstimateMode;
use super::identity::LimitBy;
use super::matching::{Match, ModelPattern};
use super::price::PriceTable;
use crate::stores::StoreConfig;
use crate::stores::failover::OnStoreFailure;

/// Everything that the configuration of one `llm-rate-limiting` says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits; each applies to the requests that it matches.
    pub limits: Vec<LimitSettings>,
    /// How far below a limit a class of requests has to stay; the first class that matches decides.
    pub priorities: Vec<Priority>,
    /// What tokens cost, for limits on cost.
    pub prices: PriceTable,
    /// The models that may be asked; all if empty.
    pub allowed_models: Vec<ModelPattern>,
    /// Where it is counted.
    pub store: StoreConfig,
    /// How a request's price is found before it is known.
    pub estimate: EstimateMode,
    /// What happens to the caps that clients put on answers.
    pub max_tokens: MaxTokens,
    /// What becomes of the usage that a stream reports.
    pub stream_usage: StreamUsage,
    /// The form of a refusal's body.
    pub error_format: ErrorFormat,
    /// Whether clients are told nothing about their limits.
    pub hide_client_headers: bool,
    /// Whether clients also get Kong Enterprise's `X-AI-RateLimit-*`.
    pub kong_headers: bool,
    /// The status of a refusal that waiting cures.
    pub error_code: u16,
    /// The message of a refusal that waiting cures; by default one that names the limit.
    pub error_message: Option<String>,
}

/// One limit, with what it counts, by whom and for which requests.
#[derive(Clone, Debug)]
pub struct LimitSettings {
    /// Name, size and window.
    pub limit: Limit,
    /// What is counted.
    pub unit: Unit,
    /// Whose counters are kept apart; every combination of values has its own.
    pub limit_by: Vec<LimitBy>,
    /// The requests that it is for.
    pub matches: Match,
    /// Whether it refuses, or only tells that it would have.
    pub mode: Mode,
    /// What becomes of it while a shared store is away.
    pub on_store_failure: OnStoreFailure,
    /// From which share of the limit on a request is told that the limit is near.
    pub warn_at: Option<Share>,
    /// What a token that the provider read from its cache counts for.
    pub cached_weight: Share,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests, one each.
    Requests,
    /// Tokens of the prompt.
    PromptTokens,
    /// Tokens of the answer, reasoning included.
    CompletionTokens,
    /// Tokens of prompt and answer together.
    TotalTokens,
    /// Micro-dollars, by the price table.
    Cost,
    /// Requests that are under way; the window is the lease of one whose end nobody sees.
    ConcurrentRequests,
}

impl Unit {
    /// The unit's name in `unit`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::PromptTokens => "prompt_tokens",
            Self::CompletionTokens => "completion_tokens",
            Self::TotalTokens => "total_tokens",
            Self::Cost => "cost",
            Self::ConcurrentRequests => "concurrent_requests",
        }
    }

    /// The word for the unit in headers and messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::PromptTokens => "input tokens",
            Self::CompletionTokens => "output tokens",
            Self::TotalTokens => "tokens",
            Self::Cost => "micro-dollars",
            Self::ConcurrentRequests => "concurrent requests",
        }
    }

    /// Whether the body says something about what a request costs.
    pub const fn is_priced_by_body(self) -> bool {
        match self {
            Self::Requests | Self::ConcurrentRequests => false,
            Self::PromptTokens | Self::CompletionTokens | Self::TotalTokens | Self::Cost => true,
        }
    }
}

/// The name of a window's type in `window_type`.
pub(super) fn window_type(window: &Window) -> &'static str {
    match window {
        Window::Sliding(_) => "sliding",
        Window::Fixed(_) => "fixed",
        Window::TokenBucket(_) => "token_bucket",
        Window::Calendar(_) => "calendar",
    }
}

/// Whether a limit refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It counts, and tells the operator what it would have refused; clients see nothing of it.
    Shadow,
}

impl Mode {
    /// The mode's name in `mode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// A class of requests that may fill each limit only in part, so that the rest is there for the others.
#[derive(Clone, Debug)]
pub struct Priority {
    /// For people.
    pub name: String,
    /// The requests of this class.
    pub matches: Match,
    /// How full this class may make a limit.
    pub share: Share,
}

/// What happens to the caps that clients put on answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxTokens {
    /// A larger cap is lowered to this.
    pub clamp: Option<u64>,
    /// A request without a cap gets this one.
    pub inject: Option<u64>,
}

/// What becomes of the usage that a stream reports only when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamUsage {
    /// Ask for it, and have the usage tap drop it before the client sees it: clients that read `choices[0]` of every
    /// event break on it.
    Hide,
    /// Ask for it, and let the client see it.
    Inject,
    /// Do not ask.
    Off,
}

/// The form of a refusal's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorFormat {
    /// That of the provider whose API the request's path belongs to; OpenAI's for any other.
    Auto,
    /// `{"error": {"message", "type", "param", "code"}}`.
    Openai,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
    /// RFC 9457: `application/problem+json`.
    Problem,
    /// `{"message"}`.
    Kong,
}

impl Settings {
    /// Rules out what cannot work, with the first reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.limits.is_empty() {
            return Err(ConfigError::NoLimits);
        }
        let mut names = HashSet::new();
        for (at, limit) in self.limits.iter().enumerate() {
            let name = &limit.limit.name;
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(ConfigError::Name {
                    at,
                    name: name.clone(),
                });
            }
            if !names.insert(name) {
                return Err(ConfigError::DuplicateName {
                    at,
                    name: name.clone(),
                });
            }
            limit
                .check(&self.prices)
                .map_err(|problem| ConfigError::Limit {
                    at,
                    name: name.clone(),
                    problem,
                })?;
        }
        let MaxTokens { clamp, inject } = self.max_tokens;
        for (name, cap) in [("clamp", clamp), ("inject", inject)] {
            if cap == Some(0) {
                return Err(ConfigError::MaxTokens(name));
            }
        }
        if let (Some(clamp), Some(inject)) = (clamp, inject)
            && inject > clamp
        {
            return Err(ConfigError::InjectsMoreThanClamp);
        }
        if let StoreConfig::Redis(redis) = &self.store {
            redis.check().map_err(ConfigError::Redis)?;
        }
        if !(400..600).contains(&self.error_code) {
            return Err(ConfigError::ErrorCode(self.error_code));
        }
        Ok(())
    }

    /// Whether what any limit counts is known only when the answer is through, so that the answer must be watched.
    pub fn settles_late(&self) -> bool {
        self.limits.iter().any(|limit| limit.unit != Unit::Requests)
    }

    /// Whether the body of a request matters, besides to a `match` and a `limit_by`.
    pub fn reads_bodies(&self) -> bool {
        (self.counts_usage() && self.estimate == EstimateMode::Body)
            || !self.allowed_models.is_empty()
            || self.max_tokens != MaxTokens::default()
    }

    /// Whether any limit depends on what the provider reports.
    pub fn counts_usage(&self) -> bool {
        self.limits
            .iter()
            .any(|limit| limit.unit.is_priced_by_body())
    }
}

impl LimitSettings {
    fn check(&self, prices: &PriceTable) -> Result<(), LimitProblem> {
        if self.limit.limit.units() == 0 {
            return Err(LimitProblem::Nothing);
        }
        self.limit.check().map_err(LimitProblem::Window)?;
        if self.unit == Unit::Cost && prices.entries.is_empty() {
            return Err(LimitProblem::NoPrices);
        }
        let complete = |claim: &super::matching::ClaimMatch| {
            !claim.path.is_empty() && !claim.one_of.is_empty()
        };
        if !self.matches.claims.iter().all(complete) {
            return Err(LimitProblem::Claim);
        }
        Ok(())
    }

    /// Whether the limit refuses.
    pub fn is_enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use token_limiter::Cost;

    use super::*;

    pub(in crate::rate_limiting) fn limit(
        name: &str,
        unit: Unit,
        most: u64,
        limit_by: &[&str],
    ) -> LimitSettings {
        LimitSettings {
            limit: Limit {
                name: name.to_owned(),
                limit: Cost::new(most),
                window: Window::sliding(Duration::from_mins(1)).unwrap(),
            },
            unit,
            limit_by: limit_by.iter().map(|by| by.parse().unwrap()).collect(),
            matches: Match::default(),
            mode: Mode::Enforce,
            on_store_failure: OnStoreFailure::LocalShare,
            warn_at: None,
            cached_weight: Share::WHOLE,
        }
    }

    pub(in crate::rate_limiting) fn settings(limits: Vec<LimitSettings>) -> Settings {
        Settings {
            limits,
            priorities: Vec::new(),
            prices: PriceTable::default(),
            allowed_models: Vec::new(),
            store: StoreConfig::Memory,
            estimate: EstimateMode::Body,
            max_tokens: MaxTokens::default(),
            stream_usage: StreamUsage::Hide,
            error_format: ErrorFormat::Openai,
            hide_client_headers: false,
            kong_headers: false,
            error_code: 429,
            error_message: None,
        }
    }

    #[test]
    fn a_configuration_that_cannot_work_says_why() {
        let tokens = |name: &str, most| limit(name, Unit::TotalTokens, most, &["consumer"]);
        let error = |limits| settings(limits).check().unwrap_err().to_string();
        assert_eq!(error(vec![]), "limits: at least one limit is needed");
        assert_eq!(
            error(vec![tokens("a", 1), tokens("a", 2)]),
            "limits: the name \"a\" is used twice"
        );
        assert_eq!(
            error(vec![tokens("a", 0)]),
            "limits: a: limit must be at least 1"
        );
        assert_eq!(
            error(vec![limit("spend", Unit::Cost, 1, &["consumer"])]),
            "limits: spend: unit: a limit on cost needs prices"
        );
        for name in ["", "per minute", "a\"b", "ä", &"a".repeat(65)] {
            assert!(
                error(vec![tokens(name, 1)]).starts_with("limits: the name"),
                "{name}"
            );
        }
        settings(vec![tokens("a", 1), tokens("b-1.x_y", 2)])
            .check()
            .unwrap();
    }

    #[test]
    fn what_holds_for_all_limits_is_checked_too() {
        let base = || settings(vec![limit("a", Unit::Requests, 1, &["ip"])]);
        let error = |settings: Settings| settings.check().unwrap_err().to_string();
        assert_eq!(
            error(Settings {
                error_code: 200,
                ..base()
            }),
            "error_code: 200 is not a status between 400 and 599"
        );
        let caps = |clamp, inject| Settings {
            max_tokens: MaxTokens { clamp, inject },
            ..base()
        };
        assert_eq!(
            error(caps(Some(0), None)),
            "max_tokens: clamp must be at least 1"
        );
        assert_eq!(
            error(caps(Some(10), Some(20))),
            "max_tokens: inject must not exceed clamp"
        );
        caps(Some(20), Some(20)).check().unwrap();
    }
}
