//! Each rule: a file that breaks it, with `§` at the place that is told, and what mends it.

use super::*;
use crate::state::current::Inventory;
use crate::state::declared;
use crate::state::diagnostics::Diagnostics;
use crate::state::references::{Policy, References};
use crate::state::resolve::{self, Scope};
use crate::state::yaml;

/// A gateway that no rule speaks of.
const GOOD: &str = "\
services:
- name: llm
  host: h
  plugins:
  - {name: post-function, config: {body_filter: ['kong.ctx.shared.llm_tap = 1']}}
  routes:
  - name: chat
    paths: [/]
    response_buffering: false
    plugins:
    - name: key-auth
    - name: llm-rate-limiting
      config:
        limits: [{name: a, limit: 1, window_size: 60, limit_by: [consumer]}]
";

const JWT: &str = "name: llm-jwt
      config:
        issuers: [{issuer: i, jwks_endpoint: 'https://i.example', audience_required: [a]}]";

fn told(text: &str) -> Vec<String> {
    let references = References {
        policy: Policy::NullWhereUnset,
        ..References::none()
    };
    let mut diagnostics = Diagnostics::default();
    let documents = yaml::read("f", text, &references, &mut diagnostics);
    let configuration = declared::read(&documents, &mut diagnostics);
    let desired = resolve::resolve(
        configuration,
        &Inventory::default(),
        &Scope::default(),
        &mut diagnostics,
    );
    diagnostics
        .into_result()
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    lint(&desired)
        .iter()
        .map(|warning| {
            let place = &warning.place;
            format!(
                "{}:{}: {}: {}",
                place.line,
                place.column,
                warning.rule.code(),
                warning.message
            )
        })
        .collect()
}

