//! The policy on a store of its own.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::json;
use token_limiter::MemoryStore;

use super::answer::Reason;
use super::config::tests::{limit, settings};
use super::config::{MaxTokens, Mode, Priority, Share};
use super::matching::{ClaimMatch, Match, ModelPattern};
use super::price::{PriceTable, TokenPrice};
use super::*;
use crate::clock::SystemClock;
use crate::stores::Stores;
use crate::stores::redis::config::RedisConfig;

fn ready<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the memory store never waits"),
    }
}

/// A policy on a store of its own.
struct World {
    policy: Policy,
    store: LimitStore,
    outcomes: Outcomes,
    learned: Learned,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            policy: Policy::new(settings).unwrap(),
            store: LimitStore::in_memory(MemoryStore::new().into()),
            outcomes: Outcomes::new(std::sync::Arc::new(SystemClock::new()), false),
            learned: Learned::new(),
        }
    }

    fn limits(limits: Vec<LimitSettings>) -> Self {
        Self::new(settings(limits))
    }

    fn decide(&self, caller: &Caller, body: &[u8]) -> Verdict {
        ready(self.ask(caller, body))
    }

    async fn ask(&self, caller: &Caller, body: &[u8]) -> Verdict {
        let pricing = self
            .policy
            .price(caller, None, Body::Whole(body), &self.learned);
        let caller = Caller {
            model: pricing.model.clone(),
            ..caller.clone()
        };
        let watch = Watch {
            outcomes: &self.outcomes,
            scope: &Scope::default(),
        };
        self.policy
            .decide(&self.store, &caller, &pricing, watch)
            .await
    }

    fn settle(&self, handle: &Handle, observed: Option<&Observed>, status: u16) -> Closing {
        ready(Policy::settle(
            &self.store,
            handle,
            observed,
            status,
            &self.outcomes,
            &self.learned,
        ))
    }
}

fn caller(consumer: &str) -> Caller {
    Caller {
        ip: b"192.0.2.1".to_vec(),
        consumer: Some(consumer.into()),
        ..Caller::default()
    }
}

const CHAT: &[u8] = br#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Hello, world!"}]}"#;

