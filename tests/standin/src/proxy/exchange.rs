//! One request and its answer, as plugins see them.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use uuid::Uuid;

use super::compiled::Compiled;
use super::gateway::Worker;
use super::router::Match;
use crate::clock;
use crate::node::Node;
use crate::plugins::PluginConfig;
use crate::plugins::pdk::{Phase, Throw};
use crate::store::Entity;

/// One request from its arrival to its log phase. Its phases follow each other; the log phase of external plugins
/// outlives the answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) node_id: Uuid,
    pub(crate) connection: Connection,
    pub(crate) original: Original,
    /// `X-Kong-Request-Id`.
    pub(crate) request_id: String,
    /// nginx's own `$request_id`.
    pub(crate) nginx_request_id: String,
    /// When it arrived, in milliseconds since 1970.
    pub(crate) started_ms: u64,
    /// `kong.ctx.shared`. A real Lua table, so that both kinds of plugins see one thing.
    pub(crate) shared: mlua::Table,
    /// `ngx.ctx`, as far as plugins put things there.
    pub(crate) nginx_ctx: mlua::Table,
    /// The body as it comes from the client, until somebody takes it.
    incoming: tokio::sync::Mutex<Option<Incoming>>,
    /// `client_body_buffer_size` in bytes.
    buffer_size: usize,
    state: Mutex<State>,
}

/// The two ends of the client's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
}

/// What the client sent and nothing changes.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) version: Version,
    /// Path and query as written.
    pub(crate) target: String,
    pub(crate) host: Option<String>,
}

/// What phases change.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<String>,
    pub(crate) body: RequestBody,
    pub(crate) replaced_body: Option<Bytes>,
    pub(crate) matched: Option<Match>,
    pub(crate) target: Option<Target>,
    pub(crate) consumer: Option<Consumer>,
    pub(crate) credential: Option<Credential>,
    /// The plugins that this request collected in `access`, for the phases after it.
    pub(crate) collected: Vec<Arc<PluginConfig>>,
    pub(crate) response: Response,
    pub(crate) exit: Option<Exit>,
    pub(crate) source: Source,
    pub(crate) upstream_status: Option<u16>,
    pub(crate) upstream_headers: HeaderMap,
    /// The upstream's whole body, when a plugin has a `response` phase.
    pub(crate) buffered_body: Option<Bytes>,
    pub(crate) tries: Vec<Value>,
    pub(crate) serialize_values: Vec<(String, Value)>,
    pub(crate) latencies: Latencies,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Sockets to plugin servers that nginx would close only with the request.
    pub(crate) held: Vec<tokio::net::UnixStream>,
}

/// The request body, if somebody asked for it.
#[derive(Debug, Clone, Default)]
pub(crate) enum RequestBody {
    /// Nobody read it yet.
    #[default]
    Unread,
    /// It fits in `client_body_buffer_size`.
    Memory(Bytes),
    /// It did not fit: a file of mode 0600 that goes with the request.
    File(Arc<BodyFile>),
}

/// A body on disk.
#[derive(Debug)]
pub(crate) struct BodyFile {
    pub(crate) path: tempfile::TempPath,
    pub(crate) bytes: Bytes,
}

/// Where the request goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Escaped, without the query.
    pub(crate) path: String,
    /// Overrides the name of the target.
    pub(crate) host_header: Option<String>,
    /// An upstream's name where Kong expects an address.
    pub(crate) broken: bool,
}

impl Target {
    /// The request target for the upstream. A lone `?` is kept.
    pub(crate) fn path_and_query(&self, query: Option<&str>) -> String {
        match query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// Who called: the entity, or what an external plugin said about it.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) id: String,
    pub(crate) entity: Entity,
}

/// What proved it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credential {
    pub(crate) id: String,
    /// Only if an external plugin said so; the credentials of key-auth refer to their consumer otherwise.
    pub(crate) consumer_id: String,
}

/// The answer's head.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

/// An answer that Kong itself gives.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
}

/// Who decided on the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Service,
    Exit,
    Error,
}

/// Durations in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Latencies {
    /// Until an upstream was asked.
    pub(crate) kong: u64,
    /// Until it answered; absent if none was asked.
    pub(crate) waiting: Option<u64>,
    pub(crate) receive: u64,
    pub(crate) total: u64,
}

