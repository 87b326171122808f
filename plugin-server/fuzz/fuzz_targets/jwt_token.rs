//! Whatever a client sends as a token, taking it apart ends, and the parts are those that were sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_plugin_server::jwt::token::Token;

const MAX_BYTES: usize = 8192;

fuzz_target!(|text: &[u8]| {
    let Ok(token) = Token::parse(text, MAX_BYTES) else {
        return;
    };
    assert!(text.len() <= MAX_BYTES);
    let rejoined = format!("{}.{}", token.jws.signing_input, token.jws.signature);
    assert_eq!(rejoined.as_bytes(), text);
    assert_eq!(text.iter().filter(|byte| **byte == b'.').count(), 2);
    let issuer = token.claims.get("iss").and_then(|issuer| issuer.as_str());
    assert_eq!(token.issuer(), issuer);
});