/// The file after one change, and what it breaks: (what is replaced, by what, rule and start of its message).
#[test]
fn each_rule_speaks_at_its_place() {
    /// What is changed in the file, and the findings.
    type Row = (Vec<(&'static str, String)>, Vec<&'static str>);

    let with_jwt = |more: &str| format!("{JWT}\n        {more}");
    let cached = |more: &str, vary: &str| {
        let cache = format!("    - {{name: proxy-cache, config: {{strategy: memory, {vary}}}}}");
        vec![
            (
                "    - name: key-auth",
                format!("{cache}\n    - {JWT}\n        {more}"),
            ),
            ("limit_by: [consumer]", "limit_by: [ip]".to_owned()),
        ]
    };
    let tenant = "upstream_headers: [{header: X-Tenant, path: [org]}]";
    let by_claim = "limit_by: ['claim:org.id']";
    let rows: Vec<Row> = vec![
        (vec![], vec![]),
        (
            vec![("    response_buffering: false\n", String::new()), ("- name: chat", "- §name: chat".into())],
            vec!["response-buffering: route chat carries"],
        ),
        (
            vec![("response_buffering: false", "§response_buffering: true".into())],
            vec!["response-buffering: route chat"],
        ),
        (
            vec![("response_buffering: false", "response_buffering: '${{ env \"UNSET\" }}'".into())],
            vec![],
        ),
        (
            vec![("    - name: key-auth\n", String::new()), ("limit_by: [", "§limit_by: [".into())],
            vec!["no-authentication: limit a counts by consumer, but nothing authenticates on route chat"],
        ),
        (
            vec![("    - name: key-auth\n", String::new()), ("limit_by: [consumer]", "§limit_by: [credential]".into())],
            vec!["no-authentication: limit a counts by credential"],
        ),
        (
            vec![("    - name: key-auth\n", String::new()), ("limit_by: [consumer]", "limit_by: [ip]".into())],
            vec![],
        ),
        (
            vec![("- name: key-auth", "- {name: key-auth, enabled: false}".into()), ("limit_by: [", "§limit_by: [".into())],
            vec!["no-authentication"],
        ),
        (
            vec![("name: key-auth", JWT.into()), ("limit_by: [", "§limit_by: [".into())],
            vec!["no-consumer: limit a counts by consumer, but llm-jwt on route chat looks for none"],
        ),
        (
            vec![("name: key-auth", with_jwt("consumer_claims: [[sub]]"))],
            vec![],
        ),
        (
            vec![("limit_by: [consumer]", format!("§{by_claim}"))],
            vec!["no-claims: limit a uses the claim `org`, but llm-jwt verifies none"],
        ),
        (
            vec![("name: key-auth", with_jwt("limiter_claims: {tenant: [org]}")), ("limit_by: [consumer]", format!("§{by_claim}"))],
            vec!["claims-not-handed-on: limit a uses the claim `org`, which llm-jwt on route chat"],
        ),
        (
            vec![("name: key-auth", with_jwt("limiter_claims: {org: [org]}")), ("limit_by: [consumer]", by_claim.into())],
            vec![],
        ),
        (
            vec![("limit_by: [consumer]", "limit_by: [consumer], match: {§claims: [{path: [tier], one_of: [x]}]}".into())],
            vec!["no-claims: limit a uses the claim `tier`"],
        ),
        (
            vec![("  plugins:\n  - {name: post-function, config: {body_filter: ['kong.ctx.shared.llm_tap = 1']}}\n", String::new()),
                 ("- name: llm-rate", "- §name: llm-rate".into())],
            vec!["no-usage-tap: no usage tap on route chat"],
        ),
        (
            vec![("  plugins:\n  - {name: post-function, config: {body_filter: ['kong.ctx.shared.llm_tap = 1']}}\n", String::new()),
                 ("window_size: 60", "window_size: 60, unit: requests".into())],
            vec![],
        ),
        (
            vec![("    - name: key-auth", "    - {name: post-function, config: {§body_filter: ['x = 1']}}\n    - name: key-auth".into())],
            vec!["other-post-function: this post-function acts on route chat"],
        ),
        (
            vec![("'kong.ctx.shared.llm_tap = 1'", "'${{ env \"UNSET\" }}'".into())],
            vec![],
        ),
        (
            vec![("        limits:", "        policy: redis\n        §on_store_failure: open\n        redis: {host: r, ssl: true, §ssl_verify: false}\n        limits:".into())],
            vec!["fails-open: while Redis is away, llm-rate-limiting limits nobody", "insecure: any certificate"],
        ),
        (
            vec![("        limits:", "        policy: redis\n        redis: {host: r}\n        limits:".into()),
                 ("window_size: 60", "window_size: 60, §on_store_failure: open".into())],
            vec!["fails-open: while Redis is away, limit a limits nobody"],
        ),
        (
            vec![("name: key-auth", with_jwt("consumer_claims: [[sub]]\n        §allow_http_jwks: true\n        §allow_private_jwks: true\n        §uri_param_names: [jwt]\n        §hide_credentials: false\n        §required_claims: [sub]\n        maximum_expiration: 0\n        §allow_http_introspection: true\n        §introspection_insecure_skip_audience: true").replace("audience_required: [a]", "§insecure_skip_audience: true"))],
            vec!["insecure: tokens that were made", "insecure: keys come", "insecure: keys may", "insecure: tokens in a query", "insecure: the upstream sees", "insecure: tokens without", "insecure: opaque tokens and", "insecure: opaque tokens that"],
        ),
        (
            cached("", "§vary_headers: [accept, x-tenant, authorization]"),
            vec!["shared-cache: the cache keeps consumers apart, and llm-jwt on route chat looks for none"],
        ),
        (
            cached(tenant, "").into_iter().map(|(old, new)| (old, new.replace("§", "").replace("config: {strategy", "§config: {strategy"))).collect(),
            vec!["shared-cache: the cache keeps consumers apart, and llm-jwt on route chat looks for none"],
        ),
        (
            cached("consumer_claims: [[sub]]", "§vary_headers: [accept]"),
            vec!["shared-cache: the cache keeps consumers apart, and llm-jwt on route chat lets tokens without one pass"],
        ),
        (cached("consumer_claims: [[sub]]\n        consumer_optional: false", ""), vec![]),
        (cached(tenant, "vary_headers: [x-tenant]"), vec![]),
        (cached("", "vary_headers: [X-Credential-Identifier]"), vec![]),
        (cached("", "vary_headers: ['${{ env \"UNSET\" }}']"), vec![]),
        (
            vec![("    - name: key-auth", "    - name: proxy-cache\n    - name: key-auth".into())],
            vec![],
        ),
    ];
    for (changes, expected) in rows {
        let mut marked = GOOD.to_owned();
        for (old, new) in &changes {
            assert!(marked.contains(old), "{old}\n{marked}");
            marked = marked.replace(old, new);
        }
        let places: Vec<String> = marked
            .lines()
            .enumerate()
            .flat_map(|(line, text)| {
                let marks = text.match_indices('§').enumerate();
                // Each mark before counts two bytes and no column.
                marks
                    .map(move |(before, (at, _))| format!("{}:{}: ", line + 1, at + 1 - 2 * before))
            })
            .collect();
        let told = told(&marked.replace('§', ""));
        assert_eq!(told.len(), expected.len(), "{told:#?}\n{marked}");
        assert_eq!(places.len(), expected.len(), "{marked}");
        for ((told, place), expected) in told.iter().zip(&places).zip(&expected) {
            assert!(
                told.starts_with(&format!("{place}{expected}")),
                "{told}\n{place}{expected}\n{marked}"
            );
        }
    }
}

#[test]
fn a_limit_on_routes_that_the_files_do_not_have_is_looked_at_too() {
    let text = "plugins: [{name: llm-rate-limiting, config: {limits: [{name: a, limit: 1, window_size: 60}]}}]";
    let codes: Vec<String> = told(text)
        .iter()
        .map(|told| told.split(": ").nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["no-usage-tap", "no-authentication"]);
}

#[test]
fn every_rule_is_found_by_its_code() {
    for rule in Rule::ALL {
        assert_eq!(Rule::from_code(rule.code()), Some(rule));
    }
}
