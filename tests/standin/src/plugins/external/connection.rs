//! Frames on a Unix socket, and the pool that sockets return to.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use super::encode;
use super::protocol::RpcReturn;
use super::protocol::rpc_call::Call;
use crate::plugins::PluginConfig;
use crate::proxy::Worker;

/// `lua_socket_read_timeout`, `lua_socket_send_timeout`, `lua_socket_connect_timeout`.
const SOCKET_TIMEOUT: Duration = Duration::from_mins(1);
/// `lua_socket_keepalive_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// `lua_socket_pool_size`: idle sockets to one path.
const IDLE_SOCKETS: usize = 256;

/// What Kong makes of a failed call.
#[derive(Debug)]
pub(super) enum Fault {
    /// An error value: `closed` is tried again, the rest is a 500.
    Answer(String),
    /// An error value while the socket is sound: a 500, and the socket lasts as long as the request.
    Refused(String),
    /// A Lua error: a 500.
    Throw(String),
}

/// The idle sockets of one worker, and its call counters.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<PathBuf, Vec<(UnixStream, Instant)>>>,
    sequences: Mutex<HashMap<String, i64>>,
}

impl Pool {
    /// The last socket that was put back and is still open.
    fn take(&self, path: &Path) -> Option<UnixStream> {
        let mut idle = self.idle.lock();
        let sockets = idle.get_mut(path)?;
        while let Some((socket, since)) = sockets.pop() {
            // nginx notices a close on an idle socket at once: a read that would block means that it is open.
            let open = matches!(socket.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
            if open && since.elapsed() < IDLE_TIMEOUT {
                return Some(socket);
            }
        }
        None
    }

    fn put(&self, path: &Path, socket: UnixStream) {
        let mut idle = self.idle.lock();
        let sockets = idle.entry(path.to_owned()).or_default();
        if sockets.len() < IDLE_SOCKETS {
            sockets.push((socket, Instant::now()));
        }
    }

    /// Kong counts calls by worker and plugin, and sends one more than the count.
    fn next_sequence(&self, plugin: &str) -> i64 {
        let mut sequences = self.sequences.lock();
        let count = sequences.entry(plugin.to_owned()).or_insert(0);
        *count += 1;
        *count + 1
    }
}

/// A socket with one call on it.
#[derive(Debug)]
pub(super) struct Connection {
    socket: UnixStream,
    path: PathBuf,
    plugin: String,
    worker: Arc<Worker>,
}

impl Connection {
    /// An idle socket, or a new one.
    pub(super) async fn open(worker: &Arc<Worker>, plugin: &PluginConfig) -> Result<Self, Fault> {
        let path = plugin
            .dump()
            .map(|dump| dump.server.socket.clone())
            .unwrap_or_default();
        let socket = match worker.pool.take(&path) {
            Some(socket) => socket,
            None => match timeout(SOCKET_TIMEOUT, UnixStream::connect(&path)).await {
                Ok(Ok(socket)) => socket,
                Ok(Err(error)) => return Err(Fault::Answer(describe(&error))),
                Err(_) => return Err(Fault::Answer("timeout".to_owned())),
            },
        };
        Ok(Self {
            socket,
            path,
            plugin: plugin.name.clone(),
            worker: worker.clone(),
        })
    }

    /// Sends a call and gives its sequence.
    pub(super) async fn send(&mut self, call: Call) -> Result<i64, Fault> {
        let sequence = self.worker.pool.next_sequence(&self.plugin);
        self.write_frame(&encode(sequence, call)).await?;
        Ok(sequence)
    }

    /// Reads what the call returned. A wrong sequence throws.
    pub(super) async fn returned(&mut self, sequence: i64) -> Result<RpcReturn, Fault> {
        let frame = self.read_frame().await?;
        let returned = RpcReturn::decode(frame).map_err(|error| Fault::Throw(error.to_string()))?;
        if returned.sequence != sequence {
            return Err(Fault::Throw("assertion failed!".to_owned()));
        }
        Ok(returned)
    }

    pub(super) async fn read_frame(&mut self) -> Result<Bytes, Fault> {
        let mut length = [0; 4];
        self.read(&mut length).await?;
        let mut frame = vec![0; u32::from_ne_bytes(length) as usize];
        self.read(&mut frame).await?;
        Ok(frame.into())
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        match timeout(SOCKET_TIMEOUT, self.socket.read_exact(buffer)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Fault::Answer(describe(&error))),
            Err(_) => Err(Fault::Answer("timeout".to_owned())),
        }
    }

    /// Kong writes length and body apart, and a failed write throws.
    pub(super) async fn write_frame(&mut self, frame: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(frame.len())
            .map_err(|error| Fault::Throw(error.to_string()))?
            .to_ne_bytes();
        let write = async {
            self.socket.write_all(&length).await?;
            self.socket.write_all(frame).await
        };
        match timeout(SOCKET_TIMEOUT, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Fault::Throw(describe(&error))),
            Err(_) => Err(Fault::Throw("timeout".to_owned())),
        }
    }

    /// Back to the pool.
    pub(super) fn keep(self) {
        self.worker.pool.put(&self.path, self.socket);
    }

    /// The socket alone.
    pub(super) fn into_socket(self) -> UnixStream {
        self.socket
    }
}

/// nginx's words: `closed` is an orderly end of file, a reset is something else.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "closed".to_owned(),
        ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        ErrorKind::BrokenPipe => "broken pipe".to_owned(),
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}
