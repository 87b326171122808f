//! The server on a real socket, against Kong's side of the protocol: the conformance scenarios that concern it.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod fake_kong;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fake_kong::{Ended, FakeKong};
use kong_pdk::argument::{MaxEntries, Status};
use kong_pdk::plugin::{Access, Log, Response};
use kong_pdk::server::{BuildError, Drained, Snapshot, bind};
use kong_pdk::wire::rpc_call::Call;
use kong_pdk::wire::rpc_return::Return;
use kong_pdk::wire::{
    self, CmdGetInstanceStatus, CmdGetPluginInfo, CmdGetPluginNames, CmdStartInstance,
};
use kong_pdk::{
    ConfigError, Exit, FailureMode, Flow, HandlerError, Kong, Plugin, PluginConfig, Server, ctx,
    log, phase, registration, request, response, service,
};
use prost::Message;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// The bytes of a large argument and a large reply.
const BIG: usize = 32 * 1024;

/// What the first plugin does in a request.
#[derive(Clone, Copy, Deserialize, PluginConfig, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Nothing,
    Exit,
    Batch,
    PanicFirst,
    PanicLater,
    Fail,
    Sleep,
    Wait,
    Abandon,
    Headers,
    ManyDeferred,
    Order,
    BigExchange,
    Scope,
    Refuse,
    PanicAtConfigure,
}

#[derive(Deserialize, PluginConfig)]
struct ScriptConfig {
    act: Act,
}

/// A plugin that does what its configuration says.
#[derive(Default)]
struct Script {
    configured: Arc<AtomicUsize>,
    release: Arc<Notify>,
}

impl Plugin for Script {
    const NAME: &'static str = "script";
    const VERSION: &'static str = "1.2.3";
    const PRIORITY: i32 = 905;
    type Config = ScriptConfig;
    type Instance = Act;

    fn configure(&self, config: ScriptConfig) -> Result<Act, ConfigError> {
        self.configured.fetch_add(1, Ordering::SeqCst);
        match config.act {
            Act::Refuse => Err(ConfigError::new("act: refused, as it should be")),
            Act::PanicAtConfigure => panic!("configure"),
            act => Ok(act),
        }
    }
}

impl Access for Script {
    async fn access(
        &self,
        act: &Act,
        kong: &mut Kong<phase::Access>,
    ) -> Result<Flow, HandlerError> {
        match act {
            Act::Nothing | Act::Refuse | Act::PanicAtConfigure => {}
            Act::Exit => {
                kong.defer(response::set_header("x-before", "1"));
                return Ok(Exit::new(Status::TOO_MANY_REQUESTS).body("no").into());
            }
            Act::Batch => {
                let calls: Vec<_> = (0..64)
                    .map(|number| request::get_header(number.to_string()))
                    .collect();
                let replies = kong.batch(calls).await?;
                for (number, reply) in replies.into_iter().enumerate() {
                    assert_eq!(reply.unwrap().parse(), Some(number));
                }
            }
            Act::PanicFirst => panic!("before the first call"),
            Act::PanicLater => {
                kong.call(request::get_method()).await?;
                kong.defer(response::set_header("x-never", "1"));
                panic!("after the first call");
            }
            Act::Fail => {
                kong.defer(response::set_header("x-never", "1"));
                return Err("cannot decide".into());
            }
            Act::Sleep => {
                kong.call(request::get_method()).await?;
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            Act::Wait => self.release.notified().await,
            Act::Abandon => {
                // The replies to a batch that is dropped must not be taken for those of the next.
                let abandoned = kong.batch((request::get_method(), request::get_path()));
                assert!(
                    tokio::time::timeout(Duration::from_millis(20), abandoned)
                        .await
                        .is_err()
                );
                let host = kong.call(request::get_host()).await?;
                assert_eq!(host, "kong.request.get_host");
                kong.defer(ctx::set_shared("k", "v"));
            }
            Act::Headers => {
                let headers = kong.call(request::get_headers(MaxEntries::MOST)).await?;
                assert_eq!(headers.get("x-raw"), Some(&b"\xff\xfe"[..]));
                assert_eq!(headers.get_all("x-two").collect::<Vec<_>>(), [b"a", b"b"]);
                assert_eq!(headers.get("x-empty"), Some(&b""[..]));
                kong.defer(service::request::set_header(
                    "x-raw",
                    Bytes::from_static(b"\xff\xfe"),
                ));
            }
            Act::ManyDeferred => {
                for _ in 0..200 {
                    kong.defer(response::add_header("x-many", "1"));
                }
            }
            Act::Order => {
                kong.defer(ctx::set_shared("k", "1"));
                kong.call(ctx::get_shared("k")).await?;
                kong.defer(log::notice(["late"]));
            }
            Act::BigExchange => {
                // More than may be in flight, and more bytes each way than a socket's buffers hold.
                let key = "k".repeat(BIG);
                let replies = kong.batch(vec![ctx::get_shared(key.clone()); 100]).await?;
                assert_eq!(replies.len(), 100);
                assert!(replies.iter().all(|reply| reply.as_str() == Some(&key)));
            }
            Act::Scope => {
                let route = kong.scope().route_id.clone().ok_or("a route")?;
                kong.defer(response::set_header("x-route", route));
            }
        }
        Ok(Flow::Continue)
    }
}

impl Log for Script {
    async fn log(&self, act: &Act, kong: &mut Kong<phase::Log>) -> Result<(), HandlerError> {
        if *act == Act::Fail {
            return Err("cannot log".into());
        }
        kong.call(response::get_status()).await?;
        Ok(())
    }
}

#[derive(Deserialize, PluginConfig)]
struct Empty {}

/// Another plugin on the same socket: fails open.
struct Other;

impl Plugin for Other {
    const NAME: &'static str = "other";
    const VERSION: &'static str = "0.0.1";
    const PRIORITY: i32 = 1;
    type Config = Empty;
    type Instance = ();

