//! Checks of one value that need code, by the names that the schema files use.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::hosts::{Host, HostError, HostKind};
use super::{key_material, lua};

/// A check in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CustomValidator {
    Utf8Name,
    Tag,
    Host,
    HostWithOptionalPort,
    WildcardHost,
    Sni,
    UpstreamName,
    Target,
    IpOrCidr,
    Path,
    RouterPath,
    RouteHost,
    HeaderName,
    CookieName,
    RedirectUri,
    CorsOrigin,
    Certificate,
    PrivateKey,
    PublicKey,
    PemPair,
    LuaSource,
    TerminationAnswer,
    RisingRateLimits,
}

impl CustomValidator {
    /// Says what is wrong with the value, if anything. The value has the field's type.
    pub(crate) fn check(self, value: &Value) -> Result<(), String> {
        match value {
            Value::String(text) => self.check_text(text),
            Value::Object(record) => self.check_record(record),
            _ => Ok(()),
        }
    }

    fn check_text(self, text: &str) -> Result<(), String> {
        match self {
            Self::Utf8Name => ensure(
                text.chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-_~".contains(c) || !c.is_ascii()),
                || {
                    format!(
                        "invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
                    )
                },
            ),
            Self::Tag => ensure(
                text.chars()
                    .all(|c| !c.is_ascii_control() && c != ',' && c != '/'),
                || {
                    format!(
                        "invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
                    )
                },
            ),
            Self::Host => match Host::parse(text) {
                Err(HostError::Invalid) => Err(format!("invalid value: {text}")),
                Err(HostError::Port) | Ok(Host { port: Some(_), .. }) => {
                    Err("must not have a port".to_owned())
                }
                Ok(_) => Ok(()),
            },
            Self::HostWithOptionalPort => host_with_optional_port(text),
            Self::RouteHost => host_with_optional_port(&text.replace('*', "abc")),
            Self::Sni => server_name(text, text),
            Self::WildcardHost => wildcard_host(text),
            Self::UpstreamName => match Host::parse(text) {
                Err(_) => Err(format!("Invalid name ('{text}'); must be a valid hostname")),
                Ok(Host {
                    kind: HostKind::Ipv4 | HostKind::Ipv6,
                    ..
                }) => Err(format!("Invalid name ('{text}'); no ip addresses allowed")),
                Ok(Host { port: Some(_), .. }) => {
                    Err(format!("Invalid name ('{text}'); no port allowed"))
                }
                Ok(_) => Ok(()),
            },
            Self::Target => ensure(Host::parse(text).is_ok(), || {
                format!("Invalid target ('{text}'); not a valid hostname or ip address")
            }),
            Self::IpOrCidr => ensure(is_ip_or_cidr(text), || {
                format!("invalid ip or cidr range: '{text}'")
            }),
            Self::Path => path(text),
            Self::RouterPath => router_path(text),
            Self::HeaderName => ensure(
                text.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
                || {
                    format!(
                        "bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
                    )
                },
            ),
            Self::CookieName => ensure(
                text.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)),
                || {
                    format!(
                        "contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the characters ()<>@,;:\\\"/?={{}}[] are not allowed: '{text}'"
                    )
                },
            ),
            Self::RedirectUri => match Url::parse(text) {
                Ok(url) if url.fragment().is_some() => {
                    Err(format!("fragment not allowed in '{text}'"))
                }
                Ok(url) if url.has_host() => Ok(()),
                _ => Err(format!("cannot parse '{text}'")),
            },
            Self::CorsOrigin => ensure(text == "*" || regex::Regex::new(text).is_ok(), || {
                format!("'{text}' is not a valid regex")
            }),
            Self::Certificate => key_material::check_certificate(text),
            Self::PrivateKey => key_material::check_private_key(text),
            Self::PublicKey => key_material::check_public_key(text),
            Self::LuaSource => lua::syntax_error(text).map_or(Ok(()), |error| {
                Err(format!("error parsing function: {error}"))
            }),
            Self::PemPair | Self::TerminationAnswer | Self::RisingRateLimits => Ok(()),
        }
    }

    fn check_record(self, record: &Map<String, Value>) -> Result<(), String> {
        match self {
            Self::PemPair => key_material::check_pem_pair(record),
            Self::TerminationAnswer => termination_answer(record),
            Self::RisingRateLimits => rising_rate_limits(record),
            _ => Ok(()),
        }
    }
}

fn ensure(sound: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if sound { Ok(()) } else { Err(message()) }
}

fn host_with_optional_port(text: &str) -> Result<(), String> {
    match Host::parse(text) {
        Ok(_) => Ok(()),
        Err(HostError::Port) => Err("invalid port number".to_owned()),
        Err(HostError::Invalid) => Err(format!("invalid hostname: {text}")),
    }
}

