//! A provider's figure: from the event that holds it to tokens that mean the same everywhere.

use serde_json::Value;

use super::Usage;
use super::members::{Backward, Forward, Member};

/// More tokens than any request has: a count above is a provider's mistake.
const MOST_TOKENS: u64 = 1 << 40;

/// The longest object that is a figure, in bytes.
const LONGEST_FIGURE: usize = 8 * 1024;

/// What one event says of usage.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The figure, if it has one.
    pub(super) figure: Option<Figure>,
    /// Whether the figure will still grow: the event is in the middle of a stream.
    pub(super) running: bool,
    /// Whether it is an event of Anthropic's after the first, which may leave the prompt to `message_start`.
    pub(super) continues: bool,
    /// Whether it is the last event of a stream.
    pub(super) last: bool,
}

/// Counts as one provider states them; `None` is what it does not state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figure {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    /// Whether cached tokens are counted beside `prompt`.
    cached_beside: bool,
    /// Whether reasoning tokens are counted beside `completion`.
    reasoning_beside: bool,
}

/// A count that is none: the whole figure is not believed.
struct NoCount;

impl Report {
    /// Reads an event that is whole, or cut off at its start. A figure is looked for until one is found if the event is the `only` one.
    pub(super) fn of(event: &[u8], only: bool) -> Self {
        let Some(mut members) = Backward::of(event) else {
            return Self::default();
        };
        let mut reader = Reader::default();
        for member in &mut members {
            reader.read(member);
            if only && reader.own.is_some() {
                break;
            }
        }
        // `response.completed` repeats the whole answer: its end alone may be in the fragment.
        if let Some(cut) = members.cut_value().filter(|_| !only) {
            reader.nested = reader.nested.or_else(|| nested(cut));
        }
        let mut report = reader.finish();
        report.running &= !only;
        report
    }

    /// Reads an event that may be cut off at its end.
    pub(super) fn of_start(event: &[u8]) -> Self {
        let mut reader = Reader::default();
        for member in Forward::of(event).into_iter().flatten() {
            reader.read(member);
        }
        // Ollama leaves out what is zero: of an object that breaks off, nobody knows what it leaves out.
        reader.is_done = false;
        reader.finish()
    }
}

#[derive(Default)]
struct Reader<'a> {
    own: Option<Figure>,
    nested: Option<Figure>,
    ollama: [Option<Value>; 2],
    is_done: bool,
    is_gemini: bool,
    kind: &'a [u8],
    choices: Option<Value>,
    stop: Option<Value>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, member: Member<'a>) {
        let value = || serde_json::from_slice::<Value>(member.value).ok();
        match member.name {
            b"usage" => {
                self.own = self
                    .own
                    .or_else(|| Figure::of_usage(&object(member.value)?));
            }
            b"usageMetadata" => {
                self.is_gemini = true;
                self.own = self
                    .own
                    .or_else(|| Figure::of_gemini(&object(member.value)?));
            }
            b"amazon-bedrock-invocationMetrics" => {
                self.own =
                    Figure::of_invocation(&object(member.value).unwrap_or_default()).or(self.own);
            }
            b"meta" => {
                self.nested = self
                    .nested
                    .or_else(|| Figure::of_cohere(&object(member.value)?));
            }
            b"response" | b"message" | b"delta" | b"x_groq" => {
                self.nested = self.nested.or_else(|| nested(member.value));
                if member.name == b"delta" {
                    self.stop = value().and_then(|delta| delta.get("stop_reason").cloned());
                }
            }
            b"prompt_eval_count" => self.ollama[0] = value(),
            b"eval_count" => self.ollama[1] = value(),
            b"done" => self.is_done = member.value == b"true",
            b"type" => self.kind = member.value,
            b"choices" | b"candidates" => self.choices = value(),
            _ => {}
        }
    }

    fn finish(self) -> Report {
        let ollama = || {
            (self.is_done && self.ollama.iter().any(Option::is_some))
                .then(|| Figure::of_ollama(&self.ollama))
                .flatten()
        };
        let ends = |choice: &Value| {
            choice["finish_reason"].is_string() || choice["finishReason"].is_string()
        };
        let choices = self.choices.as_ref().and_then(Value::as_array);
        let running = match self.kind {
            br#""message_start""# => true,
            br#""message_delta""# => !self.stop.as_ref().is_some_and(Value::is_string),
            _ if self.is_gemini => !choices.is_some_and(|choices| choices.iter().any(ends)),
            _ => choices.is_some_and(|choices| !choices.is_empty() && !choices.iter().any(ends)),
        };
        Report {
            figure: self.own.or(self.nested).or_else(ollama),
            running,
            continues: matches!(self.kind, br#""message_delta""# | br#""message_stop""#),
            last: self.kind == br#""message_stop""#,
        }
    }
}

