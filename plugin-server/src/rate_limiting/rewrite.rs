//! Completing a client's body: asking a stream for its usage, and capping the answer.
//!
//! The body is not written anew but edited where it must be: every other byte of the client's stays as it was, its numbers, its
//! order and its repeated names included.
//!
//! # Edits
//!
//! - `include_usage`: every `stream_options` gets `include_usage: true`; without any, one is put first. Options of a kind that no
//!   server accepts stay: that error is the provider's to tell.
//! - `clamp`: every cap above it becomes it, wherever it stands and however often, and so does every negative one, which asks for no
//!   cap. Anthropic's `thinking.budget_tokens` stays, and the provider refuses a budget above the cap.
//! - `inject`: every negative cap becomes it, and where no cap is stated at all, the one that the API knows is put first, in place of whatever stands under its name
//!   (`null`, say).
//!
//! # Invariants
//!
//! 1. JSON stays JSON, and differs only in these members (test: `only_what_must_change_changes`).
//! 2. Twice is once (the same test).

mod scan;

use std::ops::Range;

use self::scan::Members;
pub(super) use self::scan::value_end;
use super::request::{Cap, CapPlace, Request, Scalar, Section, TOP};

/// What is to be done to a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Ask a stream to report its usage.
    pub include_usage: bool,
    /// The most that any cap may say, in tokens.
    pub clamp: Option<u64>,
    /// A cap where there is none: where it goes, and its tokens.
    pub inject: Option<(CapPlace, u64)>,
}

impl Rewrite {
    /// The edits that cap an answer: no cap above `clamp`, and `inject` (at most `clamp`) where there is none. The request becomes what
    /// its body will then say, so that it is priced as it is sent.
    pub fn capping(request: &mut Request, clamp: Option<u64>, inject: Option<u64>) -> Self {
        if let Some(most) = clamp {
            request.output_cap = request.output_cap.map(|cap| cap.min(most));
            if request.unlimited {
                request.output_cap = Some(most);
                request.unlimited = false;
            }
        }
        let place = CapPlace::of(request.api, request.model.as_deref());
        let uncapped = request.generates && (request.output_cap.is_none() || request.unlimited);
        let inject = place
            .zip(inject)
            .filter(|_| uncapped)
            .map(|(place, tokens)| (place, tokens.min(clamp.unwrap_or(tokens))));
        if let Some((_, tokens)) = inject {
            request.output_cap = request.output_cap.max(Some(tokens));
            request.unlimited = false;
        }
        Self {
            include_usage: false,
            clamp,
            inject,
        }
    }

    /// The body with these edits, or `None` if there is nothing to change. Precondition: the body has been read as a JSON object.
    pub fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let usage = Setting::new(Some("stream_options"), "include_usage", "true".to_owned());
        let clamp = Ceiling {
            most: self.clamp.unwrap_or(u64::MAX),
            text: self
                .clamp
                .or(self.inject.map(|(_, tokens)| tokens))
                .map(|tokens| tokens.to_string()),
        };
        let cap = self.inject.map(|(place, tokens)| {
            let setting = Setting::new(place.section_name(), place.name, tokens.to_string());
            (place, setting)
        });
        let mut edits = Edits {
            body,
            made: Vec::new(),
        };
        if self.include_usage {
            edits.set_in(
                |name| name == "stream_options",
                &usage,
                |other| other == b"null",
            );
        }
        let states_cap = edits.clamp(&clamp);
        match &cap {
            Some((place, cap)) if !states_cap && place.section_name().is_some() => {
                edits.set_in(|name| place.section.is_named(name), cap, |_| true);
            }
            Some((_, cap)) if !states_cap => edits.set(0, cap.name, &cap.value, &cap.member),
            _ => {}
        }
        edits.apply()
    }
}

/// A member that is set, as text for whatever of its place is there.
struct Setting {
    name: &'static str,
    value: String,
    /// `"name":value`
    member: String,
    /// `{"name":value}`
    object: String,
    /// `"section":{"name":value}`
    whole: String,
}

impl Setting {
    fn new(section: Option<&'static str>, name: &'static str, value: String) -> Self {
        let member = format!(r#""{name}":{value}"#);
        let object = format!("{{{member}}}");
        Self {
            name,
            value,
            whole: format!(r#""{}":{object}"#, section.unwrap_or_default()),
            member,
            object,
        }
    }
}

/// What no cap may exceed.
struct Ceiling {
    most: u64,
    /// What stands for a cap above it, or for a negative one; `None` if caps stay as they are.
    text: Option<String>,
}

/// A replacement of some bytes, or of none: then a member that comes first in its object.
struct Edit<'e> {
    place: Range<usize>,
    text: &'e str,
    /// Whether members follow.
    comma: bool,
}

/// Edits of a body; none overlaps another.
struct Edits<'e> {
    body: &'e [u8],
    made: Vec<Edit<'e>>,
}

