//! Lua: beside plugins of other processes, on streams, and what its sandbox lends.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::server::{Seen, Step};
use super::{World, next, text};

/// A `KV` message with a text.
fn pair(name: &str, value: &str) -> Vec<u8> {
    let inner = [
        &[0x1a, u8::try_from(value.len()).unwrap()],
        value.as_bytes(),
    ]
    .concat();
    [
        text(name),
        vec![0x12, u8::try_from(inner.len()).unwrap()],
        inner,
    ]
    .concat()
}

fn post_function(body_filter: &str) -> Value {
    json!([{"name": "post-function", "config": {"body_filter": [body_filter]}}])
}

#[tokio::test]
async fn lua_and_external_plugins_share_one_table() {
    let plugins = json!([
        {"name": "probe"},
        {"name": "pre-function", "config": {"access": ["kong.ctx.shared.from_lua = {1, 'two'}"]}},
        {"name": "post-function", "config": {
            "header_filter": ["kong.response.set_header('x-seen', kong.ctx.shared.from_probe)"],
        }},
    ]);
    let world = World::new(plugins, json!({}), 1).await;
    world.server.script(
        "access",
        [
            Step::Call("kong.ctx.shared.get", text("from_lua")),
            Step::Call("kong.ctx.shared.set", pair("from_probe", "yes")),
        ],
    );
    let response = world.answer().await;
    assert_eq!(response.headers()["x-seen"], "yes");
    let list = [
        &[0x32, 0x12, 0x0a, 0x09, 0x11][..],
        &1f64.to_le_bytes(),
        &[0x0a, 0x05, 0x1a, 0x03],
        b"two",
    ]
    .concat();
    assert_eq!(world.server.reply("kong.ctx.shared.get"), Some(list));
}

#[tokio::test]
async fn a_filter_that_only_reads_lets_each_piece_pass() {
    let tap = "local s, c = kong.ctx.shared, ngx.arg[1]; s.n = (s.n or 0) + #c; s.eof = ngx.arg[2]";
    let world = World::new(post_function(tap), json!({}), 1).await;
    let pieces = world.stream();
    pieces.send("one").unwrap();
    let mut body = world.answer().await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    pieces.send("two").unwrap();
    assert_eq!(next(&mut body).await.unwrap(), "two");
    drop(pieces);
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn a_filter_that_writes_holds_the_stream_back_unless_the_route_does_not_buffer() {
    let shout = "ngx.arg[1] = ngx.arg[1]:upper()";
    let unbuffered = World::new(
        post_function(shout),
        json!({"response_buffering": false}),
        1,
    )
    .await;
    let pieces = unbuffered.stream();
    pieces.send("one").unwrap();
    let mut body = unbuffered.answer().await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "ONE");

    let buffered = World::new(post_function(shout), json!({}), 1).await;
    let pieces = buffered.stream();
    pieces.send("one").unwrap();
    let mut body = buffered.answer().await.into_body();
    let early = tokio::time::timeout(Duration::from_millis(50), body.frame()).await;
    assert!(early.is_err(), "a piece came before the end");
    pieces.send("two").unwrap();
    drop(pieces);
    assert_eq!(next(&mut body).await.unwrap(), "ONETWO");
}

#[tokio::test]
async fn the_usage_tap_that_ships_runs_on_a_stream() {
    let tap = include_str!("../../../../kong/usage-tap.lua");
    let plugins = json!([
        {"name": "probe"},
        {"name": "pre-function", "config": {"access": ["kong.ctx.shared.llm_tap_hide_usage = true"]}},
        {"name": "post-function", "config": {"body_filter": [tap]}},
    ]);
    let world = World::new(plugins, json!({"response_buffering": false}), 1).await;
    world
        .server
        .script("log", [Step::Call("kong.ctx.shared.get", text("llm_tap"))]);
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"total_tokens\":42}}\n\n";
    let done = "data: [DONE]\n\n";
    let pieces = world.stream();
    pieces.send(event).unwrap();
    let mut body = world.answer().await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), event);
    pieces.send(usage).unwrap();
    pieces.send(done).unwrap();
    drop(pieces);
    assert_eq!(next(&mut body).await.unwrap(), done);
    assert_eq!(next(&mut body).await, None);
    world
        .seen(1, |seen| {
            matches!(seen, Seen::Reply("kong.ctx.shared.get", _))
        })
        .await;
    let tapped =
        String::from_utf8_lossy(&world.server.reply("kong.ctx.shared.get").unwrap()).into_owned();
    assert!(
        tapped.contains(&[event, usage, done].concat()) && tapped.contains("eof"),
        "{tapped}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_in_log_without_eof() {
    let mut plugins = post_function("kong.ctx.shared.eof = tostring(ngx.arg[2])");
    plugins
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "probe"}));
    let world = World::new(plugins, json!({}), 1).await;
    world
        .server
        .script("log", [Step::Call("kong.ctx.shared.get", text("eof"))]);
    let pieces = world.stream();
    pieces.send("one").unwrap();
    let mut body = world.answer().await.into_body();
    assert_eq!(next(&mut body).await.unwrap(), "one");
    drop(body);
    world
        .seen(1, |seen| {
            matches!(seen, Seen::Reply("kong.ctx.shared.get", _))
        })
        .await;
    assert_eq!(
        world.server.reply("kong.ctx.shared.get"),
        Some(b"\x1a\x05false".to_vec())
    );
}

#[tokio::test]
async fn the_sandbox_lends_no_more_than_kong_does() {
    for (code, status) in [
        (
            "kong.response.exit(201, {ok = pcall(function() kong.response.exit(202) end)})",
            202,
        ),
        (
            "assert(io == nil and os.execute == nil and string.dump == nil and load == nil); kong.response.exit(201)",
            201,
        ),
        ("require('cjson')", 500),
        ("kong.response.get_status()", 500),
        ("string.format = nil", 500),
        ("return function() kong.response.exit(203) end", 203),
    ] {
        let plugins = json!([{"name": "pre-function", "config": {"access": [code]}}]);
        assert_eq!(
            World::new(plugins, json!({}), 1).await.get().await.0,
            status,
            "{code}"
        );
    }
}