/// The figure one level down.
fn nested(value: &[u8]) -> Option<Figure> {
    Backward::of(value)?.find_map(|member| match member.name {
        b"usage" => Figure::of_usage(&object(member.value)?),
        b"usageMetadata" => Figure::of_gemini(&object(member.value)?),
        _ => None,
    })
}

fn object(value: &[u8]) -> Option<Value> {
    (value.starts_with(b"{") && value.len() <= LONGEST_FIGURE)
        .then(|| serde_json::from_slice(value).ok())
        .flatten()
}

impl Figure {
    /// `usage`, of everybody who calls it so.
    fn of_usage(usage: &Value) -> Option<Self> {
        if usage["billed_units"].is_object() || usage["tokens"].is_object() {
            return Self::of_cohere(usage);
        }
        let bedrock = [&usage["inputTokens"], &usage["outputTokens"]];
        if bedrock.iter().any(|count| !count.is_null()) {
            return Self {
                cached_read: detail(&usage["cacheReadInputTokens"]),
                cache_write: detail(&usage["cacheWriteInputTokens"]),
                cached_beside: true,
                ..Self::counts(bedrock[0], bedrock[1], &usage["totalTokens"])?
            }
            .checked();
        }
        let messages = [&usage["input_tokens"], &usage["output_tokens"]];
        if messages.iter().any(|count| !count.is_null()) {
            let details = &usage["input_tokens_details"];
            let beside = details.is_null();
            let cached = |own: &str| detail(&usage[own]);
            return Self {
                cached_read: detail(&details["cached_tokens"])
                    .or_else(|| cached("cache_read_input_tokens")),
                cache_write: cached("cache_creation_input_tokens"),
                reasoning: detail(&usage["output_tokens_details"]["reasoning_tokens"]),
                cached_beside: beside,
                ..Self::counts(messages[0], messages[1], &usage["total_tokens"])?
            }
            .checked();
        }
        let details = &usage["prompt_tokens_details"];
        Self {
            cached_read: detail(&details["cached_tokens"])
                .or_else(|| detail(&usage["prompt_cache_hit_tokens"]))
                .or_else(|| detail(&usage["cache_read_input_tokens"])),
            cache_write: detail(&usage["cache_creation_input_tokens"]),
            reasoning: detail(&usage["completion_tokens_details"]["reasoning_tokens"]),
            ..Self::counts(
                &usage["prompt_tokens"],
                &usage["completion_tokens"],
                &usage["total_tokens"],
            )?
        }
        .checked()
    }

    fn of_gemini(usage: &Value) -> Option<Self> {
        let mut figure = Self::counts(
            &usage["promptTokenCount"],
            &usage["candidatesTokenCount"],
            &usage["totalTokenCount"],
        )?;
        let tool_use = count(&usage["toolUsePromptTokenCount"]).ok()?;
        figure.prompt = sum(figure.prompt, tool_use);
        figure.cached_read = detail(&usage["cachedContentTokenCount"]);
        figure.reasoning = count(&usage["thoughtsTokenCount"]).ok()?;
        // Without any text yet, the thoughts are all there is.
        figure.completion = figure.completion.or(figure.reasoning.map(|_| 0));
        figure.reasoning_beside = true;
        figure.checked()
    }

    /// What is billed, else what the model read and wrote.
    fn of_cohere(usage: &Value) -> Option<Self> {
        let counts = |units: &Value| {
            Self::counts(
                &units["input_tokens"],
                &units["output_tokens"],
                &Value::Null,
            )
        };
        let figure = counts(&usage["billed_units"]).or_else(|| counts(&usage["tokens"]))?;
        Self {
            cached_read: detail(&usage["cached_tokens"]),
            ..figure
        }
        .checked()
    }

