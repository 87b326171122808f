//! What a request really cost, from what the usage tap saw of the answer.
//!
//! # Model
//!
//! One reader knows all providers. How the answer begins tells how it is framed (an object, server-sent events, objects in lines or in an
//! array, AWS's binary frames); what is in its events tells whose they are. Afterwards all mean the same: cached tokens are
//! part of the prompt, reasoning is part of the completion.
//!
//! | API | where | prompt | completion | cached read, written | reasoning |
//! |---|---|---|---|---|---|
//! | OpenAI chat, completions, embeddings, and servers like it | `usage` | `prompt_tokens` | `completion_tokens` | `prompt_tokens_details.cached_tokens`, – | `completion_tokens_details.reasoning_tokens` |
//! | OpenAI Responses | `usage`; `response.usage` | `input_tokens` | `output_tokens` | `input_tokens_details.cached_tokens`, – | `output_tokens_details.reasoning_tokens` |
//! | Anthropic Messages | `usage`; the last `message_delta`, and what it leaves out from `message_start` | `input_tokens` + cached read + written | `output_tokens` | `cache_read_input_tokens`, `cache_creation_input_tokens` | within, not told |
//! | Gemini | the last `usageMetadata` | `promptTokenCount` + `toolUsePromptTokenCount` | `candidatesTokenCount` + `thoughtsTokenCount` | `cachedContentTokenCount`, – | `thoughtsTokenCount` |
//! | Bedrock Converse | `usage` | `inputTokens` + cached read + written | `outputTokens` | `cacheReadInputTokens`, `cacheWriteInputTokens` | within, not told |
//! | Bedrock InvokeModel | as the model's own; at the end of a stream `amazon-bedrock-invocationMetrics` | `inputTokenCount` + cached | `outputTokenCount` | `cacheReadInputTokenCount`, `cacheWriteInputTokenCount` | within, not told |
//! | Cohere v2 | `usage`; `delta.usage`; `meta` | `billed_units.input_tokens`, else `tokens` | `output_tokens` beside it | `cached_tokens`, – | within, not told |
//! | Ollama | the object with `done: true` | `prompt_eval_count` | `eval_count`, 0 if absent | – | within, not told |
//!
//! Where a figure has a total, the total decides: a part that only fits within is not added (some servers count what is
//! documented to be beside within, and xAI counts reasoning beside).
//!
//! # Algorithm
//!
//! In the order of trust:
//!
//! 1. The provider's own figure: the last one in the tail of the answer, else in its head. One from the middle of a stream that broke off is
//!    a lower bound: the text is counted too, and the larger completion holds.
//! 2. A status of 400 or above without one: nothing was generated, the tokens are given back (the request still counts).
//! 3. A stream without one (it broke off, or was not asked): the prompt as estimated, and the exact count of the text that was
//!    streamed. Of a stream longer than the fragment that was kept, the count grows in proportion to the bytes.
//! 4. Any other answer: the prompt as estimated and a token for 4 bytes of the answer.
//! 5. Nothing was seen at all, because no tap is installed: the reservation stands.
//!
//! A request that generates nothing (embeddings, a list of models) has no answer to price in 3 and 4.
//!
//! # Providers that are wrong
//!
//! A count is a whole number from 0 to 2^40 (`12.0` is one). A negative, fractional or larger one, or a text, makes the whole figure none,
//! and so do zeros alone. A detail that is no count is left out; cached above the prompt is the prompt, reasoning above
//! the completion the completion; a total below its parts is their sum.
//!
//! # Invariants
//!
//! 1. Wherever the answer is cut, the figure is the provider's or the fallback's, never half of one
//!    (test: `a_figure_is_whole_or_absent_wherever_the_answer_is_cut`).
//! 2. What a model writes cannot pass for a figure, neither text nor the arguments of a tool: figures have their fixed places
//!    (tests: `text_that_looks_like_usage_is_none`, `arguments_that_look_like_usage_are_none`).
//! 3. Time and memory are linear in what was kept (test: `hostile_answers_are_read_in_linear_time`).

mod events;
mod figure;
mod frames;
mod members;
mod text;

use self::events::Framing;
use self::figure::{Figure, Report};
use super::estimate::{BYTES_PER_TOKEN, Estimate};

/// Tokens of a request, whoever counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Both, and whatever else the provider counts: never less than their sum.
    pub total_tokens: u64,
    /// Tokens of the prompt that came from the provider's cache.
    pub cached_read_tokens: u64,
    /// Tokens of the prompt that went into the provider's cache.
    pub cache_write_tokens: u64,
    /// Tokens of the answer that the model thought.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// A prompt and its answer, of which no more is known.
    pub fn of(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            ..Self::default()
        }
    }

    /// The same with another count of the completion.
    fn with_completion(self, completion_tokens: u64) -> Self {
        let beside = self.total_tokens.saturating_sub(self.completion_tokens);
        Self {
            completion_tokens,
            total_tokens: beside.saturating_add(completion_tokens),
            ..self
        }
    }
}