    fn configure(&self, _: Empty) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Response for Other {
    async fn response(
        &self,
        (): &(),
        _kong: &mut Kong<phase::Response>,
    ) -> Result<Flow, HandlerError> {
        panic!("fails open");
    }
}

/// A server on a socket of its own.
struct Running {
    server: Server,
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Drained>,
    configured: Arc<AtomicUsize>,
    release: Arc<Notify>,
    _directory: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("plugins.sock");
        let script = Script::default();
        let (configured, release) = (Arc::clone(&script.configured), Arc::clone(&script.release));
        let server = Server::builder()
            .plugin(
                registration!(script)
                    .failure(FailureMode::closed(Status::BAD_GATEWAY, "failed"))
                    .overload(FailureMode::closed(Status::SERVICE_UNAVAILABLE, "full"))
                    .deadline(Duration::from_millis(300))
                    .max_concurrency(2),
            )
            .plugin(registration!(Other).failure(FailureMode::Open))
            .drain_timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let listener = bind(&socket, 0o660).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.clone();
        let task =
            tokio::spawn(
                async move { serving.serve(listener, async { drop(stopped.await) }).await },
            );
        Self {
            server,
            socket,
            stop: Some(stop),
            task,
            configured,
            release,
            _directory: directory,
        }
    }

    async fn connect(&self) -> FakeKong {
        FakeKong::connect(&self.socket).await
    }

    /// A connection with a started instance of the script.
    async fn script(&self, act: &str) -> (FakeKong, i32) {
        let mut kong = self.connect().await;
        let id = kong.start("script", &json!({ "act": act })).await;
        (kong, id)
    }

    fn counters(&self) -> Snapshot {
        self.server.counters().snapshot()
    }

