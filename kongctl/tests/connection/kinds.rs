//! Kinds of entities that a node tells of and that are not what they seem.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::json;

use super::node::{Answer, Node};
use super::{Seen, kongctl, run};

async fn dump(node: Node) -> Seen {
    let url = node.start().await;
    let directory = tempfile::tempdir().unwrap();
    run(&mut kongctl("dump --retries 0", &url, directory.path())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_lists_nothing_is_no_reason_to_read_nothing() {
    for list in [StatusCode::METHOD_NOT_ALLOWED, StatusCode::OK] {
        let node = Node::new(move |call, _| match call.path.as_str() {
            "/endpoints" => {
                Answer::This(Json(json!({"data": ["/odd", "/odd/{odd_things}"]})).into_response())
            }
            "/schemas/odd_things" => {
                let fields = json!([{"id": {"type": "string"}}, {"name": {"type": "string", "unique": true}}]);
                Answer::This(Json(json!({"fields": fields})).into_response())
            }
            "/odd" => Answer::status(list),
            _ => Answer::Usual,
        });
        let seen = dump(node).await;
        assert_eq!(seen.code, Some(0), "{}", seen.stderr);
        assert_eq!(seen.stdout, "_format_version: \"3.0\"\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guards_the_node_may_hide_its_endpoints_but_a_failing_node_is_told() {
    let hidden = Node::new(|call, _| match call.path.as_str() {
        "/endpoints" => Answer::status(StatusCode::FORBIDDEN),
        _ => Answer::Usual,
    });
    let seen = dump(hidden).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    // Kinds that are there would be lost in a node without a database.
    let failing = Node::new(|call, _| match call.path.as_str() {
        "/endpoints" => Answer::status(StatusCode::SERVICE_UNAVAILABLE),
        _ => Answer::Usual,
    });
    let seen = dump(failing).await;
    assert_eq!(seen.code, Some(1));
    assert!(seen.stderr.contains("503"), "{}", seen.stderr);
}
