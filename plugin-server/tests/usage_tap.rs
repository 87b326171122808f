//! The usage tap that ships, in real LuaJIT, with nothing but what Kong's sandbox gives it.

use std::collections::BTreeMap;
use std::fmt::Write;

use llm_plugin_server::rate_limiting::estimate::Estimate;
use llm_plugin_server::rate_limiting::usage::{Observed, Source, Spent, Usage, spent};
use mlua::{Function, Lua, Table};

const TAP: &str = include_str!("../../kong/usage-tap.lua");
const CHAT: &str = include_str!("fixtures/usage/openai-chat.json");
const CHAT_STREAM: &str = include_str!("fixtures/usage/openai-chat.sse");

/// What the tap reads of a handle is this.
const HANDLE: &str =
    r#"{"v":3,"s":"memory","id":"a:b","e":{"p":7},"k":1,"m":"gpt-4o","t":"acme","c":[]}"#;

const TAIL: usize = 64 * 1024;
const HEAD: usize = 16 * 1024;

/// One answer on its way through Kong.
struct Answer {
    lua: Lua,
    filter: Function,
    shared: Table,
    arg: Table,
    /// What Kong's log plugins would write.
    logged: Table,
}

impl Answer {
    fn new(hide_usage: bool) -> Self {
        let lua = Lua::new();
        let globals = lua.globals();
        let table = || lua.create_table().expect("a table");
        let (shared, environment, kong, context, ngx) =
            (table(), table(), table(), table(), table());
        // Reads and writes are told apart: the tap assigns `ngx.arg` only when it must.
        let arg: Table = lua
            .load("local values = {}; return setmetatable({}, {__index = values, __newindex = function(_, key, value) assert(key == 1); values.written = value end, values = values})")
            .eval()
            .expect("a recording table");
        for library in ["string", "table", "math", "pcall", "tonumber"] {
            let library_value: mlua::Value = globals.get(library).expect("a standard library");
            environment.set(library, library_value).expect("a field");
        }
        shared.set("llm_rate_limiting", HANDLE).expect("a field");
        context.set("shared", &shared).expect("a field");
        kong.set("ctx", context).expect("a field");
        let response = table();
        let status = lua.create_function(|_, ()| Ok(207)).expect("a function");
        response.set("get_status", status).expect("a field");
        kong.set("response", response).expect("a field");
        let logged: Table = table();
        let log = table();
        let values = logged.clone();
        let set = lua
            .create_function(move |_, (name, value): (String, Table)| values.set(name, value))
            .expect("a function");
        log.set("set_serialize_value", set).expect("a field");
        kong.set("log", log).expect("a field");
        ngx.set("arg", &arg).expect("a field");
        environment.set("kong", kong).expect("a field");
        environment.set("ngx", ngx).expect("a field");
        if hide_usage {
            shared.set("llm_tap_hide_usage", true).expect("a field");
        }
        let filter = lua
            .load(TAP)
            .set_environment(environment)
            .into_function()
            .expect("the tap compiles");
        Self {
            lua,
            filter,
            shared,
            arg,
            logged,
        }
    }

    /// Runs the filter on a buffer. Returns what goes on to the client, and whether `ngx.arg` was assigned.
    fn pass(&self, chunk: &[u8], eof: bool) -> (Vec<u8>, bool) {
        let values: Table = self
            .arg
            .metatable()
            .expect("a metatable")
            .get("values")
            .expect("the values");
        values
            .set(1, self.lua.create_string(chunk).expect("a string"))
            .expect("a field");
        values.set(2, eof).expect("a field");
        values.set("written", mlua::Nil).expect("a field");
        self.filter.call::<()>(()).expect("the tap never fails");
        let written: Option<mlua::LuaString> = values.get("written").expect("a string or nil");
        match written {
            Some(written) => (written.as_bytes().to_vec(), true),
            None => (chunk.to_vec(), false),
        }
    }

