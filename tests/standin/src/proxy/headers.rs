//! Headers that Kong removes and adds, towards the upstream and towards the client.

use http::header::{CONNECTION, HeaderName, HeaderValue, SERVER, TE, VIA};
use http::{HeaderMap, Version};

use super::exchange::Exchange;

/// How this gateway names itself, as the Kong that it stands in for.
const SERVER_TOKEN: &str = "kong/3.9.1";

/// Headers of one connection, which a proxy does not pass on.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    HeaderName::from_static("proxy"),
];

/// The client's headers as the upstream sees them. `host` is what it sees as its own name.
pub(super) fn towards_upstream(exchange: &Exchange, host: &str) -> HeaderMap {
    let state = exchange.state();
    let mut headers = state.headers.clone();
    let wants_trailers = tokens(&headers, &TE).any(|token| token == "trailers");
    remove_hop_by_hop(&mut headers);
    let client = exchange.connection.client.ip().to_string();
    let appended = |headers: &HeaderMap, name: &str, value: String| {
        let before: Vec<_> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        if before.is_empty() {
            value
        } else {
            format!("{}, {value}", before.join(", "))
        }
    };
    let matched = state.matched.as_ref();
    let prefix = matched
        .and_then(|matched| matched.prefix.as_deref())
        .filter(|prefix| *prefix != b"/");
    let version = if exchange.original.version == Version::HTTP_2 {
        "2"
    } else {
        "1.1"
    };
    let own_host = super::split_port(exchange.original.host.as_deref().unwrap_or_default())
        .0
        .to_ascii_lowercase();
    let set = [
        (
            "via",
            appended(&headers, "via", format!("{version} {SERVER_TOKEN}")),
        ),
        ("host", host.to_owned()),
        ("connection", "keep-alive".to_owned()),
        (
            "x-forwarded-for",
            appended(&headers, "x-forwarded-for", client.clone()),
        ),
        ("x-forwarded-proto", "http".to_owned()),
        ("x-forwarded-host", own_host),
        (
            "x-forwarded-port",
            exchange.connection.server.port().to_string(),
        ),
        ("x-forwarded-path", exchange.original.path().to_owned()),
        ("x-real-ip", client),
        ("x-kong-request-id", exchange.request_id.clone()),
    ];
    for (name, value) in set {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers.remove("x-forwarded-prefix");
    if let Some(prefix) = prefix.and_then(|prefix| HeaderValue::from_bytes(prefix).ok()) {
        headers.insert("x-forwarded-prefix", prefix);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers
}

/// Removes what belongs to one connection, and what its `Connection` header names.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = tokens(headers, &CONNECTION).map(str::to_owned).collect();
    for name in named {
        headers.remove(name.as_str());
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What the answer says about this gateway, after `header_filter`.
pub(super) fn towards_client(exchange: &Exchange, proxied: bool, keep_alive: bool) {
    let mut state = exchange.state();
    let latencies = state.latencies;
    let headers = &mut state.response.headers;
    if proxied {
        headers.insert(
            "x-kong-upstream-latency",
            latencies.waiting.unwrap_or(0).into(),
        );
        headers.insert("x-kong-proxy-latency", latencies.kong.into());
        let before = headers
            .get(VIA)
            .and_then(|via| via.to_str().ok())
            .map(|via| format!("{via}, "));
        let via = format!("{}1.1 {SERVER_TOKEN}", before.unwrap_or_default());
        if let Ok(via) = HeaderValue::from_str(&via) {
            headers.insert(VIA, via);
        }
        headers
            .entry(SERVER)
            .or_insert(HeaderValue::from_static(SERVER_TOKEN));
    } else {
        headers.insert("x-kong-response-latency", latencies.kong.into());
        headers.insert(SERVER, HeaderValue::from_static(SERVER_TOKEN));
    }
    if let Ok(id) = HeaderValue::from_str(&exchange.request_id) {
        headers.insert("x-kong-request-id", id);
    }
    // nginx writes its own besides one that Kong gives, as with `Connection: Upgrade`.
    headers.append(
        CONNECTION,
        HeaderValue::from_static(if keep_alive { "keep-alive" } else { "close" }),
    );
}

/// With `Kong-Debug`, the answer names what matched.
pub(super) fn add_debug_headers(exchange: &Exchange) {
    let mut state = exchange.state();
    if !state.headers.contains_key("kong-debug") {
        return;
    }
    let Some(matched) = state.matched.clone() else {
        return;
    };
    let service = matched.service.as_ref();
    for (name, value) in [
        ("kong-route-id", Some(&matched.route.id)),
        ("kong-route-name", matched.route.name.as_ref()),
        ("kong-service-id", service.map(|service| &service.id)),
        (
            "kong-service-name",
            service.and_then(|service| service.name.as_ref()),
        ),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            state.response.headers.insert(name, value);
        }
    }
}

/// The `Host` of a target: without the port where that is the scheme's own.
pub(super) fn authority(host: &str, port: u16, scheme: &str) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => host.to_owned(),
        _ => format!(
            "{}:{port}",
            if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            }
        ),
    }
}

/// Whether the client's connection may serve another request.
pub(super) fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let says =
        |token: &str| tokens(headers, &CONNECTION).any(|said| said.eq_ignore_ascii_case(token));
    if version == Version::HTTP_10 {
        says("keep-alive")
    } else {
        !says("close")
    }
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}
