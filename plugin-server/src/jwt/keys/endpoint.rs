//! Which addresses a configuration, or an issuer's metadata, may name.

use std::net::IpAddr;

use url::{Host, Url};

use super::address;
use super::http::Reach;

/// Why an address is never fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfetchableUrl {
    /// No absolute URL, or one without host.
    #[error("not an absolute URL with a host")]
    Form,
    /// Plain http.
    #[error("keys over plain http can be replaced on the way: use https, or set allow_http_jwks")]
    Plain,
    /// Neither http nor https.
    #[error("only https can be fetched")]
    Scheme,
    /// `user:password@`.
    #[error("credentials in the URL are not supported")]
    Credentials,
    /// A literal address inside.
    #[error("the address is private: set allow_private_jwks if the provider is inside")]
    Private,
}

/// Judges an address before anything is sent there. What a name resolves to is judged when connecting.
///
/// # Errors
///
/// See [`UnfetchableUrl`].
pub(crate) fn check(url: &str, reach: Reach) -> Result<Url, UnfetchableUrl> {
    let url = Url::parse(url).map_err(|_| UnfetchableUrl::Form)?;
    match url.scheme() {
        "https" => {}
        "http" if reach.allow_http => {}
        "http" => return Err(UnfetchableUrl::Plain),
        _ => return Err(UnfetchableUrl::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UnfetchableUrl::Credentials);
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err(UnfetchableUrl::Form),
    };
    if literal.is_some_and(|literal| !reach.allow_private && !address::is_public(literal)) {
        return Err(UnfetchableUrl::Private);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str, allowed: bool) -> Option<UnfetchableUrl> {
        let reach = Reach {
            allow_http: allowed,
            allow_private: allowed,
        };
        check(url, reach).err()
    }

    #[test]
    fn public_https_is_fetched_and_the_rest_only_when_allowed() {
        assert_eq!(problem("https://idp.example/jwks", false), None);
        assert_eq!(problem("http://127.0.0.1:8080/jwks", true), None);
    }

    #[test]
    fn addresses_that_must_not_be_fetched_are_refused() {
        use UnfetchableUrl::{Credentials, Form, Plain, Private, Scheme};
        for (url, reason) in [
            ("http://idp.example/jwks", Plain),
            ("ftp://idp.example/jwks", Scheme),
            ("file:///etc/passwd", Scheme),
            ("unix:/run/docker.sock", Scheme),
            ("/jwks", Form),
            ("", Form),
            ("https://", Form),
            ("https://user:secret@idp.example/jwks", Credentials),
            ("https://127.0.0.1/jwks", Private),
            ("https://169.254.169.254/latest/meta-data", Private),
            ("https://2130706433/jwks", Private),
            ("https://0x7f.1/jwks", Private),
            ("https://[::1]/jwks", Private),
            ("https://[::ffff:10.0.0.1]/jwks", Private),
        ] {
            assert_eq!(problem(url, false), Some(reason), "{url}");
        }
    }
}
