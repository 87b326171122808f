//! `llm-rate-limiting`: limits, models, prices and priorities.

use super::each_is_told_of_limits;

#[test]
fn what_kongs_schema_says_of_limits_is_said_here() {
    each_is_told_of_limits(&[
        ("§limits: []", &["limits: must not be empty"]),
        ("limits: §5", &["limits: is a list, this is a number"]),
        ("limits: [§5]", &["limits[0]: is a map, this is a number"]),
        (
            "§polcy: memory\nlimits: [LIMIT]",
            &["unknown field `polcy`"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, §uint: requests}]",
            &["unknown field `limits[0].uint`"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, unit: §token}]",
            &["limits[0].unit: must be one of requests,"],
        ),
        (
            "limits: [§{limit: 5, window_size: 60}]",
            &["limits[0].name: is missing"],
        ),
        (
            "limits: [§{name: a, window_size: 60}]",
            &["limits[0].limit: is missing"],
        ),
        (
            "limits: [{name: §'', limit: 5, window_size: 60}]",
            &["limits[0].name: must not be empty"],
        ),
        (
            "limits: [{name: a, limit: §0, window_size: 60}]",
            &["limits[0].limit: must be greater than 0"],
        ),
        (
            "limits: [{name: a, limit: §-1, window_size: 60}]",
            &["limits[0].limit: must be from 0"],
        ),
        (
            "limits: [{name: a, limit: §1.5, window_size: 60}]",
            &["limits[0].limit: is an integer"],
        ),
        (
            "limits: [{name: a, limit: §'5', window_size: 60}]",
            &["limits[0].limit: is an integer, this is a string"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: §0}]",
            &["limits[0].window_size: must be greater than 0"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, §limit_by: []}]",
            &["limits[0].limit_by: must not be empty"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, mode: §watch}]",
            &["limits[0].mode: must be one of"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, warn_at: §1.5}]",
            &["limits[0].warn_at: must be from 0 to 1"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, cached_weight: §2}]",
            &["limits[0].cached_weight: must be from 0 to 1"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, on_store_failure: §shut}]",
            &["limits[0].on_store_failure: must be"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, match: {claims: [{§path: [], one_of: [x]}]}}]",
            &["limits[0].match.claims[0].path: must not"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, match: {claims: [§{path: [x]}]}}]",
            &["limits[0].match.claims[0].one_of: is missing"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, window_type: calendar, calendar: §week}]",
            &["limits[0].calendar: must be one of day, month"],
        ),
        (
            "limits: [LIMIT]\nerror_code: §200",
            &["error_code: must be from 400 to 599"],
        ),
        (
            "limits: [LIMIT]\nestimate: §exact",
            &["estimate: must be one of"],
        ),
        (
            "limits: [LIMIT]\nstream_usage: §yes",
            &["stream_usage: must be one of"],
        ),
        (
            "limits: [LIMIT]\nerror_format: §xml",
            &["error_format: must be one of"],
        ),
        (
            "limits: [LIMIT]\npolicy: §cluster",
            &["policy: must be one of memory, redis"],
        ),
        (
            "limits: [LIMIT]\nhide_client_headers: §'true'",
            &["hide_client_headers: is a boolean, this is a string"],
        ),
        (
            "limits: [LIMIT]\nmax_tokens: {clamp: §0}",
            &["max_tokens.clamp: must be greater than 0"],
        ),
        (
            "limits: [LIMIT]\nmax_tokens: {inject: §0}",
            &["max_tokens.inject: must be greater than 0"],
        ),
        (
            "limits: [LIMIT]\npriorities: [{name: p, share: §1.1}]",
            &["priorities[0].share: must be from 0 to 1"],
        ),
        (
            "limits: [LIMIT]\npriorities: [§{name: p}]",
            &["priorities[0].share: is missing"],
        ),
        (
            "limits: [LIMIT]\nprices: [{model: '*', input: §-1, output: 1}]",
            &["prices[0].input: must be from 0"],
        ),
        (
            "limits: [LIMIT]\nprices: [§{model: '*', input: 1}]",
            &["prices[0].output: is missing"],
        ),
    ]);
}

#[test]
fn limits_that_contradict_themselves_are_told() {
    each_is_told_of_limits(&[
        (
            "limits: [{name: §'per minute', limit: 5, window_size: 60}]",
            &["limits: the name \"per minute\" has characters"],
        ),
        (
            "limits: [LIMIT, {name: §ok, limit: 5, window_size: 60}]",
            &["limits: the name \"ok\" is used twice"],
        ),
        (
            "limits: [§{name: a, limit: 5}]",
            &["limits: a: window_size: a window of this type needs"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: §1000000000}]",
            &["limits: a: window_size: a window lasts"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, burst: §9}]",
            &["limits: a: burst: only for window_type token_bucket"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, calendar: §day}]",
            &["limits: a: calendar: only for window_type calendar"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, time_zone: §UTC}]",
            &["limits: a: time_zone: only for window_type calendar"],
        ),
        (
            "limits: [§{name: a, limit: 5, window_type: calendar}]",
            &["limits: a: calendar: a calendar window needs"],
        ),
        (
            "limits: [{name: a, limit: 5, window_type: calendar, calendar: day, window_size: §60}]",
            &["limits: a: window_size: a calendar window has none"],
        ),
        (
            "limits: [{name: a, limit: 5, window_type: calendar, calendar: day, time_zone: §Mars/Phobos}]",
            &["limits: a: time_zone: "],
        ),
        (
            "limits: [{name: a, limit: 7, window_size: 86400, window_type: token_bucket, burst: §9007199254740991}]",
            &["limits: a: window_size: a burst of"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, unit: concurrent_requests, window_type: §fixed}]",
            &["limits: a: window_type: a limit on concurrent"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, §limit_by: [cookie]}]",
            &["limits: a: limit_by: \"cookie\" is none of"],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, §limit_by: ['claim:']}]",
            &["limits: a: limit_by: "],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, §limit_by: ['header:a b']}]",
            &["limits: a: limit_by: "],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, match: {§models: ['[']}}]",
            &["limits: a: models: "],
        ),
        (
            "limits: [{name: a, limit: 5, window_size: 60, unit: §cost}]",
            &["limits: a: unit: a limit on cost needs prices"],
        ),
        (
            "limits: [LIMIT]\nmax_tokens: {clamp: 5, inject: §6}",
            &["max_tokens: inject must not exceed clamp"],
        ),
        (
            "limits: [LIMIT]\nallowed_models: [gpt-4o, §'[']",
            &["allowed_models: "],
        ),
        (
            "limits: [LIMIT]\nprices: [{model: §'[', input: 1, output: 1}]",
            &["prices: [: models: "],
        ),
        (
            "limits: [LIMIT]\npriorities: [{name: p, share: 1, match: {§models: ['[']}}]",
            &["priorities: p: models: "],
        ),
    ]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    each_is_told_of_limits(&[(
        "limits:\n- {name: a, limit: §0, window_size: 60}\n- LIMIT\n- §{name: b, limit: 1}\n- {name: §ok, limit: 1, window_size: 1}\n\
                 §redis: {host: h}\nmax_tokens: {clamp: 1, inject: §2}\n§extra: 1",
        &[
            "limits[0].limit: must be",
            "limits: b: window_size",
            "limits: the name \"ok\"",
            "redis: is given",
            "max_tokens: inject",
            "unknown field `extra`",
        ],
    )]);
}