impl<'e> Edits<'e> {
    fn replace(&mut self, place: Range<usize>, text: &'e str) {
        if &self.body[place.clone()] != text.as_bytes() {
            self.made.push(Edit {
                place,
                text,
                comma: false,
            });
        }
    }

    /// Adds a member to the object at `object`, which is one.
    fn add(&mut self, object: usize, text: &'e str) {
        if let Some(start) = scan::inside(self.body, object) {
            if let Some(before) = self
                .made
                .last_mut()
                .filter(|edit| edit.place == (start..start))
            {
                before.comma = true;
            }
            self.made.push(Edit {
                place: start..start,
                text,
                comma: Members::of(self.body, object).is_some_and(|mut rest| rest.next().is_some()),
            });
        }
    }

    /// Sets every member of this name in the object at `object`, or adds one.
    fn set(&mut self, object: usize, name: &str, value: &'e str, member: &'e str) {
        let body = self.body;
        let mut is_there = false;
        for own in Members::of(body, object).into_iter().flatten() {
            if own.name(body) == name {
                is_there = true;
                self.replace(own.value, value);
            }
        }
        if !is_there {
            self.add(object, member);
        }
    }

    /// Sets a member in every object of the body under a name, which is added if there is none. Values that are no objects give way
    /// if they `may_go`.
    fn set_in(
        &mut self,
        is_named: impl Fn(&str) -> bool,
        setting: &'e Setting,
        may_go: impl Fn(&[u8]) -> bool,
    ) {
        let body = self.body;
        let mut is_there = false;
        for own in Members::of(body, 0).into_iter().flatten() {
            if !is_named(&own.name(body)) {
                continue;
            }
            is_there = true;
            match &body[own.value.clone()] {
                [b'{', ..] => self.set(
                    own.value.start,
                    setting.name,
                    &setting.value,
                    &setting.member,
                ),
                other if may_go(other) => self.replace(own.value, &setting.object),
                _ => {}
            }
        }
        if !is_there {
            self.add(0, &setting.whole);
        }
    }

    /// Brings every cap to the ceiling that is above it; whether any cap is stated then.
    fn clamp(&mut self, ceiling: &'e Ceiling) -> bool {
        let body = self.body;
        let mut states_cap = false;
        for own in Members::of(body, 0).into_iter().flatten() {
            let name = own.name(body);
            if TOP.is_cap(&name) {
                states_cap |= self.clamp_value(own.value, ceiling);
            } else if let Some(section) = Section::named(&name) {
                let inner = Members::of(body, own.value.start).into_iter().flatten();
                for inner in inner.filter(|inner| section.is_cap(&inner.name(body))) {
                    states_cap |= self.clamp_value(inner.value, ceiling);
                }
            }
        }
        states_cap
    }

    fn clamp_value(&mut self, value: Range<usize>, ceiling: &'e Ceiling) -> bool {
        let cap = Cap::from(&Scalar::of_json(&self.body[value.clone()]));
        let is_above = match cap {
            Cap::Tokens(tokens) => tokens > ceiling.most,
            Cap::Unlimited => true,
            Cap::Absent => false,
        };
        match &ceiling.text {
            Some(text) if is_above => {
                self.replace(value, text);
                true
            }
            _ => matches!(cap, Cap::Tokens(_)),
        }
    }

    fn apply(mut self) -> Option<Vec<u8>> {
        if self.made.is_empty() {
            return None;
        }
        self.made.sort_by_key(|edit| edit.place.start);
        let added: usize = self.made.iter().map(|edit| edit.text.len() + 1).sum();
        let mut edited = Vec::with_capacity(self.body.len() + added);
        let mut copied = 0;
        for Edit { place, text, comma } in self.made {
            // Edits overlap only where quotes do not match: such a body is no JSON.
            edited.extend_from_slice(self.body.get(copied..place.start)?);
            edited.extend_from_slice(text.as_bytes());
            edited.extend(comma.then_some(b','));
            copied = place.end;
        }
        edited.extend_from_slice(&self.body[copied..]);
        Some(edited)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::rate_limiting::api::Api;

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
            completed(elsewhere)
                .starts_with(r#"{"stream_options":{"include_usage":true},"metadata""#)
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
            any::<f64>()
                .prop_filter_map("finite", |real| real.is_finite().then(|| Value::from(real))),
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
}
