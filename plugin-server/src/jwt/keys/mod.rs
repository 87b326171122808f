//! Keys that verify tokens: judged one by one, kept as sets, found and fetched when they live elsewhere.

pub mod address;
mod curve;
mod discovery;
pub(crate) mod endpoint;
mod fetch;
pub(in crate::jwt) mod http;
mod jwk;
mod pem;
mod remote;
mod rsa;
mod secret;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

pub(in crate::jwt) use self::curve::twin;
pub use self::discovery::NotMetadata;
pub use self::endpoint::UnfetchableUrl;
pub use self::fetch::FetchError;
pub use self::http::Reach;
pub use self::jwk::{NotAKeySet, RejectedKey, Unusable};
pub use self::pem::UnusablePem;
pub use self::remote::{KeyHealth, Origin, RemoteKeys, RemoteSettings, Unavailable};
pub use self::rsa::UntrustedRsa;
pub use self::secret::{Secret, UnusableSecret};
use super::algorithm::Algorithm;
use super::token::Jws;

/// How many keys are tried for one token. Only keys without `kid`, or that share one, are tried one after another.
pub(super) const MAX_ATTEMPTS: usize = 8;

/// One key and what it may verify.
pub struct VerificationKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: Material,
}

/// What a signature is verified with.
enum Material {
    /// An RSA or Ed25519 key, or a secret.
    Plain(DecodingKey),
    /// A key on a curve, parsed once. jsonwebtoken knows no ES512.
    Curve(ParsedPublicKey),
}

impl VerificationKey {
    /// The key of one JWK (RFC 7517 §4).
    ///
    /// # Errors
    ///
    /// Why no token could be verified with it.
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<Self, Unusable> {
        jwk::read(jwk)
    }

    /// Its name.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it may verify.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether it may be tried on a signature by `kid` and `algorithm`.
    pub fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        let named = match (&self.kid, kid) {
            (Some(mine), Some(wanted)) => mine == wanted,
            _ => true,
        };
        named && self.algorithms.contains(&algorithm)
    }

    /// Whether it made this signature.
    pub fn verifies(&self, jws: &Jws<'_>) -> bool {
        let message = jws.signing_input.as_bytes();
        match (&self.key, jws.algorithm.backend()) {
            (Material::Plain(key), Some(algorithm)) => {
                jsonwebtoken::crypto::verify(jws.signature, message, key, algorithm)
                    .unwrap_or(false)
            }
            (Material::Curve(key), None) => URL_SAFE_NO_PAD
                .decode(jws.signature)
                .is_ok_and(|signature| key.verify_sig(message, &signature).is_ok()),
            _ => false,
        }
    }
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("VerificationKey")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// What trying a set of keys on a signature came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A key of the set made the signature.
    Valid,
    /// Keys fit, none made the signature.
    Forged,
    /// No key of the set has this `kid` and algorithm.
    NoSuchKey,
}

/// The usable keys of an issuer at one moment.
#[derive(Debug)]
pub struct KeySet {
    generation: u64,
    keys: Vec<VerificationKey>,
    rejected: Vec<RejectedKey>,
}

impl KeySet {
    fn new(keys: Vec<VerificationKey>, rejected: Vec<RejectedKey>) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        Self {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            keys,
            rejected,
        }
    }

    /// The keys of PEM texts. They have no `kid`: each token is tried on all that fit its algorithm.
    ///
    /// # Errors
    ///
    /// The position of the first text that is not a public key we trust, and why.
    pub fn from_pem(texts: &[String]) -> Result<Self, (usize, UnusablePem)> {
        let keys = texts
            .iter()
            .enumerate()
            .map(|(at, text)| pem::read(text).map_err(|problem| (at, problem)));
        Ok(Self::new(keys.collect::<Result<_, _>>()?, Vec::new()))
    }

    /// Shared secrets, each for those of `algorithms` that it is long enough for. They have no `kid`.
    pub fn from_secrets(secrets: &[Secret], algorithms: &[Algorithm]) -> Self {
        let keys = secrets.iter().map(|secret| secret.key(algorithms));
        Self::new(keys.collect(), Vec::new())
    }

    /// The usable keys of a JWK set (RFC 7517 §5). A key that cannot be used never harms its neighbours.
    ///
    /// # Errors
    ///
    /// When the text is not a JWK set, or not one of its keys can be used.
    pub fn from_jwks(text: &[u8]) -> Result<Self, NotAKeySet> {
        let (keys, rejected) = jwk::read_set(text)?;
        Ok(Self::new(keys, rejected))
    }

    /// A number that no other set of this process has.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The keys that were left out, and why.
    pub fn rejected(&self) -> &[RejectedKey] {
        &self.rejected
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether some key may verify `algorithm`.
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        self.keys
            .iter()
            .any(|key| key.algorithms.contains(&algorithm))
    }

    /// How many keys without `kid` may verify `algorithm`: each is tried on every token.
    pub(super) fn nameless(&self, algorithm: Algorithm) -> usize {
        self.keys
            .iter()
            .filter(|key| key.kid.is_none() && key.algorithms.contains(&algorithm))
            .count()
    }

    /// Tries the keys that fit.
    pub fn verify(&self, jws: &Jws<'_>) -> Verdict {
        let mut verdict = Verdict::NoSuchKey;
        for key in self
            .keys
            .iter()
            .filter(|key| key.fits(jws.kid.as_deref(), jws.algorithm))
            .take(MAX_ATTEMPTS)
        {
            if key.verifies(jws) {
                return Verdict::Valid;
            }
            verdict = Verdict::Forged;
        }
        verdict
    }
}

/// An issuer's keys, wherever they live.
#[derive(Debug, Clone)]
pub enum Keys {
    /// In the configuration.
    Static(Arc<KeySet>),
    /// At an endpoint, fetched and kept by the process.
    Remote(Arc<RemoteKeys>),
}

impl Keys {
    /// Starts what can be started before the first token comes. Never waits.
    pub fn warm(&self) {
        if let Self::Remote(remote) = self {
            remote.warm();
        }
    }

    /// The keys, if they may be used without waiting: what a remembered token is compared with. Starts a fetch in the
    /// background when they have grown old.
    pub fn at_once(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Static(keys) => Some(Arc::clone(keys)),
            Self::Remote(remote) => remote.at_once(),
        }
    }

    /// The keys to try first.
    ///
    /// # Errors
    ///
    /// When none were ever loaded, or all are too old.
    pub async fn current(&self) -> Result<Arc<KeySet>, Unavailable> {
        match self {
            Self::Static(keys) => Ok(Arc::clone(keys)),
            Self::Remote(remote) => remote.current().await,
        }
    }

    /// Newer keys than `tried`, which did not do for a token that came at `since` (monotonic): fetched now, unless that was done since or
    /// within the cooldown.
    pub async fn newer_than(&self, tried: &KeySet, since: Duration) -> Option<Arc<KeySet>> {
        match self {
            Self::Static(_) => None,
            Self::Remote(remote) => remote.newer_than(tried, since).await,
        }
    }
}
