//! The settings of one `llm-rate-limiting`, typed, and what makes them ones that cannot work.
//!
//! Reading Kong's JSON is the front's business; what JSON's types and Kong's schema cannot rule out is ruled out here, when
//! the configuration is loaded.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use token_limiter::{InvalidWindow, Limit, UnknownTimeZone, Window};

pub use super::estimate::EstimateMode;
use super::identity::{InvalidLimitBy, LimitBy};
use super::matching::{Match, ModelPattern};
use super::price::{InvalidPrice, PriceTable};
use crate::stores::StoreConfig;
use crate::stores::failover::OnStoreFailure;
use crate::stores::redis::config::InvalidRedisConfig;

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

/// A share of something, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share(u16);

/// A number that is no share.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("a share is 0 to 1, not {0}")]
pub struct InvalidShare(f64);

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);

    pub(super) const fn whole() -> Self {
        Self::WHOLE
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) const fn is_whole(&self) -> bool {
        self.0 == Self::WHOLE.0
    }

    /// A share between 0 and 1, to four decimal places.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range has been checked, and the nearest step is meant"
    )]
    pub fn new(share: f64) -> Result<Self, InvalidShare> {
        if !(0.0..=1.0).contains(&share) {
            return Err(InvalidShare(share));
        }
        Ok(Self((share * 10_000.0).round() as u16))
    }

    /// The share as a number from 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// The share of an amount, rounded up.
    pub fn of(self, amount: u64) -> u64 {
        let share = (u128::from(amount) * u128::from(self.0)).div_ceil(10_000);
        u64::try_from(share).unwrap_or(u64::MAX)
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

/// Why a configuration cannot work.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is nothing to limit.
    #[error("limits: at least one limit is needed")]
    NoLimits,
    /// Answers and counters know a limit by its name.
    #[error("limits: the name {name:?} is used twice")]
    DuplicateName {
        /// Which of the limits uses it again, counted from 0.
        at: usize,
        /// The name.
        name: String,
    },
    /// The name could not be a parameter of a header.
    #[error(
        "limits: the name {name:?} has characters other than letters, digits, '_', '.' and '-', or none, or more than 64"
    )]
    Name {
        /// Which of the limits has it, counted from 0.
        at: usize,
        /// The name.
        name: String,
    },
    /// Something about one limit.
    #[error("limits: {name}: {problem}")]
    Limit {
        /// Which of the limits, counted from 0.
        at: usize,
        /// The limit's name.
        name: String,
        /// What is wrong.
        problem: LimitProblem,
    },
    /// Something about one priority.
    #[error("priorities: {name}: {problem}")]
    Priority {
        /// Which of the priorities, counted from 0.
        at: usize,
        /// The priority's name.
        name: String,
        /// What is wrong.
        problem: LimitProblem,
    },
    /// A price that cannot be, or a pattern of models.
    #[error("prices: {model}: {problem}")]
    Price {
        /// Which of the prices, counted from 0.
        at: usize,
        /// The pattern of models.
        model: String,
        /// What is wrong.
        problem: LimitProblem,
    },
    /// A pattern of models.
    #[error("allowed_models: {problem}")]
    AllowedModel {
        /// Which of the patterns, counted from 0.
        at: usize,
        /// What is wrong.
        problem: globset::Error,
    },
    /// A cap that would stop every answer.
    #[error("max_tokens: {0} must be at least 1")]
    MaxTokens(&'static str),
    /// A default above the most.
    #[error("max_tokens: inject must not exceed clamp")]
    InjectsMoreThanClamp,
    /// A Redis that cannot be.
    #[error(transparent)]
    Redis(InvalidRedisConfig),
    /// Nobody says where Redis is.
    #[error(
        "redis: policy redis needs a host, cluster_nodes or sentinel_nodes in redis, to know where it is"
    )]
    NoRedis,
    /// A Redis that would not be used, where somebody believes that nodes share their counters.
    #[error("redis: is given, but policy is memory: set policy to redis, or remove redis")]
    UnusedRedis,
    /// A refusal must look like one.
    #[error("error_code: {0} is not a status between 400 and 599")]
    ErrorCode(u16),
}

