//! Each configuration that cannot work, with the place that is told: `§` marks it in the text.
//!
//! `LIMIT` and `ISSUER` in a text stand for an entry without mistakes. What the file does not have is told at `config`: then
//! the text begins with `^`.

use super::super::super::references::{Policy, References};
use super::super::super::yaml;
use super::*;
use crate::state::declared;

const LIMIT: &str = "{name: ok, limit: 5, window_size: 60}";
const ISSUER: &str = "{issuer: 'https://ok.example', jwks_endpoint: 'https://ok.example/jwks', audience_required: [a]}";

/// What is told of a file, one `line:column: message` a mistake, helps left out.
fn told(text: &str) -> Vec<String> {
    let env = |name: &str| (name == "SET").then(|| "7".to_owned());
    let references = References {
        env: &env,
        directory: std::path::PathBuf::new(),
        policy: Policy::NullWhereUnset,
    };
    let mut diagnostics = Diagnostics::default();
    let documents = yaml::read("f", text, &references, &mut diagnostics);
    let configuration = declared::read(&documents, &mut diagnostics);
    check_our_plugins(&configuration, &mut diagnostics);
    let Err(invalid) = diagnostics.into_result() else {
        return Vec::new();
    };
    let mistakes = invalid.0.iter();
    mistakes
        .map(|mistake| {
            format!(
                "{}:{}: {}",
                mistake.place.line, mistake.place.column, mistake.message
            )
        })
        .collect()
}

/// Takes the marks out of a text and gives their places.
fn unmark(marked: &str) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut places = Vec::new();
    let (mut line, mut column) = (1, 1);
    for character in marked.chars() {
        match character {
            '§' => {
                places.push(format!("{line}:{column}: "));
                continue;
            }
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
        text.push(character);
    }
    (text, places)
}

#[track_caller]
fn each_is_told_at_its_place(plugin: &str, rows: &[(&str, &[&str])]) {
    for (config, messages) in rows {
        let config = config.replace("LIMIT", LIMIT).replace("ISSUER", ISSUER);
        let config = config.replace('\n', "\n    ");
        let (mark, config) = match config.strip_prefix('^') {
            Some(config) => ("§", config),
            None => ("", config.as_str()),
        };
        let (text, places) = unmark(&format!(
            "plugins:\n- name: {plugin}\n  {mark}config:\n    {config}\n"
        ));
        let expected: Vec<String> = places
            .iter()
            .zip(*messages)
            .map(|(place, message)| format!("{place}{plugin}: {message}"))
            .collect();
        assert_eq!(places.len(), messages.len(), "{text}");
        let told = told(&text);
        let right = told.len() == expected.len()
            && told
                .iter()
                .zip(&expected)
                .all(|(told, expected)| told.starts_with(expected.as_str()));
        assert!(right, "{text}\ntold     {told:#?}\nexpected {expected:#?}");
    }
}

