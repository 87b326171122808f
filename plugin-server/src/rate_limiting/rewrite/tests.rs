use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rate_limiting::api::Api;
use crate::rate_limiting::request::{Section, TOP};

fn with_stream_usage(body: &[u8]) -> Option<Vec<u8>> {
    let ask = Rewrite {
        include_usage: true,
        ..Rewrite::default()
    };
    ask.apply(body)
}

fn completed(body: &str) -> String {
    String::from_utf8(with_stream_usage(body.as_bytes()).unwrap()).unwrap()
}

#[test]
fn every_byte_of_the_client_stays() {
    let body = "{ \"n\" : 1.00000000000000000001, \"a\":1, \"a\":2,\n\t\"stream\": true}\n";
    let expected = "{\"stream_options\":{\"include_usage\":true}, \"n\" : 1.00000000000000000001, \"a\":1, \"a\":2,\n\t\"stream\": true}\n";
    assert_eq!(completed(body), expected);
}

#[test]
fn options_that_are_there_are_completed() {
    for (options, expected) in [
        ("null", r#"{"include_usage":true}"#),
        ("{}", r#"{"include_usage":true}"#),
        (
            r#"{ "x": [1, "}"] }"#,
            r#"{"include_usage":true, "x": [1, "}"] }"#,
        ),
        (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
        (
            r#"{"include_usage": null , "x": "\"}"}"#,
            r#"{"include_usage": true , "x": "\"}"}"#,
        ),
    ] {
        let body = format!(r#"{{"stream":true,"stream_options":{options},"z":"{{"}}"#);
        assert_eq!(
            completed(&body),
            format!(r#"{{"stream":true,"stream_options":{expected},"z":"{{"}}"#)
        );
    }
}

#[test]
fn a_name_in_escapes_or_twice_is_found() {
    let escaped = r#"{"stream\u005foptions":null,"stream":true}"#;
    assert_eq!(
        completed(escaped),
        r#"{"stream\u005foptions":{"include_usage":true},"stream":true}"#
    );
    let twice = r#"{"stream_options":null,"stream":true,"stream_options":{}}"#;
    let expected = r#"{"stream_options":{"include_usage":true},"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(completed(twice), expected);
    let elsewhere = r#"{"metadata":{"stream_options":{}},"stream":true}"#;
    assert!(
        completed(elsewhere).starts_with(r#"{"stream_options":{"include_usage":true},"metadata""#)
    );
}

#[test]
fn options_of_a_wrong_kind_are_left_to_the_provider() {
    for options in ["1", "true", "[]", "\"yes\""] {
        let body = format!(r#"{{"stream":true,"stream_options":{options}}}"#);
        assert_eq!(with_stream_usage(body.as_bytes()), None, "{options}");
    }
}

/// The body as it is sent to `path` when caps are clamped and injected, and what it is then read as.
fn capped(path: &str, body: &str, clamp: Option<u64>, inject: Option<u64>) -> String {
    let mut request = Request::read(Some(path), body.as_bytes()).unwrap();
    let rewrite = Rewrite::capping(&mut request, clamp, inject);
    let sent = rewrite
        .apply(body.as_bytes())
        .unwrap_or_else(|| body.into());
    let read = Request::read(Some(path), &sent).unwrap();
    assert_eq!(
        (read.output_cap, read.unlimited),
        (request.output_cap, request.unlimited),
        "{body}"
    );
    assert_eq!(rewrite.apply(&sent), None, "{body}");
    String::from_utf8(sent).unwrap()
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn every_cap_above_the_clamp_becomes_it() {
    for (body, expected) in [
        (
            r#"{"max_tokens": 500 ,"max_tokens":5,"max_completion_tokens":1e9}"#,
            r#"{"max_tokens": 100 ,"max_tokens":5,"max_completion_tokens":100}"#,
        ),
        (
            r#"{"max\u005ftokens":"500","a":{"max_tokens":500}}"#,
            r#"{"max\u005ftokens":100,"a":{"max_tokens":500}}"#,
        ),
        (
            r#"{"options":{"num_predict":-1,"num_ctx":500},"max_tokens":100.5}"#,
            r#"{"options":{"num_predict":100,"num_ctx":500},"max_tokens":100}"#,
        ),
        (
            r#"{"generationConfig":{"maxOutputTokens":101},"generation_config":{"max_output_tokens":101}}"#,
            r#"{"generationConfig":{"maxOutputTokens":100},"generation_config":{"max_output_tokens":100}}"#,
        ),
        (
            r#"{"max_tokens":null,"max_output_tokens":true,"inferenceConfig":[500]}"#,
            r#"{"max_tokens":null,"max_output_tokens":true,"inferenceConfig":[500]}"#,
        ),
    ] {
        assert_eq!(capped(CHAT, body, Some(100), None), expected);
    }
}

#[test]
fn a_missing_cap_is_put_where_the_api_looks_for_it() {
    for (path, body, expected) in [
        (
            CHAT,
            r#"{"model":"gpt-4o"}"#,
            r#"{"max_tokens":9,"model":"gpt-4o"}"#,
        ),
        (
            CHAT,
            r#"{"model":"o3"}"#,
            r#"{"max_completion_tokens":9,"model":"o3"}"#,
        ),
        (
            CHAT,
            r#"{"max_tokens":null,"n":1,"max_tokens":true}"#,
            r#"{"max_tokens":9,"n":1,"max_tokens":9}"#,
        ),
        (CHAT, r#"{"max_tokens":-1}"#, r#"{"max_tokens":9}"#),
        (
            CHAT,
            r#"{"max_tokens":-1,"max_completion_tokens":4}"#,
            r#"{"max_tokens":9,"max_completion_tokens":4}"#,
        ),
        (
            CHAT,
            r#"{"max_completion_tokens":4}"#,
            r#"{"max_completion_tokens":4}"#,
        ),
        (CHAT, "{ }", r#"{"max_tokens":9 }"#),
        (
            CHAT,
            r#"{"n":1,"max_tokens":[{}]}"#,
            r#"{"n":1,"max_tokens":9}"#,
        ),
        (
            "/v1/responses",
            r#"{"input":"a"}"#,
            r#"{"max_output_tokens":9,"input":"a"}"#,
        ),
        (
            "/models/gemini:generateContent",
            r#"{"contents":[]}"#,
            r#"{"generationConfig":{"maxOutputTokens":9},"contents":[]}"#,
        ),
        (
            "/models/gemini:generateContent",
            r#"{"generation_config":{"a":"}"}}"#,
            r#"{"generation_config":{"maxOutputTokens":9,"a":"}"}}"#,
        ),
        (
            "/model/nova/converse",
            r#"{"inferenceConfig":null}"#,
            r#"{"inferenceConfig":{"maxTokens":9}}"#,
        ),
        (
            "/model/nova/converse",
            r#"{"inferenceConfig": {}, "inferenceConfig":7 }"#,
            r#"{"inferenceConfig": {"maxTokens":9}, "inferenceConfig":{"maxTokens":9} }"#,
        ),
        (
            "/api/chat",
            r#"{"messages":[]}"#,
            r#"{"options":{"num_predict":9},"messages":[]}"#,
        ),
        ("/v1/embeddings", r#"{"input":"a"}"#, r#"{"input":"a"}"#),
    ] {
        assert_eq!(capped(path, body, None, Some(9)), expected, "{path}");
    }
    let both = capped(CHAT, r#"{"model":"gpt-4o"}"#, Some(5), Some(9));
    assert_eq!(both, r#"{"max_tokens":5,"model":"gpt-4o"}"#);
}

#[test]
fn all_edits_are_made_in_one_pass() {
    let body = r#"{"model":"gpt-4o","stream":true,"n":2}"#;
    let rewrite = Rewrite {
        include_usage: true,
        clamp: Some(5),
        inject: CapPlace::of(Api::OpenAiChat, Some("gpt-4o")).map(|place| (place, 5)),
    };
    assert_eq!(
        String::from_utf8(rewrite.apply(body.as_bytes()).unwrap()).unwrap(),
        r#"{"stream_options":{"include_usage":true},"max_tokens":5,"model":"gpt-4o","stream":true,"n":2}"#
    );
}

#[test]
fn what_is_no_json_is_cut_nowhere_but_harmless() {
    let rewrite = Rewrite {
        include_usage: true,
        clamp: Some(5),
        inject: CapPlace::of(Api::Ollama, None).map(|place| (place, 5)),
    };
    let body = br#"{"options":{"num_predict":-1},"stream_options":{"a":1},"max_tokens":99}"#;
    for cut in 0..body.len() {
        let _ = rewrite.apply(&body[..cut]);
        let _ = rewrite.apply(&body[cut..]);
    }
    let _ = rewrite.apply(b"{\"a");
    // Quotes that do not match let a section's members run past its end, into members of the body.
    let crossed = br#"{"generationConfig":{"a":0","},"c0,"d1":0,"max_output_tokens":-1}"#;
    assert_eq!(rewrite.apply(crossed), None);
    assert_eq!(rewrite.apply(b"]{}"), None);
    let empty = rewrite.apply(b"{}").unwrap();
    serde_json::from_slice::<Value>(&empty).unwrap();
}

#[test]
fn hostile_bodies_take_linear_time() {
    let started = std::time::Instant::now();
    for (open, member, close) in [
        ("{", r#""max_tokens":99"#, "}"),
        ("{", r#""generationConfig":{}"#, "}"),
        ("{", r#""options":{"num_predict":-1}"#, "}"),
        ("{", r#""stream_options":{}"#, "}"),
        (r#"{"options":{"#, r#""num_predict":null"#, "}}"),
        ("{", r#""\u0061":0"#, "}"),
        (
            r#"{"messages":[{"content":["#,
            r#"{"type":"image","source":{}}"#,
            "]}]}",
        ),
    ] {
        let body = format!("{open}{}{close}", vec![member; 1 << 15].join(","));
        for path in ["/v1/chat/completions", "/m:generateContent", "/api/chat"] {
            let mut request = Request::read(Some(path), body.as_bytes()).unwrap();
            let rewrite = Rewrite {
                include_usage: true,
                ..Rewrite::capping(&mut request, Some(9), Some(9))
            };
            let sent = rewrite.apply(body.as_bytes()).unwrap();
            assert_eq!(rewrite.apply(&sent), None);
        }
    }
    assert!(
        started.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_i64..300).prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |real| real.is_finite().then(|| Value::from(real))),
        "[ -~]{0,12}".prop_map(Value::from),
        "[0-9]{1,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::sample::select(NAMES).prop_map(str::to_owned),
        1 => "[a-z\"\\\\{}\\[\\],:]{0,6}",
    ]
}

const NAMES: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "generationConfig",
    "generation_config",
    "maxOutputTokens",
    "inferenceConfig",
    "maxTokens",
    "options",
    "num_predict",
    "stream_options",
    "include_usage",
    "stream",
    "messages",
    "input",
];

/// Without every member that a rewrite may touch, and without a section that nothing else is left of.
fn untouchable(mut body: Value) -> Value {
    let members = body.as_object_mut().unwrap();
    members.retain(|name, value| {
        if TOP.is_cap(name) {
            return false;
        }
        let section = Section::named(name);
        if section.is_some() && !value.is_object() {
            return false;
        }
        if let (Some(inner), true) = (
            value.as_object_mut(),
            section.is_some() || name == "stream_options",
        ) {
            inner.retain(|name, _| {
                name != "include_usage" && !section.is_some_and(|section| section.is_cap(name))
            });
            return !inner.is_empty();
        }
        !(value.is_null() && name == "stream_options")
    });
    body
}

proptest! {
    #[test]
    fn only_what_must_change_changes(
        members in prop::collection::vec((any_name(), any_json()), 1..8),
        path in prop::sample::select(&["/v1/chat/completions", "/v1/responses", "/m:generateContent", "/model/a/converse", "/api/chat", "/"][..]),
        include_usage in any::<bool>(),
        clamp in prop::option::of(0_u64..300),
        inject in prop::option::of(0_u64..300),
    ) {
        // Written by hand, so that names may repeat.
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("{} : {value}", json!(name)))
            .collect();
        let body = format!("{{ {} }}", members.join(" ,\n"));
        let mut request = Request::read(Some(path), body.as_bytes()).unwrap();
        let rewrite = Rewrite { include_usage, ..Rewrite::capping(&mut request, clamp, inject) };
        let Some(sent) = rewrite.apply(body.as_bytes()) else {
            return Ok(());
        };
        let parse = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
        prop_assert_eq!(untouchable(parse(&sent)), untouchable(parse(body.as_bytes())));
        let read = Request::read(Some(path), &sent).unwrap();
        prop_assert_eq!(
            (read.output_cap, read.unlimited, read.prompt),
            (request.output_cap, request.unlimited, request.prompt)
        );
        if let (Some(most), Some(cap)) = (clamp, read.output_cap) {
            prop_assert!(cap <= most);
        }
        // a_second_time_changes_nothing
        prop_assert_eq!(rewrite.apply(&sent), None);
    }
}
