//! What becomes of an event, whatever its handler does.

use kong_pdk::wire::CmdStartInstance;
use kong_pdk::wire::rpc_call::Call;

use super::fake_kong::Ended;
use super::running::Running;

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
