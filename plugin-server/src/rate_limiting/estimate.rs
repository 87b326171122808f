//! What a request will probably cost, before anybody knows.
//!
//! # Algorithm
//!
//! ```text
//! counted = exact BPE tokens of the first 64 KiB of text + ⌈bytes beyond / 4⌉ + what is priced without text
//! prompt  = counted                              for OpenAI's own models, whose vocabularies are known
//!         = ⌈counted × learned ratio⌉            for all others
//! answer  = largest cap on the answer            × number of answers, if there is a cap
//!         = learned 95th percentile (or 1,024)   × number of answers, if there is none; the larger of both if one cap is negative
//! ```
//!
//! and of a limit
//!
//! ```text
//! prompt tokens       prompt                     above the limit it can never pass
//! completion tokens   min(answer, limit)         a first request is always admissible
//! total tokens        prompt                     if the prompt alone exceeds the limit: it can never pass
//!                     min(prompt + answer, limit) otherwise: a first request is always admissible
//! ```
//!
//! The vocabulary is `cl100k_base` for GPT-4, GPT-3.5 and the embedding models, `o200k_base` for all others. What is priced without
//! text, and what an answer's caps are, [`request`](super::request) says; what is learned, [`learned`](super::learned). A body whose prompt is not
//! found, or that is no JSON object, costs a token for 4 bytes; no body costs nothing.
//!
//! Worked: limit 1,000; a prompt of 300 tokens with `max_tokens: 5000` reserves 1,000, a prompt of 300 without a cap too, one with
//! `max_tokens: 100, n: 3` 600. What an answer needs beyond its reservation becomes a debt when it is settled.

use bpe_openai::Tokenizer;
use serde::{Deserialize, Serialize};

use super::learned::Forecast;
use super::request::Request;

/// Bytes of text to a token where they are not tokenized: prose in English has 4 to 5.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Tokens assumed for an answer whose length the client does not cap.
pub const DEFAULT_OUTPUT_TOKENS: u64 = 1_024;

/// What estimating may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EstimateMode {
    /// Nothing: a token of each kind is reserved, so that a limit that is used up refuses, and the true cost is charged afterwards.
    None,
    /// Reading one header: the prompt is priced by the size of the body.
    ContentLength,
    /// Reading the body: the prompt is counted, and caps on the answer are known.
    #[default]
    Body,
}

/// A request's price in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the prompt before what was learned corrected them; 0 if they were not counted. Settling teaches by them.
    pub counted_tokens: u64,
    /// The most that all answers together may have; 0 if nothing is generated.
    pub output_tokens: u64,
    /// The vocabulary to count the answer with.
    pub vocabulary: Vocabulary,
}

/// A byte-pair vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vocabulary {
    /// GPT-4, GPT-3.5, `text-embedding-*`.
    Cl100k,
    /// GPT-4o and everything since; also the stand-in for other vendors' vocabularies.
    #[default]
    O200k,
}

impl Vocabulary {
    /// The vocabulary of a model.
    pub fn of(model: &str) -> Self {
        let name = base_name(model);
        let is_older = (name.starts_with("gpt-4")
            && !name.starts_with("gpt-4o")
            && !name.starts_with("gpt-4."))
            || {
                [
                    "gpt-3.5",
                    "gpt-35",
                    "text-embedding-",
                    "davinci-002",
                    "babbage-002",
                ]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            };
        if is_older { Self::Cl100k } else { Self::O200k }
    }

    /// Whether a model is one of OpenAI's own, so that its vocabulary is known and its count exact.
    pub fn is_exact_for(model: &str) -> bool {
        let name = base_name(model);
        let is_o_series = name
            .strip_prefix('o')
            .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
        is_o_series
            || [
                "gpt-",
                "chatgpt-",
                "codex-",
                "text-embedding-3-",
                "text-embedding-ada-",
                "davinci-002",
                "babbage-002",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    }

    /// Counts the tokens of a text exactly.
    pub fn count(self, text: &str) -> u64 {
        self.tokenizer().count(text) as u64
    }

    fn tokenizer(self) -> &'static Tokenizer {
        match self {
            Self::Cl100k => bpe_openai::cl100k_base(),
            Self::O200k => bpe_openai::o200k_base(),
        }
    }

    /// Loads both vocabularies, which takes some tens of milliseconds, so that no request waits for it.
    pub fn load_all() {
        for vocabulary in [Self::Cl100k, Self::O200k] {
            vocabulary.count("");
        }
    }
}

/// A model's name without a vendor's prefix (`openai/gpt-4`) and a fine-tune's (`ft:gpt-4:…`).
fn base_name(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    name.strip_prefix("ft:").unwrap_or(name)
}

