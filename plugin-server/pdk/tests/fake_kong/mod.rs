//! Kong's side of the socket, as far as these tests need it, written from the protocol and not from the server.

use std::collections::VecDeque;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use kong_pdk::frame::{self, DEFAULT_MAX_FRAME, Decoder};
use kong_pdk::wire::rpc_call::Call;
use kong_pdk::wire::rpc_return::Return;
use kong_pdk::wire::{
    CmdCloseInstance, CmdHandleEvent, CmdStartInstance, ExitArgs, RpcCall, RpcReturn,
};
use prost::Message;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// One connection of Kong's pool.
pub(crate) struct FakeKong {
    stream: UnixStream,
    decoder: Decoder,
    sequence: i64,
    /// PDK calls that have arrived and are not yet answered.
    waiting: VecDeque<(String, Bytes)>,
}

/// How an event ended, as Kong sees it.
#[derive(Debug, PartialEq)]
pub(crate) enum Ended {
    /// The server gave its return: the request goes on.
    Continued,
    /// The server answered in Kong's place.
    Exited(ExitArgs),
    /// The server closed the connection.
    Closed,
}

impl Ended {
    pub(crate) fn status(&self) -> Option<i32> {
        match self {
            Self::Exited(arguments) => Some(arguments.status),
            _ => None,
        }
    }
}

impl FakeKong {
    pub(crate) async fn connect(path: &Path) -> Self {
        Self {
            stream: UnixStream::connect(path).await.expect("the server listens"),
            decoder: Decoder::new(DEFAULT_MAX_FRAME),
            sequence: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Sends a request in two writes, as Kong does.
    pub(crate) async fn send(&mut self, call: Call) {
        self.sequence += 2;
        let mut bytes = BytesMut::new();
        let request = RpcCall {
            sequence: self.sequence,
            call: Some(call),
        };
        frame::put(&mut bytes, &request.encode_to_vec());
        self.stream.write_all(&bytes[..4]).await.unwrap();
        self.stream.write_all(&bytes[4..]).await.unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            if !matches!(
                self.stream.read_buf(self.decoder.read_buffer()).await,
                Ok(1..)
            ) {
                return None;
            }
        }
    }

    /// Sends a request that is not an event; `None` if the server closes the connection.
    pub(crate) async fn request(&mut self, call: Call) -> Option<RpcReturn> {
        self.send(call).await;
        let answer = RpcReturn::decode(self.frame().await?).unwrap();
        assert_eq!(
            answer.sequence, self.sequence,
            "the server echoes the sequence"
        );
        Some(answer)
    }

    /// Starts an instance and gives its id.
    pub(crate) async fn start(&mut self, plugin: &'static str, config: &Json) -> i32 {
        let start = CmdStartInstance {
            name: plugin.into(),
            config: config.to_string().into(),
        };
        let answer = self
            .request(Call::CmdStartInstance(start))
            .await
            .expect("an instance starts");
        match answer.r#return {
            Some(Return::InstanceStatus(status)) => {
                assert_ne!(status.instance_id, 0);
                status.instance_id
            }
            other => panic!("the answer to a start is a status, not {other:?}"),
        }
    }

    pub(crate) async fn close(&mut self, instance_id: i32) {
        let answer = self
            .request(Call::CmdCloseInstance(CmdCloseInstance { instance_id }))
            .await;
        assert!(answer.is_some());
    }

    /// Sends an event; answer its calls with [`next_call`](Self::next_call) and [`reply`](Self::reply), or with
    /// [`serve`](Self::serve).
    pub(crate) async fn begin(&mut self, instance_id: i32, phase: &'static str) {
        let event = CmdHandleEvent {
            instance_id,
            event_name: phase.into(),
        };
        self.send(Call::CmdHandleEvent(event)).await;
    }

    /// The method and arguments of the next call, or how the event ended.
    pub(crate) async fn next_call(&mut self) -> Result<(String, Bytes), Ended> {
        let Some(method) = self.frame().await else {
            return Err(Ended::Closed);
        };
        if method.is_empty() {
            let answer = RpcReturn::decode(
                self.frame()
                    .await
                    .expect("a return follows the empty frame"),
            )
            .unwrap();
            assert_eq!(
                answer.sequence, self.sequence,
                "the server echoes the sequence"
            );
            return Err(Ended::Continued);
        }
        let arguments = self.frame().await.expect("arguments follow a method");
        if &method[..] == b"kong.response.exit" {
            // Kong's coroutine never comes back from it; the end of the request ends the connection.
            self.stream.shutdown().await.unwrap();
            return Err(Ended::Exited(ExitArgs::decode(arguments).unwrap()));
        }
        Ok((String::from_utf8(method.to_vec()).unwrap(), arguments))
    }

    pub(crate) async fn reply(&mut self, reply: &[u8]) {
        let mut bytes = BytesMut::new();
        frame::put(&mut bytes, reply);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Takes in calls without answering until there are so many. A server that waits for each reply never sends them.
    pub(crate) async fn withhold(&mut self, calls: usize) {
        while self.waiting.len() < calls {
            let call = self.next_call().await.expect("the event makes more calls");
            self.waiting.push_back(call);
        }
    }

    /// Answers the calls of the event, those withheld first, and gives them with how the event ended.
    pub(crate) async fn serve(
        &mut self,
        mut answer: impl FnMut(&str, &Bytes) -> Vec<u8>,
    ) -> (Vec<String>, Ended) {
        let mut calls = Vec::new();
        loop {
            let next = match self.waiting.pop_front() {
                Some(call) => Ok(call),
                None => self.next_call().await,
            };
            match next {
                Ok((method, arguments)) => {
                    let reply = answer(&method, &arguments);
                    self.reply(&reply).await;
                    calls.push(method);
                }
                Err(ended) => return (calls, ended),
            }
        }
    }

    /// An event whose calls are all answered with nothing.
    pub(crate) async fn event(
        &mut self,
        instance_id: i32,
        phase: &'static str,
    ) -> (Vec<String>, Ended) {
        self.begin(instance_id, phase).await;
        self.serve(|_, _| Vec::new()).await
    }
}