    /// Passes a body in these pieces and its end; returns what the client gets.
    fn pass_all<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut client = Vec::new();
        for piece in pieces {
            client.extend(self.pass(piece, false).0);
        }
        client.extend(self.pass(b"", true).0);
        client
    }

    /// What the log phase would read.
    fn observed(&self) -> Observed {
        let tap: Table = self.shared.get("llm_tap").expect("the tap's table");
        let text = |value: Option<mlua::LuaString>| {
            value
                .map(|text| text.as_bytes().to_vec())
                .unwrap_or_default()
        };
        let mut tail = text(tap.get("tail").expect("a string"));
        if let Some(recent) = tap
            .get::<Option<Vec<mlua::LuaString>>>("recent")
            .expect("a list")
        {
            tail.extend(recent.into_iter().flat_map(|piece| text(Some(piece))));
        }
        Observed {
            head: text(tap.get("head").expect("a string or nil")),
            tail,
            bytes: tap.get("bytes").expect("a number"),
            ended: self.ended(),
        }
    }

    fn ended(&self) -> bool {
        let tap: Table = self.shared.get("llm_tap").expect("the tap's table");
        tap.get::<Option<bool>>("eof")
            .expect("a boolean or nil")
            .unwrap_or(false)
    }
}

/// The stream with its events ended by this separator, and what a client should see of it when usage is hidden.
fn stream(separator: &str) -> (String, String) {
    let whole = CHAT_STREAM.replace("\n\n", separator);
    let mut visible = String::new();
    for event in whole.split_inclusive(separator) {
        if !event.contains("\"choices\":[],") {
            visible.push_str(event);
        }
    }
    assert!(visible.len() < whole.len());
    (whole, visible)
}

const SEPARATORS: [&str; 3] = ["\n\n", "\r\n\r\n", "\n\r\n"];

#[test]
fn a_tap_that_only_reads_assigns_nothing() {
    for body in [CHAT, CHAT_STREAM] {
        let answer = Answer::new(false);
        for piece in body.as_bytes().chunks(7) {
            let (sent, assigned) = answer.pass(piece, false);
            assert!(!assigned && sent == piece);
        }
        assert!(!answer.ended());
        assert!(!answer.pass(b"", true).1);
        assert!(answer.ended());
        let observed = answer.observed();
        assert_eq!(
            (observed.tail, observed.head.len()),
            (body.as_bytes().to_vec(), 0)
        );
        assert_eq!(observed.bytes, body.len() as u64);
    }
}

#[test]
fn the_log_phase_finds_handle_and_status_beside_the_body() {
    let answer = Answer::new(false);
    answer.pass(b"first", false);
    // What other plugins do to the context later changes nothing.
    answer
        .shared
        .set("llm_rate_limiting", "another")
        .expect("a field");
    answer.pass(b"second", true);
    let tap: Table = answer.shared.get("llm_tap").expect("the tap's table");
    let handle: String = tap.get("handle").expect("a string");
    let status: u16 = tap.get("status").expect("a number");
    assert_eq!((handle.as_str(), status), (HANDLE, 207));
}

#[test]
fn the_usage_event_is_hidden_wherever_the_stream_is_cut_in_two() {
    for separator in SEPARATORS {
        let (whole, visible) = stream(separator);
        for cut in 0..=whole.len() {
            let answer = Answer::new(true);
            let client = answer.pass_all([&whole.as_bytes()[..cut], &whole.as_bytes()[cut..]]);
            assert_eq!(
                String::from_utf8_lossy(&client),
                visible,
                "cut at {cut} with {separator:?}"
            );
            assert_eq!(answer.observed().tail, whole.as_bytes());
        }
    }
}

#[test]
fn the_usage_event_is_hidden_whatever_the_size_of_the_buffers() {
    for separator in SEPARATORS {
        let (whole, visible) = stream(separator);
        for size in (1..=400).step_by(3) {
            let client = Answer::new(true).pass_all(whole.as_bytes().chunks(size));
            assert_eq!(
                String::from_utf8_lossy(&client),
                visible,
                "buffers of {size} with {separator:?}"
            );
        }
    }
}

#[test]
fn an_event_in_a_buffer_of_its_own_goes_on_at_once_and_untouched() {
    for separator in SEPARATORS {
        let answer = Answer::new(true);
        for event in stream(separator).0.split_inclusive(separator) {
            let (sent, assigned) = answer.pass(event.as_bytes(), false);
            if event.contains("\"choices\":[],") {
                assert!(assigned && sent.is_empty(), "{event}");
            } else {
                assert!(!assigned && sent == event.as_bytes(), "{event}");
            }
        }
    }
}

