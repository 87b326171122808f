//! One limit.

use std::time::Duration;

use kong_pdk::PluginConfig;
use serde::Deserialize;
use token_limiter::{Calendar, Cost, InvalidWindow, Limit, TimeZone, Window};

use super::matching::{MatchConfig, matches};
use super::{OnStoreFailure, each};
use crate::rate_limiting::config::{
    self as policy, ConfigError, LimitProblem, LimitSettings, Share,
};
use crate::stores::failover::OnStoreFailure as Failure;

#[derive(Clone, Debug, Deserialize, PluginConfig)]
pub(super) struct LimitConfig {
    /// The limit's name in headers and messages: letters, digits, '_', '.' and '-'.
    #[kong(len_min = 1, len_max = 64, match = "^[%w_.-]+$")]
    name: String,
    /// What the limit counts; cost is in micro-dollars by the price table.
    #[kong(default = "total_tokens")]
    unit: Unit,
    /// The most that any window may spend.
    #[kong(gt = 0)]
    limit: u64,
    /// The length of the window in seconds: of every type but calendar. For concurrent_requests, the lease of a request whose end nobody sees.
    #[kong(gt = 0)]
    window_size: Option<u64>,
    /// How the window moves. In a token_bucket, the limit flows in once in each window_size.
    #[kong(default = "sliding")]
    window_type: WindowType,
    /// The most that a token_bucket holds; by default the limit.
    #[kong(gt = 0)]
    burst: Option<u64>,
    /// The period of a calendar window.
    calendar: Option<CalendarPeriod>,
    /// The time zone in which a calendar's days and months begin, such as Europe/Berlin; by default UTC.
    time_zone: Option<String>,
    /// Whose counters are kept apart: consumer, credential, ip, service, route, model, header:NAME or claim:PATH as verified by llm-jwt. Of a verified token, an absent claim falls back to iss and sub; any other absent value to the ip.
    #[kong(default = ["consumer"], len_min = 1)]
    limit_by: Vec<String>,
    /// The requests that the limit is for; by default all.
    #[serde(rename = "match")]
    matches: Option<MatchConfig>,
    /// Whether the limit refuses, or only counts and tells the operator what it would have refused.
    #[kong(default = "enforce")]
    mode: Mode,
    /// What becomes of this limit while Redis is away; by default what the plugin's on_store_failure says.
    on_store_failure: Option<OnStoreFailure>,
    /// The share of the limit from which on clients and metrics are warned, such as 0.8.
    #[kong(between = [0, 1])]
    warn_at: Option<f64>,
    /// What a prompt token that the provider read from its cache counts for in a limit on tokens: 0 is nothing, 1 as any other.
    #[kong(default = 1, between = [0, 1])]
    cached_weight: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Requests,
    PromptTokens,
    CompletionTokens,
    TotalTokens,
    Cost,
    ConcurrentRequests,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum WindowType {
    Sliding,
    Fixed,
    TokenBucket,
    Calendar,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum CalendarPeriod {
    Day,
    Month,
}

#[derive(Clone, Copy, Debug, Deserialize, PluginConfig)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Enforce,
    Shadow,
}

impl LimitConfig {
    pub(super) fn settings(
        self,
        at: usize,
        on_store_failure: Failure,
    ) -> Result<LimitSettings, ConfigError> {
        let name = self.name.clone();
        self.read(on_store_failure)
            .map_err(|problem| ConfigError::Limit { at, name, problem })
    }

    fn read(self, on_store_failure: Failure) -> Result<LimitSettings, LimitProblem> {
        let window = self.window()?;
        let share =
            |field, share| Share::new(share).map_err(|error| LimitProblem::Share(field, error));
        Ok(LimitSettings {
            limit: Limit {
                name: self.name,
                limit: Cost::new(self.limit),
                window,
            },
            unit: match self.unit {
                Unit::Requests => policy::Unit::Requests,
                Unit::PromptTokens => policy::Unit::PromptTokens,
                Unit::CompletionTokens => policy::Unit::CompletionTokens,
                Unit::TotalTokens => policy::Unit::TotalTokens,
                Unit::Cost => policy::Unit::Cost,
                Unit::ConcurrentRequests => policy::Unit::ConcurrentRequests,
            },
            limit_by: each(self.limit_by, |_, by| {
                by.parse().map_err(LimitProblem::LimitBy)
            })?,
            matches: matches(self.matches)?,
            mode: match self.mode {
                Mode::Enforce => policy::Mode::Enforce,
                Mode::Shadow => policy::Mode::Shadow,
            },
            on_store_failure: self
                .on_store_failure
                .map_or(on_store_failure, Failure::from),
            warn_at: self
                .warn_at
                .map(|warn_at| share("warn_at", warn_at))
                .transpose()?,
            cached_weight: share("cached_weight", self.cached_weight)?,
        })
    }

    fn window(&self) -> Result<Window, LimitProblem> {
        let kind = self.window_type;
        for (field, given, owner, owner_name) in [
            (
                "burst",
                self.burst.is_some(),
                WindowType::TokenBucket,
                "token_bucket",
            ),
            (
                "calendar",
                self.calendar.is_some(),
                WindowType::Calendar,
                "calendar",
            ),
            (
                "time_zone",
                self.time_zone.is_some(),
                WindowType::Calendar,
                "calendar",
            ),
        ] {
            if given && kind != owner {
                return Err(LimitProblem::Misplaced(field, owner_name));
            }
        }
        if matches!(self.unit, Unit::ConcurrentRequests) && kind != WindowType::Sliding {
            return Err(LimitProblem::ConcurrencyWindow);
        }
        if kind == WindowType::Calendar {
            if self.window_size.is_some() {
                return Err(LimitProblem::CalendarWithSize);
            }
            let period = match self.calendar.ok_or(LimitProblem::NoCalendar)? {
                CalendarPeriod::Day => Calendar::Day,
                CalendarPeriod::Month => Calendar::Month,
            };
            let zone = self.time_zone.as_deref().unwrap_or("UTC");
            let zone = zone.parse::<TimeZone>().map_err(LimitProblem::TimeZone)?;
            return Ok(Window::calendar(period, zone));
        }
        let size = Duration::from_secs(self.window_size.ok_or(LimitProblem::NoWindowSize)?);
        let window: Result<Window, InvalidWindow> = match kind {
            WindowType::Fixed => Window::fixed(size),
            WindowType::TokenBucket => {
                Window::token_bucket(size, Cost::new(self.burst.unwrap_or(self.limit)))
            }
            WindowType::Sliding | WindowType::Calendar => Window::sliding(size),
        };
        window.map_err(LimitProblem::Window)
    }
}