fn answer(total_tokens: u64) -> Observed {
    let body = format!(r#"{{"usage":{{"prompt_tokens":11,"total_tokens":{total_tokens}}}}}"#);
    Observed {
        head: Vec::new(),
        bytes: body.len() as u64,
        tail: body.into(),
        ended: true,
    }
}

fn admitted(verdict: Verdict) -> Handle {
    match verdict {
        Verdict::Admitted { handle, .. } => *handle.expect("a limit applies"),
        Verdict::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

/// It may pass, and there is nothing to settle.
#[track_caller]
fn passes(verdict: Verdict) {
    match verdict {
        Verdict::Admitted { handle: None, .. } => {}
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refused(refusal) => refusal,
        Verdict::Admitted { handle, .. } => panic!("admitted: {handle:?}"),
    }
}

fn reserved(handle: &Handle) -> Vec<(Unit, u64)> {
    let charges = handle.request.charges.iter();
    charges
        .map(|charged| (charged.unit, charged.reserved))
        .collect()
}

#[test]
fn a_budget_is_reserved_settled_and_at_last_spent() {
    let world = World::limits(vec![
        limit("tokens", Unit::TotalTokens, 300, &["consumer"]),
        limit("calls", Unit::Requests, 3, &["consumer"]),
    ]);
    let tenant = caller("tenant");
    let first = admitted(world.decide(&tenant, CHAT));
    assert_eq!(
        reserved(&first),
        [(Unit::TotalTokens, 111), (Unit::Requests, 1)]
    );
    let closing = world.settle(&first, Some(&answer(31)), 200);
    assert_eq!(closing.settlement, Settlement::Settled);

    let second = admitted(world.decide(&tenant, CHAT));
    world.settle(&second, Some(&answer(250)), 200);
    let refusal = refused(world.decide(&tenant, CHAT));
    assert!(
        refusal
            .message
            .contains("(tokens): limit 300 in 1m0s, used 281, requested 111"),
        "{}",
        refusal.message
    );
    admitted(world.decide(&caller("other"), CHAT));
}

#[test]
fn a_failed_upstream_gives_back_tokens_but_no_request() {
    let world = World::limits(vec![
        limit("tokens", Unit::TotalTokens, 111, &["consumer"]),
        limit("calls", Unit::Requests, 2, &["consumer"]),
    ]);
    for _ in 0..2 {
        let handle = admitted(world.decide(&caller("a"), CHAT));
        world.settle(&handle, None, 502);
    }
    assert!(
        refused(world.decide(&caller("a"), CHAT))
            .message
            .contains("(calls): limit 2")
    );
}

#[test]
fn a_slot_is_free_again_when_its_request_ends_however_it_ends() {
    let world = World::limits(vec![limit("slots", Unit::ConcurrentRequests, 1, &["ip"])]);
    for status in [200, 502, 0] {
        let handle = admitted(world.decide(&caller("a"), CHAT));
        assert_eq!(refused(world.decide(&caller("a"), CHAT)).status, 429);
        world.settle(&handle, None, status);
    }
    admitted(world.decide(&caller("a"), CHAT));
}

#[test]
fn a_prompt_above_its_limit_never_passes() {
    let world = World::limits(vec![limit("tokens", Unit::TotalTokens, 10, &["consumer"])]);
    assert_eq!(refused(world.decide(&caller("a"), CHAT)).status, 413);
}

#[test]
fn a_tier_has_its_own_limits_and_others_none() {
    let mut free = limit("free", Unit::Requests, 1, &["claim:org"]);
    free.matches = Match {
        claims: vec![ClaimMatch {
            path: vec!["tier".to_owned()],
            one_of: vec!["free".to_owned()],
            or_absent: false,
        }],
        ..Match::default()
    };
    let world = World::limits(vec![free]);
    let of = |tier| Caller {
        claims: json!({"org": "acme", "tier": tier}),
        ..caller("a")
    };
    passes(world.decide(&of("free"), CHAT));
    assert_eq!(refused(world.decide(&of("free"), CHAT)).status, 429);
    for _ in 0..3 {
        let Verdict::Admitted { handle, headers } = world.decide(&of("pro"), CHAT) else {
            panic!("no limit is for this tier");
        };
        assert_eq!((handle, headers.len()), (None, 0));
    }
}

#[test]
fn a_shadow_counts_and_never_refuses() {
    let mut shadow = limit("shadow", Unit::Requests, 1, &["ip"]);
    shadow.mode = Mode::Shadow;
    let world = World::limits(vec![shadow]);
    for _ in 0..3 {
        let Verdict::Admitted { headers, .. } = world.decide(&caller("a"), CHAT) else {
            panic!("a shadow refuses nobody");
        };
        assert_eq!(headers, Headers::new());
    }
}

#[test]
fn a_class_leaves_its_share_to_the_others() {
    let mut settings = settings(vec![limit("calls", Unit::Requests, 10, &["route"])]);
    settings.priorities.push(Priority {
        name: "batch".to_owned(),
        matches: Match {
            consumer_tags: vec!["batch".to_owned()],
            ..Match::default()
        },
        share: Share::new(0.6).unwrap(),
    });
    let world = World::new(settings);
    let batch = Caller {
        consumer_tags: vec!["batch".to_owned()],
        ..caller("a")
    };
    let passes = |caller: &Caller| {
        std::iter::repeat_with(|| world.decide(caller, CHAT))
            .take_while(|verdict| matches!(verdict, Verdict::Admitted { .. }))
            .count()
    };
    assert_eq!(passes(&batch), 6);
    assert_eq!(passes(&caller("b")), 4);
}

#[test]
fn cost_is_counted_in_micro_dollars_and_an_unpriced_model_refused() {
    let dollars = |dollars| TokenPrice::dollars_per_million(dollars).unwrap();
    let price = Price {
        input: dollars(1.0),
        output: dollars(10.0),
        ..Price::default()
    };
    let mut settings = settings(vec![limit("spend", Unit::Cost, 5_000, &["consumer"])]);
    settings.prices = PriceTable {
        entries: vec![(ModelPattern::new("gpt-4o").unwrap(), price)],
    };
    let world = World::new(settings);
    let handle = admitted(world.decide(&caller("a"), CHAT));
    assert_eq!(reserved(&handle), [(Unit::Cost, 11 + 1_000)]);
    world.settle(&handle, Some(&answer(31)), 200);
    let refusal = refused(world.decide(&caller("a"), br#"{"model":"o3","messages":[]}"#));
    assert_eq!(refusal.status, 403);
    assert!(refusal.message.contains("no price"), "{}", refusal.message);
}

#[test]
fn a_model_outside_the_list_is_refused_and_so_is_one_that_cannot_be_read() {
    let mut settings = settings(vec![limit("calls", Unit::Requests, 10, &["ip"])]);
    settings.allowed_models = vec![ModelPattern::new("gpt-4o*").unwrap()];
    let world = World::new(settings);
    passes(world.decide(&caller("a"), CHAT));
    passes(world.decide(&caller("a"), b""));
    for body in [
        &br#"{"model":"o3","messages":[]}"#[..],
        br#"{"messages":[]}"#,
        b"no JSON",
        br#"{"model":["gpt-4o"],"messages":[]}"#,
    ] {
        assert_eq!(refused(world.decide(&caller("a"), body)).status, 403);
    }
}

#[test]
fn caps_are_lowered_or_added_and_the_estimate_follows() {
    let mut settings = settings(vec![limit("tokens", Unit::TotalTokens, 9_000, &["ip"])]);
    settings.max_tokens = MaxTokens {
        clamp: Some(50),
        inject: Some(20),
    };
    let policy = Policy::new(settings).unwrap();
    let lowered = policy.price(&Caller::default(), None, Body::Whole(CHAT), &Learned::new());
    assert_eq!(lowered.estimate.output_tokens, 50);
    let body = String::from_utf8(lowered.rewritten.unwrap()).unwrap();
    assert!(body.contains(r#""max_tokens":50"#), "{body}");
    let uncapped = br#"{"model":"gpt-4o","messages":[]}"#;
    let added = policy.price(
        &Caller::default(),
        Some("/v1/chat/completions"),
        Body::Whole(uncapped),
        &Learned::new(),
    );
    assert_eq!(added.estimate.output_tokens, 20);
    assert!(!added.asks_usage);
    let body = String::from_utf8(added.rewritten.unwrap()).unwrap();
    assert!(body.contains(":20"), "{body}");
}

#[test]
fn an_estimate_costs_what_was_chosen() {
    let estimate = |mode, body| {
        let mut settings = settings(vec![limit("tokens", Unit::TotalTokens, 9_000, &["ip"])]);
        settings.estimate = mode;
        let policy = Policy::new(settings).unwrap();
        policy
            .price(&Caller::default(), None, body, &Learned::new())
            .estimate
    };
    assert_eq!(
        estimate(EstimateMode::None, Body::Whole(CHAT)),
        Estimate::unknown()
    );
    let by_size = estimate(EstimateMode::ContentLength, Body::Size(400));
    assert_eq!(by_size.prompt_tokens, 100);
    let exact = estimate(EstimateMode::Body, Body::Whole(CHAT));
    assert_eq!((exact.prompt_tokens, exact.output_tokens), (11, 100));
}

#[test]
fn a_stream_is_asked_for_its_usage_only_if_tokens_count() {
    let stream = br#"{"stream":true,"messages":[]}"#;
    let policy = |limits| Policy::new(settings(limits)).unwrap();
    let tokens = policy(vec![limit("tokens", Unit::TotalTokens, 10, &["ip"])]);
    assert!(
        tokens
            .price(
                &Caller::default(),
                None,
                Body::Whole(stream),
                &Learned::new()
            )
            .asks_usage
    );
    assert!(
        tokens
            .price(&Caller::default(), None, Body::Whole(CHAT), &Learned::new())
            .rewritten
            .is_none()
    );
    let by_model = policy(vec![limit("calls", Unit::Requests, 10, &["model"])]);
    assert!(by_model.needs().body && !by_model.counts_usage());
    assert!(
        by_model
            .price(
                &Caller::default(),
                None,
                Body::Whole(stream),
                &Learned::new()
            )
            .rewritten
            .is_none()
    );
    let off = Policy::new(Settings {
        stream_usage: StreamUsage::Off,
        ..tokens.settings.clone()
    });
    assert!(
        off.unwrap()
            .price(
                &Caller::default(),
                None,
                Body::Whole(stream),
                &Learned::new()
            )
            .rewritten
            .is_none()
    );
    let plain = policy(vec![limit("calls", Unit::Requests, 10, &["ip"])]);
    assert!(!plain.needs().body);
}

#[test]
fn a_body_that_cannot_be_read_is_priced_and_never_an_error() {
    let policy = Policy::new(settings(vec![limit(
        "tokens",
        Unit::TotalTokens,
        10,
        &["ip"],
    )]))
    .unwrap();
    let deep = "[".repeat(1_000_000);
    for body in [
        &b"\xff\xfe\x00"[..],
        b"{\"messages\":",
        b"[1,2",
        b"--boundary\r\n",
        deep.as_bytes(),
    ] {
        let estimate = policy
            .price(&Caller::default(), None, Body::Whole(body), &Learned::new())
            .estimate;
        assert_eq!(estimate.prompt_tokens, (body.len() as u64).div_ceil(4));
    }
    assert_eq!(
        policy
            .price(&Caller::default(), None, Body::Whole(b""), &Learned::new())
            .estimate,
        Estimate::default()
    );
    assert_eq!(
        policy
            .price(
                &Caller::default(),
                None,
                Body::Size(u64::MAX),
                &Learned::new()
            )
            .estimate
            .prompt_tokens,
        u64::MAX / 4 + 1
    );
}

#[tokio::test]
async fn while_redis_is_away_each_limit_does_as_it_was_told() {
    let redis = RedisConfig {
        // Nobody listens there.
        port: 1,
        ..RedisConfig::default()
    };
    let stores = Stores::default();
    let store = stores.in_redis(&redis).unwrap();
    let world = |on_store_failure| {
        let mut calls = limit("calls", Unit::Requests, 2, &["consumer"]);
        calls.on_store_failure = on_store_failure;
        let mut settings = settings(vec![calls]);
        settings.store = StoreConfig::Redis(Box::new(redis.clone()));
        World {
            store: store.clone(),
            ..World::new(settings)
        }
    };
    let closed = world(OnStoreFailure::Closed);
    let refusal = refused(closed.ask(&caller("a"), CHAT).await);
    assert_eq!(
        (refusal.status, refusal.reason()),
        (503, Reason::Unavailable)
    );
    assert!(refusal.message.contains("cannot be checked"), "{refusal:?}");
    let open = world(OnStoreFailure::Open);
    for _ in 0..5 {
        passes(open.ask(&caller("b"), CHAT).await);
    }
    let shared = world(OnStoreFailure::LocalShare);
    for _ in 0..2 {
        passes(shared.ask(&caller("c"), CHAT).await);
    }
    assert_eq!(refused(shared.ask(&caller("c"), CHAT).await).status, 429);
    assert_eq!(closed.policy.describe(&Scope::default())[0].store, "redis");
}
