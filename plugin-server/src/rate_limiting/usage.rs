//! What a request really cost, from what the usage tap saw of the answer.
//!
//! # Algorithm
//!
//! In the order of trust:
//!
//! 1. The provider's own figure: the last `usage` object with token counts in the tail of the answer, else in its head.
//! 2. A status of 400 or above without one: nothing was generated, the tokens are given back (the request still counts).
//! 3. A stream without one (it broke off, or was not asked): the prompt as estimated, and the exact count of the text that was
//!    streamed. Of a stream longer than the fragment that was kept, the count grows in proportion to the bytes.
//! 4. Any other answer: the prompt as estimated and a token for 4 bytes of the answer.
//! 5. Nothing was seen at all, because no tap is installed: the reservation stands.
//!
//! A request that generates nothing (embeddings, a list of models) has no answer to price in 3 and 4.
//!
//! # Invariants
//!
//! 1. Wherever the answer is cut, the figure is the provider's or the fallback's, never half of one
//!    (test: `a_figure_is_whole_or_absent_wherever_the_answer_is_cut`).
//! 2. Text that a model writes cannot pass for a figure: inside a JSON string its quotes are escaped
//!    (test: `text_that_looks_like_usage_is_none`).

mod stream;

use serde::Deserialize;

use super::estimate::{BYTES_PER_TOKEN, Estimate};
use super::rewrite::value_end;

/// More tokens than any request has: a figure above is a provider's mistake, and counts as no figure.
const MOST_TOKENS: u64 = 1 << 40;

/// Occurrences of the word that are looked at, from the end; and the longest object that is a figure, in bytes.
const CANDIDATES: usize = 64;
const LONGEST_FIGURE: usize = 8 * 1024;

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

/// What a request really cost, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// The provider said so.
    Reported(Usage),
    /// The upstream failed before it generated anything.
    Failed,
    /// Our own figure, and what it rests on.
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
    let reported =
        observed.and_then(|answer| reported(&answer.tail).or_else(|| reported(&answer.head)));
    match (reported, observed) {
        (Some(usage), _) => Spent::Reported(usage),
        (None, _) if status >= 400 => Spent::Failed,
        (None, None) => Spent::Unseen,
        (None, Some(_)) if estimate.output_tokens == 0 => {
            Spent::Estimated(Usage::of(estimate.prompt_tokens, 0), Source::Reserved)
        }
        (None, Some(answer)) => {
            let (completion_tokens, source) = if stream::is_stream(answer) {
                (stream::count(answer, estimate.vocabulary), Source::Counted)
            } else {
                (answer.bytes.div_ceil(BYTES_PER_TOKEN), Source::Measured)
            };
            Spent::Estimated(Usage::of(estimate.prompt_tokens, completion_tokens), source)
        }
    }
}

/// The last figure in a fragment of an answer, plain or streamed.
fn reported(fragment: &[u8]) -> Option<Usage> {
    const WORD: &[u8] = b"\"usage\"";
    let mut end = fragment.len();
    for _ in 0..CANDIDATES {
        let at = fragment[..end]
            .windows(WORD.len())
            .rposition(|window| window == WORD)?;
        end = at + WORD.len() - 1;
        let escaped = at > 0 && fragment[at - 1] == b'\\';
        if let Some(usage) = figure(&fragment[at + WORD.len()..]).filter(|_| !escaped) {
            return Some(usage);
        }
    }
    None
}

/// The figure that follows the word, if a whole one does.
fn figure(after: &[u8]) -> Option<Usage> {
    let after = after
        .trim_ascii_start()
        .strip_prefix(b":")?
        .trim_ascii_start();
    if after.first() != Some(&b'{') {
        return None;
    }
    let window = &after[..after.len().min(LONGEST_FIGURE)];
    let object = &window[..value_end(window, 0)?];
    let figure: Figure = serde_json::from_slice(object).ok()?;
    let completion_tokens = figure.completion.unwrap_or(0);
    let prompt_tokens = match (figure.prompt, figure.total) {
        (Some(prompt), _) => prompt,
        (None, Some(total)) => total.saturating_sub(completion_tokens),
        (None, None) => return None,
    };
    let sum = prompt_tokens.saturating_add(completion_tokens);
    let total_tokens = figure.total.map_or(sum, |total| total.max(sum));
    (total_tokens <= MOST_TOKENS).then_some(Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens,
        ..Usage::default()
    })
}

#[derive(Deserialize)]
struct Figure {
    #[serde(rename = "prompt_tokens")]
    prompt: Option<u64>,
    #[serde(rename = "completion_tokens")]
    completion: Option<u64>,
    #[serde(rename = "total_tokens")]
    total: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::super::estimate::Vocabulary;
    use super::*;

    const CHAT: &str = include_str!("../../tests/fixtures/usage/openai-chat.json");
    const CHAT_STREAM: &str = include_str!("../../tests/fixtures/usage/openai-chat.sse");
    const COMPLETION: &str = include_str!("../../tests/fixtures/usage/openai-completion.json");
    const EMBEDDING: &str = include_str!("../../tests/fixtures/usage/openai-embedding.json");
    const VLLM_STREAM: &str = include_str!("../../tests/fixtures/usage/vllm-continuous.sse");

    const ESTIMATE: Estimate = Estimate {
        counted_tokens: 0,
        prompt_tokens: 19,
        output_tokens: 100,
        vocabulary: Vocabulary::O200k,
    };

