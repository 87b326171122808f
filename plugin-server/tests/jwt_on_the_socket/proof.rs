//! Tokens that are bound to a key or a certificate.

use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kong_pdk::wire;
use serde_json::json;

use super::story::{Story, bearer, sign};
use super::support::{Kong, Request};

#[tokio::test]
async fn a_token_bound_to_a_key_needs_a_proof_for_the_address_that_kong_tells() {
    let mut story = Story::begin().await;
    let holder = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let token = story.token(&json!({"cnf": {"jkt": thumbprint(&holder)}}));
    let config = story.config(&json!({"proof_of_possession": {"dpop": "optional"}}));
    let text = |text: &'static str| wire::String { v: text.into() };
    let request = |authorization: &str, proofs: &[&str]| {
        let mut headers = vec![("authorization", authorization)];
        headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
        Request::with_headers(&headers)
            .answering("kong.request.get_method", &text("POST"))
            .answering("kong.request.get_forwarded_scheme", &text("https"))
            .answering("kong.request.get_forwarded_host", &text("gateway.example"))
            .answering("kong.request.get_forwarded_port", &wire::Int { v: 443 })
            .answering("kong.request.get_path_with_query", &text("/mcp?session=1"))
    };
    let scheme = format!("DPoP {token}");
    let here = proof(&holder, &token, "https://gateway.example/mcp", "p1");
    let event = story
        .access(config.clone(), &request(&scheme, &[&here]))
        .await;
    assert!(event.exit.is_none(), "{:?}", event.exit);
    assert_eq!(event.cleared_headers(), ["authorization", "dpop"]);

    let elsewhere = proof(&holder, &token, "https://evil.example/mcp", "p2");
    for (authorization, proofs, challenged) in [
        (&scheme, &[&*here][..], ("DPoP", "invalid_dpop_proof")),
        (&scheme, &[&elsewhere], ("DPoP", "invalid_dpop_proof")),
        (&scheme, &[], ("DPoP", "invalid_dpop_proof")),
        (&scheme, &[&here, &here], ("DPoP", "invalid_dpop_proof")),
        (&bearer(&token), &[], ("Bearer", "invalid_token")),
    ] {
        let event = story
            .access(config.clone(), &request(authorization, proofs))
            .await;
        assert_eq!(event.exit.as_ref().unwrap().status, 401);
        let (scheme, error) = challenged;
        let challenges = event.exit_header_values("WWW-Authenticate");
        assert_eq!(challenges.len(), 2);
        assert!(challenges[1].starts_with("DPoP ") && challenges[1].contains("algs=\"ES256 "));
        let blamed: Vec<&String> = challenges
            .iter()
            .filter(|challenge| challenge.contains("error="))
            .collect();
        assert!(
            matches!(&blamed[..], [one] if one.starts_with(scheme) && one.contains(error)),
            "{challenges:?}"
        );
        story.kong = Kong::connect(story.dir.path()).await;
    }
    story.end().await;
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_needs_the_one_that_kong_saw() {
    let mut story = Story::begin().await;
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, client.cert.der()));
    let token = bearer(&story.token(&json!({"cnf": {"x5t#S256": hash}})));
    let config = story.config(&json!({"proof_of_possession": {"mtls": "required"}}));
    let request = Request::with_headers(&[("authorization", &token)]);
    let pem = wire::String {
        v: client.cert.pem().into(),
    };
    let shown = request.clone().answering("kong.nginx.get_var", &pem);
    let event = story.access(config.clone(), &shown).await;
    assert!(event.exit.is_none(), "{:?}", event.exit);
    let event = story.access(config, &request).await;
    assert_eq!(event.exit.unwrap().status, 401);
    story.end().await;
}

/// A proof by `key` for this token and address.
fn proof(key: &EcdsaKeyPair, token: &str, address: &str, id: &str) -> String {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = json!({"jti": id, "htm": "POST", "htu": address, "iat": now, "ath": hash});
    sign(key, &header, &claims)
}

/// The thumbprint of `key` (RFC 7638).
fn thumbprint(key: &EcdsaKeyPair) -> String {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}
