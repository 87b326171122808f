use super::super::config::Unit;
use super::super::config::tests::{limit, settings};
use super::*;

fn key(caller: &Caller, limit_by: &[&str]) -> Key {
    caller.key(&limit("tokens", Unit::TotalTokens, 1, limit_by))
}

fn caller(ip: &str, consumer: Option<&str>) -> Caller {
    Caller {
        ip: ip.into(),
        consumer: consumer.map(Into::into),
        ..Caller::default()
    }
}

#[test]
fn limit_by_is_read_and_anything_else_refused() {
    assert_eq!(
        "header:X-Tenant".parse(),
        Ok(LimitBy::Header("x-tenant".to_owned()))
    );
    assert_eq!(
        "claim:org.id".parse(),
        Ok(LimitBy::Claim(vec!["org".to_owned(), "id".to_owned()]))
    );
    for text in [
        "",
        "Consumer",
        "header:",
        "header:a b",
        "claim:",
        "claim:a..b",
        "cookie:x",
        "header",
    ] {
        let error = text.parse::<LimitBy>().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("{text:?} is none of consumer")),
            "{error}"
        );
    }
}

#[test]
fn an_absent_value_falls_back_to_the_address_and_never_meets_a_present_one() {
    let one = key(&caller("192.0.2.1", None), &["consumer"]);
    let other = key(&caller("192.0.2.2", None), &["consumer"]);
    let named_like_an_address = key(&caller("192.0.2.2", Some("192.0.2.1")), &["consumer"]);
    assert_ne!(one, other);
    assert_ne!(one, named_like_an_address);
    assert_eq!(one, key(&caller("192.0.2.1", Some("")), &["consumer"]));
    for by in [
        "credential",
        "service",
        "route",
        "model",
        "header:x",
        "claim:tenant",
    ] {
        let absent = |ip| key(&caller(ip, None), &[by]);
        assert_ne!(absent("192.0.2.1"), absent("192.0.2.2"), "{by}");
    }
}