impl Estimate {
    /// The price of a JSON body of `body_bytes`, given what was learned of its model and caller.
    pub fn of_request(request: &Request, body_bytes: usize, forecast: Forecast) -> Self {
        let model = request.model.as_deref();
        let vocabulary = model.map_or_else(Vocabulary::default, Vocabulary::of);
        let prompt = &request.prompt;
        let counted_tokens = if request.legible {
            prompt
                .texts()
                .map(|text| vocabulary.count(text))
                .sum::<u64>()
                .saturating_add(prompt.fixed_tokens())
                .saturating_add(prompt.beyond_bytes().div_ceil(BYTES_PER_TOKEN))
        } else {
            0
        };
        let prompt_tokens = if !request.legible {
            (body_bytes as u64).div_ceil(BYTES_PER_TOKEN)
        } else if model.is_some_and(Vocabulary::is_exact_for) {
            counted_tokens
        } else {
            forecast.prompt_ratio.apply(counted_tokens)
        };
        let each = match request.output_cap {
            Some(cap) if request.unlimited => cap.max(forecast.completion_tokens),
            Some(cap) => cap,
            None => forecast.completion_tokens,
        };
        Self {
            prompt_tokens,
            counted_tokens,
            output_tokens: if request.generates {
                each.saturating_mul(request.choices)
            } else {
                0
            },
            vocabulary,
        }
    }

    /// The price of a body of which only the size is known, or whose content says nothing. No body asks for no answer.
    pub fn of_bytes(body_bytes: u64) -> Self {
        Self {
            prompt_tokens: body_bytes.div_ceil(BYTES_PER_TOKEN),
            output_tokens: if body_bytes == 0 {
                0
            } else {
                DEFAULT_OUTPUT_TOKENS
            },
            ..Self::default()
        }
    }

    /// The price of a request that is not looked at: [`EstimateMode::None`].
    pub fn unknown() -> Self {
        Self {
            prompt_tokens: 1,
            output_tokens: 1,
            ..Self::default()
        }
    }

    /// What to reserve of any limit on prompt tokens. Above the limit, the request can never pass.
    pub fn reserve_prompt(&self) -> u64 {
        self.prompt_tokens
    }

    /// What to reserve of a limit on completion tokens: never more than the limit.
    pub fn reserve_completion(&self, limit: u64) -> u64 {
        self.output_tokens.min(limit)
    }