impl BodyFile {
    /// tempfile makes files of mode 0600, as nginx does.
    fn write(bytes: Bytes) -> std::io::Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(&bytes)?;
        Ok(Self {
            path: file.into_temp_path(),
            bytes,
        })
    }
}

impl Original {
    /// The path as written, without the query.
    pub(crate) fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }
}

impl Exchange {
    /// A request that has just arrived.
    pub(crate) fn new(
        compiled: Arc<Compiled>,
        worker: Arc<Worker>,
        node: &Node,
        connection: Connection,
        (head, incoming): (&http::request::Parts, Option<Incoming>),
    ) -> Result<Self, Throw> {
        let target = head
            .uri
            .path_and_query()
            .map_or_else(|| head.uri.to_string(), ToString::to_string);
        let host_header = head.headers.get("host").and_then(|host| host.to_str().ok());
        let host = host_header
            .map(str::to_owned)
            .or_else(|| head.uri.authority().map(ToString::to_string));
        let query = target.split_once('?').map(|(_, query)| query.to_owned());
        let received = head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum::<usize>();
        let bytes_received = (head.method.as_str().len() + target.len() + 12 + received + 2) as u64;
        let (shared, nginx_ctx) = worker.lua.request_tables()?;
        Ok(Self {
            compiled,
            worker,
            node_id: node.id,
            connection,
            original: Original {
                version: head.version,
                target,
                host,
            },
            request_id: Uuid::new_v4().simple().to_string(),
            nginx_request_id: Uuid::new_v4().simple().to_string(),
            started_ms: clock::now_milliseconds(),
            shared,
            nginx_ctx,
            incoming: tokio::sync::Mutex::new(incoming),
            buffer_size: node.config.client_body_buffer_size,
            state: Mutex::new(State {
                phase: Phase::Rewrite,
                method: head.method.clone(),
                headers: head.headers.clone(),
                query,
                body: RequestBody::Unread,
                replaced_body: None,
                matched: None,
                target: None,
                consumer: None,
                credential: None,
                collected: Vec::new(),
                response: Response {
                    status: 200,
                    headers: HeaderMap::new(),
                },
                exit: None,
                source: Source::Error,
                upstream_status: None,
                upstream_headers: HeaderMap::new(),
                buffered_body: None,
                tries: Vec::new(),
                serialize_values: Vec::new(),
                latencies: Latencies::default(),
                bytes_received,
                bytes_sent: 0,
                held: Vec::new(),
            }),
        })
    }

    /// What phases change. Never held across an await or a call into Lua.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Enters a phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// Milliseconds since the request arrived.
    pub(crate) fn elapsed(&self) -> u64 {
        clock::now_milliseconds().saturating_sub(self.started_ms)
    }

    /// Reads the whole body, if nobody did yet. A client that stops midway leaves it unread.
    pub(crate) async fn read_body(&self) {
        let Some(incoming) = self.incoming.lock().await.take() else {
            return;
        };
        let Ok(collected) = incoming.collect().await else {
            return;
        };
        let bytes = collected.to_bytes();
        let body = if bytes.len() <= self.buffer_size {
            RequestBody::Memory(bytes)
        } else {
            match BodyFile::write(bytes) {
                Ok(file) => RequestBody::File(Arc::new(file)),
                Err(error) => {
                    tracing::error!(%error, "a request body could not be written to a file");
                    RequestBody::Unread
                }
            }
        };
        let mut state = self.state();
        state.bytes_received += match &body {
            RequestBody::Memory(bytes) => bytes.len() as u64,
            RequestBody::File(file) => file.bytes.len() as u64,
            RequestBody::Unread => 0,
        };
        state.body = body;
    }

    /// The body that nobody read, to pass it on as it comes.
    pub(crate) async fn take_incoming(&self) -> Option<Incoming> {
        self.incoming.lock().await.take()
    }

    /// The request body as `kong.request.get_raw_body` gives it, once it was read.
    pub(crate) fn raw_body(&self) -> (Option<Bytes>, Option<PathBuf>) {
        let state = self.state();
        match (&state.replaced_body, &state.body) {
            (Some(bytes), _) | (None, RequestBody::Memory(bytes)) => (Some(bytes.clone()), None),
            (None, RequestBody::File(file)) => (None, Some(file.path.to_path_buf())),
            (None, RequestBody::Unread) => (None, None),
        }
    }
}
