//! What a PDK call is: a value with its method's name, its arguments, its typed reply, and the phases that permit it.
//!
//! The calls themselves live in the modules named like Kong's ([`request`](crate::request), [`response`](crate::response),
//! …). Each is declared once, in a table row that gives the method, the phases, the arguments and the reply.
//!
//! # Source of the phases
//!
//! For `access`, `response` and `log`, recordings of a running Kong 3.9.1 (a call in a phase where it throws has no reply
//! there; the golden test holds this table against them). For `rewrite`, `certificate` and `preread`, Kong's phase checks,
//! minus the calls that need something which the phase lacks: nginx variables while the certificate is chosen, the
//! balancer's data before routing, an HTTP request in a TCP stream.
//!
//! # What does not compile
//!
//! A getter of the answer before there is one:
//!
//! ```compile_fail,E0277
//! # use kong_pdk::{Kong, phase, response};
//! async fn access(kong: &mut Kong<phase::Access>) {
//!     let _ = kong.call(response::get_status()).await;
//! }
//! ```
//!
//! A batch of which one call is not permitted:
//!
//! ```compile_fail,E0277
//! # use kong_pdk::{Kong, phase, request, response};
//! async fn log(kong: &mut Kong<phase::Log>) {
//!     let _ = kong.batch((response::get_status(), request::get_method())).await;
//! }
//! ```
//!
//! A change to the upstream's request when it is long sent:
//!
//! ```compile_fail,E0277
//! # use kong_pdk::{Kong, phase, service};
//! fn response(kong: &mut Kong<phase::Response>) {
//!     kong.defer(service::request::set_header("x-late", "1"));
//! }
//! ```
//!
//! A getter whose reply nobody would see:
//!
//! ```compile_fail,E0271
//! # use kong_pdk::{Kong, phase, request};
//! fn access(kong: &mut Kong<phase::Access>) {
//!     kong.defer(request::get_method());
//! }
//! ```
//!
//! Anything after an exit, since an exit is returned and not called:
//!
//! ```compile_fail,E0277
//! # use kong_pdk::{Exit, Kong, argument::Status, phase};
//! async fn access(kong: &mut Kong<phase::Access>) {
//!     let _ = kong.call(Exit::new(Status::OK)).await;
//! }
//! ```
//!
//! The same calls where they are permitted:
//!
//! ```
//! # use kong_pdk::{Error, Kong, phase, request, response, service};
//! async fn access(kong: &mut Kong<phase::Access>) -> Result<(), Error> {
//!     kong.call(request::get_method()).await?;
//!     kong.defer(service::request::set_header("x-early", "1"));
//!     Ok(())
//! }
//!
//! async fn log(kong: &mut Kong<phase::Log>) -> Result<(), Error> {
//!     kong.batch((response::get_status(), request::get_header("x-request"))).await?;
//!     Ok(())
//! }
//! ```

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use prost::DecodeError;

use crate::phase::{Phase, PhaseName};
use crate::rpc::Connection;
use crate::session::Error;

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A call of one PDK method, with its arguments.
pub trait Call: sealed::Sealed + Send {
    /// Kong's name of the method.
    const METHOD: &'static str;

    /// What Kong answers, decoded.
    type Reply: Send;

    /// Appends the arguments.
    fn encode(&self, buffer: &mut BytesMut);

    /// Reads Kong's answer.
    fn decode(reply: Bytes) -> Result<Self::Reply, DecodeError>;
}

/// Marks a call that Kong permits in the phase `P`.
#[diagnostic::on_unimplemented(
    message = "Kong does not permit `{Self}` in the phase `{P}`",
    label = "this call would throw in Kong: the client would get a 500",
    note = "`kong_pdk::methods()` lists where each method is permitted"
)]
pub trait Permitted<P: Phase>: Call {}

/// A row of the method table: a PDK method and where Kong permits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Kong's name, such as `kong.request.get_header`.
    pub name: &'static str,
    /// The phases that permit it.
    pub phases: &'static [PhaseName],
}

/// All the PDK methods that a plugin server can call, with their phases.
pub fn methods() -> impl Iterator<Item = &'static Method> {
    [
        crate::client::METHODS,
        crate::ctx::METHODS,
        crate::ip::METHODS,
        crate::log::METHODS,
        crate::nginx::METHODS,
        crate::node::METHODS,
        crate::request::METHODS,
        crate::response::METHODS,
        crate::router::METHODS,
        crate::service::METHODS,
        crate::service::request::METHODS,
        crate::service::response::METHODS,
    ]
    .into_iter()
    .flatten()
    .chain([crate::response::EXIT])
}

/// Several calls that go out in one write: a tuple of up to sixteen, an array, or a `Vec`.
///
/// The replies come as a tuple, an array or a `Vec` of the calls' replies. This is the main lever on speed: a call by
/// itself costs Kong more than twice what it costs in a batch. In a tuple, `Option` of a call is a call that is made only
/// if it is there; its reply is an `Option` too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no batch of calls that Kong permits in the phase `{P}`",
    note = "a batch is a tuple of up to 16 calls, an array or a Vec of one kind of call, each permitted in the phase"
)]
pub trait Batch<P: Phase>: sealed::Sealed + Send {
    /// The replies, in the order of the calls.
    type Replies: Send;

    /// How many places for a call there are.
    #[doc(hidden)]
    fn places(&self) -> usize;

    /// Queues the call at this place, if there is one.
    #[doc(hidden)]
    fn encode(&self, place: usize, connection: &mut Connection);

    /// Takes the replies off the front.
    #[doc(hidden)]
    fn decode(self, replies: &mut VecDeque<Bytes>) -> Result<Self::Replies, Error>;
}

