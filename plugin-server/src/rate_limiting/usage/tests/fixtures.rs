//! Each row of the table, plain and streamed, as the providers' documentation shows it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::frames::tests::frame;
use super::{Usage, detailed};

const BEDROCK_STREAM: &str =
    include_str!("../../../../tests/fixtures/usage/bedrock-converse.events");
const BEDROCK_INVOKE: &str = include_str!("../../../../tests/fixtures/usage/bedrock-invoke.events");
const RESPONSES_STREAM: &str =
    include_str!("../../../../tests/fixtures/usage/openai-responses.sse");

/// Frames of the events in a fixture: a line has the type and the payload of one.
fn framed(lines: &str, wrap: fn(&str) -> String) -> Vec<u8> {
    lines
        .lines()
        .flat_map(|line| {
            let (kind, payload) = line.split_once(' ').unwrap();
            frame(kind, &wrap(payload))
        })
        .collect()
}

fn in_base64(event: &str) -> String {
    format!(r#"{{"bytes":"{}","p":"abcdef"}}"#, STANDARD.encode(event))
}

pub(super) struct Fixture {
    pub(super) name: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) usage: Usage,
    /// From here on, what follows lacks the figure.
    pub(super) figure_at: usize,
    /// Whether figures before the last one are the provider's too.
    pub(super) cumulative: bool,
}

pub(super) fn fixtures() -> Vec<Fixture> {
    macro_rules! fixture {
        ($name:literal, $mark:literal, $usage:expr) => {{
            let body = include_bytes!(concat!("../../../../tests/fixtures/usage/", $name));
            let figure_at = text_position(body, $mark);
            Fixture {
                name: $name,
                body: body.to_vec(),
                usage: $usage,
                figure_at,
                cumulative: false,
            }
        }};
    }
    let frames = |name, lines: &str, wrap: fn(&str) -> String, usage| {
        let body = framed(lines, wrap);
        let last = framed(lines.lines().last().unwrap(), wrap);
        let figure_at = body.len() - last.len() + 1;
        Fixture {
            name,
            body,
            usage,
            figure_at,
            cumulative: false,
        }
    };
    let mut fixtures = vec![
        fixture!("openai-chat.json", "\"usage\":", Usage::of(19, 10)),
        fixture!("openai-chat.sse", "\"usage\":", Usage::of(19, 9)),
        fixture!("openai-completion.json", "\"usage\":", Usage::of(5, 7)),
        fixture!("openai-completion.sse", "\"usage\":", Usage::of(5, 16)),
        fixture!("openai-embedding.json", "\"usage\":", Usage::of(8, 0)),
        fixture!("mistral.sse", "\"usage\":", Usage::of(13, 9)),
        fixture!("vllm.json", "\"usage\":", Usage::of(41, 10)),
        fixture!("vllm-continuous.sse", "\"usage\":", Usage::of(11, 4)),
        fixture!(
            "openai-responses.json",
            "\"usage\":",
            detailed(Usage::of(36, 87), 16, 0, 64)
        ),
        fixture!("openai-responses.sse", "\"usage\":", Usage::of(37, 11)),
        fixture!(
            "anthropic-messages.json",
            "\"usage\":",
            detailed(Usage::of(5_195, 503), 3_000, 100, 0)
        ),
        fixture!(
            "anthropic-messages.sse",
            "\"usage\":",
            detailed(Usage::of(235, 89), 200, 10, 0)
        ),
        fixture!(
            "gemini.json",
            "\"usageMetadata\":",
            detailed(Usage::of(110, 40), 12, 0, 15)
        ),
        fixture!(
            "gemini.sse",
            "\"usageMetadata\":",
            detailed(Usage::of(8, 27), 0, 0, 20)
        ),
        fixture!(
            "gemini-array.json",
            "\"usageMetadata\":",
            detailed(Usage::of(8, 27), 0, 0, 20)
        ),
        fixture!(
            "bedrock-converse.json",
            "\"usage\":",
            detailed(Usage::of(160, 60), 30, 5, 0)
        ),
        frames(
            "bedrock-converse.events",
            BEDROCK_STREAM,
            str::to_owned,
            Usage::of(47, 20),
        ),
        frames(
            "bedrock-invoke.events",
            BEDROCK_INVOKE,
            in_base64,
            detailed(Usage::of(235, 89), 200, 10, 0),
        ),
        fixture!(
            "cohere-chat.json",
            "\"usage\":",
            detailed(Usage::of(21, 124), 16, 0, 0)
        ),
        fixture!("cohere-chat.sse", "\"usage\":", Usage::of(13, 14)),
        fixture!("cohere-embed.json", "\"meta\":", Usage::of(12, 0)),
        fixture!("ollama-chat.json", "\"done\":true", Usage::of(26, 282)),
        fixture!("ollama-chat.ndjson", "\"done\":true", Usage::of(26, 282)),
        fixture!("ollama-generate.json", "\"done\":true", Usage::of(26, 290)),
        fixture!(
            "ollama-generate.ndjson",
            "\"done\":true",
            Usage::of(26, 259)
        ),
        fixture!("ollama-empty.json", "\"done\":true", Usage::of(26, 0)),
    ];
    for (name, end) in [
        ("openai-responses.sse, incomplete", "response.incomplete"),
        ("openai-responses.sse, failed", "response.failed"),
    ] {
        let body = RESPONSES_STREAM.replace("response.completed", end);
        fixtures.push(Fixture {
            name,
            usage: Usage::of(37, 11),
            figure_at: text_position(body.as_bytes(), "\"usage\":"),
            body: body.into_bytes(),
            cumulative: false,
        });
    }
    for fixture in &mut fixtures {
        fixture.cumulative = ["vllm", "anthropic-messages.sse", "gemini", "bedrock-invoke"]
            .iter()
            .any(|name| fixture.name.starts_with(name));
    }
    fixtures
}

/// One past the comma before the last such name: without it, a name could be the end of a text.
fn text_position(body: &[u8], mark: &str) -> usize {
    let name = body
        .windows(mark.len())
        .rposition(|window| window == mark.as_bytes())
        .unwrap();
    body[..name].trim_ascii_end().len()
}
