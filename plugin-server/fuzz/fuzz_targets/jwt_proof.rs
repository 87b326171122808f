//! Whatever a client sends as a DPoP proof: judging it ends, and it passes only once, by the bound key, for this request.
#![no_main]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kong_pdk::PluginConfig as _;
use libfuzzer_sys::fuzz_target;
use llm_plugin_server::clock::Clock;
use llm_plugin_server::jwt::Authenticator;
use llm_plugin_server::jwt::expression::RequestLine;
use llm_plugin_server::jwt::presented::{Presented, Scheme};
use llm_plugin_server::jwt::process::Process;
use llm_plugin_server::jwt::refusal::Refusal;
use llm_plugin_server::kong::jwt::Config;
use serde_json::{Value, json};

const SECRET: &str = "a secret of sixty-four bytes, as long as what SHA-512 gives: one";
const NOW: i64 = 1_767_225_600;
const METHOD: &str = "POST";
const TARGET: &str = "https://gateway.example/v1/chat";

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(|input: (bool, &str)| {
    let (signed, text) = input;
    let world = &*WORLD;
    let proof = if signed {
        world.signed(text)
    } else {
        text.to_owned()
    };
    match world.judge(proof.as_bytes()) {
        Ok(()) => {
            assert!(signed, "only the bound key's holder makes a proof");
            world.fits(&proof);
            assert!(world.judge(proof.as_bytes()).is_err(), "once");
        }
        Err(Refusal::Proof(_) | Refusal::Invalid(_) | Refusal::MemoryFull) => {}
        Err(other) => panic!("{other:?}"),
    }
});

/// A gateway, and the holder of a token that is bound to a key.
struct World {
    authenticator: Arc<Authenticator>,
    key: Ed25519KeyPair,
    public: Value,
    token: String,
}

impl World {
    fn new() -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is a key");
        let x = encode(key.public_key().as_ref());
        let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        // RFC 8037 §2: the members in this order.
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let claims = json!({
            "iss": "https://i", "sub": "s", "exp": NOW + 3600,
            "cnf": {"jkt": hash(thumbprint.as_bytes())},
        });
        let message = format!(
            "{}.{}",
            encode(br#"{"alg":"HS256"}"#),
            encode(claims.to_string().as_bytes())
        );
        let secret = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let token = format!(
            "{message}.{}",
            encode(hmac::sign(&secret, message.as_bytes()).as_ref())
        );
        let config = json!({
            "issuers": [{
                "issuer": "https://i", "secrets": [SECRET], "algorithms": ["HS256"],
                "insecure_skip_audience": true,
            }],
            "proof_of_possession": {"dpop": "required"},
        });
        let settings = Config::from_json(config)
            .expect("the schema takes it")
            .into_settings()
            .expect("it can work");
        let process = Process::new(Arc::new(Ticking::default()));
        Self {
            authenticator: process.authenticator(settings).expect("it can work"),
            key,
            public,
            token,
        }
    }

    /// A proof by the holder: header and payload on a line each, an absent member `jwk` and `ath` filled in.
    fn signed(&self, text: &str) -> String {
        let (header, payload) = text.split_once('\n').unwrap_or((text, "{}"));
        let filled =
            |text: &str, name: &str, value: Value| match serde_json::from_str::<Value>(text) {
                Ok(Value::Object(mut object)) => {
                    object.entry(name).or_insert(value);
                    Value::Object(object).to_string()
                }
                _ => text.to_owned(),
            };
        let header = filled(header, "jwk", self.public.clone());
        let payload = filled(payload, "ath", hash(self.token.as_bytes()).into());
        let message = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(payload.as_bytes())
        );
        format!(
            "{message}.{}",
            encode(self.key.sign(message.as_bytes()).as_ref())
        )
    }

    fn judge(&self, proof: &[u8]) -> Result<(), Refusal> {
        let presented = Presented {
            scheme: Scheme::Dpop,
            request: RequestLine {
                method: METHOD,
                path: "/v1/chat",
            },
            target: TARGET,
            proofs: vec![proof],
            ..Presented::bearer(self.token.as_bytes())
        };
        let judged = pin!(self.authenticator.authenticate(&presented))
            .poll(&mut Context::from_waker(Waker::noop()));
        match judged {
            Poll::Ready(judged) => judged.map(drop),
            Poll::Pending => unreachable!("secrets are never waited for"),
        }
    }

    /// What a proof that passed says.
    fn fits(&self, proof: &str) {
        let payload = proof.split('.').nth(1).expect("three parts");
        let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        let payload: Value = serde_json::from_slice(&payload).expect("JSON");
        assert_eq!(payload["htm"], METHOD);
        assert_eq!(payload["ath"], hash(self.token.as_bytes()));
        assert!((payload["iat"].as_i64().expect("a date") - NOW).abs() <= 90);
        assert!(!payload["jti"].as_str().expect("a name").is_empty());
        let htu = payload["htu"].as_str().expect("an address");
        assert!(htu.to_ascii_lowercase().contains("gateway.example"));
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hash(bytes: &[u8]) -> String {
    encode(digest(&SHA256, bytes).as_ref())
}

/// The same second always; yet time passes, so that the memory of proofs does not fill up.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn unix_seconds(&self) -> i64 {
        NOW
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}
