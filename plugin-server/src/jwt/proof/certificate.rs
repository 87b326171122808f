//! Tokens that are bound to a client certificate (RFC 8705 §3).
//!
//! TLS proves that the client holds the certificate's key; what is compared here is only which certificate that was.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::jwt::refusal::InvalidToken;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Compares `x5t#S256` with the certificate (PEM) that the client has shown.
///
/// # Errors
///
/// When it has shown none, or another.
pub(super) fn check(bound: &str, pem: &[u8]) -> Result<(), InvalidToken> {
    let thumbprint = thumbprint(pem).ok_or(InvalidToken::NoCertificate)?;
    if URL_SAFE_NO_PAD.encode(thumbprint) == bound {
        Ok(())
    } else {
        Err(InvalidToken::OtherCertificate)
    }
}

/// The SHA-256 of the first certificate's DER.
fn thumbprint(pem: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let base64: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).ok()?;
    Some(Sha256::digest(der).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_certificate_of_the_connection_counts() {
        let pair = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        let pem = pair.cert.pem();
        let bound = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.cert.der()));
        assert_eq!(check(&bound, pem.as_bytes()), Ok(()));
        let other = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        assert_eq!(
            check(&bound, other.cert.pem().as_bytes()),
            Err(InvalidToken::OtherCertificate)
        );
        for nothing in [&b""[..], b"\xff", b"-----BEGIN CERTIFICATE-----", b"NULL"] {
            assert_eq!(check(&bound, nothing), Err(InvalidToken::NoCertificate));
        }
    }
}
