mod fixtures;

use self::fixtures::{Fixture, fixtures};
use super::super::estimate::Vocabulary;
use super::frames::tests::frame;
use super::*;

/// What the provider reports in this answer.
fn reported(body: impl AsRef<[u8]>) -> Option<Usage> {
    let answer = whole(body);
    let reading = reading(Framing::of(&answer), &answer)?;
    Some(reading.figure.usage(ESTIMATE.prompt_tokens))
}

const CHAT: &str = include_str!("../../../tests/fixtures/usage/openai-chat.json");
const CHAT_STREAM: &str = include_str!("../../../tests/fixtures/usage/openai-chat.sse");

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

fn whole(body: impl AsRef<[u8]>) -> Observed {
    let tail = body.as_ref().to_vec();
    Observed {
        head: Vec::new(),
        bytes: tail.len() as u64,
        tail,
        ended: true,
    }
}

fn detailed(usage: Usage, cached_read: u64, cache_write: u64, reasoning: u64) -> Usage {
    Usage {
        cached_read_tokens: cached_read,
        cache_write_tokens: cache_write,
        reasoning_tokens: reasoning,
        ..usage
    }
}

#[test]
fn the_provider_is_believed() {
    for fixture in fixtures() {
        assert_eq!(
            spent(Some(&whole(&fixture.body)), 200, &ESTIMATE),
            Spent::Reported(fixture.usage),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn a_figure_is_whole_or_absent_wherever_the_answer_is_cut() {
    for Fixture {
        name,
        body,
        usage,
        figure_at,
        cumulative,
    } in fixtures()
    {
        for cut in 0..=body.len() {
            // The tail keeps the end of an answer: the figure survives until the cut reaches it.
            let tail = Observed {
                head: body[..cut.max(1024).min(body.len())].to_vec(),
                ended: true,
                ..whole(&body[cut..])
            };
            match spent(Some(&tail), 200, &ESTIMATE) {
                Spent::Reported(figure) if figure == usage => {}
                // With the last figure gone, an earlier one of the stream is the best there is.
                Spent::Reported(figure) => assert!(
                    cumulative
                        && cut >= figure_at
                        && figure.completion_tokens <= usage.completion_tokens,
                    "{name} from {cut}: {figure:?}"
                ),
                _ => assert!(cut >= figure_at, "{name} from {cut}"),
            }
            // An answer that breaks off has its figure only if it broke off after it, and is never free.
            let early = Observed {
                ended: false,
                ..whole(&body[..cut])
            };
            let spent = spent(Some(&early), 200, &ESTIMATE);
            let early = spent.usage().unwrap();
            assert!(early.prompt_tokens > 0, "{name} to {cut}: {spent:?}");
            if let Spent::Reported(_) = spent {
                assert!(
                    early == usage
                        || cumulative && early.completion_tokens <= usage.completion_tokens,
                    "{name} to {cut}: {spent:?}"
                );
            }
        }
    }
}

#[test]
fn a_broken_stream_of_anthropics_costs_its_stated_prompt_and_the_larger_completion() {
    let stream = include_str!("../../../tests/fixtures/usage/anthropic-messages.sse");
    let broken = |mark: &str| {
        let end = stream.find(mark).unwrap();
        let answer = Observed {
            ended: false,
            ..whole(&stream[..end])
        };
        spent(Some(&answer), 200, &ESTIMATE)
    };
    let reported = |completion| detailed(Usage::of(235, completion), 200, 10, 0);
    assert_eq!(
        broken("event: content_block_start"),
        Spent::Reported(reported(1))
    );
    let Spent::Estimated(counted, Source::Counted) = broken("event: content_block_stop") else {
        panic!("the text is longer than a token");
    };
    assert_eq!(counted, reported(counted.completion_tokens));
    assert!(counted.completion_tokens > 20, "{counted:?}");
    assert_eq!(broken("event: message_stop"), Spent::Reported(reported(89)));
}

#[test]
fn what_is_lost_between_head_and_tail_is_not_missed() {
    // The start is in the head, the end in the tail, and nothing of what is between.
    let stream = include_str!("../../../tests/fixtures/usage/anthropic-messages.sse");
    let (head, tail) = (
        &stream[..700],
        &stream[stream.rfind("stop_reason").unwrap() - 100..],
    );
    let answer = Observed {
        head: head.into(),
        bytes: 1_000_000,
        ..whole(tail)
    };
    assert_eq!(
        spent(Some(&answer), 200, &ESTIMATE),
        Spent::Reported(detailed(Usage::of(235, 89), 200, 10, 0))
    );
    // The last event of Responses repeats the whole answer; here it began long before the tail.
    let stream = include_str!("../../../tests/fixtures/usage/openai-responses.sse");
    let tail = &stream[stream.rfind("annotations").unwrap()..];
    let answer = Observed {
        head: stream[..500].into(),
        bytes: 1_000_000,
        ..whole(tail)
    };
    assert_eq!(
        spent(Some(&answer), 200, &ESTIMATE),
        Spent::Reported(Usage::of(37, 11))
    );
}

#[test]
fn responses_that_end_otherwise_report_too() {
    let stream = include_str!("../../../tests/fixtures/usage/openai-responses.sse");
    for end in ["response.incomplete", "response.failed"] {
        let stream = stream.replace("response.completed", end);
        assert_eq!(
            spent(Some(&whole(stream)), 200, &ESTIMATE),
            Spent::Reported(Usage::of(37, 11))
        );
    }
}

#[test]
fn ollama_leaves_out_what_is_zero() {
    let answer = |counts: &str| {
        spent(
            Some(&whole(format!(
                r#"{{"message":{{"content":""}},"done":true{counts}}}"#
            ))),
            200,
            &ESTIMATE,
        )
    };
    assert_eq!(
        answer(r#","prompt_eval_count":26"#),
        Spent::Reported(Usage::of(26, 0))
    );
    // A prompt from the cache is not counted: it is as estimated.
    assert_eq!(
        answer(r#","eval_count":5"#),
        Spent::Estimated(Usage::of(19, 5), Source::Provider)
    );
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
    assert_eq!(reported(body), None);
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
        assert_eq!(reported(strange), None, "{strange}");
    }
    let earlier = r#"data: {"usage":{"total_tokens":7}}

data: {"usage":null}"#;
    assert_eq!(reported(earlier), Some(usage(7, 0, 7)));
}

#[test]
fn a_provider_that_is_wrong_is_not_believed_or_corrected() {
    let figure = |usage: &str| reported(format!(r#"{{"usage":{usage}}}"#));
    for nonsense in [
        r#"{"prompt_tokens":-1,"completion_tokens":5}"#,
        r#"{"prompt_tokens":1.5,"completion_tokens":5}"#,
        r#"{"prompt_tokens":"12","completion_tokens":5}"#,
        r#"{"prompt_tokens":12,"completion_tokens":1099511627777}"#,
        r#"{"prompt_tokens":12,"completion_tokens":[5]}"#,
        r#"{"input_tokens":12,"output_tokens":-5}"#,
        r#"{"inputTokens":true,"outputTokens":5}"#,
        r#"{"billed_units":{"input_tokens":-1},"tokens":{"input_tokens":"x"}}"#,
        r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
    ] {
        assert_eq!(figure(nonsense), None, "{nonsense}");
    }
    for (usage, corrected) in [
        (
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":1}"#,
            Usage::of(10, 5),
        ),
        (
            r#"{"prompt_tokens":12.0,"completion_tokens":5.0}"#,
            Usage::of(12, 5),
        ),
        (
            r#"{"prompt_tokens":1099511627776,"completion_tokens":1}"#,
            Usage::of(1 << 40, 1),
        ),
        (
            r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":99},"completion_tokens_details":{"reasoning_tokens":99},"total_tokens":15}"#,
            detailed(Usage::of(10, 5), 10, 0, 5),
        ),
        (
            r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":-9},"completion_tokens_details":"?"}"#,
            Usage::of(10, 5),
        ),
        // xAI counts reasoning beside, some of Bedrock's models cached tokens within.
        (
            r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
            detailed(Usage::of(32, 103), 0, 0, 94),
        ),
        (
            r#"{"inputTokens":100,"outputTokens":25,"totalTokens":125,"cacheReadInputTokens":40}"#,
            detailed(Usage::of(100, 25), 40, 0, 0),
        ),
        (
            r#"{"tokens":{"input_tokens":7,"output_tokens":2}}"#,
            Usage::of(7, 2),
        ),
    ] {
        assert_eq!(figure(usage), Some(corrected), "{usage}");
    }
    let spent = spent(
        Some(&whole(r#"{"usage":{"total_tokens":-1}}"#)),
        200,
        &ESTIMATE,
    );
    assert_eq!(spent, Spent::Estimated(Usage::of(19, 8), Source::Measured));
}

#[test]
fn arguments_that_look_like_usage_are_none() {
    for body in [
        r#"{"content":[{"type":"tool_use","input":{"usage":{"input_tokens":1}}}],"stop_reason":"tool_use"}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"args":{"usageMetadata":{"promptTokenCount":1}}}}]}}]}"#,
        r#"{"output":{"message":{"content":[{"toolUse":{"input":{"usage":{"inputTokens":1}}}}]}}}"#,
        r#"{"message":{"tool_calls":[{"function":{"arguments":{"usage":{"total_tokens":1}}}}]},"eval_count":3,"done":false}"#,
        r#"{"tools":[{"parameters":{"usage":{"input_tokens":1}}}],"metadata":{"usage":{"input_tokens":1}}}"#,
    ] {
        assert_eq!(reported(body), None, "{body}");
        assert_eq!(reported(format!("data: {body}\n\n")), None, "{body}");
        assert_eq!(reported(format!("[{body}]")), None, "{body}");
        assert_eq!(reported(frame("chunk", body)), None, "{body}");
    }
}

#[test]
fn a_stream_that_broke_off_costs_its_prompt_and_what_was_streamed() {
    let broken = &CHAT_STREAM[..CHAT_STREAM.find(" today").unwrap()];
    let Spent::Estimated(counted, Source::Counted) = spent(Some(&whole(broken)), 200, &ESTIMATE)
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
    for piece in [
        r#""usage":{"#,
        r#"{"usage":{"#,
        r#"{"usage":"#,
        "data: {\n",
        "data: {}\n",
        "{}\n",
        "\n{",
        "[",
        "\"",
        "\\",
        "}",
        r#"{"done":false}"#,
        "\0",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\u0000\"}}]}\n",
    ] {
        for before in ["", "{", "[", "data: ", "{\"a\":\"", "{\"usage\":\""] {
            for after in ["", "}", "\"}", "}}]}"] {
                let body = format!("{before}{}{after}", piece.repeat(32 * 1024 / piece.len()));
                for ended in [false, true] {
                    spent(
                        Some(&Observed {
                            ended,
                            ..whole(&body)
                        }),
                        200,
                        &ESTIMATE,
                    );
                }
            }
        }
    }
    assert!(
        started.elapsed() < std::time::Duration::from_mins(1),
        "{:?}",
        started.elapsed()
    );
}
