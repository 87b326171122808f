//! Kong's side of the socket, as far as one event needs it: instances are started, events handled, PDK calls answered from
//! a table and written down. It shares the protocol's messages with the server, nothing else.

use std::collections::HashMap;
use std::path::Path;

use kong_pdk::wire::{self, RpcCall, RpcReturn, rpc_call, rpc_return};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A connection from Kong.
pub(crate) struct Kong {
    stream: UnixStream,
    sequence: i64,
}

/// One PDK call as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) arguments: Vec<u8>,
}

/// How an event ended.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) calls: Vec<Call>,
    /// The answer, if the plugin gave one in Kong's place.
    pub(crate) exit: Option<wire::ExitArgs>,
}

/// What Kong answers to each method; nothing for the others.
#[derive(Debug, Default, Clone)]
pub(crate) struct Request {
    replies: HashMap<&'static str, Vec<u8>>,
}

impl Request {
    /// A request with these headers.
    pub(crate) fn with_headers(headers: &[(&str, &str)]) -> Self {
        let fields = headers.iter().map(|(name, value)| wire::FieldsEntry {
            key: name.to_string().into(),
            value: Some(string(value)),
        });
        Self::default().answering(
            "kong.request.get_headers",
            &wire::Struct {
                fields: fields.collect(),
            },
        )
    }

    /// The same, with Kong's answer to another method.
    pub(crate) fn answering(mut self, method: &'static str, reply: &impl Message) -> Self {
        self.replies.insert(method, reply.encode_to_vec());
        self
    }
}

pub(crate) fn string(text: &str) -> wire::Value {
    wire::Value {
        kind: Some(wire::value::Kind::StringValue(text.to_owned().into())),
    }
}

impl Kong {
    pub(crate) async fn connect(dir: &Path) -> Self {
        let stream = UnixStream::connect(dir.join("plugins.sock"))
            .await
            .expect("a server listens");
        Self {
            stream,
            sequence: 0,
        }
    }

    /// Starts an instance and gives its id.
    pub(crate) async fn start_instance(&mut self, plugin: &str, config: &Value) -> i32 {
        let call = wire::CmdStartInstance {
            name: plugin.to_owned().into(),
            config: config.to_string().into(),
        };
        self.send(rpc_call::Call::CmdStartInstance(call)).await;
        let answer = self.frame().await.expect("an answer");
        match self.decode(&answer) {
            Some(rpc_return::Return::InstanceStatus(status)) => status.instance_id,
            other => panic!("no instance: {other:?}"),
        }
    }

    /// Lets an instance handle `access` for this request.
    pub(crate) async fn access(&mut self, instance_id: i32, request: &Request) -> Event {
        let event = wire::CmdHandleEvent {
            instance_id,
            event_name: "access".into(),
        };
        self.send(rpc_call::Call::CmdHandleEvent(event)).await;
        let mut seen = Event::default();
        loop {
            let method = self.frame().await.expect("a call or the end of the event");
            if method.is_empty() {
                let end = self.frame().await.expect("the end of the event");
                assert!(self.decode(&end).is_none(), "an event returns nothing");
                return seen;
            }
            let method = String::from_utf8(method).expect("methods are ASCII");
            let arguments = self.frame().await.expect("arguments");
            if method == "kong.response.exit" {
                seen.exit =
                    Some(wire::ExitArgs::decode(&arguments[..]).expect("arguments of exit"));
                return seen;
            }
            let reply = request
                .replies
                .get(method.as_str())
                .cloned()
                .unwrap_or_default();
            seen.calls.push(Call { method, arguments });
            self.write(&reply).await;
        }
    }

    async fn send(&mut self, call: rpc_call::Call) {
        self.sequence += 1;
        self.write(
            &RpcCall {
                sequence: self.sequence,
                call: Some(call),
            }
            .encode_to_vec(),
        )
        .await;
    }

    fn decode(&self, frame: &[u8]) -> Option<rpc_return::Return> {
        let answer = RpcReturn::decode(frame).expect("an RpcReturn");
        assert_eq!(answer.sequence, self.sequence);
        answer.r#return
    }

    async fn write(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap().to_ne_bytes();
        self.stream
            .write_all(&[&length[..], bytes].concat())
            .await
            .unwrap();
    }

    async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await.ok()?;
        let mut frame = vec![0; u32::from_ne_bytes(length) as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame)
    }
}

impl Event {
    /// The methods that were called, in order.
    pub(crate) fn methods(&self) -> Vec<&str> {
        self.calls.iter().map(|call| call.method.as_str()).collect()
    }

    /// The headers that were set for the upstream.
    pub(crate) fn set_headers(&self) -> HashMap<String, String> {
        let calls = self
            .calls
            .iter()
            .filter(|call| call.method == "kong.service.request.set_headers");
        calls
            .flat_map(|call| wire::Struct::decode(&call.arguments[..]).unwrap().fields)
            .map(|entry| (lossy(&entry.key), text(entry.value.as_ref())))
            .collect()
    }

    /// The headers that were removed for the upstream, sorted.
    pub(crate) fn cleared_headers(&self) -> Vec<String> {
        let calls = self
            .calls
            .iter()
            .filter(|call| call.method == "kong.service.request.clear_header");
        let mut names: Vec<String> = calls
            .map(|call| lossy(&wire::String::decode(&call.arguments[..]).unwrap().v))
            .collect();
        names.sort();
        names
    }

    /// What was stored in `kong.ctx.shared` under this key.
    pub(crate) fn shared(&self, key: &str) -> Option<kong_pdk::Value> {
        let calls = self
            .calls
            .iter()
            .filter(|call| call.method == "kong.ctx.shared.set");
        let mut stored = calls.map(|call| wire::Kv::decode(&call.arguments[..]).unwrap());
        stored
            .find(|pair| pair.k == key.as_bytes())
            .and_then(|pair| pair.v)
            .map(Into::into)
    }

    /// Whom Kong was told to take for the client.
    pub(crate) fn authenticated(&self) -> Option<wire::AuthenticateArgs> {
        let call = self
            .calls
            .iter()
            .find(|call| call.method == "kong.client.authenticate")?;
        Some(wire::AuthenticateArgs::decode(&call.arguments[..]).unwrap())
    }

    /// A header of the exit, which it has once.
    pub(crate) fn exit_header(&self, name: &str) -> Option<String> {
        self.exit_value(name).map(|value| text(Some(value)))
    }

    /// All the values of a header of the exit.
    pub(crate) fn exit_header_values(&self, name: &str) -> Vec<String> {
        match self.exit_value(name).and_then(|value| value.kind.as_ref()) {
            Some(wire::value::Kind::ListValue(list)) => {
                list.values.iter().map(|value| text(Some(value))).collect()
            }
            _ => self.exit_header(name).into_iter().collect(),
        }
    }

    fn exit_value(&self, name: &str) -> Option<&wire::Value> {
        let headers = self.exit.as_ref()?.headers.as_ref()?;
        let entry = headers
            .fields
            .iter()
            .find(|entry| entry.key.eq_ignore_ascii_case(name.as_bytes()))?;
        entry.value.as_ref()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text(value: Option<&wire::Value>) -> String {
    match value.and_then(|value| value.kind.as_ref()) {
        Some(wire::value::Kind::StringValue(text)) => lossy(text),
        other => panic!("not a string: {other:?}"),
    }
}