    /// What to reserve of a limit on total tokens: more than the limit only if the prompt alone is.
    pub fn reserve_total(&self, limit: u64) -> u64 {
        let most = limit.max(self.prompt_tokens);
        self.prompt_tokens
            .saturating_add(self.output_tokens)
            .min(most)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rate_limiting::learned::{Learned, Lesson};

    fn estimate(body: &serde_json::Value) -> Estimate {
        let body = body.to_string();
        Estimate::of_request(
            &Request::read(None, body.as_bytes()).unwrap(),
            body.len(),
            Forecast::default(),
        )
    }

    #[test]
    fn a_chat_costs_its_text_and_four_tokens_a_message() {
        // "You are helpful." is 4 tokens of o200k_base, "Hello, world!" 4; two messages 8, the answer's opening 3.
        let chat = json!({"model": "gpt-4o", "max_tokens": 50, "messages": [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": "Hello, world!"},
        ]});
        assert_eq!(estimate(&chat).prompt_tokens, 4 + 4 + 8 + 3);
        let parts = json!({"model": "gpt-4o", "max_tokens": 50, "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You are helpful."}]},
            {"content": [{"text": "Hello, world!", "type": "text"}], "role": "user"},
        ]});
        assert_eq!(estimate(&parts), estimate(&chat));
    }

    #[test]
    fn images_have_one_price_however_long_their_data() {
        let image = |url: &str| {
            estimate(&json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}))
                .prompt_tokens
        };
        assert_eq!(image("https://example.com/a.png"), 765 + 4 + 3);
        assert_eq!(
            image(&format!("data:image/png;base64,{}", "A".repeat(100_000))),
            765 + 4 + 3
        );
        let audio = json!({"messages": [{"role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": "A".repeat(6_400), "format": "wav"}},
        ]}]});
        assert_eq!(estimate(&audio).prompt_tokens, 100 + 4 + 3);
    }

    #[test]
    fn tools_and_tool_calls_are_not_free() {
        let plain = json!({"messages": [{"role": "user", "content": "hi"}]});
        let mut tools = plain.clone();
        tools["tools"] = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]);
        assert!(estimate(&tools).prompt_tokens > estimate(&plain).prompt_tokens + 8);
        let mut calls = plain.clone();
        calls["messages"][0]["tool_calls"] =
            json!([{"id": "1", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]);
        assert!(estimate(&calls).prompt_tokens > estimate(&plain).prompt_tokens + 4);
    }

    #[test]
    fn completions_and_embeddings_take_texts_and_tokens() {
        let prompt = |prompt| {
            estimate(&json!({"model": "gpt-3.5-turbo-instruct", "prompt": prompt})).prompt_tokens
        };
        assert_eq!(prompt(json!("Hello, world!")), 4);
        assert_eq!(prompt(json!(["Hello, world!", "Hello, world!"])), 8);
        assert_eq!(prompt(json!([1, 2, 3])), 3);
        assert_eq!(prompt(json!([[1, 2, 3], [4]])), 4);
        let embedding =
            estimate(&json!({"model": "text-embedding-3-small", "input": ["Hello, world!"]}));
        assert_eq!((embedding.prompt_tokens, embedding.output_tokens), (4, 0));
        assert_eq!(embedding.vocabulary, Vocabulary::Cl100k);
    }

    #[test]
    fn the_same_words_cost_the_same_from_every_vendor() {
        // 4 tokens each, 4 for the turn that says them; what opens an answer is 3 for `messages`.
        for (body, expected) in [
            (
                json!({"system": "You are helpful.", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello, world!", "cache_control": {"type": "ephemeral"}}]}]}),
                4 + 4 + 4 + 3,
            ),
            (
                json!({"systemInstruction": {"parts": [{"text": "You are helpful."}]}, "contents": [{"role": "user", "parts": [{"text": "Hello, world!"}]}]}),
                4 + 4 + 4,
            ),
            (
                json!({"system": [{"text": "You are helpful."}], "messages": [{"role": "user", "content": [{"text": "Hello, world!"}]}], "inferenceConfig": {}}),
                4 + 4 + 4 + 3,
            ),
            (
                json!({"system": "You are helpful.", "prompt": "Hello, world!", "options": {}}),
                4 + 4,
            ),
            (
                json!({"inputText": "Hello, world!", "textGenerationConfig": {}}),
                4,
            ),
            (
                json!({"instructions": "You are helpful.", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello, world!"}]}]}),
                4 + 4 + 4,
            ),
        ] {
            assert_eq!(estimate(&body).prompt_tokens, expected, "{body}");
        }
    }

    #[test]
    fn media_are_priced_by_their_kind_whoever_names_it() {
        let data = "A".repeat(6_400);
        let part = |part: &serde_json::Value| {
            estimate(&json!({"contents": [{"parts": [part]}]})).prompt_tokens - 4
        };
        for (media, expected) in [
            (
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}),
                1_600,
            ),
            (
                json!({"source": {"type": "url", "url": "https://example.com/a.png"}, "type": "image"}),
                1_600,
            ),
            (
                json!({"image": {"format": "png", "source": {"bytes": data}}}),
                1_600,
            ),
            (
                json!({"inlineData": {"mimeType": "image/png", "data": data}}),
                1_032,
            ),
            (
                json!({"file_data": {"mime_type": "image/png", "file_uri": "gs://a"}}),
                1_032,
            ),
            (
                json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}),
                100,
            ),
            (
                json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": data}}),
                1_600,
            ),
            (
                json!({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "Hello, world!"}]}}),
                4,
            ),
            (
                json!({"type": "document", "source": {"type": "file", "file_id": "f"}}),
                1_500,
            ),
            (
                json!({"document": {"format": "pdf", "name": "a", "source": {"bytes": data}}}),
                100,
            ),
            (
                json!({"inline_data": {"mime_type": "audio/wav", "data": data}}),
                100,
            ),
            (
                json!({"fileData": {"mimeType": "application/pdf", "fileUri": "gs://a"}}),
                1_500,
            ),
            (json!({"type": "input_file", "file_data": data}), 100),
            (
                json!({"type": "file", "file": {"filename": "a.pdf", "file_data": data}}),
                100,
            ),
            (
                json!({"toolResult": {"toolUseId": "1", "content": [{"image": {"source": {"bytes": data}}}]}}),
                1_600,
            ),
        ] {
            let tokens = part(&media);
            // Around a tool's result are its id and the names of what it is made of.
            let slack = if media.get("toolResult").is_some() {
                10
            } else {
                0
            };
            assert!(
                (expected..=expected + slack).contains(&tokens),
                "{tokens}: {media}"
            );
        }
        let ollama = json!({"prompt": "", "images": [data, data], "options": {}});
        assert_eq!(estimate(&ollama).prompt_tokens, 2 * 765);
    }

    #[test]
    fn what_was_learned_corrects_other_vendors_models_only() {
        let learned = Learned::new();
        let lesson = Lesson {
            counted_tokens: 1_000,
            prompt_tokens: 1_500,
            completion_tokens: Some(40),
        };
        for _ in 0..20 {
            learned.observe("claude-sonnet-4", 1, lesson);
            learned.observe("gpt-4o", 1, lesson);
        }
        let of = |model: &str, rest: &str| {
            let body = format!(r#"{{"model":"{model}","prompt":"Hello, world!"{rest}}}"#);
            let request = Request::read(None, body.as_bytes()).unwrap();
            Estimate::of_request(&request, body.len(), learned.forecast(model, 1))
        };
        let claude = of("claude-sonnet-4", "");
        assert_eq!((claude.counted_tokens, claude.prompt_tokens), (4, 6));
        assert_eq!(claude.output_tokens, 47);
        let gpt = of("gpt-4o", "");
        assert_eq!((gpt.counted_tokens, gpt.prompt_tokens), (4, 4));
        assert_eq!(of("gpt-4o", r#","max_tokens":9"#).output_tokens, 9);
        assert_eq!(of("gpt-4o", r#","max_tokens":-1"#).output_tokens, 47);
        let mixed = r#","max_tokens":9,"max_completion_tokens":-1"#;
        assert_eq!(of("gpt-4o", mixed).output_tokens, 47);
    }

    #[test]
    fn the_answer_is_the_largest_cap_times_the_choices() {
        let output = |body| estimate(&body).output_tokens;
        assert_eq!(
            output(json!({"messages": [], "max_tokens": 1, "max_completion_tokens": 10_000})),
            10_000
        );
        assert_eq!(
            output(json!({"messages": [], "max_tokens": 100, "n": 3})),
            300
        );
        assert_eq!(
            output(json!({"messages": [], "n": 2})),
            2 * DEFAULT_OUTPUT_TOKENS
        );
        assert_eq!(
            output(json!({"messages": [], "max_tokens": u64::MAX, "n": u64::MAX})),
            u64::MAX
        );
    }

    #[test]
    fn a_first_request_is_admissible_unless_its_prompt_alone_is_too_large() {
        let estimate = |prompt_tokens, output_tokens| Estimate {
            prompt_tokens,
            output_tokens,
            ..Estimate::default()
        };
        assert_eq!(estimate(300, 5_000).reserve_total(1_000), 1_000);
        assert_eq!(estimate(300, 300).reserve_total(1_000), 600);
        assert_eq!(estimate(1_001, 1).reserve_total(1_000), 1_001);
        assert_eq!(estimate(300, 5_000).reserve_completion(1_000), 1_000);
        assert_eq!(estimate(300, 5_000).reserve_prompt(), 300);
        assert_eq!(estimate(u64::MAX, u64::MAX).reserve_total(1_000), u64::MAX);
    }

    #[test]
    fn what_cannot_be_read_is_priced_by_its_size() {
        assert_eq!(Estimate::of_bytes(4_001).prompt_tokens, 1_001);
        assert_eq!(
            Estimate::of_bytes(4_001).output_tokens,
            DEFAULT_OUTPUT_TOKENS
        );
        assert_eq!(Estimate::of_bytes(0).reserve_total(10), 0);
        assert_eq!(
            estimate(&json!({"query": "x".repeat(100)})).prompt_tokens,
            28
        );
    }

    #[test]
    fn text_beyond_the_cap_is_priced_by_its_size() {
        let estimate = estimate(&json!({"prompt": "word ".repeat(100_000)}));
        assert!(
            (110_000..150_000).contains(&estimate.prompt_tokens),
            "{estimate:?}"
        );
    }

    #[test]
    fn models_have_their_vocabularies() {
        for model in [
            "gpt-4",
            "gpt-4-turbo",
            "gpt-3.5-turbo",
            "openai/gpt-4",
            "ft:gpt-3.5-turbo:acme::1",
            "text-embedding-ada-002",
        ] {
            assert_eq!(Vocabulary::of(model), Vocabulary::Cl100k, "{model}");
        }
        for model in [
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-4.1",
            "gpt-5",
            "o3",
            "claude-sonnet-4",
            "",
            "/",
        ] {
            assert_eq!(Vocabulary::of(model), Vocabulary::O200k, "{model}");
        }
    }

    #[test]
    fn hostile_text_is_no_slower_than_prose() {
        let started = std::time::Instant::now();
        for hostile in ["a", " ", "\u{202e}", "🏳️‍🌈", "^", "\\"] {
            estimate(&json!({"prompt": hostile.repeat(200_000)}));
        }
        assert!(
            started.elapsed() < std::time::Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
    }
}
