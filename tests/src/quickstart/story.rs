//! Who asks what, and what the gateway makes of it.

use std::time::Duration;

use anyhow::{Context, Result};
use sample_llm::tokens;
use serde_json::Value;
use stories::chat::{Caller, Credential, question};
use stories::issuer::forge;
use stories::table::{Align, Mood, Table};
use stories::wait;
use stories::world::{KEYS, World};

use crate::say;

const LIMIT: &str = "x-ratelimit-limit-tokens";
const REMAINING: &str = "x-ratelimit-remaining-tokens";
/// Answers after which a budget that is not spent never will be.
const MAX_ANSWERS: usize = 12;
/// Patience with the books, which are closed after the answer.
const SETTLEMENT: Duration = Duration::from_secs(2);

/// The story, as far as it was told.
pub(crate) struct Story {
    table: Table,
    acme: Party,
    globex: Party,
    report: Party,
    forged: Caller,
    token: String,
    proxy_url: String,
    unexpected: Vec<String>,
}

/// A caller and what the gateway last said of its budget.
struct Party {
    name: &'static str,
    caller: Caller,
    left: Option<u64>,
}

/// How a request was answered, plain or streamed.
struct Outcome {
    status: u16,
    limit: Option<u64>,
    remaining: Option<u64>,
    retry_after: Option<u64>,
    /// Tokens that the provider bills.
    used: Option<u64>,
}

impl Story {
    /// Mints the tokens of two tenants, and forges one.
    pub(crate) async fn new(world: &World, color: bool) -> Result<Self> {
        let token = world.issuer.mint(&world.kongctl, "acme", "free").await?;
        let globex = world.issuer.mint(&world.kongctl, "globex", "free").await?;
        let forged = forge(&token, |claims| claims["tenant"] = "globex".into())?;
        let caller = |token: &str| world.caller("/v1", Credential::Token(token.to_owned()));
        let party = |name, caller| Party {
            name,
            caller,
            left: None,
        };
        let columns = vec![
            ("who", 14, Align::Left),
            ("what", 30, Align::Left),
            ("status", 21, Align::Left),
            ("estimated", 9, Align::Right),
            ("used", 6, Align::Right),
            ("left", 6, Align::Right),
        ];
        Ok(Self {
            table: Table::new(columns, color),
            acme: party("acme", caller(&token)?),
            globex: party("globex", caller(&globex)?),
            report: party(
                "nightly-report",
                world.caller("/keys/v1", Credential::Key(KEYS[0].1.to_owned()))?,
            ),
            forged: caller(&forged)?,
            token,
            proxy_url: world.gateway.proxy_url(),
            unexpected: Vec::new(),
        })
    }

    /// Tells it, row by row; what went otherwise than it should.
    pub(crate) async fn tell(&mut self) -> Result<Vec<String>> {
        say(&self.table.head())?;
        let (plain, streamed) = (
            question("What does a gateway do all day?", 120),
            question("Tell me word by word.", 120),
        );
        let Self {
            table,
            acme,
            globex,
            report,
            unexpected,
            ..
        } = self;
        acme.asks(table, unexpected, "plain chat", &plain, false)
            .await?;
        globex
            .asks(table, unexpected, "plain chat", &plain, false)
            .await?;
        acme.asks(table, unexpected, "streamed chat", &streamed, true)
            .await?;
        globex
            .asks(table, unexpected, "streamed chat", &streamed, true)
            .await?;
        report
            .asks(
                table,
                unexpected,
                "plain chat, with an API key",
                &plain,
                false,
            )
            .await?;
        acme.asks_until_refused(table, unexpected, &plain).await?;
        globex
            .asks(
                table,
                unexpected,
                "plain chat: its own budget",
                &plain,
                false,
            )
            .await?;

        let answer = self.forged.chat(&plain).await?;
        let cells = [
            "somebody",
            "acme's token, tenant changed",
            &status_line(answer.status),
            "–",
            "–",
            "–",
        ];
        say(&self.table.row(Mood::Refused, &cells))?;
        if answer.status != 401 {
            self.unexpected
                .push(format!("a forged token was answered {}", answer.status));
        }
        say("")?;
        Ok(self.unexpected.clone())
    }

    /// Lines to copy and paste.
    pub(crate) fn epilogue(&self) -> String {
        let Self {
            token, proxy_url, ..
        } = self;
        let key = KEYS[0].1;
        format!(
            r#"
  Try it: `left` counts up again within a minute.

    TOKEN={token}

    curl -i {proxy_url}/v1/chat/completions -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
      -d '{{"model": "gpt-4o-mini", "max_tokens": 60, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

    curl -N {proxy_url}/v1/chat/completions -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
      -d '{{"model": "slow", "max_tokens": 60, "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

    curl -i {proxy_url}/keys/v1/chat/completions -H 'apikey: {key}' -H 'Content-Type: application/json' \
      -d '{{"model": "gpt-4o-mini", "max_tokens": 60, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

  An OpenAI client takes {proxy_url}/v1 as its base URL and the token as its API key."#
        )
    }
}

