//! A trusted issuer: its name, where its keys come from, and what its tokens may use.

use super::algorithm::Algorithm;
use super::claims::ClaimPath;
use super::config::{FetchSettings, InvalidSetting};
use super::keys::{KeySet, MAX_ATTEMPTS, Origin, Secret, endpoint};

/// One trusted issuer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Issuer {
    /// `iss`, compared byte for byte.
    pub name: String,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The algorithms that its tokens may use.
    pub algorithms: Vec<Algorithm>,
    /// Where the audience is.
    pub audience_claim: ClaimPath,
    /// Accepted audiences; `None` when the configuration says out loud that it is not checked.
    pub audience_required: Option<Vec<String>>,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// PEM texts.
    PublicKeys(Vec<String>),
    /// The text of a JWK set.
    Jwks(String),
    /// The address of a JWK set.
    JwksEndpoint(String),
    /// The address of the issuer's metadata, which names the address of its JWK set.
    DiscoveryEndpoint(String),
    /// Secrets that the issuer shares with the gateway.
    Secrets(Vec<Secret>),
}

impl Issuer {
    /// Where the issuer's keys are fetched from, unless the configuration itself holds them.
    pub fn remote_keys(&self) -> Option<Origin> {
        match &self.keys {
            KeySource::JwksEndpoint(endpoint) => Some(Origin::Jwks(endpoint.clone())),
            KeySource::DiscoveryEndpoint(document) => Some(Origin::Discovery {
                document: document.clone(),
                issuer: self.name.clone(),
            }),
            KeySource::Jwks(_) | KeySource::PublicKeys(_) | KeySource::Secrets(_) => None,
        }
    }

    /// Finds what the source of keys cannot be: an address that must not be fetched, a secret beside public keys'
    /// algorithms, a secret that is too short. `field` is the issuer's own path.
    pub(super) fn check_source(
        &self,
        field: &str,
        fetch: &FetchSettings,
    ) -> Result<(), InvalidSetting> {
        let (name, address) = match &self.keys {
            KeySource::JwksEndpoint(address) => ("jwks_endpoint", address),
            KeySource::DiscoveryEndpoint(address) => ("discovery_endpoint", address),
            KeySource::Secrets(secrets) => return self.check_secrets(field, secrets),
            KeySource::Jwks(_) | KeySource::PublicKeys(_) => {
                return self.check_no_symmetric(field);
            }
        };
        endpoint::check(address, fetch.reach).map_err(|problem| {
            InvalidSetting::new(format!("{field}.{name}"), problem.to_string())
        })?;
        self.check_no_symmetric(field)
    }

    fn check_no_symmetric(&self, field: &str) -> Result<(), InvalidSetting> {
        match self
            .algorithms
            .iter()
            .find(|algorithm| algorithm.is_symmetric())
        {
            // A public key is known to everybody: as an HMAC secret it would let everybody sign.
            Some(algorithm) => Err(InvalidSetting::new(
                format!("{field}.algorithms"),
                format!("{algorithm} needs `secrets`: public keys verify RS*, PS*, ES* and EdDSA"),
            )),
            None => Ok(()),
        }
    }

    fn check_secrets(&self, field: &str, secrets: &[Secret]) -> Result<(), InvalidSetting> {
        if secrets.is_empty() {
            return Err(InvalidSetting::new(
                format!("{field}.secrets"),
                "at least one secret is needed",
            ));
        }
        for algorithm in &self.algorithms {
            let Some(least) = algorithm.min_secret_bytes() else {
                return Err(InvalidSetting::new(
                    format!("{field}.algorithms"),
                    format!(
                        "{algorithm} needs public keys: name HS256, HS384 or HS512 with `secrets`"
                    ),
                ));
            };
            if let Some(at) = secrets.iter().position(|secret| !secret.serves(*algorithm)) {
                return Err(InvalidSetting::new(
                    format!("{field}.secrets[{at}]"),
                    format!("{algorithm} needs a secret of at least {least} bytes (RFC 7518 §3.2)"),
                ));
            }
        }
        Ok(())
    }

