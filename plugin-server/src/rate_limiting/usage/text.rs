//! Counting the text of a stream whose usage nobody reported.

use serde_json::Value;

use super::super::estimate::Vocabulary;
use super::Observed;
use super::events::{self, Framing};

/// The tokens of the text that was streamed: exact for what was kept, in proportion to the bytes for the rest. An event cut at
/// either end is left out. `None` if no event is of a kind whose text is known.
pub(super) fn count(framing: Framing, answer: &Observed, vocabulary: Vocabulary) -> Option<u64> {
    let mut events: Vec<_> = events::newest_first(framing, answer).collect();
    events.reverse();
    let mut text = String::new();
    let mut known = false;
    for event in events {
        if let Ok(event) = serde_json::from_slice::<Value>(&event) {
            known |= append(&event, &mut text);
        }
    }
    if !known {
        return None;
    }
    let tokens = vocabulary.count(&text);
    let kept = answer.tail.len() as u64;
    if answer.bytes <= kept || kept == 0 {
        return Some(tokens);
    }
    let scaled = u128::from(tokens) * u128::from(answer.bytes) / u128::from(kept);
    Some(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// Adds what an event says of the answer's text, reasoning and calls of tools included. Returns whether it is of a known kind.
fn append(event: &Value, text: &mut String) -> bool {
    let length = text.len();
    let mut add = |value: &Value| match value {
        Value::String(piece) => text.push_str(piece),
        Value::Object(arguments) if !arguments.is_empty() => text.push_str(&value.to_string()),
        _ => {}
    };
    if let Some(choices) = event["choices"].as_array() {
        for choice in choices {
            add(&choice["text"]);
            let delta = &choice["delta"];
            for field in ["reasoning_content", "reasoning", "content", "refusal"] {
                add(&delta[field]);
            }
            for call in list(&delta["tool_calls"]) {
                add(&call["function"]["name"]);
                add(&call["function"]["arguments"]);
            }
        }
        return true;
    }
    if let Some(candidates) = event["candidates"].as_array() {
        for part in candidates
            .iter()
            .flat_map(|candidate| list(&candidate["content"]["parts"]))
        {
            add(&part["text"]);
            add(&part["functionCall"]["name"]);
            add(&part["functionCall"]["args"]);
        }
        return true;
    }
    let delta = &event["delta"];
    match event["type"].as_str() {
        Some("content_block_start") => {
            add(&event["content_block"]["name"]);
            add(&event["content_block"]["text"]);
        }
        Some("content_block_delta") => {
            for field in ["text", "thinking", "partial_json"] {
                add(&delta[field]);
            }
        }
        Some(
            "content-start" | "content-delta" | "tool-plan-delta" | "tool-call-start"
            | "tool-call-delta",
        ) => {
            let message = &delta["message"];
            for field in ["thinking", "text"] {
                add(&message["content"][field]);
            }
            add(&message["tool_plan"]);
            add(&message["tool_calls"]["function"]["name"]);
            add(&message["tool_calls"]["function"]["arguments"]);
        }
        // Audio is Base64; its transcript is an event of its own.
        Some("response.audio.delta") => {}
        Some(kind) if kind.starts_with("response.") && kind.rsplit('.').next() == Some("delta") => {
            add(delta);
        }
        Some(_) => {}
        None => {
            // Bedrock Converse.
            add(&delta["text"]);
            add(&delta["reasoningContent"]["text"]);
            add(&delta["toolUse"]["input"]);
            add(&event["start"]["toolUse"]["name"]);
            // Ollama, chat and completion.
            let message = &event["message"];
            for field in [
                &message["thinking"],
                &message["content"],
                &event["thinking"],
            ] {
                add(field);
            }
            add(&event["response"]);
            for call in list(&message["tool_calls"]) {
                add(&call["function"]["name"]);
                add(&call["function"]["arguments"]);
            }
            // Models that Bedrock invokes: Titan, Llama, Mistral.
            add(&event["outputText"]);
            add(&event["generation"]);
            for output in list(&event["outputs"]) {
                add(&output["text"]);
            }
            return text.len() > length;
        }
    }
    true
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stream: &str) -> String {
        let mut text = String::new();
        for line in stream.lines() {
            if let Ok(event) = serde_json::from_str(line) {
                append(&event, &mut text);
            }
        }
        text
    }

    #[test]
    fn all_kinds_of_text_are_read() {
        for (events, expected) in [
            (
                r#"{"choices":[{"delta":{"role":"assistant","content":null,"reasoning":"why"}}]}
{"choices":[{"delta":{"content":" so"}}]}
{"choices":[{"delta":{"tool_calls":[{"function":{"name":" f","arguments":"{}"}}]}}]}
{"choices":[{"text":" end"}]}"#,
                "why so f{} end",
            ),
            (
                r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":{}}}
{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":" hm"}}
{"type":"content_block_delta","delta":{"type":"text_delta","text":" hi"}}
{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":" {}"}}"#,
                "f hm hi {}",
            ),
            (
                r#"{"type":"response.output_text.delta","delta":"hi"}
{"type":"response.function_call_arguments.delta","delta":" {}"}
{"type":"response.audio.delta","delta":"AAAA"}
{"type":"response.output_text.done","text":"hi"}"#,
                "hi {}",
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"a"},{"functionCall":{"name":"f","args":{"b":1}}}]}}]}"#,
                r#"af{"b":1}"#,
            ),
            (
                r#"{"type":"content-delta","delta":{"message":{"content":{"text":"a"}}}}
{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"b"}}}
{"type":"tool-call-delta","delta":{"message":{"tool_calls":{"function":{"arguments":"c"}}}}}"#,
                "abc",
            ),
            (
                r#"{"message":{"role":"assistant","content":"a","thinking":"t","tool_calls":[{"function":{"name":"f","arguments":{"b":1}}}]},"done":false}
{"response":"g","done":false}"#,
                r#"taf{"b":1}g"#,
            ),
            (
                r#"{"start":{"toolUse":{"name":"f"}}}
{"delta":{"text":"a"}}
{"delta":{"reasoningContent":{"text":"b"}}}
{"delta":{"toolUse":{"input":"c"}}}
{"outputText":"d"}
{"generation":"e"}
{"outputs":[{"text":"g"}]}"#,
                "fabcdeg",
            ),
        ] {
            assert_eq!(text(events), expected);
        }
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
        assert_eq!(
            count(Framing::of(&answer), &answer, Vocabulary::O200k),
            Some(300)
        );
    }

    #[test]
    fn events_of_no_known_kind_are_not_counted() {
        let answer = Observed {
            tail: b"data: {\"words\":\"one two three\"}\n\n".to_vec(),
            ..Observed::default()
        };
        assert_eq!(count(Framing::Sse, &answer, Vocabulary::O200k), None);
    }
}