impl Party {
    /// Asks once, and expects to be answered.
    async fn asks(
        &mut self,
        table: &Table,
        unexpected: &mut Vec<String>,
        what: &str,
        body: &Value,
        stream: bool,
    ) -> Result<()> {
        let outcome = self.send(body, stream).await?;
        if outcome.status != 200 {
            unexpected.push(format!(
                "{}, {what}: answered {}",
                self.name, outcome.status
            ));
        }
        self.report(table, unexpected, what, &outcome).await
    }

    /// Asks until the budget is spent.
    async fn asks_until_refused(
        &mut self,
        table: &Table,
        unexpected: &mut Vec<String>,
        body: &Value,
    ) -> Result<()> {
        for _ in 0..MAX_ANSWERS {
            let outcome = self.send(body, false).await?;
            let what = match (outcome.status, outcome.retry_after) {
                (429, Some(seconds)) => format!("budget spent: back in {seconds} s"),
                _ => "plain chat, again".to_owned(),
            };
            self.report(table, unexpected, &what, &outcome).await?;
            if outcome.status == 429 {
                if outcome.retry_after.is_none() {
                    unexpected.push("the refusal does not say when to come back".to_owned());
                }
                return Ok(());
            }
        }
        unexpected.push(format!("{} was never refused", self.name));
        Ok(())
    }

    async fn send(&self, body: &Value, stream: bool) -> Result<Outcome> {
        if !stream {
            let answer = self.caller.chat(body).await?;
            return Ok(Outcome {
                status: answer.status,
                limit: answer.number(LIMIT),
                remaining: answer.number(REMAINING),
                retry_after: answer.number("retry-after"),
                used: answer.total_tokens(),
            });
        }
        let answer = self.caller.stream(body).await?;
        let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        // The usage is hidden from a client that did not ask for it; the provider's tokenizer tells the same.
        let used = (tokens::count_messages(messages) + tokens::count(&answer.text())) as u64;
        Ok(Outcome {
            status: answer.status,
            limit: answer.number(LIMIT),
            remaining: answer.number(REMAINING),
            retry_after: answer.number("retry-after"),
            used: answer.is_done().then_some(used),
        })
    }

    /// Prints a row; for an answer, checks that what it really used is what it was charged.
    async fn report(
        &mut self,
        table: &Table,
        unexpected: &mut Vec<String>,
        what: &str,
        outcome: &Outcome,
    ) -> Result<()> {
        let cell = |number: Option<u64>| {
            number.map_or_else(|| "–".to_owned(), |number| number.to_string())
        };
        let (mut mood, mut estimated) = (Mood::Refused, None);
        let mut left = outcome.remaining;
        if outcome.status == 200 {
            mood = Mood::Granted;
            let used = outcome.used.context("no usage")?;
            let before = self.left.map_or_else(|| self.limit(outcome), Ok)?;
            estimated = outcome
                .remaining
                .map(|remaining| before.saturating_sub(remaining));
            left = Some(self.settled(before.saturating_sub(used)).await?);
            if estimated.is_none_or(|estimated| estimated < used) {
                unexpected.push(format!(
                    "{}, {what}: estimated {estimated:?}, but used {used}",
                    self.name
                ));
            }
            // Tokens come back as time passes, so more may be left, never less.
            if left < Some(before.saturating_sub(used)) {
                unexpected.push(format!(
                    "{}, {what}: {left:?} left of {before} after using {used}",
                    self.name
                ));
            }
            self.left = left;
        }
        let used = if outcome.status == 200 {
            outcome.used
        } else {
            None
        };
        let cells = [
            self.name,
            what,
            &status_line(outcome.status),
            &cell(estimated),
            &cell(used),
            &cell(left),
        ];
        say(&table.row(mood, &cells))
    }

    /// The budget before the first request.
    fn limit(&self, outcome: &Outcome) -> Result<u64> {
        outcome
            .limit
            .with_context(|| format!("{} is not told its limit", self.name))
    }

    /// What is left once the books are closed: looks, with a request that costs no tokens, until at least `expected`.
    async fn settled(&self, expected: u64) -> Result<u64> {
        let mut seen = 0;
        let _ = wait::until("the books are closed", SETTLEMENT, async || {
            seen = self
                .caller
                .remaining()
                .await?
                .context("no header says what is left")?;
            anyhow::ensure!(seen >= expected, "{seen} left");
            Ok(())
        })
        .await;
        Ok(seen)
    }
}

fn status_line(status: u16) -> String {
    let reason = reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    format!("{status} {}", reason.unwrap_or_default())
}
