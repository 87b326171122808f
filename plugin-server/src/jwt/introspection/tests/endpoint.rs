//! Endpoints that answer what is none, are away or slow, and what many requests at once cost.

use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use futures_util::future::join_all;
use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn an_answer_that_is_none_decides_nothing_and_is_not_remembered() {
    let inner = start(active()).await;
    let huge = json!({"active": true, "padding": "x".repeat(70_000)});
    let nested = format!("{{\"active\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let lies = [
        Behaviour::Text("<html>active</html>"),
        Behaviour::Text(""),
        Behaviour::Text("{}"),
        Behaviour::Text("true"),
        Behaviour::Text(r#"[{"active":true}]"#),
        Behaviour::Text(r#"{"active":true} {"active":false}"#),
        Behaviour::Text(r#"{"active":false,"active":true}"#),
        Behaviour::Json(active_with("active", json!("true"))),
        Behaviour::Json(active_with("active", json!(1))),
        Behaviour::Json(active_with("active", Value::Null)),
        Behaviour::Text(Box::leak(nested.into_boxed_str())),
        Behaviour::Json(huge),
        Behaviour::Status(StatusCode::BAD_REQUEST),
        Behaviour::Status(StatusCode::UNAUTHORIZED),
        Behaviour::Status(StatusCode::FORBIDDEN),
        Behaviour::Status(StatusCode::NOT_FOUND),
        Behaviour::Status(StatusCode::TOO_MANY_REQUESTS),
        Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Behaviour::Status(StatusCode::NO_CONTENT),
        Behaviour::RedirectTo(inner.url.clone()),
        Behaviour::Huge(300_000),
        Behaviour::HugeStream(100 * 1024 * 1024),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let endpoint = IntrospectionEndpoint::start(lie).await;
        let bench = Bench::new(endpoint.settings());
        let refusal = bench.refusal(TOKEN).await;
        assert_eq!(refusal, unavailable(1), "lie {number}");
        assert!(!refusal.admits_anonymous());
        endpoint.becomes(Behaviour::Json(active()));
        assert!(bench.accepts(TOKEN).await, "lie {number}");
        let counts = bench.process.outcomes().introspection.counts();
        assert_eq!(counts, [("active", 1), ("inactive", 0), ("failure", 1)]);
    }
    assert_eq!(inner.asked(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_503() {
    let endpoint = start(active()).await;
    let settings = endpoint.settings();
    endpoint.server.abort();
    drop(endpoint);
    tokio::task::yield_now().await;
    assert_eq!(Bench::new(settings).refusal(TOKEN).await, unavailable(1));
}

#[tokio::test]
async fn a_name_that_points_inside_is_refused_when_connecting() {
    let endpoint = start(active()).await;
    let settings = changed(&endpoint, |it| {
        it.endpoint = it.endpoint.replace("127.0.0.1", "localhost");
        it.reach.allow_private = false;
    });
    assert_eq!(Bench::new(settings).refusal(TOKEN).await, unavailable(1));
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn a_slow_or_silent_endpoint_costs_the_timeout_and_no_more() {
    for behaviour in [Behaviour::Drip, Behaviour::Stalled] {
        let endpoint = IntrospectionEndpoint::start(behaviour).await;
        let settings = changed(&endpoint, |it| it.timeout = Duration::from_millis(100));
        let bench = Bench::new(settings);
        let started = Instant::now();
        assert_eq!(bench.refusal(TOKEN).await, unavailable(1));
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_left_alone_for_a_while() {
    let endpoint =
        IntrospectionEndpoint::start(Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE)).await;
    let bench = Bench::new(endpoint.settings());
    for number in 0..100 {
        let refusal = bench.refusal(&format!("token-{number}")).await;
        assert_eq!(refusal, unavailable(1));
    }
    assert_eq!(endpoint.asked(), 3);
    bench.clock.advance(1);
    assert_eq!(bench.refusal(TOKEN).await, unavailable(2));
    assert_eq!(endpoint.asked(), 4);
    endpoint.becomes(Behaviour::Json(active()));
    assert_eq!(bench.refusal(TOKEN).await, unavailable(2));
    bench.clock.advance(2);
    assert!(bench.accepts(TOKEN).await);
    assert!(bench.accepts("another").await);
}

#[tokio::test]
async fn simultaneous_requests_with_one_token_share_one_question() {
    let release = Arc::new(Notify::new());
    let endpoint =
        IntrospectionEndpoint::start(Behaviour::HeldJson(release.clone(), active())).await;
    let bench = Bench::new(endpoint.settings());
    let all = join_all((0..50).map(|_| bench.accepts(TOKEN)));
    let (all, ()) = tokio::join!(all, async { release.notify_one() });
    assert!(all.into_iter().all(|accepted| accepted));
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test]
async fn a_request_that_leaves_does_not_end_the_question() {
    let release = Arc::new(Notify::new());
    let endpoint =
        IntrospectionEndpoint::start(Behaviour::HeldJson(release.clone(), active())).await;
    let bench = Bench::new(endpoint.settings());
    let left = tokio::time::timeout(Duration::from_millis(50), bench.accepts(TOKEN)).await;
    assert!(left.is_err());
    release.notify_one();
    assert!(bench.accepts(TOKEN).await);
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test]
async fn a_stalled_endpoint_holds_up_nobody_who_is_known() {
    let endpoint = start(active()).await;
    let bench = Bench::new(endpoint.settings());
    assert!(bench.accepts(TOKEN).await);
    let release = Arc::new(Notify::new());
    endpoint.becomes(Behaviour::HeldJson(release.clone(), active()));
    let jwt = TestKey::p256().token(&json!({"alg": "ES256", "kid": "k1"}), &claims());
    let passing = async {
        while endpoint.asked() < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            assert!(bench.accepts(TOKEN).await);
            assert!(bench.accepts(&jwt).await);
        }
        release.notify_one();
    };
    let (accepted, ()) = tokio::join!(bench.accepts("waiting"), passing);
    assert!(accepted);
}

#[tokio::test]
async fn a_flood_of_tokens_waits_for_its_turn() {
    let endpoint = IntrospectionEndpoint::start(Behaviour::Stalled).await;
    let bench = Bench::new(endpoint.settings());
    let tokens: Vec<String> = (0..200).map(|number| format!("token-{number}")).collect();
    let flood = join_all(tokens.iter().map(|token| bench.refusal(token)));
    let watching = async {
        while endpoint.asked() < MOST_AT_ONCE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::select! {
        refusals = flood => panic!("nobody has answered, yet {refusals:?}"),
        () = watching => assert_eq!(endpoint.asked(), MOST_AT_ONCE),
    }
}
