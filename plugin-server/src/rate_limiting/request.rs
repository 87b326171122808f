//! What an LLM request says that matters to its price: where it goes, and what is in its body.
//!
//! The body is read in one pass that builds no tree: text goes to a bounded [`Prompt`], everything unknown is skipped. So a
//! hostile body costs memory in proportion to the cap, whatever its shape, and nesting beyond serde_json's 128 levels is an
//! error like any other: such a body is priced by its size.
//!
//! # Layout
//!
//! `visit` reads the members of a body, `collect` the text in them and `media` what is no text, each with its price; `caps` knows where
//! a cap on the answer stands in every API.
//!
//! # Caps
//!
//! Several caps are none the smaller: the largest counts, wherever they stand and however often a name is repeated. A fraction is
//! rounded up, a number in quotes is a number, one beyond 64 bits is the largest there is. A negative number is no cap, as it is for Ollama
//! and llama.cpp, even beside one. Anything else (`null`, `true`, a list) says nothing.

mod caps;
mod collect;
mod media;
mod prompt;
mod scalar;
mod visit;

pub use caps::CapPlace;
pub(super) use caps::{Cap, Section, TOP};
pub use prompt::{EXACT_BYTES, Prompt};
pub(super) use scalar::Scalar;

use super::api::Api;

/// A request with a JSON body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Whose API it speaks.
    pub api: Api,
    /// The model, if it is named: by the path where the path decides, else by a string in the body.
    pub model: Option<String>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a stream's usage was asked for by the client.
    pub include_usage: bool,
    /// Whether anything is generated: embeddings and counting generate nothing.
    pub generates: bool,
    /// Whether the prompt was found. If not, the body's size is all that can be priced.
    pub legible: bool,
    /// The text, and what is priced beside it.
    pub prompt: Prompt,
    /// The largest of all caps on the answer, in tokens for each choice.
    pub output_cap: Option<u64>,
    /// Whether a negative cap asks for no cap at all.
    pub unlimited: bool,
    /// How many answers are generated: the largest of `n`, `best_of` and `candidateCount`, at least 1.
    pub choices: u64,
}

impl Request {
    /// Reads a body that is sent to a path, if that is known; `None` if the body is no JSON object.
    pub fn read(path: Option<&str>, body: &[u8]) -> Option<Self> {
        visit::read(path, body)
    }

