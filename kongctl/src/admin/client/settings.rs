//! How a node is reached: address, headers, certificates, limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::super::errors::AdminError;
use super::super::retry::RetryPolicy;
use super::super::schema_cache::SchemaCache;
use super::Client;
use super::call::innermost;

/// How to reach a node.
#[derive(Clone)]
pub(crate) struct Settings {
    /// `http://…`, `https://…` or `unix:/path/to.sock`.
    pub(crate) url: String,
    /// `Name: value`, sent with each call.
    pub(crate) headers: Vec<String>,
    /// Sent as `Kong-Admin-Token`.
    pub(crate) token: Option<String>,
    /// PEM file of the authority that signed the node's certificate.
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM files of our own certificate and key.
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    /// What TLS asks for and the node's certificate is held against, instead of the address' own name.
    pub(crate) server_name: Option<String>,
    /// Limit of one call.
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retries: u32,
    /// Where what the node says of its plugins is kept.
    pub(crate) schema_cache: Option<SchemaCache>,
}

impl Client {
    /// Reads key files and builds the client; nothing is sent.
    pub(crate) fn new(settings: &Settings) -> Result<Self, AdminError> {
        let (http, base) =
            transport("--admin-url", settings, headers(settings)?).map_err(AdminError::Settings)?;
        Ok(Self {
            http,
            base,
            retry: RetryPolicy::new(settings.retries),
            shown_url: shown(&settings.url),
            schema_cache: settings.schema_cache.clone(),
            custom_kinds: Arc::default(),
        })
    }
}

/// What calls go through, and the address that paths are appended to. `flag` is what the user gave the address with; of the
/// settings, `headers` and `token` are not used.
pub(crate) fn transport(
    flag: &str,
    settings: &Settings,
    mut headers: HeaderMap,
) -> Result<(reqwest::Client, Url), String> {
    let mut builder = reqwest::Client::builder()
        // One HTTP/2 connection would pin all calls to one nginx worker.
        .http1_only()
        .user_agent(concat!("kongctl-admin/", env!("CARGO_PKG_VERSION")))
        // Neither API redirects anywhere, and a token may not follow to another host.
        .redirect(reqwest::redirect::Policy::none())
        .timeout(settings.timeout)
        .connect_timeout(settings.connect_timeout);
    let base = if let Some(path) = settings.url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        builder = builder.unix_socket(path);
        Url::parse("http://localhost/").expect("the placeholder host is a URL")
    } else {
        // An address may hold a password: a wrong one is not repeated.
        let base =
            Url::parse(&settings.url).map_err(|error| format!("{flag} is not a URL: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(format!("{flag} must start with http://, https:// or unix:"));
        }
        base
    };
    if is_loopback(&base) {
        builder = builder.no_proxy();
    }
    let base = match &settings.server_name {
        Some(name) if base.scheme() == "https" => {
            let asked = &base[url::Position::BeforeHost..url::Position::AfterPort];
            if let Ok(host) = HeaderValue::from_str(asked) {
                headers.entry(HOST).or_insert(host);
            }
            let (renamed, elsewhere) = renamed(base, name)?;
            // A proxy would be asked for the name, not for the address.
            builder = builder.no_proxy().dns_resolver(Arc::new(elsewhere));
            renamed
        }
        _ => base,
    };
    if let Some(file) = &settings.ca_file {
        let pem = read_file("--ca-file", file)?;
        let wrong_file = |reason: &str| format!("--ca-file {}: {reason}", file.display());
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| wrong_file(&innermost(&error)))?;
        if certificates.is_empty() {
            return Err(wrong_file("no certificate in it"));
        }
        builder = builder.tls_certs_merge(certificates);
    } else if base.scheme() == "http" {
        // Looking for the system's authorities fails where there are none, as in small containers.
        builder = builder.tls_certs_only([]);
    }
    if let Some((certificate, key)) = &settings.client_certificate {
        let mut pem = read_file("--client-cert", certificate)?;
        pem.push(b'\n');
        pem.extend(read_file("--client-key", key)?);
        let identity = reqwest::Identity::from_pem(&pem)
            .map_err(|error| format!("--client-cert, --client-key: {}", innermost(&error)))?;
        builder = builder.identity(identity);
    }
    let http = builder
        .default_headers(headers)
        .build()
        .map_err(|error| format!("cannot set up the connection: {}", innermost(&error)))?;
    Ok((http, base))
}

/// The address by another name, and what resolves that name to where the address is.
fn renamed(mut base: Url, name: &str) -> Result<(Url, Elsewhere), String> {
    let host = base.host_str().unwrap_or_default();
    let elsewhere = Elsewhere {
        host: host.trim_matches(['[', ']']).to_owned(),
    };
    let wrong = || format!("--tls-server-name {name:?} is no name of a host");
    base.set_host(Some(name)).map_err(|_| wrong())?;
    if !matches!(base.host(), Some(url::Host::Domain(_))) {
        return Err(wrong());
    }
    Ok((base, elsewhere))
}

/// Finds one host, whatever name is asked for.
struct Elsewhere {
    host: String,
}

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            // The port is that of the address.
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

fn headers(settings: &Settings) -> Result<HeaderMap, AdminError> {
    let mut map = HeaderMap::new();
    for header in &settings.headers {
        let parsed = header.split_once(':').and_then(|(name, value)| {
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
        });
        // The value may be a secret: name only what stands before the colon.
        let shown = header.split(':').next().unwrap_or_default();
        let Some((name, value)) = parsed else {
            return Err(AdminError::Settings(format!(
                "--header {shown:?} is not of the form 'Name: value'"
            )));
        };
        map.append(name, value);
    }
    if let Some(token) = &settings.token {
        let mut value = HeaderValue::from_str(token).map_err(|_| {
            AdminError::Settings("--token has characters that no header can carry".to_owned())
        })?;
        value.set_sensitive(true);
        map.insert("kong-admin-token", value);
    }
    Ok(map)
}

fn read_file(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    }
}

/// The address without user and password.
pub(crate) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.has_host() => {
            let _ = parsed.set_password(None);
            let _ = parsed.set_username("");
            parsed.as_str().trim_end_matches('/').to_owned()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_the_address_are_not_shown() {
        assert_eq!(
            shown("https://admin:s3cret@kong.example:8444/"),
            "https://kong.example:8444"
        );
    }

    fn refusal_of(url: &str, header: &str) -> String {
        let settings = Settings {
            url: url.to_owned(),
            headers: vec![header.to_owned()],
            token: None,
            ca_file: None,
            client_certificate: None,
            server_name: None,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            retries: 0,
            schema_cache: None,
        };
        let Err(error) = Client::new(&settings) else {
            panic!("the settings were accepted")
        };
        error.to_string()
    }

    #[test]
    fn a_bad_header_is_named_without_its_value() {
        let refusal = refusal_of("http://127.0.0.1:1", "bad name: s3cret");
        assert!(refusal.contains("bad name"), "{refusal}");
        assert!(!refusal.contains("s3cret"), "{refusal}");
    }

    #[test]
    fn a_bad_address_is_refused_without_its_password() {
        for url in ["http://u:s3cret@host:port", "ftp://u:s3cret@host"] {
            let refusal = refusal_of(url, "a: b");
            assert!(refusal.contains("--admin-url"), "{refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }
}
