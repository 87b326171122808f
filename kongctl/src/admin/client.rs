//! A client of one node's Admin API: calls, retries, paging, and what kind of node it is.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use super::entities::Kind;
use super::errors::{AdminError, Rejection};
use super::retry::{RetryPolicy, is_passing};
use super::schema::Schemas;

/// The most entries that Kong gives in one page.
const PAGE_SIZE: u32 = 1000;
/// Reads in flight at once: all kinds, and the targets of many upstreams.
const CONCURRENT_READS: usize = 16;

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
    /// Limit of one call.
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retries: u32,
}

/// How a node keeps its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// PostgreSQL: entities are written one by one.
    Database,
    /// Memory: the whole configuration is replaced at once.
    Dbless,
}

impl Mode {
    /// What messages and JSON call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Dbless => "db-less",
        }
    }
}

/// A connection to one node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    retry: RetryPolicy,
    shown_url: String,
}

impl Client {
    /// Reads key files and builds the client; nothing is sent.
    pub(crate) fn new(settings: &Settings) -> Result<Self, AdminError> {
        let wrong = |reason: String| AdminError::Settings(reason);
        let mut builder = reqwest::Client::builder()
            // One HTTP/2 connection would pin all calls to one nginx worker.
            .http1_only()
            .user_agent(concat!("kongctl-admin/", env!("CARGO_PKG_VERSION")))
            // The Admin API redirects nowhere, and a token may not follow to another host.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.timeout)
            .connect_timeout(settings.connect_timeout)
            .default_headers(headers(settings)?);
        let base = if let Some(path) = settings.url.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            builder = builder.unix_socket(path);
            Url::parse("http://kong/").expect("the placeholder host is a URL")
        } else {
            let base = Url::parse(&settings.url).map_err(|error| {
                wrong(format!(
                    "--admin-url {:?} is not a URL: {error}",
                    settings.url
                ))
            })?;
            if !matches!(base.scheme(), "http" | "https") {
                return Err(wrong(format!(
                    "--admin-url {:?} must start with http://, https:// or unix:",
                    settings.url
                )));
            }
            base
        };
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if let Some(file) = &settings.ca_file {
            let pem = read_file("--ca-file", file)?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| wrong(format!("--ca-file {}: {error}", file.display())))?;
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
                .map_err(|error| wrong(format!("--client-cert, --client-key: {error}")))?;
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|error| {
            wrong(format!(
                "cannot set up the connection: {}",
                innermost(&error)
            ))
        })?;
        Ok(Self {
            http,
            base,
            retry: RetryPolicy {
                retries: settings.retries,
                base: Duration::from_millis(200),
                cap: Duration::from_secs(10),
            },
            shown_url: shown(&settings.url),
        })
    }

    /// The node's address, without credentials.
    pub(crate) fn url(&self) -> &str {
        &self.shown_url
    }

    /// Reads one path.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, AdminError> {
        self.call(Method::GET, path, None)
            .await
            .map(|(_, body)| body)
    }

    /// Reads one path, `None` where Kong has nothing there.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, AdminError> {
        match self.get(path).await {
            Ok(body) => Ok(Some(body)),
            Err(AdminError::Rejected { rejection, .. }) if rejection.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates or replaces.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        self.call(Method::PUT, path, Some(body))
            .await
            .map(|(_, body)| body)
    }

    /// Changes the fields named.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        self.call(Method::PATCH, path, Some(body))
            .await
            .map(|(_, body)| body)
    }

    /// Creates, or asks something that takes a body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        self.call(Method::POST, path, Some(body))
            .await
            .map(|(_, body)| body)
    }

    /// Deletes; that there was nothing is no error.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), AdminError> {
        match self.call(Method::DELETE, path, None).await {
            Ok(_) => Ok(()),
            Err(AdminError::Rejected { rejection, .. }) if rejection.status == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What `/status` says.
    pub(crate) async fn status(&self) -> Result<Value, AdminError> {
        self.get("status").await
    }

    /// Whether the node has a database. `GET /` would say so too, but fails on some nodes with plugin servers.
    pub(crate) async fn mode(&self) -> Result<Mode, AdminError> {
        let status = self.status().await?;
        if status.get("server").is_none() && status.get("database").is_none() {
            return Err(AdminError::Unexpected {
                method: "GET",
                path: "/status".to_owned(),
                reason: "no status of a Kong node".to_owned(),
            });
        }
        Ok(if status.get("database").is_some() {
            Mode::Database
        } else {
            Mode::Dbless
        })
    }

    /// All entries of a list, page by page; `None` where the node lacks the kind.
    pub(crate) async fn list(
        &self,
        path: &str,
    ) -> Result<Option<Vec<Map<String, Value>>>, AdminError> {
        let mut entries = Vec::new();
        let mut offset: Option<String> = None;
        loop {
            // Built anew for each page: `next` drops `size` on nested lists.
            let page = match &offset {
                None => format!("{path}?size={PAGE_SIZE}"),
                Some(offset) => {
                    format!("{path}?size={PAGE_SIZE}&offset={}", encode_segment(offset))
                }
            };
            let Some(answer) = self.find(&page).await? else {
                return Ok(None);
            };
            let Some(data) = answer.get("data").and_then(Value::as_array) else {
                return Err(AdminError::Unexpected {
                    method: "GET",
                    path: format!("/{path}"),
                    reason: "no list".to_owned(),
                });
            };
            entries.extend(data.iter().filter_map(Value::as_object).cloned());
            let next = answer.get("offset").and_then(Value::as_str);
            if next.is_none() || next == offset.as_deref() {
                return Ok(Some(entries));
            }
            offset = next.map(str::to_owned);
        }
    }

    /// Every entity of the node, all kinds at once. A kind whose plugin the node lacks is absent.
    pub(crate) async fn all_entities(
        &self,
    ) -> Result<Vec<(Kind, Vec<Map<String, Value>>)>, AdminError> {
        let lists = Kind::all().filter_map(|kind| kind.spec().list_path.map(|path| (kind, path)));
        let mut found: Vec<(Kind, Vec<Map<String, Value>>)> =
            stream::iter(lists)
                .map(|(kind, path)| async move {
                    Ok((kind, self.list(path).await?.unwrap_or_default()))
                })
                .buffer_unordered(CONCURRENT_READS)
                .try_collect()
                .await?;
        let upstreams: Vec<String> = found
            .iter()
            .filter(|(kind, _)| *kind == Kind::Upstream)
            .flat_map(|(_, entries)| {
                entries
                    .iter()
                    .filter_map(|entry| entry.get("id")?.as_str().map(str::to_owned))
            })
            .collect();
        let targets: Vec<Vec<Map<String, Value>>> = stream::iter(upstreams)
            .map(|id| async move {
                Ok::<_, AdminError>(
                    self.list(&format!("upstreams/{id}/targets/all"))
                        .await?
                        .unwrap_or_default(),
                )
            })
            .buffer_unordered(CONCURRENT_READS)
            .try_collect()
            .await?;
        found.push((Kind::Target, targets.into_iter().flatten().collect()));
        found.sort_by_key(|(kind, _)| *kind);
        Ok(found)
    }

    /// What the node says of these kinds and plugins. One that it does not know keeps the table's word.
    pub(crate) async fn schemas(
        &self,
        kinds: Vec<Kind>,
        plugins: Vec<String>,
    ) -> Result<Schemas, AdminError> {
        enum Subject {
            Kind(Kind),
            Plugin(String),
        }
        let subjects = kinds
            .into_iter()
            .map(Subject::Kind)
            .chain(plugins.into_iter().map(Subject::Plugin));
        let answers: Vec<(Subject, Option<Value>)> = stream::iter(subjects)
            .map(|subject| async move {
                let path = match &subject {
                    Subject::Kind(kind) => format!("schemas/{}", kind.name()),
                    Subject::Plugin(name) => format!("schemas/plugins/{}", encode_segment(name)),
                };
                Ok::<_, AdminError>((subject, self.find(&path).await?))
            })
            .buffer_unordered(CONCURRENT_READS)
            .try_collect()
            .await?;
        let mut schemas = Schemas::default();
        for (subject, answer) in answers {
            match (subject, answer) {
                (Subject::Kind(kind), Some(answer)) => schemas.add_kind(kind, &answer),
                (Subject::Plugin(name), Some(answer)) => schemas.add_plugin(&name, &answer),
                (_, None) => {}
            }
        }
        Ok(schemas)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), AdminError> {
        let repeatable =
            method != Method::POST && method != Method::PATCH || path.starts_with("config");
        let mut retry = 0;
        loop {
            let outcome = self.attempt(method.clone(), path, body).await;
            let pause = match &outcome {
                Err(failure) if failure.passing && (repeatable || failure.unsent) => {
                    self.retry.pause(retry, failure.retry_after)
                }
                _ => None,
            };
            let Some(pause) = pause else {
                return outcome.map_err(|failure| failure.error);
            };
            retry += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let name = method_name(&method);
        let url = self.join(path);
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: &reqwest::Error| AdminError::Unreachable {
            url: self.shown_url.clone(),
            reason: innermost(error),
        };
        let response = request.send().await.map_err(|error| Failure {
            passing: true,
            unsent: error.is_connect(),
            retry_after: None,
            error: unreachable(&error),
        })?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let text = response.text().await.map_err(|error| Failure {
            passing: true,
            unsent: false,
            retry_after: None,
            error: unreachable(&error),
        })?;
        let shown_path = || format!("/{}", path.split('?').next().unwrap_or(path));
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(Failure {
                passing: false,
                unsent: false,
                retry_after: None,
                error: AdminError::Unexpected {
                    method: name,
                    path: shown_path(),
                    reason: "a redirect; give --admin-url the address that it leads to".to_owned(),
                },
            });
        }
        if !status.is_success() && status != StatusCode::NOT_MODIFIED {
            return Err(Failure {
                passing: is_passing(status.as_u16()),
                unsent: false,
                retry_after,
                error: AdminError::Rejected {
                    method: name,
                    path: shown_path(),
                    rejection: Box::new(Rejection::read(status.as_u16(), &text)),
                },
            });
        }
        if text.is_empty() {
            return Ok((status, Value::Null));
        }
        let value = serde_json::from_str(&text).map_err(|error| Failure {
            passing: false,
            unsent: false,
            retry_after: None,
            error: AdminError::Unexpected {
                method: name,
                path: shown_path(),
                reason: format!("no JSON: {error}"),
            },
        })?;
        Ok((status, value))
    }

    fn join(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query)));
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        url.set_query(query);
        url
    }
}

