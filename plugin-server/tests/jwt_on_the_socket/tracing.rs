//! Where the span of a token's judgement goes: to the collector, or to the plugin that can tell its trace.

use llm_plugin_server::cli::ProcessArgs;
use serde_json::json;
use tokio::net::TcpListener;

use super::story::{Story, bearer};
use super::support::{Kong, Request};

const KEY: &str = "llm_jwt_trace";
const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_span_is_left_for_the_limiter_only_where_no_trace_is_known_and_the_token_passes() {
    // It accepts, and never answers: no request waits for it.
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut arguments = ProcessArgs::default();
    arguments.tracing.endpoint = Some(format!("http://{}", collector.local_addr().unwrap()));
    let mut story = Story::begin_with(arguments).await;
    let config = story.config(&json!({}));
    let token = bearer(&story.token(&json!({})));

    let plain = Request::with_headers(&[("authorization", &token)]);
    let event = story.access(config.clone(), &plain).await;
    assert!(event.exit.is_none());
    assert!(event.shared(KEY).is_some());

    let traced = Request::with_headers(&[("authorization", &token), ("traceparent", CLIENT)]);
    let event = story.access(config.clone(), &traced).await;
    assert!(event.exit.is_none());
    assert_eq!(event.shared(KEY), None, "it is under the client's span");

    let event = story.access(config, &Request::with_headers(&[])).await;
    assert_eq!(event.exit.as_ref().unwrap().status, 401);
    assert_eq!(event.shared(KEY), None, "nobody comes after a refusal");
    story.kong = Kong::connect(story.dir.path()).await;
    story.end().await;
}
