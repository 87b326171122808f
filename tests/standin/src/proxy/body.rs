//! The answer's body on its way to the client, through the body filters.
//!
//! Pieces pass as they come. Where a route buffers its answer (Kong's default) and a filter wrote to `ngx.arg`, nginx holds
//! back everything from then on to the end: so does this. A client that leaves drops the body; then `log` runs, and no
//! filter ever sees the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::upstream::{Answer, Sender};
use crate::plugins::{self, PluginConfig, pdk::Phase};

type Error = Box<dyn std::error::Error + Send + Sync>;
/// What hyper sends to the client.
pub(super) type ClientBody = UnsyncBoxBody<Bytes, Error>;

/// Where the pieces come from.
pub(super) enum Source {
    /// Kong itself, or an answer that was buffered.
    Whole(Option<Bytes>),
    Upstream {
        incoming: Incoming,
        read_timeout: Duration,
        /// Goes back to the pool at the end.
        connection: Option<(std::net::SocketAddr, Sender)>,
    },
}

impl From<Answer> for Source {
    fn from(answer: Answer) -> Self {
        Self::Upstream {
            incoming: answer.response.into_body(),
            read_timeout: answer.read_timeout,
            connection: Some((answer.address, answer.sender)),
        }
    }
}

/// Runs the log phase when the request is over, however it ended.
pub(super) struct LogAtEnd {
    exchange: Arc<Exchange>,
    armed: bool,
}

impl LogAtEnd {
    pub(super) fn new(exchange: &Arc<Exchange>) -> Self {
        Self {
            exchange: exchange.clone(),
            armed: true,
        }
    }

    /// Somebody else will run the log phase.
    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for LogAtEnd {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let exchange = &self.exchange;
        let elapsed = exchange.elapsed();
        {
            let mut state = exchange.state();
            state.latencies.total = elapsed;
            let before_body = state.latencies.kong + state.latencies.waiting.unwrap_or(0);
            state.latencies.receive = elapsed.saturating_sub(before_body);
            // The request is over, so are the sockets that were waiting for that.
            state.held.clear();
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            plugins::log(exchange);
        }
    }
}

struct Filtering {
    source: Source,
    filters: Vec<Arc<PluginConfig>>,
    /// Whether an assigning filter holds the answer back, and what it holds.
    may_hold: bool,
    held: Option<BytesMut>,
    ended: bool,
    log: LogAtEnd,
}

/// The body for the client.
pub(super) fn client_body(exchange: &Arc<Exchange>, source: Source) -> ClientBody {
    let filters = plugins::body_filters(exchange);
    let may_hold = exchange
        .state()
        .matched
        .as_ref()
        .is_some_and(|matched| matched.route.buffers_response());
    exchange.enter(Phase::BodyFilter);
    let filtering = Filtering {
        source,
        filters,
        may_hold,
        held: None,
        ended: false,
        log: LogAtEnd::new(exchange),
    };
    let frames = stream::unfold(filtering, |mut filtering| async move {
        let piece = filtering.next().await?;
        Some((piece.map(Frame::data), filtering))
    });
    StreamBody::new(frames).boxed_unsync()
}

impl Source {
    /// Whether it is known that nothing follows.
    fn is_at_end(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_none(),
            Self::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }
}

/// Two pieces as one.
fn joined(first: Bytes, second: &Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    let mut both = BytesMut::from(first);
    both.extend_from_slice(second);
    both.freeze()
}

impl Filtering {
    /// The next piece that is not empty.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        while !self.ended {
            let piece = match self.read().await {
                Ok(Some(piece)) => {
                    let piece = self.filter(piece, false);
                    if self.source.is_at_end() {
                        // Whoever sends a body of known length does not ask what comes after its last byte; nginx tells the filters.
                        joined(piece, &self.end())
                    } else {
                        piece
                    }
                }
                Ok(None) => self.end(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            };
            if !piece.is_empty() {
                self.log.exchange.state().bytes_sent += piece.len() as u64;
                return Some(Ok(piece));
            }
        }
        None
    }

    /// Tells the filters that the body has ended: what they still have.
    fn end(&mut self) -> Bytes {
        self.ended = true;
        let last = self.filter(Bytes::new(), true);
        self.put_connection_back();
        match self.held.take() {
            Some(held) => held.freeze(),
            None => last,
        }
    }

    fn put_connection_back(&mut self) {
        if let Source::Upstream { connection, .. } = &mut self.source
            && let Some((address, sender)) = connection.take()
        {
            self.log.exchange.worker.upstreams.put(address, sender);
        }
    }

    /// A piece, or nothing at the end.
    async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        let (incoming, limit) = match &mut self.source {
            Source::Whole(whole) => return Ok(whole.take()),
            Source::Upstream {
                incoming,
                read_timeout,
                ..
            } => (incoming, *read_timeout),
        };
        while let Some(frame) = timeout(limit, incoming.frame()).await? {
            // Trailers are not passed on, as in nginx.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Passes a piece through the filters; what is held back comes out at the end.
    fn filter(&mut self, mut piece: Bytes, last: bool) -> Bytes {
        let exchange = &self.log.exchange;
        let mut assigned = false;
        for plugin in &self.filters {
            match exchange.worker.lua.filter(exchange, plugin, &piece, last) {
                Ok(filtered) => {
                    piece = filtered.chunk;
                    assigned |= filtered.assigned;
                }
                Err(error) => tracing::error!(plugin = plugin.name, %error, "body_filter failed"),
            }
        }
        if assigned && self.may_hold && self.held.is_none() {
            self.held = Some(BytesMut::new());
        }
        match &mut self.held {
            Some(held) => {
                held.extend_from_slice(&piece);
                Bytes::new()
            }
            None => piece,
        }
    }
}
