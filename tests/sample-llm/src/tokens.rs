//! What text costs, by the tokenizer that OpenAI's current models use (`o200k_base`).

use serde_json::Value;

/// Tokens that the chat format adds to each message.
const TOKENS_PER_MESSAGE: usize = 3;
/// Tokens that prime the answer.
const TOKENS_PRIMING: usize = 3;

/// The number of tokens in `text`.
pub fn count(text: &str) -> usize {
    bpe_openai::o200k_base().count(text)
}

/// `text` cut where its tokens end; a character that spans tokens stays whole.
pub fn pieces(text: &str) -> Vec<String> {
    let tokenizer = bpe_openai::o200k_base();
    let mut pieces = Vec::new();
    let mut pending = Vec::new();
    for token in tokenizer.encode(text) {
        pending.extend(tokenizer.bpe.decode_tokens(&[token]));
        if let Ok(piece) = str::from_utf8(&pending) {
            pieces.push(piece.to_owned());
            pending.clear();
        }
    }
    pieces
}

/// The prompt tokens of a list of chat messages, as OpenAI's cookbook counts them: three a message, its role, its name, its text, and three for the answer's start.
pub fn count_messages(messages: &[Value]) -> usize {
    let body: usize = messages
        .iter()
        .map(|message| {
            let role = message["role"].as_str().map_or(0, count);
            let name = message["name"].as_str().map_or(0, |name| count(name) + 1);
            TOKENS_PER_MESSAGE + role + name + count(&content_text(&message["content"]))
        })
        .sum();
    body + TOKENS_PRIMING
}

/// The text of the last message: the question.
pub(crate) fn last_text(messages: &[Value]) -> String {
    messages
        .last()
        .map(|message| content_text(&message["content"]))
        .unwrap_or_default()
}

/// The text of a message's content: a string, or the text parts of a list.
pub fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_join_to_the_text_even_across_split_characters() {
        let text = "Grüße, 世界 🦀🦀! The quick brown fox.";
        assert_eq!(pieces(text).concat(), text);
    }

    #[test]
    fn a_message_costs_its_text_and_its_frame() {
        // "user" and "hello" are one token each.
        assert_eq!(
            count_messages(&[json!({"role": "user", "content": "hello"})]),
            3 + 1 + 1 + 3
        );
    }

    #[test]
    fn content_parts_count_their_text_alone() {
        let parts = json!([{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:"}}]);
        assert_eq!(content_text(&parts), "hello");
    }
}
