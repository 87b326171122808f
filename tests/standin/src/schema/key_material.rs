//! Certificates and keys: what can be told of them without OpenSSL.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// A rule across the fields of an entity that holds keys or certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyMaterialCheck {
    KeyMatchesCertificate,
    AlternativeKeyMatchesCertificate,
    CertificateTypesDiffer,
    CertificateAuthority,
    JwkNamesItsKid,
}

impl KeyMaterialCheck {
    /// Says what is wrong with the entity, if anything. `now` is in Unix seconds.
    pub(crate) fn check(self, entity: &Map<String, Value>, now: i64) -> Result<(), String> {
        let text = |name: &str| entity.get(name).and_then(Value::as_str);
        match self {
            Self::KeyMatchesCertificate => match (text("cert"), text("key")) {
                (Some(certificate), Some(key)) if !belong_together(certificate, key) => {
                    Err("certificate does not match key".to_owned())
                }
                _ => Ok(()),
            },
            Self::AlternativeKeyMatchesCertificate => match (text("cert_alt"), text("key_alt")) {
                (Some(certificate), Some(key)) if !belong_together(certificate, key) => {
                    Err("alternative certificate does not match key".to_owned())
                }
                _ => Ok(()),
            },
            Self::CertificateTypesDiffer => match (text("cert"), text("cert_alt")) {
                (Some(one), Some(other)) if key_algorithm(one) == key_algorithm(other) => Err(
                    "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), \
                     the provided certificates were both of the same type"
                        .to_owned(),
                ),
                _ => Ok(()),
            },
            Self::CertificateAuthority => text("cert").map_or(Ok(()), |certificate| authority(certificate, now)),
            Self::JwkNamesItsKid => text("jwk").map_or(Ok(()), |jwk| names_kid(jwk, entity.get("kid"))),
        }
    }
}

/// A PEM certificate.
pub(crate) fn check_certificate(pem: &str) -> Result<(), String> {
    certificate(pem)
        .map(drop)
        .map_err(|reason| format!("invalid certificate: {reason}"))
}

/// A PEM private key, RSA, ECDSA or Ed25519.
pub(crate) fn check_private_key(pem: &str) -> Result<(), String> {
    public_half(pem)
        .map(drop)
        .map_err(|reason| format!("invalid key: {reason}"))
}

/// A PEM public key.
pub(crate) fn check_public_key(pem: &str) -> Result<(), String> {
    public_key(pem)
        .map(drop)
        .map_err(|_| "invalid key".to_owned())
}

/// A record with `public_key`, `private_key` or both, in PEM; both must be of one pair.
pub(crate) fn check_pem_pair(record: &Map<String, Value>) -> Result<(), String> {
    let text = |name: &str| {
        record
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !super::is_reference(text))
    };
    let public = text("public_key")
        .map(public_key)
        .transpose()
        .map_err(|_| "could not load public key".to_owned())?;
    let private = text("private_key")
        .map(public_half)
        .transpose()
        .map_err(|_| "could not load private key".to_owned())?;
    match (public, private) {
        (Some(public), Some(private)) if public != private => {
            Err("public key does not match private key".to_owned())
        }
        _ => Ok(()),
    }
}

/// The SHA-256 digest of a PEM certificate's DER form, in hexadecimal.
pub(crate) fn digest(pem: &str) -> Option<String> {
    let der = certificate(pem).ok()?;
    Some(hex(&Sha256::digest(&der)))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    Ok(der)
}

fn public_key(pem: &str) -> Result<Vec<u8>, String> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| error.to_string())?;
    SubjectPublicKeyInfo::from_der(&der).map_err(|error| error.to_string())?;
    Ok(der.to_vec())
}

/// The public key of a private key, as `SubjectPublicKeyInfo`.
fn public_half(pem: &str) -> Result<Vec<u8>, String> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let key = any_supported_type(&der).map_err(|error| error.to_string())?;
    key.public_key()
        .map(|der| der.to_vec())
        .ok_or_else(|| "unsupported key".to_owned())
}

fn belong_together(certificate_pem: &str, key_pem: &str) -> bool {
    let (Ok(der), Ok(public)) = (certificate(certificate_pem), public_half(key_pem)) else {
        return true;
    };
    X509Certificate::from_der(&der).is_ok_and(|(_, parsed)| parsed.public_key().raw == public)
}

fn key_algorithm(pem: &str) -> Option<String> {
    let der = certificate(pem).ok()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Some(parsed.public_key().algorithm.algorithm.to_id_string())
}

fn authority(pem: &str, now: i64) -> Result<(), String> {
    if pem.matches("-----BEGIN CERTIFICATE-----").count() > 1 {
        return Err("please submit only one certificate at a time".to_owned());
    }
    let der = certificate(pem)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    if parsed.validity().not_after.timestamp() < now {
        return Err("certificate expired, \"Not After\" time is in the past".to_owned());
    }
    let is_authority = parsed
        .basic_constraints()
        .ok()
        .flatten()
        .is_some_and(|constraints| constraints.value.ca);
    if is_authority {
        Ok(())
    } else {
        Err("certificate does not appear to be a CA because it is missing the \"CA\" basic constraint".to_owned())
    }
}

fn names_kid(jwk: &str, kid: Option<&Value>) -> Result<(), String> {
    let jwk: Value =
        serde_json::from_str(jwk).map_err(|_| "could not json decode jwk string".to_owned())?;
    if jwk.get("kid") != kid {
        return Err("kid in jwk.kid must be equal to keys.kid".to_owned());
    }
    if jwk.get("kty").is_none_or(|kty| !kty.is_string()) {
        return Err("could not load JWK, likely not a valid key".to_owned());
    }
    Ok(())
}