/// What may stand at a place of a tuple: a call, or `Option` of one.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "Kong does not permit `{Self}` in the phase `{P}`",
    label = "this call would throw in Kong: the client would get a 500",
    note = "`kong_pdk::methods()` lists where each method is permitted"
)]
pub trait Member<P: Phase>: sealed::Sealed + Send {
    type Reply: Send;

    fn encode(&self, connection: &mut Connection);

    fn decode(self, replies: &mut VecDeque<Bytes>) -> Result<Self::Reply, Error>;
}

impl<P: Phase, C: Permitted<P>> Member<P> for C {
    type Reply = C::Reply;

    fn encode(&self, connection: &mut Connection) {
        connection.call(self);
    }

    fn decode(self, replies: &mut VecDeque<Bytes>) -> Result<Self::Reply, Error> {
        take::<C>(replies)
    }
}

impl<C: sealed::Sealed> sealed::Sealed for Option<C> {}

impl<P: Phase, C: Permitted<P>> Member<P> for Option<C> {
    type Reply = Option<C::Reply>;

    fn encode(&self, connection: &mut Connection) {
        if let Some(call) = self {
            connection.call(call);
        }
    }

    fn decode(self, replies: &mut VecDeque<Bytes>) -> Result<Self::Reply, Error> {
        self.map(|_| take::<C>(replies)).transpose()
    }
}

/// Decodes the next reply as that of a call of this type.
fn take<C: Call>(replies: &mut VecDeque<Bytes>) -> Result<C::Reply, Error> {
    let reply = replies
        .pop_front()
        .expect("a reply was collected for each call");
    C::decode(reply).map_err(|source| Error::Reply {
        method: C::METHOD,
        source,
    })
}

macro_rules! tuple {
    ($($member:ident $place:tt),+) => {
        impl<$($member: sealed::Sealed),+> sealed::Sealed for ($($member,)+) {}

        impl<P: Phase, $($member: Member<P>),+> Batch<P> for ($($member,)+) {
            type Replies = ($($member::Reply,)+);

            fn places(&self) -> usize {
                [$($place),+].len()
            }

            fn encode(&self, place: usize, connection: &mut Connection) {
                match place {
                    $($place => self.$place.encode(connection),)+
                    _ => unreachable!("a place is below their number"),
                }
            }

            fn decode(self, replies: &mut VecDeque<Bytes>) -> Result<Self::Replies, Error> {
                Ok(($(self.$place.decode(replies)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14, Q 15);

impl<C: sealed::Sealed> sealed::Sealed for Vec<C> {}

impl<P: Phase, C: Permitted<P>> Batch<P> for Vec<C> {
    type Replies = Vec<C::Reply>;

    fn places(&self) -> usize {
        self.len()
    }

    fn encode(&self, place: usize, connection: &mut Connection) {
        connection.call(&self[place]);
    }

    fn decode(self, replies: &mut VecDeque<Bytes>) -> Result<Self::Replies, Error> {
        self.iter().map(|_| take::<C>(replies)).collect()
    }
}

impl<C: sealed::Sealed, const N: usize> sealed::Sealed for [C; N] {}

impl<P: Phase, C: Permitted<P>, const N: usize> Batch<P> for [C; N] {
    type Replies = [C::Reply; N];

    fn places(&self) -> usize {
        N
    }

    fn encode(&self, place: usize, connection: &mut Connection) {
        connection.call(&self[place]);
    }

    fn decode(self, replies: &mut VecDeque<Bytes>) -> Result<Self::Replies, Error> {
        let decoded: Vec<_> = self
            .iter()
            .map(|_| take::<C>(replies))
            .collect::<Result<_, _>>()?;
        Ok(decoded
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many replies as calls")))
    }
}

/// Declares PDK methods. A row reads: documentation, Kong's name, the phases, the constructor, the type of the call with its
/// arguments on the wire, and the typed reply with the function that reads it.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $method:literal in [$($phase:ident)*]
        fn $constructor:ident($($argument:ident: $argument_type:ty),*) -> $call:ident($wire:ty) $arguments:block
        => $reply:ty, $decode:expr;
    )*) => {
        $(
            #[doc = concat!("`", $method, "`: see [`", stringify!($constructor), "`].")]
            #[derive(Debug, Clone, PartialEq)]
            #[must_use = "a call does nothing until it is given to `Kong`"]
            pub struct $call($wire);

            $(#[$doc])*
            ///
            #[doc = concat!("Kong's `", $method, "`, permitted in: ", $("`", stringify!($phase), "` ",)* ".")]
            pub fn $constructor($($argument: $argument_type),*) -> $call {
                $call($arguments)
            }

            impl $crate::call::sealed::Sealed for $call {}

            impl $crate::call::Call for $call {
                const METHOD: &'static str = $method;
                type Reply = $reply;

                fn encode(&self, buffer: &mut ::bytes::BytesMut) {
                    ::prost::Message::encode(&self.0, buffer).expect("a BytesMut grows as needed");
                }

                fn decode(reply: ::bytes::Bytes) -> Result<Self::Reply, ::prost::DecodeError> {
                    ::prost::Message::decode(reply).map($decode)
                }
            }

            $(impl $crate::call::Permitted<$crate::phase::$phase> for $call {})*
        )*

        /// This module's part of the method table.
        pub(crate) const METHODS: &[$crate::call::Method] = &[$(
            $crate::call::Method {
                name: $method,
                phases: &[$($crate::phase::PhaseName::$phase),*],
            },
        )*];
    };
}

pub(crate) use calls;