    async fn stop(mut self) -> Drained {
        drop(self.stop.take());
        self.task.await.unwrap()
    }
}

fn string(text: &str) -> Vec<u8> {
    wire::String {
        v: text.to_owned().into(),
    }
    .encode_to_vec()
}

#[tokio::test]
async fn two_plugins_share_a_socket_and_a_connection() {
    let running = Running::start();
    let (mut kong, script) = running.script("nothing").await;
    let other = kong.start("other", &json!([])).await;
    assert_ne!(script, other);
    assert_eq!(
        kong.event(script, "access").await,
        (vec![], Ended::Continued)
    );
    let (calls, ended) = kong.event(script, "log").await;
    assert_eq!((calls.len(), ended), (1, Ended::Continued));
    // It panics, and fails open.
    assert_eq!(
        kong.event(other, "response").await,
        (vec![], Ended::Continued)
    );
    // A phase that the plugin does not have is nothing to it.
    assert_eq!(
        kong.event(other, "access").await,
        (vec![], Ended::Continued)
    );
    assert_eq!(
        kong.event(other, "no such phase").await,
        (vec![], Ended::Continued)
    );
    assert_eq!(running.counters().panics, 1);
    assert_eq!(running.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn questions_that_kong_never_asks_are_answered() {
    let running = Running::start();
    let (mut kong, id) = running.script("nothing").await;
    let names = kong
        .request(Call::CmdGetPluginNames(CmdGetPluginNames {}))
        .await
        .unwrap();
    let Some(Return::PluginNames(names)) = names.r#return else {
        panic!("names are answered with names")
    };
    assert_eq!(names.names, ["script", "other"]);
    let get = CmdGetPluginInfo {
        name: "script".into(),
    };
    let info = kong.request(Call::CmdGetPluginInfo(get)).await.unwrap();
    let Some(Return::PluginInfo(info)) = info.r#return else {
        panic!("a plugin is answered with its info")
    };
    assert_eq!((&info.version[..], info.priority), (&b"1.2.3"[..], 905));
    assert_eq!(info.phases, ["access", "log"]);
    let status = CmdGetInstanceStatus { instance_id: id };
    let status = kong
        .request(Call::CmdGetInstanceStatus(status))
        .await
        .unwrap();
    let Some(Return::InstanceStatus(status)) = status.r#return else {
        panic!("an instance is answered with its status")
    };
    assert_eq!((&status.name[..], status.instance_id), (&b"script"[..], id));
    assert!(status.started_at > 0);
    let unknown = CmdGetInstanceStatus {
        instance_id: id - 1,
    };
    let unknown = kong
        .request(Call::CmdGetInstanceStatus(unknown))
        .await
        .unwrap();
    assert_eq!(unknown.r#return, None);
}

#[tokio::test]
async fn an_exit_goes_out_after_what_was_deferred_and_ends_with_the_connection() {
    let running = Running::start();
    let (mut kong, id) = running.script("exit").await;
    let (calls, ended) = kong.event(id, "access").await;
    assert_eq!(calls, ["kong.response.set_header"]);
    assert_eq!(ended.status(), Some(429));
    assert_eq!(kong.frame().await, None, "the server closes its side too");
    assert_eq!(running.counters().exits, 1);
    assert_eq!(running.counters().interrupted, 0);
}

#[tokio::test]
async fn a_panic_before_or_after_calls_ends_the_event_as_configured() {
    let running = Running::start();
    let (mut kong, id) = running.script("panic-first").await;
    let (calls, ended) = kong.event(id, "access").await;
    assert_eq!((calls.len(), ended.status()), (0, Some(502)));
    let (mut kong, id) = running.script("panic-later").await;
    let (calls, ended) = kong.event(id, "access").await;
    assert_eq!(
        calls,
        ["kong.request.get_method"],
        "what a failed handler deferred is not done"
    );
    assert_eq!(ended.status(), Some(502));
    assert_eq!(running.counters().panics, 2);
}

#[tokio::test]
async fn an_error_ends_the_event_as_configured_and_in_log_plainly() {
    let running = Running::start();
    let (mut kong, id) = running.script("fail").await;
    // Log cannot answer, and Kong must not see the connection close.
    assert_eq!(kong.event(id, "log").await, (vec![], Ended::Continued));
    let (calls, ended) = kong.event(id, "access").await;
    assert_eq!((calls.len(), ended.status()), (0, Some(502)));
    assert_eq!(running.counters().failures, 2);
}

#[tokio::test]
async fn a_slow_handler_meets_its_deadline() {
    let running = Running::start();
    let (mut kong, id) = running.script("sleep").await;
    let (calls, ended) = kong.event(id, "access").await;
    assert_eq!((calls.len(), ended.status()), (1, Some(502)));
    // Kong itself may be slow to answer: the reply that comes after the deadline is not taken for anything else.
    let (mut kong, id) = running.script("sleep").await;
    kong.begin(id, "access").await;
    kong.withhold(1).await;
    let ended = kong.next_call().await.unwrap_err();
    assert_eq!(ended.status(), Some(502));
    assert_eq!(running.counters().deadlines, 2);
}

#[tokio::test]
async fn an_unknown_instance_closes_the_connection_and_nothing_else() {
    let running = Running::start();
    let (mut kong, id) = running.script("nothing").await;
    let mut other = running.connect().await;
    assert_eq!(
        other.event(id.wrapping_sub(1).max(1), "access").await,
        (vec![], Ended::Closed)
    );
    // What Kong does then: start again and repeat.
    let again = kong.start("script", &json!({ "act": "nothing" })).await;
    assert_eq!(
        kong.event(again, "access").await,
        (vec![], Ended::Continued)
    );
    assert_eq!(kong.event(id, "access").await, (vec![], Ended::Continued));
    kong.close(id).await;
    assert_eq!(kong.event(id, "access").await, (vec![], Ended::Closed));
    let counters = running.counters();
    assert_eq!((counters.unknown_instances, counters.events), (2, 2));
}

#[tokio::test]
async fn ids_of_another_server_are_unknown() {
    let (first, second) = (Running::start(), Running::start());
    let (_kong, id) = first.script("nothing").await;
    let (mut kong, _) = second.script("nothing").await;
    assert_eq!(kong.event(id, "access").await, (vec![], Ended::Closed));
}

#[tokio::test]
async fn too_many_events_are_answered_at_once() {
    let running = Running::start();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let (mut kong, id) = running.script("wait").await;
        kong.begin(id, "access").await;
        waiting.push(kong);
    }
    while running.counters().events < 2 {
        tokio::task::yield_now().await;
    }
    let (mut kong, id) = running.script("nothing").await;
    assert_eq!(kong.event(id, "access").await.1.status(), Some(503));
    running.release.notify_waiters();
    for mut kong in waiting {
        assert_eq!(kong.serve(|_, _| Vec::new()).await.1, Ended::Continued);
    }
    let (mut kong, id) = running.script("nothing").await;
    assert_eq!(kong.event(id, "access").await.1, Ended::Continued);
    assert_eq!(running.counters().rejections, 1);
}

