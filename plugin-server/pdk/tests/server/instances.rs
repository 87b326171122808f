//! Plugins and their instances, as Kong asks for them.

use std::sync::atomic::Ordering;

use kong_pdk::server::Drained;
use kong_pdk::wire::rpc_call::Call;
use kong_pdk::wire::rpc_return::Return;
use kong_pdk::wire::{CmdGetInstanceStatus, CmdGetPluginInfo, CmdGetPluginNames, CmdStartInstance};
use serde_json::json;

use super::fake_kong::Ended;
use super::running::Running;

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
