//! Counters in Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use kong_pdk::server::Snapshot;

use crate::jwt::outcomes::Outcomes;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A line's labels, as they are written, and its value.
type Sample = (String, u64);

pub(super) fn render(events: Snapshot, jwt: &Outcomes) -> String {
    let alone = |value| vec![(String::new(), value)];
    let labelled = |name: &str, value: &str, count| (format!("{{{name}=\"{value}\"}}"), count);
    let (hits, misses) = jwt.lookups();
    let (fetched, failed) = jwt.fetches();
    let ended = [
        ("exit", events.exits),
        ("failure", events.failures),
        ("panic", events.panics),
        ("deadline", events.deadlines),
        ("rejection", events.rejections),
        ("interrupted", events.interrupted),
        ("unknown_instance", events.unknown_instances),
        ("unusable_configuration", events.unusable),
    ];
    let mut text = String::new();
    family(
        &mut text,
        "kong_pdk_connections",
        "gauge",
        "Connections from Kong that are open.",
        alone(events.open_connections),
    );
    family(
        &mut text,
        "kong_pdk_events_total",
        "counter",
        "Events that Kong has sent for known instances.",
        alone(events.events),
    );
    family(
        &mut text,
        "kong_pdk_events_ended_total",
        "counter",
        "Events that did not simply go on, by how they ended.",
        ended.map(|(how, count)| labelled("how", how, count)),
    );
    family(
        &mut text,
        "kong_pdk_instances_started_total",
        "counter",
        "Instances that Kong has started.",
        alone(events.started_instances),
    );
    family(
        &mut text,
        "kong_pdk_protocol_errors_total",
        "counter",
        "Connections that ended because of bytes that are not Kong's protocol.",
        alone(events.protocol_errors),
    );
    family(
        &mut text,
        "llm_jwt_requests_total",
        "counter",
        "Requests that llm-jwt has decided about, by outcome.",
        jwt.requests()
            .map(|(outcome, count)| labelled("outcome", outcome.label(), count)),
    );
    family(
        &mut text,
        "llm_jwt_token_cache_lookups_total",
        "counter",
        "Looks into the cache of verified tokens.",
        [
            labelled("result", "hit", hits),
            labelled("result", "miss", misses),
        ],
    );
    family(
        &mut text,
        "llm_jwt_key_fetches_total",
        "counter",
        "Fetches of JWK sets.",
        [
            labelled("result", "success", fetched),
            labelled("result", "failure", failed),
        ],
    );
    text
}

fn family(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    samples: impl IntoIterator<Item = Sample>,
) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _infallible = writeln!(text, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::outcomes::Outcome;

    #[test]
    fn every_line_is_a_comment_or_a_sample_of_its_family() {
        let jwt = Outcomes::default();
        jwt.count(Outcome::Granted);
        jwt.looked_up(true);
        jwt.fetched(false);
        let text = render(Snapshot::default(), &jwt);
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap();
            } else if !line.starts_with("# TYPE ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(name.split('{').next(), Some(family), "{line}");
                assert!(value.parse::<u64>().is_ok(), "{line}");
            }
        }
        for line in [
            "llm_jwt_requests_total{outcome=\"granted\"} 1",
            "llm_jwt_token_cache_lookups_total{result=\"hit\"} 1",
            "llm_jwt_key_fetches_total{result=\"failure\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}");
        }
    }
}