#[tokio::test]
async fn a_batch_of_64_calls_goes_out_before_the_first_reply() {
    let running = Running::start();
    let (mut kong, id) = running.script("batch").await;
    for _ in 0..3 {
        kong.begin(id, "access").await;
        kong.withhold(64).await;
        let mut number = 0;
        let (calls, ended) = kong
            .serve(|_, arguments| {
                assert_eq!(arguments[2..], *number.to_string().as_bytes());
                number += 1;
                arguments.to_vec()
            })
            .await;
        assert_eq!((calls.len(), ended), (64, Ended::Continued));
    }
}

#[tokio::test]
async fn replies_of_a_dropped_batch_are_not_taken_for_others() {
    let running = Running::start();
    let (mut kong, id) = running.script("abandon").await;
    for _ in 0..2 {
        kong.begin(id, "access").await;
        kong.withhold(3).await;
        let (calls, ended) = kong.serve(|method, _| string(method)).await;
        assert_eq!((calls.len(), ended), (4, Ended::Continued));
    }
    assert_eq!(running.counters().panics, 0);
}

#[tokio::test]
async fn deferred_calls_ride_with_the_end_and_keep_their_order() {
    let running = Running::start();
    let (mut kong, id) = running.script("order").await;
    kong.begin(id, "access").await;
    // Both come in one flight, the deferred one first.
    kong.withhold(2).await;
    let (calls, ended) = kong.serve(|_, _| vec![]).await;
    assert_eq!(
        calls,
        [
            "kong.ctx.shared.set",
            "kong.ctx.shared.get",
            "kong.log.notice"
        ]
    );
    assert_eq!(ended, Ended::Continued);
    // More than may be in flight.
    let id = kong
        .start("script", &json!({ "act": "many-deferred" }))
        .await;
    let (calls, ended) = kong.event(id, "access").await;
    assert_eq!((calls.len(), ended), (200, Ended::Continued));
    // The replies that were left behind are not taken for a request.
    assert_eq!(kong.event(id, "log").await.1, Ended::Continued);
}

