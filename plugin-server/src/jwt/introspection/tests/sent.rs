//! Which tokens are shown to the endpoint, and which are not.

use super::*;
use crate::jwt::token::Malformed;

#[tokio::test]
async fn a_token_that_is_meant_as_a_jwt_is_never_sent() {
    let endpoint = start(active()).await;
    let bench = Bench::new(endpoint.settings());
    let key = TestKey::p256();
    let header = json!({"alg": "ES256", "kid": "k1"});
    let stranger = key.token(&header, &claims_with("iss", json!("https://other.example")));
    let honest = key.token(&header, &claims());
    let parts: Vec<&str> = honest.split('.').collect();
    let forged = format!("{}.{}.c2ln", parts[0], parts[1]);
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    let encrypted = format!("{}.a.b.c.d", parts[0]);
    for token in [&stranger, &forged, &unsigned, &encrypted] {
        let refusal = bench.refusal(token).await;
        assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal}");
    }
    assert!(bench.accepts(&honest).await, "keys verify it");
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn what_can_be_no_token_is_not_sent() {
    let endpoint = start(active()).await;
    let bench = Bench::new(endpoint.settings());
    let long = "x".repeat(8193);
    for (token, reason) in [
        (long.as_bytes(), Malformed::TooLong),
        (b"a b", Malformed::Characters),
        (b"a\r\nb", Malformed::Characters),
        (b"\xff", Malformed::Characters),
    ] {
        let presented = Presented::bearer(token);
        let refusal = bench.authenticator.authenticate(&presented).await;
        assert_eq!(refusal.expect_err("refused"), reason.into());
    }
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn jwts_are_asked_about_where_that_is_configured() {
    let endpoint = start(active()).await;
    let (key, header) = (TestKey::p256(), json!({"alg": "ES256", "kid": "k1"}));
    let honest = key.token(&header, &claims());
    let forged = TestKey::new_p256().token(&header, &claims());
    let stranger = key.token(&header, &claims_with("iss", json!("https://other.example")));

    let bench = Bench::new(changed(&endpoint, |it| it.introspects_jwts = true));
    assert_eq!(bench.refusal(&forged).await, InvalidToken::Signature.into());
    assert_eq!(bench.refusal(&stranger).await, InvalidToken::Issuer.into());
    assert_eq!(endpoint.asked(), 0, "only what keys have verified");
    for _ in 0..2 {
        assert!(bench.accepts(&honest).await);
    }
    assert_eq!(endpoint.asked(), 1);
    endpoint.becomes(Behaviour::Json(json!({"active": false})));
    bench.clock.advance(60);
    assert_eq!(bench.refusal(&honest).await, InvalidToken::Inactive.into());

    endpoint.becomes(Behaviour::Json(active()));
    let mut keyless = changed(&endpoint, |it| it.introspects_jwts = true);
    keyless.issuers.clear();
    let bench = Bench::new(keyless);
    assert!(bench.accepts(&honest).await);
    assert_eq!(bench.refusal(&stranger).await, InvalidToken::Issuer.into());
    assert_eq!(endpoint.asked(), 3);
}