    fn usage(prompt_tokens: u64, completion_tokens: u64, total_tokens: u64) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens,
            ..Usage::default()
        }
    }

    fn whole(body: &str) -> Observed {
        Observed {
            head: Vec::new(),
            tail: body.into(),
            bytes: body.len() as u64,
            ended: true,
        }
    }

    fn fixtures() -> [(&'static str, Usage); 5] {
        [
            (CHAT, usage(19, 10, 29)),
            (CHAT_STREAM, usage(19, 9, 28)),
            (COMPLETION, usage(5, 7, 12)),
            (EMBEDDING, usage(8, 0, 8)),
            (VLLM_STREAM, usage(11, 4, 15)),
        ]
    }

    #[test]
    fn the_provider_is_believed() {
        for (body, expected) in fixtures() {
            assert_eq!(
                spent(Some(&whole(body)), 200, &ESTIMATE),
                Spent::Reported(expected)
            );
        }
    }

    #[test]
    fn a_figure_is_whole_or_absent_wherever_the_answer_is_cut() {
        for (body, expected) in fixtures() {
            for cut in 0..=body.len() {
                // The tail keeps the end of an answer: the figure must survive until the cut reaches it.
                let tail = &body.as_bytes()[cut..];
                let intact = cut <= body.rfind("\"usage\":").unwrap();
                assert_eq!(
                    reported(tail),
                    intact.then_some(expected),
                    "tail from {cut}"
                );
                // An answer that breaks off has its figure only if it broke off after it.
                if let Some(early) = reported(&body.as_bytes()[..cut]) {
                    assert!(
                        early == expected || body == VLLM_STREAM,
                        "head to {cut}: {early:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_figure_at_the_start_of_a_long_answer_is_found_in_the_head() {
        let observed = Observed {
            head: br#"{"id":"1","usage":{"prompt_tokens":3,"completion_tokens":4},"choices":[{"message":{"content":"aaaa"#.to_vec(),
            tail: br#"aaaa"}}]}"#.to_vec(),
            bytes: 500_000,
            ended: true,
        };
        assert_eq!(
            spent(Some(&observed), 200, &ESTIMATE),
            Spent::Reported(usage(3, 4, 7))
        );
    }

    #[test]
    fn text_that_looks_like_usage_is_none() {
        let body = r#"{"choices":[{"message":{"content":"\"usage\":{\"total_tokens\":1} \\\"usage\": {\"total_tokens\":1}"}}]}"#;
        assert_eq!(reported(body.as_bytes()), None);
        for strange in [
            r#"{"usage":null}"#,
            r#"{"usage":"many"}"#,
            r#"{"usage":{}}"#,
            r#"{"usage":{"total_tokens":-1}}"#,
            r#"{"usage":{"total_tokens":1e99}}"#,
            r#"{"usage":{"total_tokens":18446744073709551615}}"#,
            r#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615}}"#,
            r#"["usage"]"#,
            r#"{"a":"usage"}"#,
        ] {
            assert_eq!(reported(strange.as_bytes()), None, "{strange}");
        }
        let earlier = r#"data: {"usage":{"total_tokens":7}}

data: {"usage":null}"#;
        assert_eq!(reported(earlier.as_bytes()), Some(usage(7, 0, 7)));
    }

    #[test]
    fn a_total_below_its_parts_is_corrected() {
        let body = r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":1}}"#;
        assert_eq!(reported(body.as_bytes()), Some(usage(10, 5, 15)));
    }

    #[test]
    fn a_stream_that_broke_off_costs_its_prompt_and_what_was_streamed() {
        let broken = &CHAT_STREAM[..CHAT_STREAM.find(" today").unwrap()];
        let Spent::Estimated(counted, Source::Counted) =
            spent(Some(&whole(broken)), 200, &ESTIMATE)
        else {
            panic!("no usage was reported");
        };
        let text = "Hello! How can I help you";
        assert_eq!(counted, Usage::of(19, Vocabulary::O200k.count(text)));
        assert_eq!(
            spent(Some(&whole("")), 200, &ESTIMATE),
            Spent::Estimated(Usage::of(19, 0), Source::Measured)
        );
    }

    #[test]
    fn an_answer_without_usage_is_priced_by_its_size() {
        assert_eq!(
            spent(Some(&whole(r#"{"text":"0123456789"}"#)), 200, &ESTIMATE),
            Spent::Estimated(Usage::of(19, 6), Source::Measured)
        );
        let nothing_generated = Estimate {
            output_tokens: 0,
            ..ESTIMATE
        };
        assert_eq!(
            spent(Some(&whole(r#"{"data":[]}"#)), 200, &nothing_generated),
            Spent::Estimated(Usage::of(19, 0), Source::Reserved)
        );
    }

    #[test]
    fn a_failed_upstream_gives_the_tokens_back_unless_it_reports_usage() {
        let error = whole(r#"{"error":{"message":"overloaded"}}"#);
        assert_eq!(spent(Some(&error), 503, &ESTIMATE), Spent::Failed);
        assert_eq!(spent(None, 400, &ESTIMATE), Spent::Failed);
        assert_eq!(
            spent(Some(&whole(CHAT)), 500, &ESTIMATE),
            Spent::Reported(usage(19, 10, 29))
        );
    }

    #[test]
    fn without_a_tap_the_reservation_stands() {
        assert_eq!(spent(None, 200, &ESTIMATE), Spent::Unseen);
    }

    #[test]
    fn hostile_answers_are_read_in_linear_time() {
        let started = std::time::Instant::now();
        let nested = whole(&r#""usage":{"#.repeat(64 * 1024 / 9));
        assert_eq!(reported(&nested.tail), None);
        assert!(
            started.elapsed() < std::time::Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
}