    /// Whether the answer can be asked to report its usage by `stream_options`: a stream of chat or completions.
    pub fn lacks_stream_usage(&self) -> bool {
        self.stream && !self.include_usage && self.api.reports_stream_usage_on_request()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Request {
        Request::read(None, body.as_bytes()).unwrap_or_else(|| panic!("not read: {body}"))
    }

    #[test]
    fn the_largest_cap_counts_wherever_it_hides() {
        let cap = |caps: &str| read(&format!(r#"{{"messages":[],{caps}}}"#)).output_cap;
        assert_eq!(
            cap(r#""max_tokens":1,"max_completion_tokens":10000"#),
            Some(10_000)
        );
        assert_eq!(
            cap(r#""max_tokens":1,"max_output_tokens":7,"max_tokens":9"#),
            Some(9)
        );
        assert_eq!(cap(r#""max_tokens":"250""#), Some(250));
        assert_eq!(cap(r#""max_tokens":12.0"#), Some(12));
        assert_eq!(cap(r#""max_tokens":1e300"#), Some(u64::MAX));
        assert_eq!(cap(r#""max_tokens":"1e3""#), Some(1_000));
        assert_eq!(cap(r#""max_tokens":"inf""#), Some(u64::MAX));
        assert_eq!(cap(r#""max\u005ftokens":31"#), Some(31));
        for nonsense in ["null", "true", "[9]", r#"{"a":9}"#, r#""many""#, r#""NaN""#] {
            assert_eq!(
                cap(&format!(r#""max_tokens":{nonsense}"#)),
                None,
                "{nonsense}"
            );
        }
    }

    #[test]
    fn every_api_has_its_cap_in_its_place() {
        for body in [
            r#"{"generationConfig":{"maxOutputTokens":7,"temperature":9}}"#,
            r#"{"generation_config":{"max_output_tokens":"7"}}"#,
            r#"{"inferenceConfig":{"maxTokens":7,"stopSequences":["9"]}}"#,
            r#"{"textGenerationConfig":{"maxTokenCount":7}}"#,
            r#"{"options":{"num_predict":7,"num_ctx":9}}"#,
            r#"{"max_gen_len":7,"metadata":{"max_tokens":9}}"#,
            r#"{"generationConfig":{"maxOutputTokens":1},"generationConfig":{"maxOutputTokens":7},"generationConfig":null}"#,
            r#"{"generationConfig":9,"options":[9],"inferenceConfig":"9","max_tokens":7}"#,
        ] {
            assert_eq!(read(body).output_cap, Some(7), "{body}");
        }
    }

    #[test]
    fn a_negative_cap_is_none_even_beside_one() {
        for body in [
            r#"{"max_tokens":-5}"#,
            r#"{"max_tokens":-1e300}"#,
            r#"{"max_tokens":"-1"}"#,
            r#"{"options":{"num_predict":-2}}"#,
        ] {
            let request = read(body);
            assert!(request.unlimited && request.output_cap.is_none(), "{body}");
        }
        let both = read(r#"{"max_tokens":3,"max_completion_tokens":-1}"#);
        assert!(both.unlimited);
        assert_eq!(both.output_cap, Some(3));
        assert!(!read(r#"{"max_tokens":-0.0}"#).unlimited);
    }

    #[test]
    fn choices_are_the_largest_of_their_numbers() {
        assert_eq!(read(r#"{"prompt":"a","n":2,"best_of":5}"#).choices, 5);
        assert_eq!(
            read(r#"{"generationConfig":{"candidateCount":4},"n":2}"#).choices,
            4
        );
        assert_eq!(read(r#"{"prompt":"a","n":-3}"#).choices, 1);
        assert_eq!(read(r#"{"prompt":"a","n":0}"#).choices, 1);
        assert_eq!(read(r#"{"prompt":"a"}"#).choices, 1);
    }

    #[test]
    fn a_stream_that_lacks_usage_is_told_from_others() {
        let lacks = |body: &str| read(body).lacks_stream_usage();
        assert!(lacks(r#"{"messages":[],"stream":true}"#));
        assert!(lacks(
            r#"{"messages":[],"stream":true,"stream_options":null}"#
        ));
        assert!(lacks(
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":false,"x":[1]}}"#
        ));
        assert!(!lacks(
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#
        ));
        assert!(lacks(
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true},"stream_options":null}"#
        ));
        assert!(lacks(
            r#"{"messages":[],"stream":true,"stream_options":null,"stream_options":{"include_usage":true}}"#
        ));
        assert!(!lacks(r#"{"input":"a","stream":true}"#));
        assert!(!lacks(r#"{"messages":[],"stream":false}"#));
        assert!(!lacks(r#"{"messages":[],"stream":"yes"}"#));
        assert!(!lacks(r#"{"unrelated":1,"stream":true}"#));
    }

    #[test]
    fn without_a_path_the_api_is_known_by_the_body() {
        for (body, api, generates) in [
            (r#"{"model":"gpt-4o","messages":[]}"#, Api::OpenAiChat, true),
            (r#"{"prompt":"a"}"#, Api::OpenAiCompletions, true),
            (
                r#"{"model":"gpt-4o","input":"a"}"#,
                Api::OpenAiResponses,
                true,
            ),
            (
                r#"{"model":"text-embedding-3-small","input":"a"}"#,
                Api::OpenAiEmbeddings,
                false,
            ),
            (
                r#"{"input":"a","model":"bge-m3","encoding_format":"float"}"#,
                Api::OpenAiEmbeddings,
                false,
            ),
            (r#"{"messages":[],"system":"a"}"#, Api::Anthropic, true),
            (
                r#"{"anthropic_version":"bedrock-2023-05-31","messages":[]}"#,
                Api::BedrockInvoke,
                true,
            ),
            (r#"{"contents":[]}"#, Api::Gemini, true),
            (r#"{"content":{"parts":[]}}"#, Api::Gemini, false),
            (
                r#"{"messages":[],"inferenceConfig":{}}"#,
                Api::BedrockConverse,
                true,
            ),
            (
                r#"{"inputText":"a","textGenerationConfig":{}}"#,
                Api::BedrockInvoke,
                true,
            ),
            (r#"{"prompt":"a","options":{}}"#, Api::Ollama, true),
            (r#"{"messages":[],"safety_mode":"OFF"}"#, Api::Cohere, true),
            (r#"{"query":"a"}"#, Api::Unknown, true),
        ] {
            let request = read(body);
            assert_eq!((request.api, request.generates), (api, generates), "{body}");
            assert_eq!(request.legible, api != Api::Unknown, "{body}");
        }
    }

    #[test]
    fn the_path_decides_where_it_says() {
        let at = |path: &str, body: &str| Request::read(Some(path), body.as_bytes()).unwrap();
        let messages = at(
            "/v1/messages",
            r#"{"model":"claude","messages":[],"stream":true}"#,
        );
        assert_eq!(messages.api, Api::Anthropic);
        assert!(messages.stream && !messages.lacks_stream_usage());
        let gemini = at(
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            r#"{"model":"cheap","stream":false,"contents":[]}"#,
        );
        assert_eq!(gemini.model.as_deref(), Some("gemini-2.5-pro"));
        assert!(gemini.stream);
        let titan = at(
            "/model/amazon.titan-embed-text-v2%3A0/invoke",
            r#"{"inputText":"a"}"#,
        );
        assert!(!titan.generates);
        assert!(at("/api/chat", r#"{"messages":[]}"#).stream);
        assert!(!at("/api/chat", r#"{"messages":[],"stream":false}"#).stream);
        assert!(!at("/v1/messages/count_tokens", r#"{"messages":[]}"#).generates);
        let unknown = at("/my/llm", r#"{"messages":[],"system":"a"}"#);
        assert_eq!(unknown.api, Api::Anthropic);
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for body in [
            "",
            "null",
            "[]",
            "\"a\"",
            "{",
            "{}x",
            "{\"a\":1,}",
            "\u{feff}{}",
            "{\"model\":\"\\ud800\"}",
        ] {
            assert_eq!(Request::read(None, body.as_bytes()), None, "{body}");
        }
        assert_eq!(Request::read(None, b"{\"model\":\"\xff\"}"), None);
        let deep = format!(
            r#"{{"messages":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(Request::read(None, deep.as_bytes()), None);
    }

    #[test]
    fn memory_is_bounded_whatever_the_shape() {
        let many = format!(
            r#"{{"messages":[{{"content":[{}]}}]}}"#,
            vec!["\"a\""; 400_000].join(",")
        );
        let request = read(&many);
        assert!(request.prompt.text_bytes() <= EXACT_BYTES);
        assert!(request.prompt.pieces() <= EXACT_BYTES);
    }
}
