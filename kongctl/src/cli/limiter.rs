//! The words of the verbs that speak to the plugin server.

use clap::{Args, Subcommand};

use crate::limiter::model::Key;

/// The largest amount that a limit can count: the integers of Lua's numbers.
const LARGEST_AMOUNT: u64 = (1 << 53) - 1;

/// How to reach the plugin server's admin listener.
#[derive(Args, Clone)]
#[command(next_help_heading = "Plugin server")]
pub(crate) struct LimiterConnection {
    /// Its admin listener: http://127.0.0.1:PORT or unix:/path/to.sock.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_LIMITER_ADDR",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) limiter_addr: Option<String>,
    /// Its admin token.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_LIMITER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) limiter_token: Option<String>,
}

#[derive(Args)]
pub(crate) struct Quota {
    #[command(flatten)]
    pub(crate) limiter: LimiterConnection,
    #[command(subcommand)]
    pub(crate) command: QuotaCommand,
}

#[derive(Subcommand)]
pub(crate) enum QuotaCommand {
    /// List counters, the most recently used first.
    #[command(after_help = "Examples:
  kongctl quota list
  kongctl quota list --limit tokens-per-minute --search acme
  kongctl quota list --search acme -o name | xargs kongctl quota reset --yes")]
    List {
        /// Only counters of the limit with this name.
        #[arg(long, value_name = "NAME")]
        limit: Option<String>,
        /// Only counters with this text in the limit's name or in what they are counted by.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// The most to list.
        #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        most: u16,
    },
    /// Show one counter.
    #[command(after_help = "Examples:
  kongctl quota get 0123456789abcdef0123456789abcdef
  kongctl quota get acme -o json")]
    Get {
        /// A key, or a text that exactly one counter has in its limit's name or in what it is counted by.
        #[arg(value_name = "KEY-or-SEARCH")]
        counter: String,
    },
    /// Make counters as if nothing was used.
    #[command(after_help = "Examples:
  kongctl quota reset 0123456789abcdef0123456789abcdef
  kongctl quota list --search acme -o name | xargs kongctl quota reset --yes")]
    Reset {
        /// The counters.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<Key>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Give back some of what was used.
    #[command(after_help = "Examples:
  kongctl quota grant 0123456789abcdef0123456789abcdef 5000")]
    Grant {
        /// The counter.
        key: Key,
        /// The most to give back, in the limit's unit.
        #[arg(value_parser = clap::value_parser!(u64).range(1..=LARGEST_AMOUNT))]
        amount: u64,
        #[command(flatten)]
        consent: Consent,
    },
    /// Change how much counts as used.
    #[command(after_help = "Examples:
  kongctl quota adjust 0123456789abcdef0123456789abcdef +500     500 more count as used
  kongctl quota adjust 0123456789abcdef0123456789abcdef -500     500 less")]
    Adjust {
        /// The counter.
        key: Key,
        /// How much, with its sign, in the limit's unit.
        #[arg(value_name = "±AMOUNT", value_parser = signed, allow_negative_numbers = true)]
        by: i64,
        #[command(flatten)]
        consent: Consent,
    },
    /// List what requests that still run hold.
    #[command(after_help = "Examples:
  kongctl quota reservations
  kongctl quota reservations -o json | jq '.[].charges'")]
    Reservations {
        /// The most to list.
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        most: u16,
    },
    /// Give back what a reservation holds; its request goes on, and what it spends counts nowhere.
    #[command(after_help = "Examples:
  kongctl quota release ID                       an id of `quota reservations`")]
    Release {
        /// The reservation.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

/// Whether the user is asked.
#[derive(Args, Clone, Copy)]
pub(crate) struct Consent {
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) limiter: LimiterConnection,
    /// Print one frame and end; so it does where standard output is no terminal.
    #[arg(long)]
    pub(crate) once: bool,
}

/// An amount whose sign is said, so that nobody takes an addition for a new value.
fn signed(text: &str) -> Result<i64, String> {
    let wrong = || "write +500 to count 500 more as used, -500 to count 500 less".to_owned();
    if !text.starts_with(['+', '-']) {
        return Err(wrong());
    }
    let by: i64 = text.parse().map_err(|_| wrong())?;
    match by.unsigned_abs() {
        0 => Err(wrong()),
        1..=LARGEST_AMOUNT => Ok(by),
        _ => Err(format!("no limit counts beyond {LARGEST_AMOUNT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustment_has_a_sign_and_an_amount() {
        assert_eq!(signed("+500"), Ok(500));
        assert_eq!(signed("-500"), Ok(-500));
        for text in [
            "500",
            "+0",
            "-",
            "+9007199254740992",
            "-99999999999999999999",
            "+x",
        ] {
            assert!(signed(text).is_err(), "{text}");
        }
    }
}
