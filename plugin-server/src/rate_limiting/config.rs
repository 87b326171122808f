//! The settings of one `llm-rate-limiting`, typed, and what makes them ones that cannot work.
//!
//! Reading Kong's JSON is the front's business; what JSON's types and Kong's schema cannot rule out is ruled out here, when
//! the configuration is loaded.

use std::collections::HashSet;

use thiserror::Error;
use token_limiter::{InvalidWindow, Limit};

use super::identity::{InvalidLimitBy, LimitBy};

/// Everything that the configuration of one `llm-rate-limiting` says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits, each of which applies to every request.
    pub limits: Vec<LimitSettings>,
    /// What becomes of the usage that a stream reports.
    pub stream_usage: StreamUsage,
    /// Whether clients are told nothing about their limits.
    pub hide_client_headers: bool,
    /// The status of a refusal that waiting cures.
    pub error_code: u16,
    /// The message of a refusal; by default one that names the limit.
    pub error_message: Option<String>,
}

/// One limit, with what it counts and by whom.
#[derive(Clone, Debug)]
pub struct LimitSettings {
    /// Name, size and window.
    pub limit: Limit,
    /// What is counted.
    pub unit: Unit,
    /// Whose counters are kept apart; every combination of values has its own.
    pub limit_by: Vec<LimitBy>,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests, one each.
    Requests,
    /// Tokens of prompt and answer together.
    TotalTokens,
}

impl Unit {
    /// The unit's name in `unit`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::TotalTokens => "total_tokens",
        }
    }

    /// The word for the unit in OpenAI's headers and messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::TotalTokens => "tokens",
        }
    }
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

/// Why a configuration cannot work.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is nothing to limit.
    #[error("limits: at least one limit is needed")]
    NoLimits,
    /// Answers and counters know a limit by its name.
    #[error("limits: the name {0:?} is used twice")]
    DuplicateName(String),
    /// The name could not be a parameter of a header.
    #[error(
        "limits: the name {0:?} has characters other than letters, digits, '_', '.' and '-', or none, or more than 64"
    )]
    Name(String),
    /// A limit of nothing.
    #[error("limits: {name}: limit must be at least 1")]
    Limit {
        /// The limit's name.
        name: String,
    },
    /// A window that cannot be.
    #[error("limits: {name}: window_size: {source}")]
    Window {
        /// The limit's name.
        name: String,
        /// What is wrong.
        source: InvalidWindow,
    },
    /// A `limit_by` that is not known.
    #[error("limits: {name}: limit_by: {source}")]
    LimitBy {
        /// The limit's name.
        name: String,
        /// What is wrong.
        source: InvalidLimitBy,
    },
    /// A refusal must look like one.
    #[error("error_code: {0} is not a status between 400 and 599")]
    ErrorCode(u16),
}

impl Settings {
    /// Rules out what cannot work, with the first reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.limits.is_empty() {
            return Err(ConfigError::NoLimits);
        }
        let mut names = HashSet::new();
        for LimitSettings { limit, .. } in &self.limits {
            let name = &limit.name;
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(ConfigError::Name(name.clone()));
            }
            if !names.insert(name) {
                return Err(ConfigError::DuplicateName(name.clone()));
            }
            if limit.limit.units() == 0 {
                return Err(ConfigError::Limit { name: name.clone() });
            }
        }
        if !(400..600).contains(&self.error_code) {
            return Err(ConfigError::ErrorCode(self.error_code));
        }
        Ok(())
    }

    /// Whether any limit counts tokens, so that the body must be read and the answer watched.
    pub fn counts_tokens(&self) -> bool {
        self.limits
            .iter()
            .any(|limit| limit.unit == Unit::TotalTokens)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use token_limiter::{Cost, Window};

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
        }
    }

    pub(in crate::rate_limiting) fn settings(limits: Vec<LimitSettings>) -> Settings {
        Settings {
            limits,
            stream_usage: StreamUsage::Hide,
            hide_client_headers: false,
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
        for name in ["", "per minute", "a\"b", "ä", &"a".repeat(65)] {
            assert!(
                error(vec![tokens(name, 1)]).starts_with("limits: the name"),
                "{name}"
            );
        }
        let mut wrong_code = settings(vec![tokens("a", 1)]);
        wrong_code.error_code = 200;
        assert_eq!(
            wrong_code.check().unwrap_err().to_string(),
            "error_code: 200 is not a status between 400 and 599"
        );
        settings(vec![tokens("a", 1), tokens("b-1.x_y", 2)])
            .check()
            .unwrap();
    }
}
