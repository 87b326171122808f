//! The state machine of [`rpc`](crate::rpc) on a Unix socket.
//!
//! Every method here may be dropped half-way (a deadline, a `select!`) without harm: what is partly written stays in the
//! output buffer, what is partly read in the input buffer, and the machine knows which replies are owed.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;

use crate::call::{Batch, Call};
use crate::phase::{Phase, PhaseName};
use crate::response::Exit;
use crate::rpc::{Connection, MAX_IN_FLIGHT, ProtocolError};
use crate::wire::{RpcCall, rpc_return};

/// Why a PDK call has no reply.
///
/// A handler seldom needs to tell these apart: pass them on with `?`, and the plugin's
/// [`FailureMode`](crate::plugin::FailureMode) applies where an answer is still possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Kong ended the connection during the event: the client went away, the worker ended, or the call threw. There is nobody
    /// left to answer.
    #[error("kong ended the connection during the event")]
    ConnectionEnded,
    /// The socket failed.
    #[error("the connection to kong failed")]
    Io(#[source] io::Error),
    /// Kong sent something that is not its protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// Kong's reply does not decode as the method's reply.
    #[error("the reply to {method} does not decode")]
    Reply {
        /// Kong's name of the method.
        method: &'static str,
        /// What is wrong with it.
        source: prost::DecodeError,
    },
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::ConnectionEnded,
            _ => Self::Io(error),
        }
    }
}

/// One connection from Kong.
#[derive(Debug)]
pub(crate) struct Session {
    stream: UnixStream,
    connection: Connection,
    /// Replies collected for the batch under way; kept for its allocation.
    replies: VecDeque<Bytes>,
    /// An I/O or protocol error has occurred: no answer can reach Kong.
    broken: bool,
}

impl Session {
    pub(crate) fn new(stream: UnixStream, max_frame: usize) -> Self {
        Self {
            stream,
            connection: Connection::new(max_frame),
            replies: VecDeque::new(),
            broken: false,
        }
    }

    /// Whether the connection can carry nothing more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the connection may be closed without anybody missing anything.
    pub(crate) fn is_quiet(&self) -> bool {
        self.connection.is_quiet()
    }

    /// The next request; `None` when Kong ends the connection between two requests.
    pub(crate) async fn next_request(&mut self) -> Result<Option<RpcCall>, Error> {
        loop {
            if let Some(request) = self.connection.next_request()? {
                return Ok(Some(request));
            }
            match self.fill().await {
                Ok(()) => {}
                Err(Error::ConnectionEnded) if self.connection.is_quiet() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the replies that an ended event left behind, so that nothing is unread when the connection is closed.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        while self.connection.owed() > 0 {
            self.drop_reply().await?;
        }
        Ok(())
    }

    /// Answers a request that is not an event.
    pub(crate) async fn answer(
        &mut self,
        sequence: i64,
        answer: Option<rpc_return::Return>,
    ) -> Result<(), Error> {
        self.connection.answer(sequence, answer);
        self.flush().await
    }

    pub(crate) fn begin_event(&mut self, sequence: i64) {
        self.connection.begin_event(sequence);
    }

    pub(crate) fn defer<C: Call>(&mut self, call: &C) {
        self.connection.defer(call);
    }

    /// Makes the calls of a batch, after those that were deferred, in one write if they are not too many.
    pub(crate) async fn exchange<P: Phase, B: Batch<P>>(
        &mut self,
        batch: B,
    ) -> Result<B::Replies, Error> {
        self.replies.clear();
        self.send_deferred().await?;
        // What is owed by now nobody waits for: deferred calls, and batches that were dropped half-way.
        let mut unwanted = self.connection.owed();
        for place in 0..batch.places() {
            while self.connection.owed() >= MAX_IN_FLIGHT {
                self.collect(&mut unwanted).await?;
            }
            batch.encode(place, &mut self.connection);
        }
        while self.connection.owed() > 0 {
            self.collect(&mut unwanted).await?;
        }
        batch.decode(&mut self.replies)
    }

    /// Ends the event. On success the deferred calls go out with it, in the same write if they are not too many.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        self.send_deferred().await?;
        self.connection.finish_event();
        self.flush().await
    }

    /// Ends the event with an answer in Kong's place, after the deferred calls.
    pub(crate) async fn exit(&mut self, phase: PhaseName, exit: &Exit) -> Result<(), Error> {
        self.send_deferred().await?;
        self.connection.exit(phase, exit);
        self.flush().await
    }

    /// Forgets what the failed handler deferred.
    pub(crate) fn drop_deferred(&mut self) {
        self.connection.drop_deferred();
    }

    /// Waits until Kong ends the connection after an exit.
    pub(crate) async fn await_end(&mut self) {
        while self.fill().await.is_ok() {
            self.connection.read_buffer().clear();
        }
    }

    /// Queues the deferred calls; sends those that are too many for one flight.
    async fn send_deferred(&mut self) -> Result<(), Error> {
        while self.connection.stage_deferred() {
            while self.connection.owed() >= MAX_IN_FLIGHT {
                self.drop_reply().await?;
            }
        }
        Ok(())
    }

    /// Waits for a reply and drops it, with all others that are there.
    async fn drop_reply(&mut self) -> Result<(), Error> {
        let mut unwanted = usize::MAX;
        self.collect(&mut unwanted).await
    }

    /// Takes in every reply that is there, at least one: the first `unwanted` are dropped.
    async fn collect(&mut self, unwanted: &mut usize) -> Result<(), Error> {
        self.flush().await?;
        let mut any = false;
        loop {
            while let Some(reply) = self
                .connection
                .next_reply()
                .inspect_err(|_| self.broken = true)?
            {
                any = true;
                if *unwanted > 0 {
                    *unwanted -= 1;
                } else {
                    self.replies.push_back(reply);
                }
            }
            if any {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Writes all that waits. While Kong does not read, what it writes is taken in, so that the two never wait for each other.
    async fn flush(&mut self) -> Result<(), Error> {
        let result = self.write_output().await;
        self.broken |= result.is_err();
        result
    }

    async fn write_output(&mut self) -> Result<(), Error> {
        while !self.connection.output().is_empty() {
            match self.stream.try_write(self.connection.output()) {
                Ok(written) => {
                    self.connection.output().advance(written);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            let ready = self
                .stream
                .ready(Interest::READABLE | Interest::WRITABLE)
                .await?;
            if ready.is_readable() && !ready.is_writable() {
                match self.stream.try_read_buf(self.connection.read_buffer()) {
                    Ok(0) => return Err(Error::ConnectionEnded),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Reads what is there, at least one byte.
    async fn fill(&mut self) -> Result<(), Error> {
        let result = match self.stream.read_buf(self.connection.read_buffer()).await {
            Ok(0) => Err(Error::ConnectionEnded),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.broken |= result.is_err();
        result
    }
}