#[tokio::test]
async fn calls_and_replies_larger_than_the_sockets_buffers_do_not_lock_up() {
    let running = Running::start();
    let (mut kong, id) = running.script("big-exchange").await;
    kong.begin(id, "access").await;
    let reply = wire::Value {
        kind: Some(wire::value::Kind::StringValue("k".repeat(BIG).into())),
    }
    .encode_to_vec();
    // Kong answers each call before it reads the next, and waits while nobody reads the answer.
    let (calls, ended) = kong.serve(|_, _| reply.clone()).await;
    assert_eq!((calls.len(), ended), (100, Ended::Continued));
}

#[tokio::test]
async fn header_bytes_that_are_not_text_are_kept() {
    let running = Running::start();
    let (mut kong, id) = running.script("headers").await;
    kong.begin(id, "access").await;
    let string = |bytes: &'static [u8]| wire::Value {
        kind: Some(wire::value::Kind::StringValue(bytes.into())),
    };
    let entry = |key: &'static str, value| wire::FieldsEntry {
        key: key.into(),
        value: Some(value),
    };
    let two = wire::value::Kind::ListValue(wire::ListValue {
        values: vec![string(b"a"), string(b"b")],
    });
    let headers = wire::Struct {
        fields: vec![
            entry("x-raw", string(b"\xff\xfe")),
            entry("x-two", wire::Value { kind: Some(two) }),
            entry("x-empty", string(b"")),
        ],
    };
    let mut sent = Vec::new();
    let (_, ended) = kong
        .serve(|method, arguments| {
            if method == "kong.request.get_headers" {
                return headers.encode_to_vec();
            }
            sent = arguments.to_vec();
            Vec::new()
        })
        .await;
    assert_eq!(ended, Ended::Continued);
    assert_eq!(sent, b"\x0a\x05x-raw\x12\x04\x1a\x02\xff\xfe");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_answers_each_request() {
    let running = Running::start();
    for act in ["refuse", "panic-at-configure", "no-such-act"] {
        let (mut kong, id) = running.script(act).await;
        assert_eq!(kong.event(id, "log").await, (vec![], Ended::Continued));
        let (_, ended) = kong.event(id, "access").await;
        let Ended::Exited(exit) = ended else {
            panic!("an unusable configuration exits")
        };
        assert_eq!(exit.status, 500);
        assert!(String::from_utf8_lossy(&exit.body).contains("script"));
    }
    let mut kong = running.connect().await;
    let start = CmdStartInstance {
        name: "script".into(),
        config: "not JSON".into(),
    };
    assert!(kong.request(Call::CmdStartInstance(start)).await.is_some());
    assert_eq!(running.counters().unusable, 6);
}

#[tokio::test]
async fn a_plugin_that_is_not_here_closes_the_start() {
    let running = Running::start();
    let mut kong = running.connect().await;
    let start = CmdStartInstance {
        name: "absent".into(),
        config: "{}".into(),
    };
    assert!(kong.request(Call::CmdStartInstance(start)).await.is_none());
}

