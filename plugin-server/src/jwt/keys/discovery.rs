//! The issuer's metadata: OpenID Connect Discovery 1.0 §3, or RFC 8414 §2. Of it, only where the keys are.

use serde::Deserialize;
use url::Url;

use super::endpoint::{self, UnfetchableUrl};
use super::http::Reach;

/// How much of a wrong issuer is shown to an operator, in characters.
const SHOWN_CHARACTERS: usize = 200;

/// Why a document is not the metadata of the issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMetadata {
    /// Not JSON, or without the texts `issuer` and `jwks_uri`.
    #[error("not an issuer's metadata: a JSON object with the texts `issuer` and `jwks_uri`")]
    Form,
    /// It speaks for somebody else (OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3).
    #[error("the metadata is of the issuer {found:?}, which is not the configured one")]
    OtherIssuer {
        /// What the document says, shortened.
        found: String,
    },
    /// It points where we do not go.
    #[error("the metadata's jwks_uri: {0}")]
    KeysUrl(#[from] UnfetchableUrl),
    /// Metadata that came over https point to keys over http.
    #[error("the metadata's jwks_uri is plain http, the metadata's own address is https")]
    Downgrade,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The address of the JWK set that the metadata at `address` names for `issuer`.
pub(super) fn keys_url(
    document: &[u8],
    address: &str,
    issuer: &str,
    reach: Reach,
) -> Result<String, NotMetadata> {
    let metadata: Metadata = serde_json::from_slice(document).map_err(|_| NotMetadata::Form)?;
    if metadata.issuer != issuer {
        let found = metadata.issuer.chars().take(SHOWN_CHARACTERS).collect();
        return Err(NotMetadata::OtherIssuer { found });
    }
    let url = endpoint::check(&metadata.jwks_uri, reach)?;
    let is_plain = |url: &Url| url.scheme() == "http";
    if is_plain(&url) && !Url::parse(address).is_ok_and(|address| is_plain(&address)) {
        return Err(NotMetadata::Downgrade);
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "https://idp.example/.well-known/openid-configuration";

    fn read(document: &str) -> Result<String, NotMetadata> {
        let reach = Reach {
            allow_http: true,
            allow_private: false,
        };
        keys_url(document.as_bytes(), ADDRESS, "https://idp.example", reach)
    }

    fn metadata(issuer: &str, jwks_uri: &str) -> String {
        serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri, "token_endpoint": 7}).to_string()
    }

    #[test]
    fn the_keys_may_live_on_another_host() {
        let url = "https://keys.example/oauth2/v3/certs";
        assert_eq!(
            read(&metadata("https://idp.example", url)).as_deref(),
            Ok(url)
        );
    }

    #[test]
    fn the_issuer_is_compared_character_for_character() {
        for issuer in [
            "https://idp.example/",
            "HTTPS://idp.example",
            "https://evil.example",
            "",
        ] {
            assert!(
                matches!(
                    read(&metadata(issuer, "https://idp.example/jwks")),
                    Err(NotMetadata::OtherIssuer { .. })
                ),
                "{issuer:?}"
            );
        }
    }

    #[test]
    fn a_long_or_strange_issuer_is_shown_short_and_escaped() {
        let text = read(&metadata(&"\n".repeat(10_000), "x"))
            .unwrap_err()
            .to_string();
        assert!(text.len() < 600 && !text.contains('\n'), "{text}");
    }

    #[test]
    fn keys_where_we_do_not_go_are_refused() {
        for (url, reason) in [
            (
                "https://169.254.169.254/jwks",
                NotMetadata::KeysUrl(UnfetchableUrl::Private),
            ),
            (
                "file:///etc/passwd",
                NotMetadata::KeysUrl(UnfetchableUrl::Scheme),
            ),
            ("/jwks", NotMetadata::KeysUrl(UnfetchableUrl::Form)),
            (
                "https://u:p@idp.example/",
                NotMetadata::KeysUrl(UnfetchableUrl::Credentials),
            ),
            // Plain http is allowed here, yet not from metadata over https.
            ("http://idp.example/jwks", NotMetadata::Downgrade),
        ] {
            assert_eq!(
                read(&metadata("https://idp.example", url)),
                Err(reason),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for document in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"issuer":"https://idp.example"}"#,
            r#"{"issuer":["https://idp.example"],"jwks_uri":"https://idp.example/jwks"}"#,
            r#"{"issuer":"https://idp.example","issuer":"https://idp.example","jwks_uri":"https://a/"}"#,
            r#"{"issuer":"https://idp.example","jwks_uri":null}"#,
        ] {
            assert_eq!(read(document), Err(NotMetadata::Form), "{document}");
        }
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&nested), Err(NotMetadata::Form));
    }
}
