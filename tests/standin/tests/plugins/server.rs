//! A plugin server that does as it is told, right or wrong, and remembers what Kong's side did.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kong_standin::PluginServer;
use prost::Message;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The calls that the stand-in sends, described independently of its own code.
#[derive(Clone, PartialEq, Message)]
struct RpcCall {
    #[prost(int64, tag = "1")]
    sequence: i64,
    #[prost(message, optional, tag = "33")]
    start: Option<StartInstance>,
    #[prost(message, optional, tag = "35")]
    close: Option<InstanceId>,
    #[prost(message, optional, tag = "36")]
    event: Option<HandleEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct StartInstance {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    config: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct InstanceId {
    #[prost(int32, tag = "1")]
    instance_id: i32,
}

#[derive(Clone, PartialEq, Message)]
struct HandleEvent {
    #[prost(int32, tag = "1")]
    instance_id: i32,
    #[prost(string, tag = "2")]
    event_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct RpcReturn {
    #[prost(int64, tag = "1")]
    sequence: i64,
    #[prost(message, optional, tag = "33")]
    status: Option<InstanceStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct InstanceStatus {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "2")]
    instance_id: i32,
}

/// What the server does in an event, in order; then it returns.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Calls the PDK and notes the reply.
    Call(&'static str, Vec<u8>),
    /// Several calls in one write.
    Batch(Vec<(&'static str, Vec<u8>)>),
    /// Closes the connection.
    Close,
    /// Returns with a wrong sequence.
    WrongSequence,
}

/// What Kong's side did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected,
    Started(String),
    Closed(i32),
    Event(String),
    Reply(&'static str, Vec<u8>),
    /// The connection ended where a reply was due.
    EndOfFile,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Vec<Seen>,
    /// For the next events of a phase, by name.
    scripts: VecDeque<(&'static str, Vec<Step>)>,
    /// How many starts to answer with a close.
    refuse_starts: usize,
    instances: i32,
}

/// A running server of the plugin `probe`.
pub(crate) struct Server {
    directory: TempDir,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Server {
    /// `phases` are those that its plugin wants.
    pub(crate) fn start(phases: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let dump = json!({
            "Protocol": "ProtoBuf:1",
            "Plugins": [{
                "Name": "probe", "Version": "1", "Priority": 900, "Phases": phases,
                "Schema": {"name": "probe", "fields": [{"config": {"type": "record", "fields": [
                    {"greeting": {"type": "string"}},
                ]}}]},
            }],
        });
        std::fs::write(directory.path().join("dump.json"), dump.to_string()).unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let accepting = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = accepting.clone();
                tokio::spawn(async move { serve(socket, shared).await });
            }
        });
        Self {
            directory,
            shared,
            task,
        }
    }

    /// For the stand-in's configuration.
    pub(crate) fn config(&self) -> PluginServer {
        let path = |name: &str| -> PathBuf { Path::join(self.directory.path(), name) };
        PluginServer {
            name: "probe".to_owned(),
            socket: path("socket"),
            query_cmd: format!("cat {}", path("dump.json").display()),
        }
    }

    /// What to do in the next event of that phase that has no script yet.
    pub(crate) fn script(&self, phase: &'static str, steps: impl Into<Vec<Step>>) {
        self.shared
            .lock()
            .unwrap()
            .scripts
            .push_back((phase, steps.into()));
    }

    pub(crate) fn refuse_starts(&self, count: usize) {
        self.shared.lock().unwrap().refuse_starts = count;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.lock().unwrap().seen.clone()
    }

    pub(crate) fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        self.seen().iter().filter(|seen| matches(seen)).count()
    }

    /// The reply to the only call of that method.
    pub(crate) fn reply(&self, method: &str) -> Option<Vec<u8>> {
        self.seen().into_iter().find_map(|seen| match seen {
            Seen::Reply(of, reply) if of == method => Some(reply),
            _ => None,
        })
    }

    /// Stops listening and removes the socket.
    pub(crate) fn vanish(&self) {
        self.task.abort();
        std::fs::remove_file(self.directory.path().join("socket")).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut socket: UnixStream, shared: Arc<Mutex<Shared>>) -> Option<()> {
    let see = |seen: Seen| shared.lock().unwrap().seen.push(seen);
    see(Seen::Connected);
    loop {
        let call = RpcCall::decode(read_frame(&mut socket).await?.as_slice()).unwrap();
        let mut returned = RpcReturn {
            sequence: call.sequence,
            status: None,
        };
        if let Some(start) = call.start {
            see(Seen::Started(String::from_utf8(start.config).unwrap()));
            let instance_id = {
                let mut shared = shared.lock().unwrap();
                if shared.refuse_starts > 0 {
                    shared.refuse_starts -= 1;
                    return None;
                }
                shared.instances += 1;
                shared.instances
            };
            returned.status = Some(InstanceStatus {
                name: start.name,
                instance_id,
            });
        } else if let Some(close) = call.close {
            see(Seen::Closed(close.instance_id));
        } else if let Some(event) = call.event {
            see(Seen::Event(event.event_name.clone()));
            for step in next_script(&shared, &event.event_name) {
                match step {
                    Step::Close => return None,
                    Step::WrongSequence => returned.sequence += 1,
                    Step::Call(method, arguments) => {
                        converse(&mut socket, &shared, vec![(method, arguments)]).await?;
                    }
                    Step::Batch(calls) => converse(&mut socket, &shared, calls).await?,
                }
            }
            write_frame(&mut socket, &[]).await?;
        }
        write_frame(&mut socket, &returned.encode_to_vec()).await?;
    }
}

fn next_script(shared: &Mutex<Shared>, phase: &str) -> Vec<Step> {
    let mut shared = shared.lock().unwrap();
    let place = shared.scripts.iter().position(|(of, _)| *of == phase);
    place
        .and_then(|place| shared.scripts.remove(place))
        .map(|(_, steps)| steps)
        .unwrap_or_default()
}

async fn converse(
    socket: &mut UnixStream,
    shared: &Mutex<Shared>,
    calls: Vec<(&'static str, Vec<u8>)>,
) -> Option<()> {
    for (method, arguments) in &calls {
        write_frame(socket, method.as_bytes()).await?;
        write_frame(socket, arguments).await?;
    }
    for (method, _) in calls {
        let reply = read_frame(socket).await;
        let seen = reply
            .clone()
            .map_or(Seen::EndOfFile, |reply| Seen::Reply(method, reply));
        shared.lock().unwrap().seen.push(seen);
        reply?;
    }
    Some(())
}

async fn read_frame(socket: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).await.ok()?;
    let mut frame = vec![0; u32::from_ne_bytes(length) as usize];
    socket.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

async fn write_frame(socket: &mut UnixStream, frame: &[u8]) -> Option<()> {
    socket
        .write_all(&u32::try_from(frame.len()).unwrap().to_ne_bytes())
        .await
        .ok()?;
    socket.write_all(frame).await.ok()
}
