//! The sync that fails on the way: what it is to make, and whether its report tells the truth.

use std::fmt::Write as _;

use serde_json::Value;

/// Services with routes and plugins, consumers with credentials, targets: some thirty writes, in several layers.
pub(crate) fn wanted() -> String {
    let mut text = "services:\n".to_owned();
    for number in 0..6 {
        writeln!(
            text,
            "- {{name: s{number}, host: h, routes: [{{name: r{number}, paths: [/{number}], plugins: [{{name: key-auth}}]}}]}}"
        )
        .unwrap();
    }
    text.push_str("consumers:\n");
    for number in 0..6 {
        writeln!(
            text,
            "- {{username: c{number}, keyauth_credentials: [{{key: k{number}}}]}}"
        )
        .unwrap();
    }
    text.push_str("upstreams: [{name: pool, targets: [{target: 'a:1'}, {target: 'b:1'}]}]\n");
    text
}

/// A change that a report calls done and a dump does not show, or calls not done and the dump shows.
pub(crate) fn untrue<'a>(report: &'a Value, dump: &str) -> Option<&'a Value> {
    let mut results = report["results"].as_array().unwrap().iter();
    results.find(|result| {
        let word = |field: &str| result[field].as_str().unwrap();
        let id = word("id");
        let there = dump.contains(&format!("id: {id}")) || dump.contains(&format!("id: \"{id}\""));
        match (word("status"), word("action")) {
            ("done", "create") | ("failed" | "skipped" | "not_started", "delete") => !there,
            ("done", "delete") | ("failed" | "skipped" | "not_started", "create") => there,
            _ => false,
        }
    })
}