#[tokio::test]
async fn equal_configurations_are_made_once_and_keep_their_scope() {
    let running = Running::start();
    let mut kong = running.connect().await;
    for push in 0..100 {
        let config = json!({
            "__seq__": push, "__plugin_id": "p1", "__key__": "k", "__ws_id": "w",
            "route_id": format!("r{push}"), "act": "scope", "$refs": {},
        });
        let id = kong.start("script", &config).await;
        kong.begin(id, "access").await;
        let mut route = Vec::new();
        let (_, ended) = kong
            .serve(|_, arguments| {
                route = arguments.to_vec();
                Vec::new()
            })
            .await;
        assert_eq!(ended, Ended::Continued);
        assert!(route.ends_with(format!("r{push}").as_bytes()), "{route:?}");
    }
    assert_eq!(running.configured.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_drain_lets_events_end_and_closes_what_is_idle() {
    let running = Running::start();
    let (mut busy, id) = running.script("wait").await;
    let mut idle = running.connect().await;
    idle.start("other", &json!({})).await;
    busy.begin(id, "access").await;
    while running.counters().events < 1 {
        tokio::task::yield_now().await;
    }
    let (socket, release) = (running.socket.clone(), Arc::clone(&running.release));
    let stopping = tokio::spawn(running.stop());
    assert_eq!(idle.frame().await, None, "an idle connection is closed");
    release.notify_waiters();
    assert_eq!(busy.serve(|_, _| Vec::new()).await.1, Ended::Continued);
    assert_eq!(busy.frame().await, None);
    assert_eq!(stopping.await.unwrap(), Drained { cut: 0 });
    assert!(
        socket.symlink_metadata().is_err()
            || tokio::net::UnixStream::connect(&socket).await.is_err()
    );
}

#[tokio::test]
async fn a_second_server_takes_the_socket_over_without_a_gap() {
    let first = Running::start();
    let (mut kong, id) = first.script("nothing").await;
    let listener = bind(&first.socket, 0o600).unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&first.socket.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let entries = std::fs::read_dir(first.socket.parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(entries, 1, "the temporary name is gone");
    let second = Server::builder()
        .plugin(registration!(Script::default()))
        .build()
        .unwrap();
    let serving = tokio::spawn(async move { second.serve(listener, std::future::pending()).await });
    // The old connection still belongs to the first, new ones to the second.
    assert_eq!(kong.event(id, "access").await.1, Ended::Continued);
    let mut new = first.connect().await;
    assert_eq!(new.event(id, "access").await.1, Ended::Closed);
    serving.abort();
}

#[tokio::test]
async fn a_client_that_leaves_during_an_event_is_no_failure() {
    let running = Running::start();
    let (mut kong, id) = running.script("batch").await;
    kong.begin(id, "access").await;
    kong.withhold(64).await;
    drop(kong);
    while running.counters().interrupted < 1 {
        tokio::task::yield_now().await;
    }
    let counters = running.counters();
    assert_eq!((counters.failures, counters.panics), (0, 0));
}

#[tokio::test]
async fn bytes_that_are_not_the_protocol_close_the_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = Running::start();
    for bytes in [&b"\xff\xff\xff\xff"[..], &[3, 0, 0, 0, 0xff, 0xff, 0xff]] {
        let mut stream = tokio::net::UnixStream::connect(&running.socket)
            .await
            .unwrap();
        stream.write_all(bytes).await.unwrap();
        assert!(!matches!(stream.read(&mut [0; 8]).await, Ok(1..)));
    }
    while running.counters().open_connections > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.counters().protocol_errors, 2);
}

#[test]
fn the_dump_is_what_kong_reads() {
    let server = Server::builder()
        .plugin(registration!(Other))
        .build()
        .unwrap();
    let dump = server.dump("other", "/run/plugins.sock").unwrap();
    assert_eq!(
        dump,
        json!({
            "Protocol": "ProtoBuf:1",
            "SocketPath": "/run/plugins.sock",
            "Plugins": [{
                "Name": "other", "Version": "0.0.1", "Priority": 1, "Phases": ["response"],
                "Schema": { "name": "other", "fields": [
                    { "config": { "type": "record", "fields": [] } },
                ] },
            }],
        }),
    );
    assert_eq!(server.dump("absent", ""), None);
}

#[test]
fn a_server_that_makes_no_sense_is_not_built() {
    struct Idle;
    impl Plugin for Idle {
        const NAME: &'static str = "idle";
        const VERSION: &'static str = "0.0.1";
        const PRIORITY: i32 = 1;
        type Config = Empty;
        type Instance = ();
        fn configure(&self, _: Empty) -> Result<(), ConfigError> {
            Ok(())
        }
    }
    assert_eq!(Server::builder().build().unwrap_err(), BuildError::NoPlugin);
    let twice = Server::builder()
        .plugin(registration!(Other))
        .plugin(registration!(Other));
    assert_eq!(
        twice.build().unwrap_err(),
        BuildError::DuplicateName("other")
    );
    let idle = Server::builder().plugin(registration!(Idle));
    assert_eq!(idle.build().unwrap_err(), BuildError::NoPhase("idle"));
}
