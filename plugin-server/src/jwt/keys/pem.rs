//! Public keys as PEM texts, as `openssl pkey -pubout` writes them.

use aws_lc_rs::signature::{ED25519, ParsedPublicKey, RsaPublicKeyComponents};
use jsonwebtoken::DecodingKey;

use super::curve::Curve;
use super::rsa::{self, UntrustedRsa};
use super::{Material, VerificationKey};
use crate::jwt::algorithm::Algorithm;

/// Why a PEM text is not a key that we would trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusablePem {
    /// A private key has no place in a gateway's configuration.
    #[error("this is a private key: give the public one (openssl pkey -pubout)")]
    Private,
    /// A certificate.
    #[error("this is a certificate: give its public key (openssl x509 -pubkey -noout)")]
    Certificate,
    /// Neither RSA, nor EC, nor Ed25519, or broken.
    #[error("not a PEM public key for RSA, P-256, P-384, P-521 or Ed25519")]
    NotAPublicKey,
    /// An RSA key whose numbers are not trusted.
    #[error(transparent)]
    Rsa(#[from] UntrustedRsa),
}

/// Reads one public key.
pub(super) fn read(text: &str) -> Result<VerificationKey, UnusablePem> {
    if text.contains("PRIVATE KEY-----") {
        return Err(UnusablePem::Private);
    }
    if text.contains("BEGIN CERTIFICATE-----") {
        return Err(UnusablePem::Certificate);
    }
    let text = unfolded(text).ok_or(UnusablePem::NotAPublicKey)?;
    let text = text.as_bytes();
    let (algorithms, key) = if let Ok(key) = DecodingKey::from_ec_pem(text) {
        let (curve, key) = Curve::of(material(&key)?).ok_or(UnusablePem::NotAPublicKey)?;
        (vec![curve.algorithm], Material::Curve(key))
    } else if let Ok(key) = DecodingKey::from_ed_pem(text) {
        ParsedPublicKey::new(&ED25519, material(&key)?).map_err(|_| UnusablePem::NotAPublicKey)?;
        (vec![Algorithm::EdDsa], Material::Plain(key))
    } else {
        let key = DecodingKey::from_rsa_pem(text).map_err(|_| UnusablePem::NotAPublicKey)?;
        let public = aws_lc_rs::rsa::PublicKey::from_der(material(&key)?)
            .map_err(|_| UnusablePem::NotAPublicKey)?;
        rsa::judge(&RsaPublicKeyComponents::<Vec<u8>>::from(&public))?;
        (Algorithm::RSA.to_vec(), Material::Plain(key))
    };
    Ok(VerificationKey {
        kid: None,
        algorithms,
        key,
    })
}

/// The text with its lines restored: environments, vaults and YAML turn line breaks into spaces or `\n`.
fn unfolded(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.replace("\\n", "").split_ascii_whitespace().collect();
    Some(format!(
        "-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"
    ))
}

fn material(key: &DecodingKey) -> Result<&[u8], UnusablePem> {
    key.try_get_as_bytes()
        .map_err(|_| UnusablePem::NotAPublicKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::testing::TestKey;

    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC48iz7o24gjDAHw6f5r4WFgSpD
Be252iMU3gK5rUZNNIwlrE7i3y4oB306xSOfWdcunjaRovg0JtCx4oz442kSzyHm
Z6+/iNJFCUhAyJx1rs9o1gK/+cOxKLLa133O29yYvvqFMsRQUlUOr7nLb+Aeoabz
+1ZNWXMfcVE89TLEgwIDAQAB
-----END PUBLIC KEY-----";

    #[test]
    fn each_kind_of_key_serves_its_algorithms() {
        let algorithms = |key: &TestKey| read(&key.pem()).unwrap().algorithms;
        assert_eq!(algorithms(TestKey::rsa()), Algorithm::RSA);
        assert_eq!(algorithms(TestKey::p256()), [Algorithm::Es256]);
        assert_eq!(algorithms(TestKey::p384()), [Algorithm::Es384]);
        assert_eq!(algorithms(TestKey::p521()), [Algorithm::Es512]);
        assert_eq!(algorithms(TestKey::ed25519()), [Algorithm::EdDsa]);
    }

    #[test]
    fn line_breaks_that_were_lost_on_the_way_are_forgiven() {
        let pem = TestKey::p256().pem();
        for text in [
            pem.replace('\n', " "),
            pem.replace('\n', "\\n"),
            pem.replace('\n', "\r\n"),
            format!("\n  {pem}"),
        ] {
            assert!(read(&text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_trusted_public_key_is_refused_with_advice() {
        let unusable = |text: &str| read(text).unwrap_err();
        assert_eq!(unusable(RSA_1024), UnusablePem::Rsa(UntrustedRsa::Size));
        assert_eq!(
            unusable("-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----"),
            UnusablePem::Private
        );
        assert_eq!(
            unusable("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"),
            UnusablePem::Private
        );
        assert_eq!(
            unusable("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"),
            UnusablePem::Certificate
        );
        for text in [
            "",
            "secret",
            "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----",
        ] {
            assert_eq!(unusable(text), UnusablePem::NotAPublicKey, "{text:?}");
        }
    }
}
