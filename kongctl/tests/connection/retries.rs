//! What is sent again, when, and what never is.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse as _;
use tokio::net::TcpSocket;

use super::node::{Answer, Node};
use super::{kongctl, run};

/// An upstream, which may be made by PUT too, and a target, which Kong makes by POST alone.
const POOL: &str = r#"
upstreams:
- name: pool
  targets: [{target: "127.0.0.1:9955"}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_be_repeated_outlasts_a_nodes_weakness() {
    let node = Node::new(|_, earlier| {
        if earlier < 2 {
            Answer::status(StatusCode::SERVICE_UNAVAILABLE)
        } else {
            Answer::Usual
        }
    });
    let url = node.start().await;
    let directory = tempfile::tempdir().unwrap();
    let seen = run(&mut kongctl("ping --retries 2", &url, directory.path())).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    // A ping that goes well asks twice: for the mode, and for the details.
    assert_eq!(node.calls(&Method::GET).len(), 2 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_come_to_an_end() {
    let node = Node::new(|_, _| Answer::status(StatusCode::SERVICE_UNAVAILABLE));
    let url = node.start().await;
    let directory = tempfile::tempdir().unwrap();
    let seen = run(&mut kongctl("ping --retries 1", &url, directory.path())).await;
    assert_eq!(seen.code, Some(1));
    assert!(
        seen.stderr.contains("not now (HTTP 503)"),
        "{}",
        seen.stderr
    );
    assert_eq!(node.calls(&Method::GET).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_tried_again() {
    // Bound but not listening: the port is ours, and connections to it are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let seen = run(&mut kongctl("ping --retries 0", &url, directory.path())).await;
    assert_eq!(seen.code, Some(1));
    assert!(seen.stderr.contains("refused"), "{}", seen.stderr);

    let node = Node::new(|_, _| Answer::Usual);
    let mut command = kongctl("ping --retries 6", &url, directory.path());
    let (seen, ()) = tokio::join!(run(&mut command), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        node.serve(socket.listen(16).unwrap());
    });
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_say_how_long_to_wait() {
    let node = Node::new(|_, earlier| {
        if earlier == 0 {
            let headers = [(header::RETRY_AFTER, "1")];
            Answer::This((StatusCode::TOO_MANY_REQUESTS, headers).into_response())
        } else {
            Answer::Usual
        }
    });
    let url = node.start().await;
    let directory = tempfile::tempdir().unwrap();
    let seen = run(&mut kongctl("ping", &url, directory.path())).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    let calls = node.calls(&Method::GET);
    // Without the header the first pause is a fifth of a second.
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_reached_the_node_is_sent_once() {
    for silent in [false, true] {
        let node = Node::new(move |call, _| match call.method {
            Method::POST if !call.path.ends_with("/targets") => Answer::Usual,
            Method::POST if silent => Answer::Silence,
            Method::POST => Answer::status(StatusCode::SERVICE_UNAVAILABLE),
            _ => Answer::Usual,
        });
        let url = node.start().await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kong.yml"), POOL).unwrap();
        let line = "sync --retries 3 --timeout 2s kong.yml";
        let seen = run(&mut kongctl(line, &url, directory.path())).await;
        assert_eq!(seen.code, Some(1), "{}", seen.stderr);
        assert!(
            seen.stdout.contains("created upstream pool"),
            "{}",
            seen.stdout
        );
        assert!(
            seen.stdout.contains("FAILED create target"),
            "{}",
            seen.stdout
        );
        assert_eq!(node.calls(&Method::POST).len(), 2, "silent: {silent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_created_without_an_answer_is_put_again() {
    let node = Node::new(|call, _| match call.method {
        Method::POST if call.path == "/upstreams" => Answer::status(StatusCode::BAD_GATEWAY),
        _ => Answer::Usual,
    });
    let url = node.start().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("kong.yml"), POOL).unwrap();
    let seen = run(&mut kongctl("sync kong.yml", &url, directory.path())).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    assert_eq!(node.calls(&Method::POST).len(), 2);
    assert_eq!(node.calls(&Method::PUT).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_with_a_token() {
    let other = Node::new(|_, _| Answer::Usual);
    let other_url = other.start().await;
    let node = Node::new(move |_, _| {
        let location = [(header::LOCATION, format!("{other_url}/status"))];
        Answer::This((StatusCode::TEMPORARY_REDIRECT, location).into_response())
    });
    let url = node.start().await;
    let directory = tempfile::tempdir().unwrap();
    let seen = run(&mut kongctl("ping --token s3cret", &url, directory.path())).await;
    assert_eq!(seen.code, Some(1));
    assert!(seen.stderr.contains("a redirect"), "{}", seen.stderr);
    assert!(other.calls(&Method::GET).is_empty());
}
