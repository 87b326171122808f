//! Kong's Plugin Development Kit on one request: what plugins may read and change, and in which phase.
//!
//! The functions are methods of [`Exchange`](crate::proxy::Exchange), shared by the socket to plugin servers and by Lua.
//! A call that its phase does not permit throws, as in Kong: the client gets 500 where the phase is before the answer.

mod client;
mod nginx;
mod request;
mod response;
mod serialize;
mod service;

pub(crate) use response::ExitBody;
pub(crate) use service::QueryValue;

/// Why a PDK call was refused; Kong raises a Lua error with such a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Throw(pub(crate) String);

impl Throw {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Rewrite = 1,
    Access = 2,
    Response = 4,
    HeaderFilter = 8,
    BodyFilter = 16,
    /// Lua's log phase, with the request still at hand.
    Log = 32,
    /// An external plugin's log phase: in the background, with what was saved of the request.
    LogTimer = 64,
}

impl Phase {
    /// Kong's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Access => "access",
            Self::Response => "response",
            Self::HeaderFilter => "header_filter",
            Self::BodyFilter => "body_filter",
            Self::Log | Self::LogTimer => "log",
        }
    }
}

/// One value of a header or of a query argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Single {
    Text(Vec<u8>),
    /// A query argument without `=`: `true` in Lua.
    Flag,
}

/// A header to set, with its values.
pub(crate) type HeaderValues = (Vec<u8>, Vec<Vec<u8>>);

/// All values under one name, in the order of the request.
pub(crate) type Named = (Vec<u8>, Vec<Single>);

/// Permission bits: Rewrite, Access, resPonse, Header_filter, Body_filter, Log, log Timer.
mod bits {
    pub(super) const R: u8 = super::Phase::Rewrite as u8;
    pub(super) const A: u8 = super::Phase::Access as u8;
    pub(super) const P: u8 = super::Phase::Response as u8;
    pub(super) const H: u8 = super::Phase::HeaderFilter as u8;
    pub(super) const B: u8 = super::Phase::BodyFilter as u8;
    pub(super) const L: u8 = super::Phase::Log as u8;
    pub(super) const T: u8 = super::Phase::LogTimer as u8;
    pub(super) const LIVE: u8 = R | A | P | H | B | L;
    pub(super) const ALL: u8 = LIVE | T;
    pub(super) const ROUTED: u8 = ALL & !R;
    pub(super) const ANSWERED: u8 = P | H | B | L | T;
    pub(super) const BEFORE_BODY: u8 = R | A | P | H;
}

/// The PDK functions that plugin servers may call, with the phases that permit them.
pub(crate) const METHODS: [(&str, u8); 74] = {
    use bits::{A, ALL, ANSWERED, BEFORE_BODY, L, LIVE, P, R, ROUTED, T};
    [
        ("kong.client.get_ip", LIVE),
        ("kong.client.get_forwarded_ip", LIVE),
        ("kong.client.get_port", LIVE),
        ("kong.client.get_forwarded_port", LIVE),
        ("kong.client.get_credential", ROUTED),
        ("kong.client.load_consumer", ROUTED),
        ("kong.client.get_consumer", ROUTED),
        ("kong.client.authenticate", A),
        ("kong.client.get_protocol", LIVE & !R),
        ("kong.ctx.shared.set", ALL),
        ("kong.ctx.shared.get", ALL),
        ("kong.ip.is_trusted", ALL),
        ("kong.log.alert", ALL),
        ("kong.log.crit", ALL),
        ("kong.log.err", ALL),
        ("kong.log.warn", ALL),
        ("kong.log.notice", ALL),
        ("kong.log.info", ALL),
        ("kong.log.debug", ALL),
        ("kong.log.set_serialize_value", ALL),
        ("kong.log.serialize", L | T),
        ("kong.nginx.get_var", LIVE),
        ("kong.nginx.get_tls1_version_str", ALL),
        ("kong.nginx.set_ctx", ALL),
        ("kong.nginx.get_ctx", ALL),
        ("kong.nginx.req_start_time", ALL),
        ("kong.nginx.get_subsystem", ALL),
        ("kong.node.get_id", ALL),
        ("kong.node.get_memory_stats", ALL),
        ("kong.request.get_scheme", LIVE),
        ("kong.request.get_host", LIVE),
        ("kong.request.get_port", LIVE),
        ("kong.request.get_forwarded_scheme", LIVE),
        ("kong.request.get_forwarded_host", LIVE),
        ("kong.request.get_forwarded_port", LIVE),
        ("kong.request.get_http_version", LIVE),
        ("kong.request.get_method", LIVE),
        ("kong.request.get_path", LIVE),
        ("kong.request.get_path_with_query", LIVE),
        ("kong.request.get_raw_query", LIVE),
        ("kong.request.get_query_arg", LIVE),
        ("kong.request.get_query", LIVE),
        ("kong.request.get_header", ALL),
        ("kong.request.get_headers", ALL),
        ("kong.request.get_raw_body", R | A | P),
        ("kong.request.get_uri_captures", ALL),
        ("kong.response.get_status", ANSWERED),
        ("kong.response.get_header", ANSWERED),
        ("kong.response.get_headers", ANSWERED),
        ("kong.response.get_source", ANSWERED),
        ("kong.response.set_status", BEFORE_BODY),
        ("kong.response.set_header", BEFORE_BODY),
        ("kong.response.add_header", BEFORE_BODY),
        ("kong.response.clear_header", BEFORE_BODY),
        ("kong.response.set_headers", BEFORE_BODY),
        ("kong.response.exit", BEFORE_BODY),
        ("kong.router.get_route", ROUTED),
        ("kong.router.get_service", ROUTED),
        ("kong.service.set_upstream", A),
        ("kong.service.set_target", A),
        ("kong.service.request.set_scheme", R | A),
        ("kong.service.request.set_path", R | A),
        ("kong.service.request.set_raw_query", R | A),
        ("kong.service.request.set_method", R | A),
        ("kong.service.request.set_query", R | A),
        ("kong.service.request.set_header", R | A),
        ("kong.service.request.add_header", R | A),
        ("kong.service.request.clear_header", R | A),
        ("kong.service.request.set_headers", R | A),
        ("kong.service.request.set_raw_body", R | A),
        ("kong.service.response.get_status", ANSWERED & !T),
        ("kong.service.response.get_header", ANSWERED & !T),
        ("kong.service.response.get_headers", ANSWERED & !T),
        ("kong.service.response.get_raw_body", P),
    ]
};

/// Refuses a call outside its phases. A name that Kong does not know is refused too.
pub(crate) fn permit(method: &str, phase: Phase) -> Result<(), Throw> {
    let Some((_, phases)) = METHODS.iter().find(|(name, _)| *name == method) else {
        return Err(Throw(format!("method {method:?} not found")));
    };
    if phases & phase as u8 == 0 {
        return Err(Throw(format!(
            "{method}: function cannot be called in {} phase",
            phase.name()
        )));
    }
    Ok(())
}
