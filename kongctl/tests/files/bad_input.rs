//! A table of mistakes: the file, and what `validate` says of it.

use std::fmt::Write as _;

use super::World;

/// Runs `validate` on each file and sets what it says below the file.
fn told(cases: &[&str]) -> String {
    let world = World::new(&[]);
    let seen: Vec<String> = cases
        .iter()
        .map(|text| {
            world.write("kong.yml", text);
            let seen = world.run(&["validate", "kong.yml"]);
            let seen = seen.split_once('\n').unwrap().1;
            assert!(!seen.contains("s3cret"), "a secret is shown:\n{seen}");
            format!("{}\n{seen}", text.trim_end())
        })
        .collect();
    seen.join("\n=====\n\n")
}

#[test]
fn broken_yaml() {
    insta::assert_snapshot!(told(&[
        "services: [\n- name: a\n",
        "services:\n- name: a\n   host: h\n",
        "services:\n\t- name: a\n",
        "services:\n- name: 'a\n",
        "services: &a\n- *b\n",
        "a: &a [*a]\n",
        "services:\n- {name: a, host: h\nroutes: []\n",
        "{\"services\": [{\"name\": \"a\",}]\n",
        "just words\n",
        "- services\n",
        "services: !include x.yml\n",
        "? [a, b]\n: c\n",
        "services: 'a' b\n",
        "services:\n- name: @a\n",
    ]));
}

#[test]
fn keys_given_twice() {
    insta::assert_snapshot!(told(&[
        "services: []\nservices: []\n",
        "services:\n- name: a\n  host: h\n  name: b\n",
        "plugins:\n- {name: cors, config: {a: {x: 1, x: 2}}}\n",
        "services:\n- name: a\n  host: h\n- name: a\n  host: i\n",
        "services:\n- {name: a, host: h, id: 11111111-1111-4111-8111-111111111111}\n- {name: b, host: h, id: 11111111-1111-4111-8111-111111111111}\n",
        "plugins:\n- name: cors\n- name: cors\n",
        "routes:\n- name: r\n  paths: [/]\nfilter_chains:\n- {name: one, route: r, filters: [{name: f}]}\n- {name: two, route: r, filters: [{name: f}]}\n",
    ]));
}

#[test]
fn bombs() {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(aliases, "a{level}: &a{level} [{previous}]");
    }
    let deep = "[".repeat(200) + &"]".repeat(200) + "\n";
    insta::assert_snapshot!(told(&[&aliases, &deep]));
}

#[test]
fn wrong_types() {
    insta::assert_snapshot!(told(&[
        "services: {name: a}\n",
        "services:\n- a\n- 5\n- [a]\n",
        "services:\n- name: 5\n  host: true\n  port: '80'\n  enabled: 'yes'\n  tags: a\n  retries: 1.5\n  ca_certificates: {a: b}\n",
        "services:\n- name: ''\n  host: h\n  port: 70000\n  connect_timeout: 0\n",
        "services:\n- {name: a, host: h, protocol: htps}\n- {name: b, url: 'not a url'}\n- {name: c, url: 5}\n",
        "routes:\n- name: r\n  protocols: [htp]\n  paths: [chat, /ok, '~/ok$']\n  headers: {x-model: gpt}\n  sources: [{ip: 10.0.0.0/8, prt: 1}]\n  https_redirect_status_code: 300\n  service: [a]\n",
        "upstreams:\n- name: u\n  slots: 5\n  healthchecks:\n    active: {healthy: {interval: often, http_statuses: 200}}\n    threshold: 101\n  targets:\n  - {target: 'a:1', weight: 70000}\n",
        "consumers:\n- id: alice\n  username: alice\n- tags: [a]\n- username: bob\n  keyauth_credentials: [{ttl: 5}]\n  jwt_secrets: [{key: k, algorithm: HS255}]\n  oauth2_credentials: [{name: o, client_id: c, redirect_uris: http://x}]\n",
        "certificates:\n- cert: x\n  snis: [a.example, {name: 5}]\nvaults:\n- {name: env}\nkeys:\n- {name: k, pem: x}\n",
    ]));
}

#[test]
fn what_a_file_says_of_itself() {
    insta::assert_snapshot!(told(&[
        "_format_version: '1.1'\n",
        "_format_version: 2\n_transform: 'no'\n",
        "_info: []\n",
        "_info: {select_tag: [a], select_tags: [1], defaults: {services: {hots: x, port: '80'}, srvice: {}}, default_lookup_tags: {consumer_groups: [a], rotes: [b]}}\n",
        "_info: {skip_hash_for_basic_auth: 1, consumer_group_policy_overrides: true, include_plugin_definitions: false}\n",
        "_plugin_configs: []\n",
        "_plugin_configs: {limits: 5, good: {minute: 5}}\nplugins:\n- {name: rate-limiting, _config: god}\n- {name: cors, _config: [a]}\n",
        "_workspace: team-a\n_konnect: {control_plane_name: x}\n",
    ]));
}