#[test]
fn limits_that_cannot_work_are_told_at_their_place() {
    each_is_told_at_its_place(
        "llm-rate-limiting",
        &[
            // What Kong's schema says.
            ("§limits: []", &["limits: must not be empty"]),
            ("limits: §5", &["limits: is a list, this is a number"]),
            ("limits: [§5]", &["limits[0]: is a map, this is a number"]),
            (
                "§polcy: memory\nlimits: [LIMIT]",
                &["unknown field `polcy`"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, §uint: requests}]",
                &["unknown field `limits[0].uint`"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, unit: §token}]",
                &["limits[0].unit: must be one of requests,"],
            ),
            (
                "limits: [§{limit: 5, window_size: 60}]",
                &["limits[0].name: is missing"],
            ),
            (
                "limits: [§{name: a, window_size: 60}]",
                &["limits[0].limit: is missing"],
            ),
            (
                "limits: [{name: §'', limit: 5, window_size: 60}]",
                &["limits[0].name: must not be empty"],
            ),
            (
                "limits: [{name: a, limit: §0, window_size: 60}]",
                &["limits[0].limit: must be greater than 0"],
            ),
            (
                "limits: [{name: a, limit: §-1, window_size: 60}]",
                &["limits[0].limit: must be from 0"],
            ),
            (
                "limits: [{name: a, limit: §1.5, window_size: 60}]",
                &["limits[0].limit: is an integer"],
            ),
            (
                "limits: [{name: a, limit: §'5', window_size: 60}]",
                &["limits[0].limit: is an integer, this is a string"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: §0}]",
                &["limits[0].window_size: must be greater than 0"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, §limit_by: []}]",
                &["limits[0].limit_by: must not be empty"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, mode: §watch}]",
                &["limits[0].mode: must be one of"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, warn_at: §1.5}]",
                &["limits[0].warn_at: must be from 0 to 1"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, cached_weight: §2}]",
                &["limits[0].cached_weight: must be from 0 to 1"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, on_store_failure: §shut}]",
                &["limits[0].on_store_failure: must be"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, match: {claims: [{§path: [], one_of: [x]}]}}]",
                &["limits[0].match.claims[0].path: must not"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, match: {claims: [§{path: [x]}]}}]",
                &["limits[0].match.claims[0].one_of: is missing"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, window_type: calendar, calendar: §week}]",
                &["limits[0].calendar: must be one of day, month"],
            ),
            (
                "limits: [LIMIT]\nerror_code: §200",
                &["error_code: must be from 400 to 599"],
            ),
            (
                "limits: [LIMIT]\nestimate: §exact",
                &["estimate: must be one of"],
            ),
            (
                "limits: [LIMIT]\nstream_usage: §yes",
                &["stream_usage: must be one of"],
            ),
            (
                "limits: [LIMIT]\nerror_format: §xml",
                &["error_format: must be one of"],
            ),
            (
                "limits: [LIMIT]\npolicy: §cluster",
                &["policy: must be one of memory, redis"],
            ),
            (
                "limits: [LIMIT]\nhide_client_headers: §'true'",
                &["hide_client_headers: is a boolean, this is a string"],
            ),
            (
                "limits: [LIMIT]\nmax_tokens: {clamp: §0}",
                &["max_tokens.clamp: must be greater than 0"],
            ),
            (
                "limits: [LIMIT]\nmax_tokens: {inject: §0}",
                &["max_tokens.inject: must be greater than 0"],
            ),
            (
                "limits: [LIMIT]\npriorities: [{name: p, share: §1.1}]",
                &["priorities[0].share: must be from 0 to 1"],
            ),
            (
                "limits: [LIMIT]\npriorities: [§{name: p}]",
                &["priorities[0].share: is missing"],
            ),
            (
                "limits: [LIMIT]\nprices: [{model: '*', input: §-1, output: 1}]",
                &["prices[0].input: must be from 0"],
            ),
            (
                "limits: [LIMIT]\nprices: [§{model: '*', input: 1}]",
                &["prices[0].output: is missing"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: §''}",
                &["redis.host: must not be empty"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: r, port: §0}",
                &["redis.port: must be from 1 to 65535"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: r, timeout: §0}",
                &["redis.timeout: must be from 1 to 60000"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: r, database: §-1}",
                &["redis.database: must be from 0"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {cluster_nodes: [{host: §''}]}",
                &["redis.cluster_nodes[0].host: must not be"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: §'{vault://env/host}'}",
                &["redis.host: Kong resolves no vault"],
            ),
            // What it cannot say.
            (
                "limits: [{name: §'per minute', limit: 5, window_size: 60}]",
                &["limits: the name \"per minute\" has characters"],
            ),
            (
                "limits: [LIMIT, {name: §ok, limit: 5, window_size: 60}]",
                &["limits: the name \"ok\" is used twice"],
            ),
            (
                "limits: [§{name: a, limit: 5}]",
                &["limits: a: window_size: a window of this type needs"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: §1000000000}]",
                &["limits: a: window_size: a window lasts"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, burst: §9}]",
                &["limits: a: burst: only for window_type token_bucket"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, calendar: §day}]",
                &["limits: a: calendar: only for window_type calendar"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, time_zone: §UTC}]",
                &["limits: a: time_zone: only for window_type calendar"],
            ),
            (
                "limits: [§{name: a, limit: 5, window_type: calendar}]",
                &["limits: a: calendar: a calendar window needs"],
            ),
            (
                "limits: [{name: a, limit: 5, window_type: calendar, calendar: day, window_size: §60}]",
                &["limits: a: window_size: a calendar window has none"],
            ),
            (
                "limits: [{name: a, limit: 5, window_type: calendar, calendar: day, time_zone: §Mars/Phobos}]",
                &["limits: a: time_zone: "],
            ),
            (
                "limits: [{name: a, limit: 7, window_size: 86400, window_type: token_bucket, burst: §9007199254740991}]",
                &["limits: a: window_size: a burst of"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, unit: concurrent_requests, window_type: §fixed}]",
                &["limits: a: window_type: a limit on concurrent"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, §limit_by: [cookie]}]",
                &["limits: a: limit_by: \"cookie\" is none of"],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, §limit_by: ['claim:']}]",
                &["limits: a: limit_by: "],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, §limit_by: ['header:a b']}]",
                &["limits: a: limit_by: "],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, match: {§models: ['[']}}]",
                &["limits: a: models: "],
            ),
            (
                "limits: [{name: a, limit: 5, window_size: 60, unit: §cost}]",
                &["limits: a: unit: a limit on cost needs prices"],
            ),
            (
                "limits: [LIMIT]\nmax_tokens: {clamp: 5, inject: §6}",
                &["max_tokens: inject must not exceed clamp"],
            ),
            (
                "limits: [LIMIT]\nallowed_models: [gpt-4o, §'[']",
                &["allowed_models: "],
            ),
            (
                "limits: [LIMIT]\nprices: [{model: §'[', input: 1, output: 1}]",
                &["prices: [: models: "],
            ),
            (
                "limits: [LIMIT]\npriorities: [{name: p, share: 1, match: {§models: ['[']}}]",
                &["priorities: p: models: "],
            ),
            (
                "limits: [LIMIT]\n§redis: {host: r}",
                &["redis: is given, but policy is memory"],
            ),
            (
                "limits: [LIMIT]\npolicy: §redis",
                &["redis: policy redis needs a host"],
            ),
            (
                "limits: [LIMIT]\npolicy: §redis\nredis: {port: 1}",
                &["redis: policy redis needs a host"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: §h, cluster_nodes: [{host: c}]}",
                &["redis.host: cannot be combined with cluster_nodes"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: §h, sentinel_nodes: [{host: s}], sentinel_master: m}",
                &["redis.host: cannot be combined with sentinel"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {§cluster_nodes: [{host: c}], sentinel_nodes: [{host: s}]}",
                &["redis.cluster_nodes: cannot be combined"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\n§redis: {sentinel_nodes: [{host: s}]}",
                &["redis.sentinel_master: is needed"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\n§redis: {host: h, sentinel_master: m}",
                &["redis.sentinel_nodes: are needed"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {cluster_nodes: [{host: c}], database: §2}",
                &["redis.database: must be 0"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {cluster_nodes: [{host: c}], ssl: true, server_name: §n}",
                &["redis.server_name: works with one server"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\n§redis: {host: h, username: u}",
                &["redis.password: is needed with a username"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\n§redis: {sentinel_nodes: [{}], sentinel_master: m, sentinel_username: u}",
                &["redis.sentinel_password: is needed"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\nredis: {host: h, sentinel_password: §p}",
                &["redis.sentinel_password: needs sentinel_nodes"],
            ),
            (
                "limits: [LIMIT]\npolicy: redis\n§redis: {host: h, server_name: n}",
                &["redis.ssl: must be true"],
            ),
            // All at once.
            (
                "limits:\n- {name: a, limit: §0, window_size: 60}\n- LIMIT\n- §{name: b, limit: 1}\n- {name: §ok, limit: 1, window_size: 1}\n\
                 §redis: {host: h}\nmax_tokens: {clamp: 1, inject: §2}\n§extra: 1",
                &[
                    "limits[0].limit: must be",
                    "limits: b: window_size",
                    "limits: the name \"ok\"",
                    "redis: is given",
                    "max_tokens: inject",
                    "unknown field `extra`",
                ],
            ),
        ],
    );
}

#[test]
fn issuers_and_what_else_cannot_work_are_told_at_their_place() {
    const ID: &str = "issuer: 'https://a.example', audience_required: [a]";
    const URL: &str = "jwks_endpoint: 'https://a.example/jwks'";
    const CLIENT: &str = "introspection_issuer: 'https://i.example'\nintrospection_client_id: c\nintrospection_client_secret: s";
    let rsa = include_str!("../../../../tests/fixtures/oracle/a.pub");
    let private = include_str!("../../../../tests/fixtures/oracle/a.key");
    let certificate = include_str!("../../../../tests/fixtures/oracle/a.pem");
    let quoted = |pem: &str| format!("\"{}\"", pem.replace('\n', "\\n"));
    let rows: &[(&str, &[&str])] = &[
        // What Kong's schema says.
        (
            "issuers: [ISSUER]\nintrospection_cache_ttl: §86401",
            &["introspection_cache_ttl: must be from 0"],
        ),
        (
            "issuers: [ISSUER]\nintrospection_endpoint_auth_method: §none",
            &["introspection_endpoint_auth_method: must be one of client_secret_basic"],
        ),
        (
            "issuers: [§{URL, audience_required: [a]}]",
            &["issuers[0].issuer: is missing"],
        ),
        (
            "issuers: [{issuer: §'', URL, audience_required: [a]}]",
            &["issuers[0].issuer: must not be empty"],
        ),
        (
            "issuers: [{ID, URL, algorithms: [RS256, §none]}]",
            &["issuers[0].algorithms[1]: must be one of RS256"],
        ),
        (
            "issuers: [{ID, URL, §algorithms: []}]",
            &["issuers[0].algorithms: must not be empty"],
        ),
        (
            "issuers: [{ID, URL, §audience: a}]",
            &["unknown field `issuers[0].audience`"],
        ),
        (
            "issuers: [{ID, URL, §audience_claim: []}]",
            &["issuers[0].audience_claim: must not be empty"],
        ),
        (
            "issuers: [{ID, §secrets: [], algorithms: [HS256]}]",
            &["issuers[0].secrets: must not be empty"],
        ),
        (
            "issuers: [{ID, §public_keys: []}]",
            &["issuers[0].public_keys: must not be empty"],
        ),
        (
            "issuers: [ISSUER]\nleeway: §301",
            &["leeway: must be from 0 to 300"],
        ),
        (
            "issuers: [ISSUER]\nmaximum_expiration: §-1",
            &["maximum_expiration: must be from 0"],
        ),
        (
            "issuers: [ISSUER]\nmax_token_size: §10",
            &["max_token_size: must be from 256"],
        ),
        (
            "issuers: [ISSUER]\n§allowed_typ: []",
            &["allowed_typ: must not be empty"],
        ),
        (
            "issuers: [ISSUER]\nanonymous: §''",
            &["anonymous: must not be empty"],
        ),
        (
            "issuers: [ISSUER]\n§scopes_claim: []",
            &["scopes_claim: must not be empty"],
        ),
        (
            "issuers: [ISSUER]\nscopes_claim: §scope",
            &["scopes_claim: is a list, this is a string"],
        ),
        (
            "issuers: [ISSUER]\nclaims_required: [§{path: [a]}]",
            &["claims_required[0].one_of: is missing"],
        ),
        (
            "issuers: [ISSUER]\nclaims_forbidden: [{§path: [], one_of: [a]}]",
            &["claims_forbidden[0].path: must not"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [§{header: x}]",
            &["upstream_headers[0].path: is missing"],
        ),
        (
            "issuers: [ISSUER]\nconsumer_by: [§email]",
            &["consumer_by[0]: must be one of username, id"],
        ),
        (
            "issuers: [ISSUER]\nlimiter_claims: {tenant: §org}",
            &["limiter_claims.tenant: is a list"],
        ),
        (
            "issuers: [ISSUER]\njwks_refresh_before: §2",
            &["jwks_refresh_before: must be from 0.1 to 1"],
        ),
        (
            "issuers: [ISSUER]\njwks_timeout: §1",
            &["jwks_timeout: must be from 100"],
        ),
        (
            "issuers: [ISSUER]\nproof_of_possession: {dpop: §on}",
            &["proof_of_possession.dpop: must be one of off"],
        ),
        (
            "issuers: [ISSUER]\nerror_format: §xml",
            &["error_format: must be one of kong"],
        ),
        (
            "issuers: [ISSUER]\nexpression: §''",
            &["expression: must not be empty"],
        ),
        // What it cannot say: keys.
        ("issuers: [§{ID}]", &["issuers[0]: exactly one of"]),
        (
            "issuers: [§{ID, URL, jwks: '{}'}]",
            &["issuers[0]: exactly one of"],
        ),
        (
            "issuers: [{ID, jwks: §'nonsense'}]",
            &["issuers[0].jwks: not a JWK set"],
        ),
        (
            "issuers: [{ID, jwks: §'{\"keys\":[]}'}]",
            &["issuers[0].jwks: the JWK set has no usable key"],
        ),
        (
            "issuers: [{ID, public_keys: [RSA, §'nonsense']}]",
            &["issuers[0].public_keys[1]: not a PEM public key"],
        ),
        (
            "issuers: [{ID, public_keys: [§PRIVATE]}]",
            &["issuers[0].public_keys[0]: this is a private key"],
        ),
        (
            "issuers: [{ID, public_keys: [§CERTIFICATE]}]",
            &["issuers[0].public_keys[0]: this is a certificate"],
        ),
        (
            "issuers: [{ID, algorithms: [ES256], §public_keys: [RSA]}]",
            &["issuers[0].public_keys: no key fits"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'http://a.example/'}]",
            &["issuers[0].jwks_endpoint: keys over plain http"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'ftp://a.example/'}]",
            &["issuers[0].jwks_endpoint: only https"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'/jwks'}]",
            &["issuers[0].jwks_endpoint: not an absolute URL"],
        ),
        (
            "issuers: [{ID, jwks_endpoint: §'https://u:p@a.example/'}]",
            &["issuers[0].jwks_endpoint: credentials"],
        ),
        (
            "issuers: [{ID, discovery_endpoint: §'https://10.0.0.1/'}]",
            &["issuers[0].discovery_endpoint: the address is private"],
        ),
        (
            "issuers: [{ID, URL, §algorithms: [RS256, HS256]}]",
            &["issuers[0].algorithms: HS256 needs `secrets`"],
        ),
        (
            "issuers: [{ID, §algorithms: [RS256], secrets: [S]}]",
            &["issuers[0].algorithms: RS256 needs public keys"],
        ),
        (
            "issuers: [{ID, algorithms: [HS256], secrets: [§short]}]",
            &["issuers[0].secrets[0]: HS256 needs a secret of at least 32"],
        ),
        (
            "issuers: [{ID, algorithms: [HS256], secret_is_base64: true, secrets: [§'a b!']}]",
            &["issuers[0].secrets[0]: not base64"],
        ),
        // Issuers.
        (
            "§issuers: []",
            &["issuers: at least one issuer is needed, or introspection_endpoint"],
        ),
        (
            "issuers: [ISSUER, {issuer: §'https://ok.example', URL, audience_required: [a]}]",
            &["issuers[1].issuer: this issuer is already"],
        ),
        (
            "issuers: [§{issuer: 'https://a.example', URL}]",
            &["issuers[0].audience_required: name the audiences"],
        ),
        (
            "issuers: [{ID, URL, insecure_skip_audience: §true}]",
            &["issuers[0].insecure_skip_audience: audiences are named"],
        ),
        (
            "issuers: [{ID, URL, §audience_claim: ['']}]",
            &["issuers[0].audience_claim: a path has"],
        ),
        // The rest.
        (
            "issuers: [ISSUER]\n§header_names: []",
            &["header_names: no place is left"],
        ),
        (
            "issuers: [ISSUER]\n§header_names: ['a b']",
            &["header_names: \"a b\" is no header name"],
        ),
        (
            "issuers: [ISSUER]\nrealm: §'ä'",
            &["realm: only printable ASCII"],
        ),
        (
            "issuers: [ISSUER]\n§scopes_claim: ['']",
            &["scopes_claim: a path has"],
        ),
        (
            "issuers: [ISSUER]\nscopes_required: [a, §'a\"b']",
            &["scopes_required[1]: not a list of scopes"],
        ),
        (
            "issuers: [ISSUER]\nclaims_required: [{§path: [a, ''], one_of: [x]}]",
            &["claims_required[0].path: a path has"],
        ),
        (
            "issuers: [ISSUER]\nclaims_forbidden: [{§path: [''], one_of: [x]}]",
            &["claims_forbidden[0].path: a path has"],
        ),
        (
            "issuers: [ISSUER]\nexpression: §'claims.sub =='",
            &["expression: line 1, column"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: §'a b', path: [sub]}]",
            &["upstream_headers[0].header: \"a b\" is no header"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: §Host, path: [sub]}]",
            &["upstream_headers[0].header: \"host\" belongs"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: X-A, path: [sub]}, {header: §x-a, path: [sub]}]",
            &["upstream_headers[1].header: this header is already"],
        ),
        (
            "issuers: [ISSUER]\nupstream_headers: [{header: X-A, §path: ['']}]",
            &["upstream_headers[0].path: a path has"],
        ),
        (
            "issuers: [ISSUER]\nconsumer_claims: [§[]]",
            &["consumer_claims[0]: a path has"],
        ),
        (
            "issuers: [ISSUER]\nconsumer_claims: [[sub]]\n§consumer_by: []",
            &["consumer_by: consumer_claims need"],
        ),
        (
            "issuers: [ISSUER]\n§credential_claim: ['']",
            &["credential_claim: a path has"],
        ),
        (
            "issuers: [ISSUER]\nlimiter_claims: {§tenant: []}",
            &["limiter_claims.tenant: a path has"],
        ),
        (
            "issuers: [ISSUER]\nproof_of_possession: {dpop: §required}\nheader_names: [x-token]",
            &["proof_of_possession.dpop: tokens with a proof"],
        ),
        (
            "^issuers: [ISSUER]\nresource: 'https://r.example'",
            &["metadata_endpoint: resource is set"],
        ),
        (
            "^issuers: [ISSUER]\ndenylist: {policy: redis}",
            &["redis: denylist.policy redis needs a host"],
        ),
        (
            "issuers: [ISSUER]\n§redis: {host: h}",
            &["redis: nothing uses it"],
        ),
        (
            "issuers: [ISSUER]\ndenylist: {policy: §disk}",
            &["denylist.policy: must be one of off, memory, redis"],
        ),
        (
            "issuers: [ISSUER]\ndenylist: {policy: redis}\n§redis: {host: h, username: u}",
            &["redis.password: is needed with a username"],
        ),
        (
            "^issuers: [ISSUER]\nmetadata_endpoint: /m",
            &["resource: metadata_endpoint is set"],
        ),
        (
            "issuers: [ISSUER]\n§authorization_servers: ['https://i.example']",
            &["authorization_servers: only the metadata"],
        ),
        (
            "issuers: [ISSUER]\n§scopes_supported: [a]",
            &["scopes_supported: only the metadata"],
        ),
        (
            "issuers: [ISSUER]\nresource: §'/mcp'\nmetadata_endpoint: /m\nauthorization_servers: ['https://i.example']",
            &["resource: not an absolute"],
        ),
        (
            "^issuers: [ISSUER]\nresource: 'https://r.example'\nmetadata_endpoint: /m",
            &["authorization_servers: name at least one"],
        ),
        (
            "issuers: [ISSUER]\nresource: 'https://r.example'\nmetadata_endpoint: /m\n§authorization_servers: [idp]",
            &["authorization_servers: an issuer is"],
        ),
        (
            "issuers: [ISSUER]\nresource: 'https://r.example'\nmetadata_endpoint: §m\nauthorization_servers: ['https://i.example']",
            &["metadata_endpoint: a path on the gateway"],
        ),
        // Opaque tokens.
        (
            "^introspection_endpoint: 'https://i.example/'\nintrospection_client_id: c\nintrospection_client_secret: s",
            &["introspection_issuer: introspection_endpoint needs it"],
        ),
        (
            "issuers: [ISSUER]\nintrospection_client_id: §c",
            &["introspection_client_id: nobody is asked"],
        ),
        (
            "^introspection_endpoint: 'https://i.example/'\nCLIENT",
            &["introspection_audience_required: name the audiences"],
        ),
        (
            "introspection_endpoint: 'https://i.example/'\nCLIENT\nintrospection_audience_required: [a]\nintrospection_insecure_skip_audience: §true",
            &["introspection_insecure_skip_audience: audiences are named"],
        ),
        (
            "introspection_endpoint: §'http://i.example/'\nCLIENT\nintrospection_audience_required: [a]",
            &["introspection_endpoint: plain http shows tokens"],
        ),
        (
            "introspection_endpoint: §'https://10.0.0.1/'\nCLIENT\nintrospection_audience_required: [a]",
            &["introspection_endpoint: the address is private"],
        ),
        (
            "issuers: [ISSUER]\nintrospect_jwt_tokens: §true",
            &["introspect_jwt_tokens: nobody is asked"],
        ),
        // All at once.
        (
            "issuers:\n- §{ID}\n- ISSUER\n- {issuer: §'https://ok.example', URL, audience_required: [a]}\nleeway: §-1\nrealm: §'ä'\nexpression: §'1 +'",
            &[
                "issuers[0]: exactly one",
                "issuers[2].issuer: this issuer",
                "leeway: must be",
                "realm: only",
                "expression: line",
            ],
        ),
    ];
    let rows: Vec<(String, &[&str])> = rows
        .iter()
        .map(|(config, messages)| {
            let config = config
                .replace("PRIVATE", &quoted(private))
                .replace("CERTIFICATE", &quoted(certificate))
                .replace("RSA,", &format!("{},", quoted(rsa)))
                .replace("RSA]", &format!("{}]", quoted(rsa)))
                .replace("[S]", &format!("[{}]", "s".repeat(64)))
                .replace("{ID", &format!("{{{ID}"))
                .replace("URL", URL)
                .replace("CLIENT", CLIENT);
            (config, *messages)
        })
        .collect();
    let rows: Vec<(&str, &[&str])> = rows
        .iter()
        .map(|(config, messages)| (config.as_str(), *messages))
        .collect();
    each_is_told_at_its_place("llm-jwt", &rows);
}

