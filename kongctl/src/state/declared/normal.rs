//! Values as Kong stores them, so that two spellings of one value are no difference.

use serde_json::{Map, Value};

use crate::admin::entities::Kind;

/// Spells values as Kong stores them.
pub(super) fn normalize(kind: Kind, fields: &mut Map<String, Value>) {
    if kind == Kind::Target
        && let Some(Value::String(target)) = fields.get_mut("target")
    {
        *target = normal_target(target);
    }
    // Saying what to hash by is saying that there is hashing.
    let hashes = fields
        .get("hash_on")
        .and_then(Value::as_str)
        .is_some_and(|hash_on| hash_on != "none");
    if kind == Kind::Upstream && hashes && !fields.contains_key("algorithm") {
        fields.insert(
            "algorithm".to_owned(),
            Value::String("consistent-hashing".to_owned()),
        );
    }
    if kind == Kind::CaCertificate
        && let Some(digest) = fields
            .get("cert")
            .and_then(Value::as_str)
            .and_then(crate::state::ids::certificate_digest)
    {
        fields.insert("cert_digest".to_owned(), Value::String(digest));
    }
}

/// `host:port`, the port 8000 where none is given, an IPv6 address in brackets with all of its digits.
fn normal_target(target: &str) -> String {
    let bare = target
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    let (host, port) = match bare {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None if target.matches(':').count() > 1 => (target, None),
        None => target
            .split_once(':')
            .map_or((target, None), |(host, port)| (host, Some(port))),
    };
    let port = port.unwrap_or("8000");
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => {
            let groups: Vec<String> = address
                .segments()
                .iter()
                .map(|group| format!("{group:04x}"))
                .collect();
            format!("[{}]:{port}", groups.join(":"))
        }
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_all_digits_and_a_port() {
        assert_eq!(
            normal_target("[::1]:9956"),
            "[0000:0000:0000:0000:0000:0000:0000:0001]:9956"
        );
        assert_eq!(
            normal_target("::1"),
            "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"
        );
        assert_eq!(normal_target("a.example"), "a.example:8000");
    }
}