#[test]
fn an_event_is_held_back_only_while_it_could_report_usage() {
    let answer = Answer::new(true);
    let (start, rest) = (
        "data: {\"id\":\"1\",\"choices\":[{",
        "\"delta\":{\"content\":\"hi\"}}]}\n\n",
    );
    assert_eq!(
        answer.pass(&start.as_bytes()[..20], false),
        (Vec::new(), true)
    );
    assert_eq!(
        answer.pass(&start.as_bytes()[20..], false),
        (start.into(), true)
    );
    assert_eq!(answer.pass(rest.as_bytes(), false), (rest.into(), false));

    let long = format!("data: {}", "x".repeat(9_000));
    assert_eq!(
        answer.pass(long.as_bytes(), false),
        (long.clone().into(), false)
    );
    assert_eq!(answer.pass(b"yyy\r", false), (b"yyy\r".to_vec(), false));
    assert_eq!(answer.pass(b"\n\r", false), (b"\n\r".to_vec(), false));
    let next = b"\ndata: {\"choices\":[],\"usage\":{\"total_tokens\":1}}\n\n";
    assert_eq!(answer.pass(next, false), (b"\n".to_vec(), true));
}

#[test]
fn only_an_event_with_empty_choices_and_a_usage_object_is_dropped() {
    for event in [
        r#"data: {"choices":[],"usage":null}"#,
        r#"data: {"choices":[],"prompt_filter_results":[{}]}"#,
        r#"data: {"choices":[{"delta":{}}],"usage":{"total_tokens":1}}"#,
        r#"data: {"choices":[{"delta":{"content":"\"choices\":[] \"usage\":{"}}]}"#,
        "data: [DONE]",
        ": keep-alive",
        "event: error\ndata: {\"error\":{\"message\":\"no\"}}",
    ] {
        for size in [1, 5, 1_000] {
            let body = format!("{event}\n\n{event}\n\n");
            let client = Answer::new(true).pass_all(body.as_bytes().chunks(size));
            assert_eq!(String::from_utf8_lossy(&client), body);
        }
    }
    let spaced = "data: { \"choices\" : [ ] , \"usage\" : { \"total_tokens\": 1 } }\n\n";
    assert_eq!(Answer::new(true).pass_all([spaced.as_bytes()]), b"");
}

#[test]
fn what_is_held_at_the_end_is_sent_unless_it_reports_usage() {
    let unfinished = b"data: {\"id\":\"1\"";
    assert_eq!(Answer::new(true).pass_all([&unfinished[..]]), unfinished);
    let usage = b"data: {\"choices\":[],\"usage\":{\"total_tokens\":1}}";
    assert_eq!(Answer::new(true).pass_all([&usage[..]]), b"");
    let answer = Answer::new(true);
    assert_eq!(answer.pass(usage, true), (Vec::new(), true));
}

#[test]
fn an_answer_that_is_no_stream_passes_untouched() {
    for body in [
        CHAT.as_bytes(),
        br#"{"error":{"message":"no"}}"#,
        b"\x1f\x8b\x08\x00abc",
        b"<html></html>",
        b"  \n {}",
    ] {
        for size in [1, 3, 10_000] {
            let answer = Answer::new(true);
            assert_eq!(answer.pass_all(body.chunks(size)), body);
            assert_eq!(answer.observed().tail, body);
        }
    }
}

#[test]
fn a_long_body_keeps_its_first_and_last_bytes_whatever_the_buffers() {
    let mut body = String::new();
    for number in 0..30_000 {
        write!(body, "{number:07} ").expect("writing to a string");
    }
    let body = body.as_bytes();
    for size in [13, 300, 4_096, 70_000, body.len()] {
        let answer = Answer::new(false);
        for (count, piece) in body.chunks(size).enumerate() {
            answer.pass(piece, false);
            if count % 97 == 0 {
                let (observed, sent) = (
                    answer.observed(),
                    &body[..((count + 1) * size).min(body.len())],
                );
                assert!(
                    sent.ends_with(&observed.tail),
                    "an abort sees the last bytes"
                );
                assert!(
                    observed.tail.len() >= sent.len().min(TAIL)
                        && observed.tail.len() <= 2 * TAIL + size
                );
            }
        }
        answer.pass(b"", true);
        let observed = answer.observed();
        assert_eq!(observed.head, &body[..HEAD]);
        assert_eq!(observed.tail, &body[body.len() - TAIL..]);
        assert_eq!(observed.bytes, body.len() as u64);
    }
}

