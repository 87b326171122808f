//! The handle through which a handler talks to Kong.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::byte_string::ByteString;
use crate::call::{Batch, Call, Permitted};
use crate::phase::Phase;
use crate::session::{Error, Session};

/// Kong, as far as the phase `P` permits.
///
/// Each exchange costs a round trip; a call by itself costs Kong more than twice what it costs in a batch. So a fast handler
/// asks for all it needs in one [`batch`](Self::batch), and [defers](Self::defer) what it sets: two writes in all.
pub struct Kong<P> {
    session: Box<Session>,
    scope: Arc<Scope>,
    phase: PhantomData<fn() -> P>,
}

/// To what the plugin that runs is attached in Kong.
///
/// Equal configurations share one [`Instance`](crate::plugin::Plugin::Instance), wherever they are attached, so this is known
/// during an event and not when the plugin is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// The id of the plugin entity.
    pub plugin_id: Option<ByteString>,
    /// The name that the administrator gave to the plugin entity.
    pub instance_name: Option<ByteString>,
    /// The id of the route, if the plugin is attached to one.
    pub route_id: Option<ByteString>,
    /// The id of the service, if the plugin is attached to one.
    pub service_id: Option<ByteString>,
    /// The id of the consumer, if the plugin is attached to one.
    pub consumer_id: Option<ByteString>,
    /// The id of the workspace.
    pub workspace_id: Option<ByteString>,
}

impl<P: Phase> Kong<P> {
    pub(crate) fn new(session: Box<Session>, scope: Arc<Scope>) -> Self {
        Self {
            session,
            scope,
            phase: PhantomData,
        }
    }

    pub(crate) fn into_session(self) -> Box<Session> {
        self.session
    }

    /// Makes one call and waits for its reply.
    pub async fn call<C: Permitted<P>>(&mut self, call: C) -> Result<C::Reply, Error> {
        let (reply,) = self.session.exchange::<P, _>((call,)).await?;
        Ok(reply)
    }

    /// Makes several calls in one write and waits for all their replies: a tuple of up to sixteen, an array, or a `Vec`.
    ///
    /// Of more than [`MAX_IN_FLIGHT`](crate::rpc::MAX_IN_FLIGHT) calls, the rest follows as replies come in. Dropping the
    /// future is safe: the calls are made or not, and their replies are dropped.
    pub async fn batch<B: Batch<P>>(&mut self, calls: B) -> Result<B::Replies, Error> {
        self.session.exchange::<P, _>(calls).await
    }

    /// Makes a call with the next write: the next call, or the end of the event.
    ///
    /// Calls reach Kong in the order in which they are made here, deferred or not. If the handler fails, what was deferred
    /// since the last write is not done.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a call is made once, here as in `call`"
    )]
    pub fn defer<C: Permitted<P> + Call<Reply = ()>>(&mut self, call: C) {
        self.session.defer(&call);
    }

    /// To what the plugin that runs is attached.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl<P: Phase> fmt::Debug for Kong<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kong")
            .field("phase", &P::NAME)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
