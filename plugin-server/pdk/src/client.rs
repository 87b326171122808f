//! `kong.client`: who is calling.

use bytes::Bytes;

use crate::argument::EntityId;
use crate::byte_string::ByteString;
use crate::call::calls;
use crate::reply::{optional_text, small_number, text};
use crate::wire;
pub use crate::wire::{AuthenticatedCredential as Credential, Consumer};

/// What [`load_consumer`] looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerKey {
    /// The consumer's id.
    Id(EntityId),
    /// The consumer's username; text in the form of a UUID is looked up as an id first.
    Username(Bytes),
}

impl ConsumerKey {
    /// The consumer of this name.
    pub fn username(name: impl Into<Bytes>) -> Self {
        Self::Username(name.into())
    }

    fn into_wire(self) -> wire::ConsumerSpec {
        match self {
            Self::Id(id) => wire::ConsumerSpec {
                id: id.into_bytes(),
                by_username: false,
            },
            Self::Username(id) => wire::ConsumerSpec {
                id,
                by_username: true,
            },
        }
    }
}

/// Whom [`authenticate`] makes the client of this request: at least one of the two.
#[derive(Debug, Clone, PartialEq)]
pub enum Authenticated {
    /// A consumer, by no particular credential.
    Consumer(Consumer),
    /// A credential that belongs to no consumer.
    Credential(Credential),
    /// A consumer by one of its credentials.
    Both(Consumer, Credential),
}

impl Authenticated {
    fn into_wire(self) -> wire::AuthenticateArgs {
        let (consumer, credential) = match self {
            Self::Consumer(consumer) => (Some(consumer), None),
            Self::Credential(credential) => (None, Some(credential)),
            Self::Both(consumer, credential) => (Some(consumer), Some(credential)),
        };
        wire::AuthenticateArgs {
            consumer,
            credential,
        }
    }
}

calls! {
    /// The address of the peer of Kong's connection: the client, or the proxy before Kong. `unix:` on a Unix socket.
    "kong.client.get_ip" in [Rewrite Access Response Preread]
    fn get_ip() -> GetIp(()) {} => ByteString, text;

    /// The client's address, as told by a proxy that Kong trusts (`trusted_ips`, `real_ip_header`).
    "kong.client.get_forwarded_ip" in [Rewrite Access Response Preread]
    fn get_forwarded_ip() -> GetForwardedIp(()) {} => ByteString, text;

    /// The port of the peer of Kong's connection; 0 on a Unix socket.
    "kong.client.get_port" in [Rewrite Access Response Preread]
    fn get_port() -> GetPort(()) {} => u16, small_number;

    /// The client's port, as told by a proxy that Kong trusts.
    "kong.client.get_forwarded_port" in [Rewrite Access Response Preread]
    fn get_forwarded_port() -> GetForwardedPort(()) {} => u16, small_number;

    /// The credential that authenticated the client.
    "kong.client.get_credential" in [Access Response Log]
    fn get_credential() -> GetCredential(()) {}
    => Option<Credential>, |credential: Credential| (credential != Credential::default()).then_some(credential);

    /// The consumer of this id or username. Kong goes to its database for it each time: keep what it answers for a while.
    ///
    /// `None` also if the database failed.
    "kong.client.load_consumer" in [Access Response Log]
    fn load_consumer(key: ConsumerKey) -> LoadConsumer(wire::ConsumerSpec) { key.into_wire() }
    => Option<Consumer>, known_consumer;

    /// The consumer that the client authenticated as.
    "kong.client.get_consumer" in [Access Response Log]
    fn get_consumer() -> GetConsumer(()) {} => Option<Consumer>, known_consumer;

    /// Makes the client this consumer, for the plugins that follow. Sets no `X-Consumer-*` headers: set them as well if the
    /// upstream should see them.
    "kong.client.authenticate" in [Access]
    fn authenticate(who: Authenticated) -> Authenticate(wire::AuthenticateArgs) { who.into_wire() }
    => (), crate::reply::nothing;

    /// The route's protocol that this request uses, such as `https`. `allow_terminated` believes `X-Forwarded-Proto` of a
    /// trusted proxy. `None` without a route.
    "kong.client.get_protocol" in [Access Response]
    fn get_protocol(allow_terminated: bool) -> GetProtocol(wire::Bool) { wire::Bool { v: allow_terminated } }
    => Option<ByteString>, optional_text;
}

fn known_consumer(consumer: Consumer) -> Option<Consumer> {
    (consumer != Consumer::default()).then_some(consumer)
}
