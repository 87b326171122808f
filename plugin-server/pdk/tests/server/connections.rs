//! Connections that end, on either side.

use std::sync::Arc;

use kong_pdk::server::{Drained, bind};
use kong_pdk::{Server, registration};
use serde_json::json;

use super::fake_kong::Ended;
use super::running::Running;
use super::script::Script;

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
