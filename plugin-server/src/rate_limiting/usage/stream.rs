//! Counting the text of a stream whose usage nobody reported.

use serde::Deserialize;

use super::super::estimate::Vocabulary;
use super::Observed;

/// Whether an answer is a stream of server-sent events.
pub(super) fn is_stream(answer: &Observed) -> bool {
    let start = if answer.head.is_empty() {
        &answer.tail
    } else {
        &answer.head
    };
    let start = start.trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"]
        .iter()
        .any(|field| start.starts_with(field))
}

/// The tokens of the text that was streamed: exact for what was kept, in proportion to the bytes for the rest.
pub(super) fn count(answer: &Observed, vocabulary: Vocabulary) -> u64 {
    let tokens = vocabulary.count(&text(&answer.tail));
    let kept = answer.tail.len() as u64;
    if answer.bytes <= kept || kept == 0 {
        return tokens;
    }
    let scaled = u128::from(tokens) * u128::from(answer.bytes) / u128::from(kept);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The text of the whole events of a fragment; an event cut at either end is left out.
fn text(fragment: &[u8]) -> String {
    let mut text = String::new();
    for line in fragment.split(|&byte| byte == b'\n') {
        let Some(data) = line.strip_prefix(b"data:") else {
            continue;
        };
        let Ok(event) = serde_json::from_slice::<Event>(data) else {
            continue;
        };
        for choice in event.choices {
            text.extend(choice.text);
            let Some(delta) = choice.delta else { continue };
            text.extend(delta.reasoning_content);
            text.extend(delta.reasoning);
            text.extend(delta.content);
            text.extend(delta.refusal);
            for call in delta.tool_calls.into_iter().flatten() {
                text.extend(call.function.name);
                text.extend(call.function.arguments);
            }
        }
    }
    text
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    text: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    function: Function,
}

#[derive(Default, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_text_are_read_and_broken_events_left_out() {
        let stream = concat!(
            "elta\":{\"content\":\"cut\"}}]}\r\n\r\n",
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"why\"}}]}\r\n\r\n",
            ": keep-alive\n\n",
            "event: message\ndata:{\"choices\":[{\"delta\":{\"content\":\" so\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\" f\",\"arguments\":\"{}\"}}]}}]}\n\n",
            "data: {\"choices\":[{\"text\":\" end\"}]}\n\n",
            "data: [DONE]\n\ndata: {\"choi",
        );
        assert_eq!(text(stream.as_bytes()), "why so f{} end");
    }

    #[test]
    fn what_was_not_kept_counts_in_proportion() {
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\" word\"}}]}\n\n";
        let tail = event.repeat(100);
        let answer = Observed {
            head: event.into(),
            bytes: 3 * tail.len() as u64,
            tail: tail.into(),
            ended: true,
        };
        assert!(is_stream(&answer));
        assert_eq!(count(&answer, Vocabulary::O200k), 300);
    }
}
