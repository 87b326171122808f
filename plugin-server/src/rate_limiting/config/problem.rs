//! Why a configuration cannot work, and which field to look at.

use thiserror::Error;
use token_limiter::{InvalidWindow, UnknownTimeZone};

use super::share::InvalidShare;
use crate::rate_limiting::identity::InvalidLimitBy;
use crate::rate_limiting::price::InvalidPrice;
use crate::stores::redis::config::InvalidRedisConfig;

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