#[test]
fn what_is_not_at_hand_is_no_mistake() {
    let unset = "'${{ env \"UNSET\" }}'";
    for text in [
        format!("[{{name: a, limit: {unset}, window_size: {unset}}}]"),
        format!("[{{name: {unset}, limit: 5, window_size: 60, limit_by: [{unset}]}}]"),
        format!("[{unset}]"),
        unset.to_owned(),
    ] {
        let file = format!("plugins: [{{name: llm-rate-limiting, config: {{limits: {text}}}}}]");
        assert_eq!(told(&file), [""; 0], "{file}");
    }
    for text in [
        format!("limits: [LIMIT], policy: {unset}, redis: {{host: {unset}, port: {unset}}}"),
        format!(
            "limits: [LIMIT], policy: redis, redis: {{host: {unset}, password: '{{vault://env/p}}', username: {unset}}}"
        ),
        format!(
            "limits: [LIMIT], policy: redis, redis: {{host: h, database: {unset}, ssl: {unset}, server_name: n}}"
        ),
        format!(
            "limits: [LIMIT], policy: redis, redis: {{cluster_nodes: [{{host: {unset}, port: {unset}}}]}}"
        ),
        format!("limits: [LIMIT], error_code: {unset}, max_tokens: {{clamp: 1, inject: {unset}}}"),
    ] {
        let file = format!(
            "plugins: [{{name: llm-rate-limiting, config: {{{}}}}}]",
            text.replace("LIMIT", LIMIT)
        );
        assert_eq!(told(&file), [""; 0], "{file}");
    }
    for text in [
        format!("issuers: [{{issuer: {unset}, public_keys: [{unset}, {unset}], audience_required: [{unset}]}}]"),
        "issuers: [{issuer: i, jwks: '{vault://aws/jwks}', audience_required: [a]}]".to_owned(),
        "issuers: [{issuer: i, secrets: ['{vault://env/a}', '{vault://env/b}'], algorithms: [HS512], audience_required: [a]}]".to_owned(),
        format!("issuers: [{{issuer: i, secrets: [{unset}], secret_is_base64: true, algorithms: [HS512], audience_required: [a]}}]"),
        format!("issuers: [{{issuer: i, jwks_endpoint: 'http://10.0.0.1/', audience_required: [a]}}], allow_http_jwks: {unset}, allow_private_jwks: {unset}"),
        format!("issuers: [ISSUER, {{issuer: {unset}, discovery_endpoint: {unset}, insecure_skip_audience: {unset}}}]"),
        format!("issuers: [ISSUER], resource: {unset}, metadata_endpoint: /m, authorization_servers: [{unset}]"),
        format!("issuers: [ISSUER], expression: {unset}, anonymous: {unset}, realm: {unset}, leeway: {unset}"),
        format!("issuers: {unset}"),
        format!(
            "introspection_endpoint: {unset}, introspection_issuer: {unset}, introspection_client_id: c, \
             introspection_client_secret: '{{vault://env/s}}', introspection_audience_required: [{unset}]"
        ),
    ] {
        let file = format!("plugins: [{{name: llm-jwt, config: {{{}}}}}]", text.replace("ISSUER", ISSUER));
        assert_eq!(told(&file), [""; 0], "{file}");
    }
    // What is at hand is looked at all the same.
    let file = "plugins: [{name: llm-jwt, config: {issuers: [{issuer: i, public_keys: ['${{ env \"UNSET\" }}'], algorithms: [HS256]}]}}]";
    assert_eq!(told(file).len(), 1, "{:?}", told(file));
    let file = "plugins: [{name: llm-rate-limiting, config: {limits: [{name: a, limit: '${{ env \"SET\" | toInt }}', window_size: 0}]}}]";
    assert_eq!(
        told(file),
        ["1:113: llm-rate-limiting: limits[0].window_size: must be greater than 0"]
    );
    assert_eq!(
        told("plugins: [{name: llm-jwt, config: '${{ env \"UNSET\" }}'}]"),
        [""; 0]
    );
}

#[test]
fn plugins_are_found_wherever_they_stand() {
    let text = "\
_plugin_configs:
  shared:
    limits: [{name: a, limit: 0, window_size: 60}]
services:
- name: s
  host: h
  plugins: [{name: llm-rate-limiting, _config: shared}]
  routes:
  - name: r
    paths: [/]
    plugins:
    - name: llm-jwt
consumers:
- username: c
  plugins: [{name: llm-rate-limiting, config: {limits: []}}]
plugins:
- {name: llm-rate-limiting, route: r, enabled: false, _config: shared, config: {policy: redis}}
";
    assert_eq!(
        told(text),
        [
            "3:31: llm-rate-limiting: limits[0].limit: must be greater than 0",
            "12:7: llm-jwt: issuers: at least one issuer is needed, or introspection_endpoint",
            "15:48: llm-rate-limiting: limits: must not be empty",
            "17:89: llm-rate-limiting: redis: policy redis needs a host, cluster_nodes or sentinel_nodes in redis, to know where it is",
        ]
    );
}