#[test]
fn an_absent_claim_falls_back_to_the_token_s_subject_and_never_meets_a_present_one() {
    let of = |ip, issuer: &str, name: &str, claims| {
        let caller = Caller {
            claims,
            subject: Some(Subject {
                issuer: issuer.to_owned(),
                name: name.to_owned(),
            }),
            ..caller(ip, None)
        };
        (key(&caller, &["claim:tenant"]), caller)
    };
    let (alice, caller) = of("192.0.2.1", "https://a", "alice", json!({}));
    assert!(!caller.needs_address(&[limit("tokens", Unit::TotalTokens, 1, &["claim:tenant"])]));
    let by = ["claim:tenant".parse().unwrap()];
    assert_eq!(caller.labels(&by)[0].1, "alice of https://a");
    assert_eq!(alice, of("192.0.2.2", "https://a", "alice", json!({})).0);
    let null = json!({"tenant": null});
    assert_eq!(alice, of("192.0.2.1", "https://a", "alice", null).0);
    for (issuer, name, claims) in [
        ("https://a", "bob", json!({})),
        ("https://b", "alice", json!({})),
        ("https://a", "alice", json!({"tenant": "alice"})),
        (
            "https://a",
            "alice",
            json!({"tenant": r#"["https://a","alice"]"#}),
        ),
        (
            "https://a",
            "alice",
            json!({"tenant": ["https://a", "alice"]}),
        ),
    ] {
        assert_ne!(alice, of("192.0.2.1", issuer, name, claims).0);
    }
}

#[test]
fn a_consumer_has_one_counter_wherever_it_calls_from() {
    let from = |ip| key(&caller(ip, Some("tenant")), &["consumer"]);
    assert_eq!(from("192.0.2.1"), from("192.0.2.2"));
    assert_ne!(
        from("192.0.2.1"),
        key(&caller("192.0.2.1", Some("other")), &["consumer"])
    );
}

#[test]
fn values_of_different_kinds_never_meet() {
    let with_claims = |claims| Caller {
        claims,
        ..caller("192.0.2.1", None)
    };
    let of = |claims| key(&with_claims(claims), &["claim:org.id"]);
    assert_ne!(
        of(json!({"org": {"id": 7}})),
        of(json!({"org": {"id": "7"}}))
    );
    assert_ne!(
        of(json!({"org": {"id": null}})),
        of(json!({"org": {"id": "null"}}))
    );
    assert_eq!(of(json!({"org": {"id": null}})), of(json!({})));
    assert_eq!(of(json!({"org": "no map"})), of(json!({})));
    assert_eq!(
        of(json!({"org": {"id": ["a"]}})),
        of(json!({"org": {"id": ["a"]}, "more": 1}))
    );
}

#[test]
fn scopes_units_and_the_order_of_composites_keep_counters_apart() {
    let caller = Caller {
        model: Some("b".to_owned()),
        ..caller("192.0.2.1", Some("a"))
    };
    let tokens = limit("n", Unit::TotalTokens, 1, &["consumer", "model"]);
    let requests = limit("n", Unit::Requests, 1, &["consumer", "model"]);
    let elsewhere = Caller {
        scope: "route-2".into(),
        ..caller.clone()
    };
    assert_ne!(caller.key(&tokens), elsewhere.key(&tokens));
    assert_ne!(caller.key(&tokens), caller.key(&requests));
    let swapped = Caller {
        model: Some("a".to_owned()),
        consumer: Some("b".into()),
        ..caller.clone()
    };
    assert_ne!(caller.key(&tokens), swapped.key(&tokens));
}

#[test]
fn only_what_the_limits_name_is_needed() {
    let needs = |limits| Needs::of(&settings(limits));
    let plain = needs(vec![
        limit("a", Unit::Requests, 1, &["ip", "header:X-A"]),
        limit(
            "b",
            Unit::ConcurrentRequests,
            1,
            &["header:x-a", "claim:tenant"],
        ),
    ]);
    let expected = Needs {
        address: true,
        claims: true,
        headers: vec!["x-a".to_owned()],
        ..Needs::default()
    };
    assert_eq!(plain, expected);
    let mut tiered = limit("a", Unit::Requests, 1, &["ip"]);
    tiered.matches.consumer_tags.push("free".to_owned());
    assert_eq!(
        needs(vec![tiered]),
        Needs {
            address: true,
            consumer: true,
            ..Needs::default()
        }
    );
    let by_claim = vec![limit("a", Unit::Requests, 1, &["consumer", "claim:tenant"])];
    assert!(!needs(by_claim.clone()).address);
    let known = Caller {
        consumer: Some(b"c".to_vec()),
        claims: json!({"tenant": "acme"}),
        ..Caller::default()
    };
    assert!(!known.needs_address(&by_claim));
    let nobody = Caller {
        consumer: None,
        ..known
    };
    assert!(nobody.needs_address(&by_claim));
    let tokens = needs(vec![limit("a", Unit::PromptTokens, 1, &["ip"])]);
    assert!(tokens.body && tokens.path);
}

#[test]
fn people_see_names_and_never_what_may_be_a_secret() {
    let caller = Caller {
        username: Some("alice".to_owned()),
        headers: vec![
            ("x-team".to_owned(), b"red".to_vec()),
            ("x-api-key".to_owned(), b"hunter2".to_vec()),
        ],
        claims: json!({"org": {"id": 7}}),
        ..caller("192.0.2.1", Some("0f0e"))
    };
    let by = |texts: &[&str]| -> Vec<LimitBy> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let labels = caller.labels(&by(&[
        "consumer",
        "header:x-team",
        "header:X-Api-Key",
        "claim:org.id",
        "route",
    ]));
    let shown: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        shown,
        [
            "consumer=alice",
            "header:x-team=red",
            "header:x-api-key=sha256:f52fbd32",
            "claim:org.id=7",
            "route=192.0.2.1"
        ]
    );
}
