//! Whoever signs the callers' tokens, and those who would like to.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::kongctl::Kongctl;

/// The `iss` of every token here.
pub const ISSUER: &str = "https://issuer.example";
/// The `aud` that the gateway asks for.
pub const AUDIENCE: &str = "llm-gateway";

/// An RSA key pair: a file for `kongctl token mint`, a PEM for the gateway.
#[derive(Debug)]
pub struct Issuer {
    key_pair: KeyPair,
    private_key: PathBuf,
    public_key: String,
}

impl Issuer {
    /// Makes a key pair and writes the private key to `file`, for its owner alone.
    pub fn generate(file: &Path) -> Result<Self> {
        let key_pair =
            KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key could be made"))?;
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key_pair)
            .map_err(|_| anyhow!("the key has no PKCS#8 form"))?;
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key_pair.public_key())
            .map_err(|_| anyhow!("the key has no X.509 form"))?;
        fs::write(file, pem("PRIVATE KEY", private.as_ref()))?;
        fs::set_permissions(file, Permissions::from_mode(0o600))?;
        let public_key = pem("PUBLIC KEY", public.as_ref());
        Ok(Self {
            key_pair,
            private_key: file.to_owned(),
            public_key,
        })
    }

    /// The public key as PEM.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The public key as a JSON Web Key (RFC 7517).
    pub fn jwk(&self) -> Value {
        let key = self.key_pair.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256",
            "n": number(key.modulus().big_endian_without_leading_zero()),
            "e": number(key.exponent().big_endian_without_leading_zero()),
        })
    }

    /// The file with the private key.
    pub fn private_key(&self) -> &Path {
        &self.private_key
    }

    /// A token for an agent of `tenant`, minted by `kongctl token mint` as a user would.
    pub async fn mint(&self, kongctl: &Kongctl, tenant: &str, tier: &str) -> Result<String> {
        let key = self.private_key.display().to_string();
        let subject = format!("agent@{tenant}");
        let (tenant, tier) = (format!("tenant={tenant}"), format!("tier={tier}"));
        let token = kongctl
            .run(&[
                "token",
                "mint",
                "--key-file",
                &key,
                "--algorithm",
                "RS256",
                "--issuer",
                ISSUER,
                "--audience",
                AUDIENCE,
                "--subject",
                &subject,
                "--claim",
                &tenant,
                "--claim",
                &tier,
                "--expires-in",
                "1h",
            ])
            .await?;
        Ok(token.trim().to_owned())
    }

    /// The same, named `kid`.
    pub fn jwk_with_id(&self, kid: &str) -> Value {
        let mut jwk = self.jwk();
        jwk["kid"] = kid.into();
        jwk
    }

    /// Signs any claims at all, for tokens that no honest issuer would give out.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        self.sign_with(&json!({"alg": "RS256", "typ": "JWT"}), claims)
    }

    /// The same under any header.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> Result<String> {
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key_pair.public_modulus_len()];
        self.key_pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| anyhow!("the key cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token for `tenant` that expires `seconds` from now; negative for one that is past.
    pub fn claims(tenant: &str, seconds: i64) -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": format!("agent@{tenant}"),
            "tenant": tenant, "tier": "free", "exp": now().saturating_add_signed(seconds),
        })
    }
}

/// A token in which `change` was made to the claims after it was signed.
pub fn forge(token: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(anyhow!("not a signed token"));
    };
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    change(&mut claims);
    Ok(format!("{header}.{}.{signature}", part(&claims)))
}

/// A token under another header, which its signature does not fit.
pub fn under_header(token: &str, header: &Value) -> Result<String> {
    let (_, rest) = token.split_once('.').context("not a signed token")?;
    Ok(format!("{}.{rest}", part(header)))
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Seconds since the epoch.
fn now() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "tokens are judged by the clock of a gateway in another process"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<String> = encoded
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_keeps_the_signature_and_changes_the_claims() {
        let directory = tempfile::tempdir().unwrap();
        let issuer = Issuer::generate(&directory.path().join("key.pem")).unwrap();
        let token = issuer.sign(&Issuer::claims("acme", 60)).unwrap();
        let forged = forge(&token, |claims| claims["tenant"] = "globex".into()).unwrap();
        let part = |token: &str, index: usize| token.split('.').nth(index).unwrap().to_owned();
        assert_eq!(part(&token, 2), part(&forged, 2));
        assert_ne!(part(&token, 1), part(&forged, 1));
    }
}
