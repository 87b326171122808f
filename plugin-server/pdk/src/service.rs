//! `kong.service`: where Kong proxies to, with the [`request`] it sends there and the [`response`] that comes back.

use bytes::Bytes;

use crate::call::calls;
use crate::reply::{flag, nothing};
use crate::wire;

pub mod request;
pub mod response;

calls! {
    /// Sends this request to the upstream (load balancer) of this name; `false` if Kong has none of that name.
    "kong.service.set_upstream" in [Access]
    fn set_upstream(name: impl Into<Bytes>) -> SetUpstream(wire::String) { wire::String { v: name.into() } } => bool, flag;

    /// Sends this request to this host and port.
    "kong.service.set_target" in [Access Preread]
    fn set_target(host: impl Into<Bytes>, port: u16) -> SetTarget(wire::Target) {
        wire::Target { host: host.into(), port: port.into() }
    }
    => (), nothing;
}
