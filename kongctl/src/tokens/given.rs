//! What the user points at: a token, or a document at an address, in a file, on standard input.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use reqwest::header::HeaderMap;

use crate::admin::client::{Settings, innermost, shown, transport};
use crate::cli::GivenToken;
use crate::output::failure::{Refused, UsageError};

/// The longest token that is read, in bytes: what `max_token_size` may be.
const LONGEST_TOKEN: usize = 65_536;
/// The largest document: what `jwks_max_size` may be, four times the default of most providers.
const LARGEST_DOCUMENT: usize = 4 << 20;

/// Standard input.
const STDIN: &str = "-";

/// The token, as it is sent: without the scheme and the line end that a copied one may have.
pub(crate) fn token(given: &GivenToken) -> anyhow::Result<String> {
    let text = match (&given.jwt, &given.token_file) {
        (Some(token), _) if token != STDIN => token.clone(),
        (Some(_), _) => text(read(std::io::stdin().lock(), LONGEST_TOKEN)?)?,
        (None, Some(path)) => text(file(path, LONGEST_TOKEN)?)?,
        (None, None) => {
            return Err(UsageError {
                message:
                    "no token is given: name a file with --token-file, or - for standard input"
                        .to_owned(),
            }
            .into());
        }
    };
    let token = text.trim_start();
    let schemes = ["bearer ", "dpop "];
    let scheme = schemes.into_iter().find(|scheme| {
        let head = token.get(..scheme.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    });
    let token = token[scheme.map_or(0, str::len)..].trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refused {
            message: "that is no token: one has no spaces, no line breaks, only visible ASCII"
                .to_owned(),
            hint: "give one token, as a client sends it".to_owned(),
        }
        .into());
    }
    Ok(token.to_owned())
}

/// The document at `source`: an address, a file, or standard input. `flag` is what the user gave it with.
pub(crate) async fn document(
    flag: &str,
    source: &str,
    settings: Settings,
) -> anyhow::Result<Vec<u8>> {
    if is_address(source) {
        fetch(flag, source, settings).await
    } else if source == STDIN {
        read(std::io::stdin().lock(), LARGEST_DOCUMENT)
    } else {
        file(Path::new(source), LARGEST_DOCUMENT)
    }
}

/// Whether a source is an address rather than a file.
pub(crate) fn is_address(source: &str) -> bool {
    source.starts_with("https://") || source.starts_with("http://")
}

/// Fetches a document. No redirect is followed, and what is Kong's is not sent.
async fn fetch(flag: &str, address: &str, settings: Settings) -> anyhow::Result<Vec<u8>> {
    let settings = Settings {
        url: address.to_owned(),
        headers: Vec::new(),
        token: None,
        client_certificate: None,
        ..settings
    };
    let (http, url) =
        transport(flag, &settings, HeaderMap::new()).map_err(|error| anyhow!(error))?;
    let shown = shown(address);
    let failed = |error: reqwest::Error| anyhow!("no answer from {shown}: {}", innermost(&error));
    let mut response = http.get(url).send().await.map_err(failed)?;
    let status = response.status();
    if !status.is_success() {
        let hint = if status.is_redirection() {
            "redirects are not followed: llm-jwt does not follow them either"
        } else {
            "is that the right address?"
        };
        return Err(Refused {
            message: format!("{shown} answered HTTP {}", status.as_u16()),
            hint: hint.to_owned(),
        }
        .into());
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        document.extend_from_slice(&chunk);
        anyhow::ensure!(
            document.len() <= LARGEST_DOCUMENT,
            "{shown} answered more than {LARGEST_DOCUMENT} bytes"
        );
    }
    Ok(document)
}

fn file(path: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let open = || read(std::fs::File::open(path)?, most);
    open().with_context(|| format!("cannot read {}", path.display()))
}

fn read(from: impl Read, most: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .context("cannot read to the end")?;
    anyhow::ensure!(bytes.len() <= most, "more than {most} bytes");
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|_| anyhow!("that is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> anyhow::Result<String> {
        token(&GivenToken {
            jwt: Some(text.to_owned()),
            token_file: None,
        })
    }

    #[test]
    fn a_copied_token_is_what_a_client_sends() {
        for text in [
            "abc.def.ghi",
            " abc.def.ghi\r\n",
            "Bearer abc.def.ghi",
            "DPoP  abc.def.ghi",
        ] {
            assert_eq!(given(text).unwrap(), "abc.def.ghi", "{text:?}");
        }
        for text in ["", " ", "Bearer ", "two tokens", "tök\u{e9}n"] {
            assert!(given(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_to_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "abc.def.ghi\n").unwrap();
        let from_file = |path: &Path| {
            token(&GivenToken {
                jwt: None,
                token_file: Some(path.to_owned()),
            })
        };
        assert_eq!(from_file(&path).unwrap(), "abc.def.ghi");
        std::fs::write(&path, "a".repeat(LONGEST_TOKEN + 1)).unwrap();
        assert!(from_file(&path).is_err());
        assert!(from_file(&directory.path().join("none")).is_err());
    }
}