/// A name without port; `shown` is what the user wrote.
fn server_name(text: &str, shown: &str) -> Result<(), String> {
    match Host::parse(text) {
        Err(HostError::Invalid) => Err(format!("invalid value: {shown}")),
        Ok(Host {
            kind: HostKind::Ipv4 | HostKind::Ipv6,
            ..
        }) => Err("must not be an IP".to_owned()),
        Err(HostError::Port) | Ok(Host { port: Some(_), .. }) => {
            Err("must not have a port".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

fn wildcard_host(text: &str) -> Result<(), String> {
    if let Some(index) = text.find('*') {
        if index != 0 && index + 1 != text.len() {
            return Err("wildcard must be leftmost or rightmost character".to_owned());
        }
        if text.matches('*').count() > 1 {
            return Err("only one wildcard must be specified".to_owned());
        }
    }
    let concrete = text.replace('*', "wildcard");
    server_name(&concrete, &concrete)
}

fn is_ip_or_cidr(text: &str) -> bool {
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let longest = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest))
}

/// RFC 3986's characters of a path, soundly percent-encoded.
fn path(text: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_~%:@!$&'()*+,;=".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(allowed) {
        return Err(format!(
            "invalid path: '{text}' (characters outside of the reserved list of RFC 3986 found)"
        ));
    }
    percent_encoding(text)
}

fn percent_encoding(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(index) = rest.find('%') {
        let escape: String = rest[index..].chars().take(3).collect();
        if escape.len() < 3 || !escape.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("invalid url-encoded value: '{escape}'"));
        }
        rest = &rest[index + 3..];
    }
    Ok(())
}

/// A prefix in normal form, or `~` and a regular expression.
fn router_path(text: &str) -> Result<(), String> {
    if let Some(pattern) = text.strip_prefix('~') {
        return match regex::Regex::new(pattern) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("invalid regex: '{pattern}' ({error})")),
        };
    }
    if text.is_ascii() {
        percent_encoding(text)?;
    }
    let normalized = normalize_path(text);
    ensure(normalized == text, || {
        format!("non-normalized path, consider use '{normalized}' instead")
    })
}

/// Dot segments resolved, unreserved characters decoded, escapes in capitals.
fn normalize_path(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '.']) {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(index) = rest.find('%') {
        decoded.push_str(&rest[..index]);
        let escape = rest.get(index + 1..index + 3).unwrap_or_default();
        match u8::from_str_radix(escape, 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
            }
            _ => {
                decoded.push('%');
                decoded.push_str(&escape.to_ascii_uppercase());
            }
        }
        rest = rest.get(index + 1 + escape.len()..).unwrap_or_default();
    }
    decoded.push_str(rest);
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    if matches!(decoded.rsplit('/').next(), Some("." | "..")) {
        segments.push("");
    }
    Cow::Owned(segments.join("/"))
}

fn termination_answer(config: &Map<String, Value>) -> Result<(), String> {
    let present = |name: &str| {
        config
            .get(name)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    let raw = present("content_type") || present("body");
    if present("message") && raw {
        return Err("message cannot be used with content_type or body".to_owned());
    }
    if present("content_type") && !present("body") {
        return Err("content_type requires a body".to_owned());
    }
    let echo = config.get("echo") == Some(&Value::Bool(true));
    ensure(!(echo && raw), || {
        "echo cannot be used with content_type and body".to_owned()
    })
}

fn rising_rate_limits(config: &Map<String, Value>) -> Result<(), String> {
    let limits: Vec<(&str, f64)> = ["second", "minute", "hour", "day", "month", "year"]
        .into_iter()
        .filter_map(|period| Some((period, config.get(period)?.as_f64()?)))
        .collect();
    for (index, (lower, limit)) in limits.iter().enumerate() {
        if let Some((upper, less)) = limits[index + 1..].iter().find(|(_, other)| other < limit) {
            return Err(format!(
                "The limit for {upper}({less:.1}) cannot be lower than the limit for {lower}({limit:.1})"
            ));
        }
    }
    let redis = config.get("policy").and_then(Value::as_str) == Some("redis");
    let sync_rate = config
        .get("sync_rate")
        .and_then(Value::as_f64)
        .unwrap_or(-1.0);
    let real_time = (sync_rate + 1.0).abs() < f64::EPSILON;
    if !redis && !real_time {
        return Err("sync_rate can only be used with the redis policy".to_owned());
    }
    ensure(real_time || sync_rate >= 0.02, || {
        "sync_rate must be greater than 0.02, or -1 to disable".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(validator: CustomValidator, text: &str) -> Option<String> {
        validator.check(&Value::from(text)).err()
    }

    #[test]
    fn a_route_path_is_a_normal_prefix_or_a_regex() {
        for sound in ["/", "/a/b", "/a%20b", "~/x/(?<a>[a-z]+)$", "/ü"] {
            assert_eq!(refusal(CustomValidator::RouterPath, sound), None, "{sound}");
        }
        for unsound in ["/a/../b", "/%41", "/%2", "~/("] {
            assert!(
                refusal(CustomValidator::RouterPath, unsound).is_some(),
                "{unsound}"
            );
        }
        assert_eq!(
            refusal(CustomValidator::RouterPath, "/a/./b").as_deref(),
            Some("non-normalized path, consider use '/a/b' instead")
        );
    }

    #[test]
    fn wildcards_stand_at_an_end() {
        assert_eq!(refusal(CustomValidator::WildcardHost, "*.example"), None);
        assert!(refusal(CustomValidator::WildcardHost, "a.*.example").is_some());
        assert!(refusal(CustomValidator::WildcardHost, "127.0.0.1").is_some());
    }

    #[test]
    fn longer_periods_allow_no_less() {
        let config =
            serde_json::json!({"minute": 10, "hour": 5, "policy": "local", "sync_rate": -1});
        assert!(CustomValidator::RisingRateLimits.check(&config).is_err());
    }
}