#[test]
fn an_aborted_stream_is_priced_by_what_was_sent_and_a_whole_one_by_its_figure() {
    let estimate = Estimate {
        prompt_tokens: 19,
        output_tokens: 100,
        ..Estimate::default()
    };
    let whole = Answer::new(true);
    whole.pass_all(CHAT_STREAM.as_bytes().chunks(50));
    assert_eq!(
        spent(Some(&whole.observed()), 200, &estimate),
        Spent::Reported(Usage::of(19, 9))
    );

    let aborted = Answer::new(true);
    for piece in CHAT_STREAM.as_bytes()[..CHAT_STREAM.find(" today").expect("the text")].chunks(50)
    {
        aborted.pass(piece, false);
    }
    assert!(!aborted.ended());
    assert_eq!(
        spent(Some(&aborted.observed()), 200, &estimate),
        Spent::Estimated(Usage::of(19, 7), Source::Counted)
    );
}

impl Answer {
    /// What Kong logs as `llm`, as JSON with sorted names.
    fn logged(&self) -> String {
        let mut names = BTreeMap::new();
        let llm: Table = self.logged.get("llm").expect("a request that is counted");
        for pair in llm.pairs::<String, String>() {
            let (name, value) = pair.expect("a text");
            names.insert(name, value);
        }
        let usage: Option<Table> = self.logged.get("llm.usage").expect("a table or nothing");
        for pair in usage.iter().flat_map(|usage| usage.pairs::<String, u64>()) {
            let (name, figure) = pair.expect("a number");
            names.insert(format!("usage.{name}"), figure.to_string());
        }
        format!("{names:?}")
    }
}

#[test]
fn kongs_log_has_the_figures_of_every_vendor_once_the_body_has_ended() {
    let figures = |body: &str| {
        let answer = Answer::new(false);
        answer.pass(body.as_bytes(), false);
        assert_eq!(answer.logged(), r#"{"model": "gpt-4o", "tenant": "acme"}"#);
        answer.pass(b"", true);
        answer.logged()
    };
    for (body, expected) in [
        (
            CHAT,
            &[
                r#""usage.completion_tokens": "#,
                r#""usage.total_tokens": "#,
            ][..],
        ),
        (CHAT_STREAM, &[r#""usage.total_tokens": "#]),
        (
            "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
             data: {\"delta\":{\"text\":\"\\\"usage\\\":{\\\"input_tokens\\\":99}\"}}\n\n\
             event: message_delta\ndata: {\"usage\":{\"output_tokens\":15}}\n\n",
            &[
                r#""usage.input_tokens": "25""#,
                r#""usage.output_tokens": "15""#,
            ],
        ),
        (
            r#"{"candidates":[],"usageMetadata":{"promptTokenCount":4,"totalTokenCount":9}}"#,
            &[
                r#""usage.promptTokenCount": "4""#,
                r#""usage.totalTokenCount": "9""#,
            ],
        ),
        (
            r#"{"response":"","done":true,"prompt_eval_count":26,"eval_count":298}"#,
            &[
                r#""usage.eval_count": "298""#,
                r#""usage.prompt_eval_count": "26""#,
            ],
        ),
        ("{\"usage\": null}", &[r#""tenant": "acme"}"#]),
        ("{\"usage\": {\"a\": 1", &[r#""tenant": "acme"}"#]),
    ] {
        let logged = figures(body);
        for figure in expected {
            assert!(logged.contains(figure), "{figure} is not in {logged}");
        }
    }
}

#[test]
fn a_request_that_nobody_counts_is_not_logged() {
    let answer = Answer::new(false);
    answer
        .shared
        .set("llm_rate_limiting", mlua::Nil)
        .expect("a field");
    answer.pass(CHAT.as_bytes(), true);
    assert!(answer.logged.is_empty());
}
