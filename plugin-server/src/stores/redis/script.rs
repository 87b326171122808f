//! The limiter's commands, as scripts that the server runs whole.
//!
//! A script is called by its digest. A server that does not know it (it restarted, its scripts were flushed, it is another
//! node) says so, and gets the text once.

use std::fmt::Write as _;
use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};
use sha1::{Digest as _, Sha1};

use token_limiter::Cost;

use super::connection::Link;

pub(super) static RESERVE: LazyLock<Script> =
    LazyLock::new(|| Script::with_windows(include_str!("reserve.lua")));
pub(super) static SETTLE: LazyLock<Script> =
    LazyLock::new(|| Script::with_windows(include_str!("settle.lua")));
pub(super) static INSPECT: LazyLock<Script> =
    LazyLock::new(|| Script::with_windows(include_str!("inspect.lua")));
pub(super) static CORRECT: LazyLock<Script> =
    LazyLock::new(|| Script::with_windows(include_str!("correct.lua")));
pub(super) static DENY: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("deny.lua").to_owned()));
pub(super) static UNDENY: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("undeny.lua").to_owned()));
pub(super) static DENIED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("denied.lua").to_owned()));
pub(super) static HEARTBEAT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("heartbeat.lua").to_owned()));

/// A script and its digest.
pub(super) struct Script {
    text: String,
    digest: String,
}

impl Script {
    fn new(text: String) -> Self {
        let mut digest = String::with_capacity(40);
        for byte in Sha1::digest(&text) {
            // Writing to a String cannot fail.
            let _infallible = write!(digest, "{byte:02x}");
        }
        Self { text, digest }
    }

    fn with_windows(command: &str) -> Self {
        Self::new(format!("{}\n{command}", include_str!("windows.lua")))
    }

    /// Runs it. All `keys` belong to one slot.
    pub(super) async fn run(
        &self,
        link: &Link,
        keys: &[String],
        arguments: &Arguments,
    ) -> RedisResult<Value> {
        let call = |how, what: &str| {
            let mut command = Cmd::new();
            command.arg(how).arg(what).arg(keys.len()).arg(keys);
            for argument in &arguments.0 {
                command.arg(argument);
            }
            command
        };
        match link.query(&call("EVALSHA", &self.digest)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.query(&call("EVAL", &self.text)).await
            }
            answer => answer,
        }
    }
}

/// What a script is called with: integers, and a few short words.
#[derive(Default)]
pub(super) struct Arguments(Vec<String>);

impl Arguments {
    /// Arguments that begin with the moment that the script is to take for now; without one it asks the server.
    pub(super) fn at(moment_ms: Option<u64>) -> Self {
        Self(vec![
            moment_ms.map_or_else(String::new, |ms| ms.to_string()),
        ])
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.0.push(number.to_string());
        self
    }

    /// One argument of several numbers.
    pub(super) fn numbers(&mut self, numbers: &[u64]) -> &mut Self {
        let mut list = String::new();
        for (index, &number) in numbers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _infallible = write!(list, "{comma}{}", number.min(Cost::MAX.units()));
        }
        self.0.push(list);
        self
    }

    pub(super) fn word(&mut self, word: &str) -> &mut Self {
        self.0.push(word.to_owned());
        self
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.word(if flag { "1" } else { "0" })
    }
}