#[test]
fn what_kong_does_not_have() {
    insta::assert_snapshot!(told(&[
        "servces: []\nservice: []\n_infos: {}\nplugin: []\nzebra: 1\n",
        "consumer_groups: []\nrbac_roles: []\nlicenses: []\npartials: []\ncustom_entities: []\nservice_packages: []\ncloned_plugins: []\n",
        "oauth2_tokens: []\nworkspaces: []\nacme_storage: []\n",
        "services:\n- name: a\n  host: h\n  hots: x\n  tls_sans: {}\n  consumers: []\n  pathes: /\n",
        "plugins:\n- {name: cors, ordering: {}, consumer_group: g, partials: [], run_on: first, confg: {}}\n",
        "consumers:\n- {username: a, groups: [], mtls_auth_credentials: [], keyauth_credential: []}\n",
        "upstreams:\n- name: u\n  sticky_sessions_cookie: x\n  targets: [{target: 'a:1', failover: true}]\n",
    ]));
}

#[test]
fn references_to_nothing() {
    insta::assert_snapshot!(told(&[
        "services:\n- {name: llm, host: h}\nroutes:\n- {name: a, paths: [/a], service: lm}\n- {name: b, paths: [/b], service: {name: llms}}\n- {name: c, paths: [/c], service: {id: 11111111-1111-4111-8111-111111111111}}\n- {name: d, paths: [/d], service: {}}\n- {name: e, paths: [/e], service: {nme: llm}}\n",
        "services:\n- name: llm\n  host: h\n  client_certificate: 11111111-1111-4111-8111-111111111111\n  ca_certificates: [22222222-2222-4222-8222-222222222222]\n  routes:\n  - {name: r, paths: [/], service: other}\n  plugins:\n  - {name: key-auth, service: {name: llm}}\n",
        "routes:\n- {name: chat, paths: [/]}\nplugins:\n- {name: key-auth, service: chat}\n- {name: key-auth, route: cat}\n- {name: key-auth, consumer: alice}\nacls:\n- {group: gold}\n- {group: gold, consumer: bob}\n",
        "targets:\n- {target: 'a:1', upstream: pool}\nsnis:\n- {name: a.example, certificate: nowhere}\nkeys:\n- {kid: a, jwk: '{}', set: none}\n",
    ]));
}

#[test]
fn filter_chains() {
    insta::assert_snapshot!(told(&[
        "filter_chains:\n- {name: a, filters: [{name: f}]}\n",
        "services: [{name: s, host: h}]\nroutes: [{name: r, paths: [/]}]\nfilter_chains:\n- {route: r, service: s, filters: [{name: f}]}\n",
        "services:\n- name: s\n  host: h\n  filter_chains:\n  - {filters: []}\n  - {filters: [{config: x}, {name: f, enabled: 'on', conf: 1}]}\n",
        "services:\n- name: s\n  host: h\n  filter_chains:\n  - {filters: [{name: f, config: '{}'}]}\n  routes:\n  - name: r\n    paths: [/]\n    filter_chains: [{name: c, enabled: false, filters: [{name: f, enabled: false}]}]\n",
    ]));
}

#[test]
fn values_from_outside() {
    insta::assert_snapshot!(told(&[
        "services:\n- {name: a, host: ${{ PORT }}}\n",
        "services:\n- name: a\n  host: ${{ env \"HOST\"\n",
        "services:\n- name: a\n  host: h\n  port: ${{ env \"PORT\" | number }}\n",
        "services:\n- name: a\n  host: h\n  port: ${{ toInt (env \"PORT\" }}\n",
        "certificates:\n- {cert: !file nowhere.pem, key: s3cret}\n",
    ]));
}

#[test]
fn files_that_are_none() {
    let world = World::new(&[("empty/readme.txt", "no configuration")]);
    std::fs::write(
        world.0.path().join("latin.yml"),
        b"services:\n- name: caf\xe9\n",
    )
    .unwrap();
    let seen = [
        world.run(&["validate", "nowhere.yml"]),
        world.run(&["validate", "empty"]),
        world.run(&["validate", "latin.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn mistakes_of_several_files_are_told_at_once() {
    let world = World::new(&[
        ("gateway/a.yml", "services:\n- {name: llm, hots: h}\n"),
        (
            "gateway/b.json",
            "{\"routes\": [{\"name\": \"r\", \"service\": \"lm\"}]}\n",
        ),
        (
            "more.yml",
            "_plugin_configs: {x: {a: 1}}\n---\n_plugin_configs: {x: {a: 2}}\n",
        ),
    ]);
    let seen = [
        world.run(&["validate", "gateway", "more.yml"]),
        world.run(&["validate", "-o", "json", "gateway/a.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}
