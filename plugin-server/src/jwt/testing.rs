//! Keys, tokens and settings for the tests of this policy.

pub(super) mod endpoint;
pub(super) mod introspection;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::algorithm::Algorithm;
use super::claims::{ClaimPath, TimeBounds};
use super::config::{ErrorFormat, FetchSettings, Issuer, KeySource, Settings};
use super::keys::Reach;
use super::presented::Presented;
use super::process::Process;
use super::proof::ProofOfPossession;
use super::refusal::Refusal;
use super::token::Locations;
use super::{Authenticator, ConsumerKey};
use crate::clock::ManualClock;

pub(super) const ISSUER: &str = "https://idp.example";
pub(super) const AUDIENCE: &str = "llm";
pub(super) const NOW: i64 = ManualClock::START;

/// A key pair of each kind. Made once: RSA keys take a while.
pub(super) enum TestKey {
    Rsa(signature::RsaKeyPair),
    Ec(EcdsaKeyPair, Algorithm),
    Ed(Ed25519KeyPair),
    /// A secret that both sides know.
    Shared(Vec<u8>),
}

impl TestKey {
    pub(super) fn rsa() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(|| Self::Rsa(signature::RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(super) fn p256() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(Self::new_p256)
    }

    pub(super) fn new_p256() -> Self {
        Self::Ec(
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            Algorithm::Es256,
        )
    }

    pub(super) fn p384() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(|| {
            Self::Ec(
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
                Algorithm::Es384,
            )
        })
    }

    pub(super) fn p521() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(|| {
            Self::Ec(
                EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap(),
                Algorithm::Es512,
            )
        })
    }

    pub(super) fn ed25519() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(|| Self::Ed(Ed25519KeyPair::generate().unwrap()))
    }

    /// The public key as a JWK with this `kid`, without `use` and `alg`.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "kid": kid, "n": text(&public.n), "e": text(&public.e)})
            }
            Self::Ec(pair, algorithm) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match algorithm {
                    Algorithm::Es256 => "P-256",
                    Algorithm::Es384 => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "kid": kid, "crv": curve, "x": text(x), "y": text(y)})
            }
            Self::Ed(pair) => {
                json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
            Self::Shared(secret) => json!({"kty": "oct", "kid": kid, "k": text(secret)}),
        }
    }

    /// The public key as PEM.
    pub(super) fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Rsa(pair) => pair.public_key().as_der().unwrap(),
            Self::Ec(pair, _) => pair.public_key().as_der().unwrap(),
            Self::Ed(pair) => pair.public_key().as_der().unwrap(),
            Self::Shared(_) => panic!("a secret has no public key"),
        };
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        )
    }

    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let encoding: &'static dyn signature::RsaEncoding = match algorithm {
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signed)
                    .unwrap();
                signed
            }
            Self::Ec(pair, _) => pair
                .sign(&SystemRandom::new(), message)
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Shared(secret) => {
                let hash = match algorithm {
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    Algorithm::Hs512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(hash, secret), message)
                    .as_ref()
                    .to_vec()
            }
        }
    }

    /// A token with this header and payload, signed for the algorithm that the header names.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of_texts(&header.to_string(), &claims.to_string())
    }

    pub(super) fn token_of_texts(&self, header: &str, claims: &str) -> String {
        let parsed: Value = serde_json::from_str(header).unwrap_or_default();
        let algorithm = parsed["alg"]
            .as_str()
            .and_then(Algorithm::from_name)
            .unwrap_or(Algorithm::Rs256);
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Claims that pass the [`settings`].
pub(super) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "agent-7", "exp": NOW + 600, "iat": NOW})
}

/// The claims with one replaced, or removed by null.
pub(super) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let object = claims.as_object_mut().unwrap();
    if value.is_null() {
        object.shift_remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
    claims
}

pub(super) fn path(names: &[&str]) -> ClaimPath {
    ClaimPath::new(names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
}

pub(super) fn issuer(keys: KeySource) -> Issuer {
    Issuer {
        name: ISSUER.to_owned(),
        algorithms: match keys {
            KeySource::Secrets(_) => Algorithm::HMAC.to_vec(),
            _ => Algorithm::ALL
                .into_iter()
                .filter(|algorithm| !algorithm.is_symmetric())
                .collect(),
        },
        keys,
        audience_claim: path(&["aud"]),
        audience_required: Some(vec![AUDIENCE.to_owned()]),
    }
}

/// A set of keys as an inline source.
pub(super) fn jwks(keys: &[Value]) -> KeySource {
    KeySource::Jwks(json!({ "keys": keys }).to_string())
}

/// The guide's defaults around these keys.
pub(super) fn settings(keys: KeySource) -> Settings {
    Settings {
        issuers: vec![issuer(keys)],
        allowed_typ: vec!["at+jwt".into(), "jwt".into()],
        required_claims: vec!["exp".into(), "sub".into()],
        time_bounds: TimeBounds {
            leeway: 30,
            maximum_expiration: 86_400,
        },
        max_token_bytes: 8192,
        locations: Locations {
            headers: vec!["authorization".into()],
            cookies: vec![],
            parameters: vec![],
            dpop: false,
        },
        hide_credentials: true,
        run_on_preflight: false,
        anonymous: None,
        realm: "kong".into(),
        scopes_claim: path(&["scope"]),
        scopes_required: vec![],
        claims_required: vec![],
        claims_forbidden: vec![],
        expression: None,
        upstream_headers: vec![],
        consumer_claims: vec![],
        consumer_by: vec![ConsumerKey::Username, ConsumerKey::Id],
        consumer_optional: true,
        consumer_cache_ttl: Duration::from_mins(1),
        credential_claim: path(&["sub"]),
        limiter_claims: vec![],
        fetch: FetchSettings {
            cache_ttl: Duration::from_mins(10),
            refresh_after: Duration::from_mins(8),
            cooldown: Duration::from_secs(30),
            stale_ttl: Duration::from_hours(24),
            timeout: Duration::from_secs(5),
            max_bytes: 262_144,
            reach: Reach {
                allow_http: true,
                allow_private: true,
            },
        },
        introspection: None,
        token_cache_size: 10_000,
        token_cache_ttl: Duration::from_mins(5),
        denylist: None,
        proof_of_possession: ProofOfPossession::OFF,
        protected_resource: None,
        error_format: ErrorFormat::Kong,
    }
}

/// A process on a clock of its own, and one authenticator in it.
pub(super) struct Bench {
    pub(super) clock: Arc<ManualClock>,
    pub(super) process: Process,
    pub(super) authenticator: Arc<Authenticator>,
}

impl Bench {
    pub(super) fn new(settings: Settings) -> Self {
        let clock = ManualClock::new();
        let process = Process::new(clock.clone());
        let authenticator = process.authenticator(settings).expect("settings that work");
        Self {
            clock,
            process,
            authenticator,
        }
    }

    pub(super) async fn refusal(&self, token: &str) -> Refusal {
        self.authenticator
            .authenticate(&Presented::bearer(token.as_bytes()))
            .await
            .expect_err("refused")
    }

    pub(super) async fn accepts(&self, token: &str) -> bool {
        self.authenticator
            .authenticate(&Presented::bearer(token.as_bytes()))
            .await
            .is_ok()
    }
}