/// What is wrong with a part of the configuration that has a name.
#[derive(Debug, Error)]
pub enum LimitProblem {
    /// A limit of nothing.
    #[error("limit must be at least 1")]
    Nothing,
    /// Every window but a calendar's has a length.
    #[error("window_size: a window of this type needs its length in seconds")]
    NoWindowSize,
    /// A calendar's periods have their own length.
    #[error("window_size: a calendar window has none; its calendar says how long it is")]
    CalendarWithSize,
    /// A calendar without a period.
    #[error("calendar: a calendar window needs day or month")]
    NoCalendar,
    /// An option of another window.
    #[error("{0}: only for window_type {1}")]
    Misplaced(&'static str, &'static str),
    /// A zone that the time zone database does not have.
    #[error("time_zone: {0}")]
    TimeZone(UnknownTimeZone),
    /// A lease must slide.
    #[error(
        "window_type: a limit on concurrent_requests has a sliding window, the lease of a request whose end nobody sees"
    )]
    ConcurrencyWindow,
    /// A window that cannot be.
    #[error("window_size: {0}")]
    Window(InvalidWindow),
    /// A `limit_by` that is not known.
    #[error("limit_by: {0}")]
    LimitBy(InvalidLimitBy),
    /// A pattern of models.
    #[error("models: {0}")]
    Pattern(globset::Error),
    /// A claim without a path or values.
    #[error("match: claims: each needs a path and at least one value in one_of")]
    Claim,
    /// A number that is no share.
    #[error("{0}: {1}")]
    Share(&'static str, InvalidShare),
    /// A price that cannot be.
    #[error("{0}: {1}")]
    Price(&'static str, InvalidPrice),
    /// Cost without prices.
    #[error("unit: a limit on cost needs prices")]
    NoPrices,
}

impl ConfigError {
    /// The path of the field to look at, such as `limits[0].window_size`.
    pub fn field(&self) -> String {
        match self {
            Self::NoLimits => "limits".to_owned(),
            Self::DuplicateName { at, .. } | Self::Name { at, .. } => format!("limits[{at}].name"),
            Self::Limit { at, problem, .. } => format!("limits[{at}].{}", problem.field()),
            Self::Priority { at, problem, .. } => format!("priorities[{at}].{}", problem.field()),
            Self::Price {
                at,
                problem: LimitProblem::Pattern(_),
                ..
            } => format!("prices[{at}].model"),
            Self::Price { at, problem, .. } => format!("prices[{at}].{}", problem.field()),
            Self::AllowedModel { at, .. } => format!("allowed_models[{at}]"),
            Self::MaxTokens(cap) => format!("max_tokens.{cap}"),
            Self::InjectsMoreThanClamp => "max_tokens.inject".to_owned(),
            Self::Redis(problem) => format!("redis.{}", problem.field),
            Self::NoRedis => "policy".to_owned(),
            Self::UnusedRedis => "redis".to_owned(),
            Self::ErrorCode(_) => "error_code".to_owned(),
        }
    }
}

impl LimitProblem {
    fn field(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Window(InvalidWindow::NoRefill) => "limit",
            Self::NoWindowSize
            | Self::CalendarWithSize
            | Self::Window(InvalidWindow::Length(_)) => "window_size",
            Self::Window(InvalidWindow::NoBurst | InvalidWindow::Burst { .. }) => "burst",
            Self::NoCalendar => "calendar",
            Self::TimeZone(_) => "time_zone",
            Self::ConcurrencyWindow => "window_type",
            Self::LimitBy(_) => "limit_by",
            Self::Pattern(_) => "match.models",
            Self::Claim => "match.claims",
            Self::Misplaced(field, _) | Self::Share(field, _) | Self::Price(field, _) => field,
            Self::NoPrices => "unit",
        }
    }
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

    #[test]
    fn shares_are_rounded_up_and_stay_shares() {
        assert_eq!(Share::new(0.8).unwrap().of(1_000), 800);
        assert_eq!(Share::new(0.5).unwrap().of(1), 1);
        assert_eq!(Share::new(0.0).unwrap().of(u64::MAX), 0);
        assert_eq!(Share::WHOLE.of(u64::MAX), u64::MAX);
        for wrong in [-0.1, 1.01, f64::NAN] {
            assert!(Share::new(wrong).is_err(), "{wrong}");
        }
    }
}
