//! What an LLM request's body says that matters to its price.
//!
//! The body is read in one pass that builds no tree: text goes to a bounded [`Prompt`], everything unknown is skipped. So a
//! hostile body costs memory in proportion to the cap, whatever its shape, and nesting beyond serde_json's 128 levels is an
//! error like any other: such a body is priced by its size.

mod prompt;
mod visit;

pub use prompt::{EXACT_BYTES, Prompt};

/// A JSON body of one of OpenAI's shapes, or of something near.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, if it is named by a string.
    pub model: Option<String>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a stream's usage was asked for by the client.
    pub include_usage: bool,
    /// What the client is asking.
    pub shape: Shape,
    /// The text, and what is priced beside it.
    pub prompt: Prompt,
    /// The largest of all caps on the answer, in tokens for each choice.
    pub output_cap: Option<u64>,
    /// How many answers are generated: the larger of `n` and `best_of`, at least 1.
    pub choices: u64,
}

/// What a body is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// `messages`, `prompt`, or `input` for an answer: something is generated.
    Generation,
    /// `input` for embeddings: nothing is generated.
    Embedding,
    /// JSON of another kind.
    #[default]
    Unknown,
}

impl Request {
    /// Reads a body; `None` if it is no JSON object.
    pub fn read(body: &[u8]) -> Option<Self> {
        visit::read(body)
    }

    /// Whether the answer can be asked to report its usage by `stream_options`: a stream of chat or completions.
    pub fn lacks_stream_usage(&self) -> bool {
        self.stream && !self.include_usage && self.shape == Shape::Generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Request {
        Request::read(body.as_bytes()).unwrap_or_else(|| panic!("not read: {body}"))
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
        assert_eq!(cap(r#""max\u005ftokens":31"#), Some(31));
        for nonsense in [
            "-5",
            "null",
            "true",
            "[9]",
            r#"{"a":9}"#,
            r#""many""#,
            "-1e300",
        ] {
            assert_eq!(
                cap(&format!(r#""max_tokens":{nonsense}"#)),
                None,
                "{nonsense}"
            );
        }
    }

    #[test]
    fn choices_are_the_larger_of_n_and_best_of() {
        assert_eq!(read(r#"{"prompt":"a","n":2,"best_of":5}"#).choices, 5);
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
        assert!(!lacks(r#"{"messages":[],"stream":false}"#));
        assert!(!lacks(r#"{"messages":[],"stream":"yes"}"#));
        assert!(!lacks(r#"{"unrelated":1,"stream":true}"#));
    }

    #[test]
    fn shapes_are_known_by_their_fields() {
        let shape = |body: &str| read(body).shape;
        assert_eq!(
            shape(r#"{"model":"gpt-4o","messages":[]}"#),
            Shape::Generation
        );
        assert_eq!(shape(r#"{"prompt":"a"}"#), Shape::Generation);
        assert_eq!(
            shape(r#"{"model":"gpt-4o","input":"a"}"#),
            Shape::Generation
        );
        assert_eq!(
            shape(r#"{"model":"text-embedding-3-small","input":"a"}"#),
            Shape::Embedding
        );
        assert_eq!(
            shape(r#"{"input":"a","model":"bge-m3","encoding_format":"float"}"#),
            Shape::Embedding
        );
        assert_eq!(shape(r#"{"query":"a"}"#), Shape::Unknown);
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
            assert_eq!(Request::read(body.as_bytes()), None, "{body}");
        }
        assert_eq!(Request::read(b"{\"model\":\"\xff\"}"), None);
        let deep = format!(
            r#"{{"messages":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(Request::read(deep.as_bytes()), None);
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