/// What the usage tap kept of an answer.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The first bytes; empty while `tail` holds the whole answer.
    pub head: Vec<u8>,
    /// The last bytes.
    pub tail: Vec<u8>,
    /// How many bytes there were.
    pub bytes: u64,
    /// Whether the body came to its end; it does not where the client or the upstream breaks off.
    pub ended: bool,
}

impl Observed {
    /// Where the answer begins.
    fn start(&self) -> &[u8] {
        if self.head.is_empty() {
            &self.tail
        } else {
            &self.head
        }
    }
}

/// Who says what a request cost, from the most to the least trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The provider.
    Provider,
    /// We counted the text that was streamed.
    Counted,
    /// We measured the answer: bytes to a token.
    Measured,
    /// Nobody: it is what was estimated before the request.
    Reserved,
}

impl Source {
    /// The source's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Counted => "counted",
            Self::Measured => "measured",
            Self::Reserved => "reserved",
        }
    }
}

/// What a request really cost, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// The provider said so.
    Reported(Usage),
    /// The upstream failed before it generated anything.
    Failed,
    /// Not all of it is the provider's word: what it is, and where the completion's tokens come from.
    Estimated(Usage, Source),
    /// Nobody saw the answer: what was reserved stands.
    Unseen,
}

impl Spent {
    /// The tokens that were spent; `None` where the reservation stands.
    pub fn usage(&self) -> Option<Usage> {
        match *self {
            Self::Reported(usage) | Self::Estimated(usage, _) => Some(usage),
            Self::Failed => Some(Usage::default()),
            Self::Unseen => None,
        }
    }

    /// Who says so.
    pub fn source(&self) -> Source {
        match *self {
            Self::Reported(_) | Self::Failed => Source::Provider,
            Self::Estimated(_, source) => source,
            Self::Unseen => Source::Reserved,
        }
    }
}

/// What a request really cost that was answered with `status`.
pub fn spent(observed: Option<&Observed>, status: u16, estimate: &Estimate) -> Spent {
    let Some(answer) = observed else {
        return if status >= 400 {
            Spent::Failed
        } else {
            Spent::Unseen
        };
    };
    let framing = Framing::of(answer);
    let count = || text::count(framing, answer, estimate.vocabulary);
    if let Some(reading) = reading(framing, answer) {
        let usage = reading.figure.usage(estimate.prompt_tokens);
        if let Some(counted) = reading
            .running
            .then(count)
            .flatten()
            .filter(|&counted| counted > usage.completion_tokens)
        {
            return Spent::Estimated(usage.with_completion(counted), Source::Counted);
        }
        return if reading.figure.has_prompt() {
            Spent::Reported(usage)
        } else {
            Spent::Estimated(usage, Source::Provider)
        };
    }
    if status >= 400 {
        return Spent::Failed;
    }
    let (completion_tokens, source) = if estimate.output_tokens == 0 {
        (0, Source::Reserved)
    } else if let Some(counted) = framing.is_stream().then(count).flatten() {
        (counted, Source::Counted)
    } else {
        (answer.bytes.div_ceil(BYTES_PER_TOKEN), Source::Measured)
    };
    Spent::Estimated(Usage::of(estimate.prompt_tokens, completion_tokens), source)
}

/// A provider's figure, and whether it is one from the middle of a stream.
struct Reading {
    figure: Figure,
    running: bool,
}

/// The last figure of an answer.
fn reading(framing: Framing, answer: &Observed) -> Option<Reading> {
    let only = framing == Framing::Plain;
    let mut ended = only;
    for event in events::newest_first(framing, answer) {
        let report = Report::of(&event, only);
        ended |= report.last || *event == *b"[DONE]";
        let Some(figure) = report.figure else {
            continue;
        };
        // Cut off at its start, an event does not say that it continues one.
        let earlier = (report.continues || !figure.has_prompt())
            .then(|| first_report(framing, answer).figure)
            .flatten();
        return Some(Reading {
            figure: earlier.map_or(figure, |earlier| figure.or(earlier)),
            running: report.running && !ended,
        });
    }
    let report = first_report(framing, answer);
    Some(Reading {
        figure: report.figure?,
        running: report.running && !ended,
    })
}

fn first_report(framing: Framing, answer: &Observed) -> Report {
    events::first(framing, answer).map_or_else(Report::default, |event| Report::of_start(&event))
}

#[cfg(test)]
mod tests;