    fn of_invocation(metrics: &Value) -> Option<Self> {
        Self {
            cached_read: detail(&metrics["cacheReadInputTokenCount"]),
            cache_write: detail(&metrics["cacheWriteInputTokenCount"]),
            cached_beside: true,
            ..Self::counts(
                &metrics["inputTokenCount"],
                &metrics["outputTokenCount"],
                &Value::Null,
            )?
        }
        .checked()
    }

    fn of_ollama([prompt, completion]: &[Option<Value>; 2]) -> Option<Self> {
        let absent = Value::Null;
        let mut figure = Self::counts(
            prompt.as_ref().unwrap_or(&absent),
            completion.as_ref().unwrap_or(&absent),
            &absent,
        )?;
        figure.completion = figure.completion.or(Some(0));
        figure.checked()
    }

    /// `None` if one of them is no count, or none is there.
    fn counts(prompt: &Value, completion: &Value, total: &Value) -> Option<Self> {
        let read = || {
            Ok::<_, NoCount>(Self {
                prompt: count(prompt)?,
                completion: count(completion)?,
                total: count(total)?,
                ..Self::default()
            })
        };
        read().ok().filter(|figure| {
            figure
                .prompt
                .or(figure.completion)
                .or(figure.total)
                .is_some()
        })
    }

    /// `None` for a figure of nothing at all: servers send zeros before they know.
    fn checked(self) -> Option<Self> {
        let counts = [
            self.prompt,
            self.completion,
            self.total,
            self.reasoning,
            self.cached_read.filter(|_| self.cached_beside),
            self.cache_write.filter(|_| self.cached_beside),
        ];
        counts
            .iter()
            .any(|count| count.is_some_and(|count| count > 0))
            .then_some(self)
    }

    /// This figure, and what it does not state from an earlier one.
    pub(super) fn or(self, earlier: Self) -> Self {
        Self {
            prompt: self.prompt.or(earlier.prompt),
            completion: self.completion.or(earlier.completion),
            total: self.total.or(earlier.total),
            cached_read: self.cached_read.or(earlier.cached_read),
            cache_write: self.cache_write.or(earlier.cache_write),
            reasoning: self.reasoning.or(earlier.reasoning),
            ..self
        }
    }

    /// Whether the provider says how long the prompt was.
    pub(super) fn has_prompt(&self) -> bool {
        self.prompt.or(self.total).is_some()
    }

    /// The same in the terms that all providers share; a prompt that the provider does not state is as `estimated`.
    pub(super) fn usage(&self, estimated: u64) -> Usage {
        let mut completion = self.completion.unwrap_or(0);
        let mut prompt = match (self.prompt, self.total) {
            (Some(prompt), _) => prompt,
            (None, Some(total)) => total.saturating_sub(completion),
            (None, None) => estimated,
        };
        let (read, write) = (self.cached_read.unwrap_or(0), self.cache_write.unwrap_or(0));
        let reasoning = self.reasoning.unwrap_or(0);
        // A total tells whether a part is counted beside the whole or within; without one, the provider's documentation does.
        let fits = |more: u64| self.total.map(|total| prompt + completion + more <= total);
        if self.cached_beside && fits(read + write).unwrap_or(true) {
            prompt += read + write;
        } else if fits(reasoning).unwrap_or(self.reasoning_beside) {
            completion += reasoning;
        }
        let cached_read_tokens = read.min(prompt);
        Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: (prompt + completion).max(self.total.unwrap_or(0)),
            cached_read_tokens,
            cache_write_tokens: write.min(prompt - cached_read_tokens),
            reasoning_tokens: reasoning.min(completion),
        }
    }
}

/// A whole number of tokens; nothing for `null`.
fn count(value: &Value) -> Result<Option<u64>, NoCount> {
    if value.is_null() {
        return Ok(None);
    }
    // Some servers write 12.0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number within 2^40 is exact"
    )]
    let whole = |number: f64| {
        (number.fract() == 0.0 && (0.0..=MOST_TOKENS as f64).contains(&number))
            .then_some(number as u64)
    };
    value
        .as_u64()
        .or_else(|| value.as_f64().and_then(whole))
        .filter(|&count| count <= MOST_TOKENS)
        .map(Some)
        .ok_or(NoCount)
}

/// A part of a count; one that is no count is not known.
fn detail(value: &Value) -> Option<u64> {
    count(value).ok().flatten()
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (None, None) => None,
        (one, other) => Some(one.unwrap_or(0) + other.unwrap_or(0)),
    }
}
