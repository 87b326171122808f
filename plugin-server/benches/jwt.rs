//! What judging a token costs in process, by algorithm: verified anew, remembered, and with a forged signature.
//!
//! A token goes the way that the plugin sends it: parsed, its issuer and key found, its signature checked, its claims judged. Times are
//! of this thread's processor alone, so that what else the machine does counts little. Two loads of 256 tokens each: as many different
//! tokens as anything could hold would measure the memory.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use kong_pdk::PluginConfig as _;
use llm_plugin_server::clock::{Clock, SystemClock};
use llm_plugin_server::jwt::Authenticator;
use llm_plugin_server::jwt::presented::Presented;
use llm_plugin_server::jwt::process::Process;
use llm_plugin_server::kong::jwt::Config;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// The issuer with a published key for each algorithm, and the one with a secret.
const ISSUERS: [&str; 2] = ["https://idp.example", "https://internal.example"];
const SECRET: &str = "a secret of sixty-four bytes, as long as what SHA-512 gives: one";
/// Different tokens of one load.
const TOKENS: usize = 256;

/// What signs the tokens of one algorithm.
enum Signer {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret,
}

impl Signer {
    /// The algorithms that are measured; RSA keys have 2048 bits.
    fn all() -> Vec<(&'static str, Self)> {
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key can be made");
        let ec = |algorithm: &'static EcdsaSigningAlgorithm| {
            Self::Ec(EcdsaKeyPair::generate(algorithm).expect("an EC key can be made"))
        };
        vec![
            ("RS256", Self::Rsa(rsa(), &signature::RSA_PKCS1_SHA256)),
            ("PS256", Self::Rsa(rsa(), &signature::RSA_PSS_SHA256)),
            ("ES256", ec(&ECDSA_P256_SHA256_FIXED_SIGNING)),
            ("ES384", ec(&ECDSA_P384_SHA384_FIXED_SIGNING)),
            ("ES512", ec(&ECDSA_P521_SHA512_FIXED_SIGNING)),
            (
                "EdDSA",
                Self::Ed(Ed25519KeyPair::generate().expect("an Ed25519 key can be made")),
            ),
            ("HS256", Self::Secret),
        ]
    }

    /// The public key, under the algorithm's name; `None` for a secret.
    fn jwk(&self, algorithm: &str) -> Option<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self {
            Self::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": text(&public.n), "e": text(&public.e)})
            }
            Self::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
            }
            Self::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
            Self::Secret => return None,
        };
        jwk["kid"] = algorithm.into();
        Some(jwk)
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair, encoding) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signed)
                    .expect("an RSA key can sign");
                signed
            }
            Self::Ec(pair) => {
                let signed = pair.sign(&random, message).expect("an EC key can sign");
                signed.as_ref().to_vec()
            }
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Secret => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }

    /// An access token as providers give them, some 400 bytes without its signature.
    fn token(&self, algorithm: &str, number: usize, now: i64) -> String {
        let issuer = ISSUERS[usize::from(matches!(self, Self::Secret))];
        let header = json!({"alg": algorithm, "kid": algorithm, "typ": "at+jwt"});
        let claims = json!({
            "iss": issuer, "aud": ["llm-gateway"], "sub": format!("agent-{number}"),
            "iat": now, "exp": now + 3600, "jti": format!("6f2c6f1e-5b0e-4c3f-9d57-{number:012x}"),
            "client_id": "research-agent", "scope": "chat embeddings", "org": {"id": "acme"}, "tier": "gold",
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// The same token with one bit of its signature changed, or rather of the letter in its middle.
fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').expect("a token has a signature");
    let (before, after) = signature.split_at(signature.len() / 2);
    let other = if after.starts_with('A') { 'B' } else { 'A' };
    format!("{message}.{before}{other}{}", &after[1..])
}

fn authenticator(
    process: &Process,
    signers: &[(&str, Signer)],
    cache: usize,
) -> Arc<Authenticator> {
    let jwks: Vec<Value> = signers
        .iter()
        .filter_map(|(algorithm, signer)| signer.jwk(algorithm))
        .collect();
    let public: Vec<&str> = signers
        .iter()
        .filter(|(_, signer)| !matches!(signer, Signer::Secret))
        .map(|(algorithm, _)| *algorithm)
        .collect();
    let [published, shared] = ISSUERS;
    let config = json!({
        "issuers": [
            {"issuer": published, "jwks": json!({"keys": jwks}).to_string(), "algorithms": public, "audience_required": ["llm-gateway"]},
            {"issuer": shared, "secrets": [SECRET], "algorithms": ["HS256"], "audience_required": ["llm-gateway"]},
        ],
        "scopes_required": ["chat"],
        "upstream_headers": [{"header": "X-Tenant", "path": ["org", "id"]}],
        "limiter_claims": {"tenant": ["org", "id"], "tier": ["tier"]},
        "token_cache_size": cache,
    });
    let settings = Config::from_json(config)
        .expect("the schema takes it")
        .into_settings()
        .expect("it can work");
    process.authenticator(settings).expect("it can work")
}

fn ready<F: Future>(call: F) -> F::Output {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("keys in the configuration are never waited for"),
    }
}

fn passes(authenticator: &Authenticator, token: &str) -> bool {
    let presented = Presented::bearer(token.as_bytes());
    black_box(ready(authenticator.authenticate(&presented))).is_ok()
}

fn tokens(criterion: &mut Criterion<ThreadTime>) {
    let clock = Arc::new(SystemClock::new());
    let now = clock.unix_seconds();
    let process = Process::new(clock);
    let signers = Signer::all();
    let (anew, remembering) = (
        authenticator(&process, &signers, 0),
        authenticator(&process, &signers, 10_000),
    );
    for (algorithm, signer) in &signers {
        let load: Vec<String> = (0..TOKENS)
            .map(|number| signer.token(algorithm, number, now))
            .collect();
        let forgeries: Vec<String> = load.iter().map(|token| forged(token)).collect();
        let mut group = criterion.benchmark_group(*algorithm);
        for (name, with, load, passing) in [
            ("verified", &anew, &load, true),
            ("remembered", &remembering, &load, true),
            ("forged", &remembering, &forgeries, false),
        ] {
            let mut turn = 0;
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % TOKENS;
                    assert_eq!(passes(with, &load[turn]), passing);
                });
            });
        }
        group.finish();
    }
}

/// Processor time of this thread.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(now).expect("a thread's time is positive")
    }

    fn end(&self, started: Duration) -> Duration {
        self.start().saturating_sub(started)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

criterion_group! {
    name = jwt;
    config = Criterion::default().with_measurement(ThreadTime);
    targets = tokens
}
criterion_main!(jwt);