    /// The issuer's keys, if the configuration itself holds them; `field` is the issuer's own path.
    ///
    /// # Errors
    ///
    /// When a key cannot be used, or no key fits one of the issuer's algorithms.
    pub fn static_keys(&self, field: &str) -> Result<Option<KeySet>, InvalidSetting> {
        let (name, keys) = match &self.keys {
            KeySource::JwksEndpoint(_) | KeySource::DiscoveryEndpoint(_) => return Ok(None),
            KeySource::Secrets(secrets) => (
                format!("{field}.secrets"),
                KeySet::from_secrets(secrets, &self.algorithms),
            ),
            KeySource::PublicKeys(texts) => {
                let name = format!("{field}.public_keys");
                let keys = KeySet::from_pem(texts).map_err(|(at, problem)| {
                    InvalidSetting::new(format!("{name}[{at}]"), problem.to_string())
                })?;
                (name, keys)
            }
            KeySource::Jwks(text) => {
                let name = format!("{field}.jwks");
                let keys = KeySet::from_jwks(text.as_bytes())
                    .map_err(|problem| InvalidSetting::new(name.clone(), problem.to_string()))?;
                (name, keys)
            }
        };
        if !self
            .algorithms
            .iter()
            .any(|algorithm| keys.serves(*algorithm))
        {
            return Err(InvalidSetting::new(
                name,
                "no key fits one of the issuer's algorithms",
            ));
        }
        if let Some(algorithm) = self
            .algorithms
            .iter()
            .find(|algorithm| keys.nameless(**algorithm) > MAX_ATTEMPTS)
        {
            return Err(InvalidSetting::new(
                name,
                format!(
                    "a token by {algorithm} is tried on {MAX_ATTEMPTS} keys without kid, and here are more: remove some, or name them in a JWK set"
                ),
            ));
        }
        Ok(Some(keys))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;
    use crate::jwt::config::Settings;
    use crate::jwt::process::Process;
    use crate::jwt::testing::{TestKey, jwks, settings};

    fn problem_field(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = settings(jwks(&[TestKey::p256().jwk("k1")]));
        change(&mut settings);
        Process::new(ManualClock::new())
            .authenticator(settings)
            .expect_err("cannot work")
            .field
    }

    #[test]
    fn keys_that_cannot_work_are_reported_by_their_field() {
        let field = |keys: KeySource| problem_field(|settings| settings.issuers[0].keys = keys);
        let pem = TestKey::rsa().pem();
        assert_eq!(
            field(KeySource::PublicKeys(vec![pem.clone(), "nonsense".into()])),
            "issuers[0].public_keys[1]"
        );
        assert_eq!(field(KeySource::Jwks("nonsense".into())), "issuers[0].jwks");
        assert_eq!(
            field(KeySource::Jwks(json!({"keys": []}).to_string())),
            "issuers[0].jwks"
        );
        let other_algorithm = problem_field(|settings| {
            settings.issuers[0].keys = KeySource::PublicKeys(vec![pem]);
            settings.issuers[0].algorithms = vec![Algorithm::Es256];
        });
        assert_eq!(other_algorithm, "issuers[0].public_keys");
    }

    #[test]
    fn keys_that_no_token_would_be_tried_on_are_reported() {
        let pem = |count| KeySource::PublicKeys(vec![TestKey::rsa().pem(); count]);
        let secrets = |count| KeySource::Secrets(vec![Secret::from_text(&"s".repeat(64)); count]);
        let problem = |keys: KeySource| {
            let issuer = crate::jwt::testing::issuer(keys);
            issuer.static_keys("issuers[0]").err()
        };
        for (few, many, field) in [
            (pem(8), pem(9), "issuers[0].public_keys"),
            (secrets(8), secrets(9), "issuers[0].secrets"),
        ] {
            assert_eq!(problem(few), None);
            let many = problem(many).expect("too many");
            assert_eq!(many.field, field);
            assert!(many.problem.contains("tried on 8 keys"), "{many}");
        }
        let of_two_kinds = [TestKey::rsa(), TestKey::p256()].map(|key| vec![key.pem(); 8]);
        assert_eq!(problem(KeySource::PublicKeys(of_two_kinds.concat())), None);
    }

    #[test]
    fn an_address_that_must_not_be_fetched_is_reported_by_its_field() {
        let field = |keys: KeySource| {
            problem_field(|settings| {
                settings.issuers[0].keys = keys;
                settings.fetch.reach.allow_http = false;
            })
        };
        let address = "http://idp.example/";
        assert_eq!(
            field(KeySource::JwksEndpoint(address.into())),
            "issuers[0].jwks_endpoint"
        );
        assert_eq!(
            field(KeySource::DiscoveryEndpoint(address.into())),
            "issuers[0].discovery_endpoint"
        );
    }

    #[test]
    fn secrets_and_public_keys_never_share_an_algorithm() {
        let field = |keys: KeySource, algorithms: &[Algorithm]| {
            problem_field(|settings| {
                settings.issuers[0].keys = keys;
                settings.issuers[0].algorithms = algorithms.to_vec();
            })
        };
        let secrets = || KeySource::Secrets(vec![Secret::from_text(&"s".repeat(64))]);
        for algorithms in [
            &[Algorithm::Rs256][..],
            &[Algorithm::Hs256, Algorithm::EdDsa],
        ] {
            assert_eq!(field(secrets(), algorithms), "issuers[0].algorithms");
        }
        let address = || "https://idp.example/".to_owned();
        for keys in [
            KeySource::PublicKeys(vec![TestKey::rsa().pem()]),
            jwks(&[TestKey::rsa().jwk("k1")]),
            KeySource::JwksEndpoint(address()),
            KeySource::DiscoveryEndpoint(address()),
        ] {
            assert_eq!(
                field(keys, &[Algorithm::Rs256, Algorithm::Hs512]),
                "issuers[0].algorithms"
            );
        }
    }

    #[test]
    fn a_secret_shorter_than_its_hash_is_reported_without_being_shown() {
        for (algorithm, least) in [
            (Algorithm::Hs256, 32),
            (Algorithm::Hs384, 48),
            (Algorithm::Hs512, 64),
        ] {
            let problem = |length: usize| {
                let mut settings = settings(KeySource::Secrets(vec![
                    Secret::from_text(&"s".repeat(64)),
                    Secret::from_text(&"z".repeat(length)),
                ]));
                settings.issuers[0].algorithms = vec![algorithm];
                settings.check().err()
            };
            assert_eq!(problem(least), None);
            let short = problem(least - 1).expect("too short");
            assert_eq!(short.field, "issuers[0].secrets[1]");
            assert!(!short.problem.contains("zz"), "{short}");
        }
        assert_eq!(
            problem_field(|settings| settings.issuers[0].keys = KeySource::Secrets(vec![])),
            "issuers[0].secrets"
        );
    }
}
