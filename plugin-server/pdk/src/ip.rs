//! `kong.ip`: which proxies Kong trusts.

use bytes::Bytes;

use crate::call::calls;
use crate::reply::flag;
use crate::wire;

calls! {
    /// Whether this address is among Kong's `trusted_ips`.
    "kong.ip.is_trusted" in [Certificate Rewrite Access Response Log Preread]
    fn is_trusted(address: impl Into<Bytes>) -> IsTrusted(wire::String) { wire::String { v: address.into() } }
    => bool, flag;
}
