//! Whatever an issuer publishes, reading it ends, and what is believed of it can verify only what public keys verify.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_plugin_server::jwt::algorithm::Algorithm;
use llm_plugin_server::jwt::keys::{KeySet, Verdict};
use llm_plugin_server::jwt::token::Jws;

/// `{"alg":"HS256"}`, `{}` and a tag.
const BY_SECRET: &[u8] = b"eyJhbGciOiJIUzI1NiJ9.e30.c2ln";

fuzz_target!(|text: &[u8]| {
    let Ok(keys) = KeySet::from_jwks(text) else {
        return;
    };
    assert!(!keys.is_empty());
    for algorithm in Algorithm::HMAC {
        assert!(!keys.serves(*algorithm));
    }
    let (token, _) = Jws::parse(BY_SECRET, 8192).expect("a well-formed token");
    assert_eq!(keys.verify(&token), Verdict::NoSuchKey);
    for rejected in keys.rejected() {
        assert!(!rejected.reason.text().is_empty());
    }
});