struct Failure {
    error: AdminError,
    /// May pass if tried again.
    passing: bool,
    /// Surely never reached the node.
    unsent: bool,
    retry_after: Option<Duration>,
}

/// Percent-encodes what is not unreserved, so that a name can be a path segment or a query value.
pub(crate) fn encode_segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
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

fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "POST",
    }
}

fn read_file(flag: &str, path: &std::path::Path) -> Result<Vec<u8>, AdminError> {
    std::fs::read(path)
        .map_err(|error| AdminError::Settings(format!("{flag} {}: {error}", path.display())))
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
fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.has_host() => {
            let _ = parsed.set_password(None);
            let _ = parsed.set_username("");
            parsed.as_str().trim_end_matches('/').to_owned()
        }
        _ => url.to_owned(),
    }
}

/// reqwest wraps the reason several times; the innermost says most.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_path_segments() {
        assert_eq!(encode_segment("a b/ü"), "a%20b%2F%C3%BC");
    }

    #[test]
    fn credentials_in_the_address_are_not_shown() {
        assert_eq!(
            shown("https://admin:s3cret@kong.example:8444/"),
            "https://kong.example:8444"
        );
    }

    #[test]
    fn a_bad_header_is_named_without_its_value() {
        let settings = Settings {
            url: "http://127.0.0.1:1".to_owned(),
            headers: vec!["bad name: s3cret".to_owned()],
            token: None,
            ca_file: None,
            client_certificate: None,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            retries: 0,
        };
        let Err(error) = Client::new(&settings) else {
            panic!("the header was accepted")
        };
        assert!(!error.to_string().contains("s3cret"));
    }
}
