//! The verbs that rewrite files.

use super::World;

const KONG: &str = "\
# The gateway of team a.
_format_version:   \"3.0\"
_info:
    select_tags: [ team-a ]
    defaults: {service: {retries: 2}}
_plugin_configs:
    limits: {minute: 5, policy: local}
services:
    - name: llm      # the model
      url: http://${{ env \"HOST\" }}/v1
      routes:
        - name: chat
          paths: [/chat]
          plugins:
            - {name: rate-limiting, _config: limits, config: {minute: ${{ env \"MINUTE\" }}}}
consumers:
    - username: alice
      keyauth_credentials:
        - key: ${{ env \"KEY\" }}
      basicauth_credentials:
        - {username: alice, password: \"pre-${{ env \"KEY\" }}\"}
key_sets:
    - name: set
      keys: [{kid: one, name: k1, jwk: '{}'}]
certificates:
    - cert: !file cert.pem
      key: !file key.pem
      snis: [a.example]
upstreams:
    - {name: pool, targets: [{target: a.example}]}
plugins:
    - {name: key-auth, route: chat, consumer: alice}
";

const ENVIRONMENT: &[(&str, &str)] = &[
    ("HOST", "provider.example:8443"),
    ("MINUTE", "7"),
    ("KEY", "s3cret # 'one'"),
];

fn world() -> World {
    World::new(&[
        ("kong.yml", KONG),
        ("cert.pem", "CERTIFICATE\n"),
        ("key.pem", "s3cret\nkey\n"),
    ])
}

#[test]
fn format_shows_checks_and_rewrites() {
    let world = world();
    let mut seen = vec![
        world.run(&["format", "kong.yml"]),
        world.run(&["format", "--check", "kong.yml"]),
        world.run(&["format", "--check", "-o", "json", "kong.yml"]),
        world.run(&["format", "--in-place", "kong.yml"]),
        world.run(&["format", "--check", "kong.yml"]),
        world.run(&["format", "--in-place", "-o", "json", "."]),
    ];
    world.write("second.yml", "services: [\n");
    seen.push(world.run(&["format", "kong.yml", "second.yml"]));
    world.write("second.yml", "services: []\n");
    seen.push(world.run(&["format", "kong.yml", "second.yml"]));
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn render_keeps_secrets_out_unless_asked() {
    let world = world();
    let kept = world.run_with(&["render", "kong.yml"], ENVIRONMENT);
    assert!(!kept.contains("s3cret"), "{kept}");
    let seen = [
        kept,
        world.run_with(&["render", "--show-secrets", "kong.yml"], ENVIRONMENT),
        world.run_with(&["render", "-o", "json", "kong.yml"], ENVIRONMENT),
        world.run(&["render", "kong.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn what_is_rendered_says_the_same_as_what_it_was_rendered_from() {
    let world = world();
    for shape in ["normal", "dbless"] {
        let of = |file: &str| {
            let seen = world.run_with(
                &["convert", "--to", shape, "--show-secrets", file],
                ENVIRONMENT,
            );
            seen.split_once("--- stdout\n")
                .unwrap_or_else(|| panic!("{seen}"))
                .1
                .to_owned()
        };
        let direct = of("kong.yml");
        for words in [
            &["render", "kong.yml"][..],
            &["render", "--show-secrets", "kong.yml"],
        ] {
            let seen = world.run_with(words, ENVIRONMENT);
            world.write("rendered.yml", seen.split_once("--- stdout\n").unwrap().1);
            assert_eq!(of("rendered.yml"), direct, "{words:?}");
        }
    }
}

#[test]
fn convert_writes_each_shape() {
    let world = world();
    let seen = [
        world.run_with(&["convert", "--to", "deck", "kong.yml"], ENVIRONMENT),
        world.run_with(
            &["convert", "--to", "deck", "--show-secrets", "kong.yml"],
            ENVIRONMENT,
        ),
        world.run_with(&["convert", "--to", "dbless", "kong.yml"], ENVIRONMENT),
        world.run_with(
            &["convert", "--to", "dbless", "--show-secrets", "kong.yml"],
            ENVIRONMENT,
        ),
        world.run_with(&["convert", "--to", "normal", "kong.yml"], ENVIRONMENT),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn files_of_kong_2_become_those_of_kong_3() {
    let world = World::new(&[(
        "old.yml",
        "_format_version: \"1.1\"\n# ours\nservices:\n- name: llm\n  url: http://h\n  routes:\n  - name: chat # regex\n    paths: [/plain, /v\\d+/chat]\nroutes:\n- name: free\n  paths:\n  - /(a|b)\n",
    )]);
    let seen = [
        world.run(&["convert", "--to", "3.x", "old.yml"]),
        world.run(&[
            "convert",
            "--to",
            "kong-gateway-3.x",
            "-o",
            "json",
            "old.yml",
        ]),
        world.run(&["convert", "--to", "normal", "old.yml"]),
        world.run(&["validate", "old.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn merge_joins_files() {
    let world = World::new(&[
        (
            "a.yml",
            "# a\n_format_version: '3.0'\n_info: {select_tags: [a]}\nservices:\n- name: llm # first\n  host: ${{ env \"HOST\" }}\n",
        ),
        (
            "b.yml",
            "_format_version: '3.0'\n_info: {select_tags: [a, b]}\n# of b\nservices:\n- name: other\n  host: h\nroutes: [{name: r, paths: [/r]}]\n",
        ),
        (
            "c.yml",
            "_format_version: '1.1'\n_info: {defaults: {route: {strip_path: true}}}\n",
        ),
        (
            "d.json",
            "{\"_info\": {\"defaults\": {\"route\": {\"strip_path\": false}}}, \"consumers\": [{\"username\": \"a\"}]}",
        ),
        (
            "e.yml",
            "services: [{name: llm, host: other}]\nconsumers:\n- username: a\n- username: b\n",
        ),
    ]);
    let seen = [
        world.run(&["merge", "a.yml", "b.yml"]),
        world.run(&["merge", "a.yml", "d.json", "e.yml"]),
        world.run(&["merge", "a.yml", "d.json"]),
        world.run(&["merge", "-o", "json", "b.yml", "d.json"]),
        world.run(&["merge", "-o", "json", "a.yml", "d.json"]),
        world.run(&["merge", "a.yml", "c.yml", "d.json"]),
        world.run(&["merge", "--output-file", "all.yml", "a.yml", "b.yml"]),
        world.run(&["merge", "-o", "name", "a.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
    let mode = std::fs::metadata(world.0.path().join("all.yml"))
        .unwrap()
        .permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
}

#[test]
fn selectors_and_decks_plugin_files_say_themselves_what_they_are_for() {
    let file = "services:\n# the model\n- name: llm\n  url: http://h\n  plugins: [{name: cors, config: {max_age: 1}}]\n  routes:\n  - {name: chat, paths: [/chat]}\n- name: other\n  url: http://o\n";
    let plugins = r#"
_format_version: "1.0"
add-plugins:
- selectors: ["$.services[*]"]
  overwrite: true
  plugins: [{name: cors, config: {max_age: 2}}]
- selectors: ["$..routes[?@.name == 'chat']"]
  plugins: [{name: key-auth}]
- plugins: [{name: rate-limiting, service: other, config: {minute: 5}}]
"#;
    let wrong = |patch: &str| format!("add-plugins:\n- {patch}\n");
    let world = World::new(&[
        ("kong.yml", file),
        ("plugins.yml", plugins),
        (
            "selector.yml",
            &wrong("{selectors: ['$.services['], plugins: []}"),
        ),
        ("field.yml", &wrong("{selector: ['$'], plugins: []}")),
        (
            "scope.yml",
            &wrong("{selectors: ['$.services[*]'], plugins: [{name: cors, route: chat}]}"),
        ),
        ("kind.yml", &wrong("{selectors: $, plugins: []}")),
    ]);
    let seen = [
        world.run(&["add-plugins", "--plugin-file", "plugins.yml", "kong.yml"]),
        world.run(&[
            "add-tags",
            "--tag",
            "a",
            "--selector",
            "services[?@.url == 'http://o']",
            "kong.yml",
        ]),
        world.run(&[
            "add-plugins",
            "--plugin",
            "{\"name\": \"cors\"}",
            "--selector",
            "$..routes[*]",
            "kong.yml",
        ]),
        world.run(&[
            "add-plugins",
            "--plugin-file",
            "plugins.yml",
            "--to",
            "routes",
            "kong.yml",
        ]),
        world.run(&["add-plugins", "--plugin-file", "selector.yml", "kong.yml"]),
        world.run(&["add-plugins", "--plugin-file", "field.yml", "kong.yml"]),
        world.run(&["add-plugins", "--plugin-file", "scope.yml", "kong.yml"]),
        world.run(&["add-plugins", "--plugin-file", "kind.yml", "kong.yml"]),
        world.run(&["add-tags", "--tag", "a", "--selector", "$", "kong.yml"]),
        world.run(&["add-tags", "--tag", "a", "--selector", "$.[", "kong.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn tags_and_plugins_are_added() {
    let file = "services:\n# the model\n- name: llm\n  url: http://h\n  routes:\n  - {name: chat, paths: [/chat]}\n- name: other\n  url: http://o\n";
    let world = World::new(&[
        ("kong.yml", file),
        (
            "limits.yml",
            "plugins:\n- name: rate-limiting\n  config: {minute: 5}\n",
        ),
        (
            "kong.json",
            "{\"services\": [{\"name\": \"llm\", \"url\": \"http://h\"}]}",
        ),
    ]);
    let cors = "{\"name\": \"cors\", \"config\": {\"max_age\": 5}}";
    let scoped = "{\"name\": \"cors\", \"service\": \"llm\"}";
    let mut seen = vec![
        world.run(&["add-tags", "--tag", "team-a", "kong.yml"]),
        world.run(&[
            "add-tags",
            "--tag",
            "a",
            "--to",
            "service/llm",
            "--to",
            "routes",
            "kong.yml",
        ]),
        world.run(&["add-tags", "--tag", "a", "kong.json"]),
        world.run(&["add-plugins", "--plugin", cors, "kong.yml"]),
        world.run(&["add-plugins", "--plugin", scoped, "kong.json"]),
        world.run(&[
            "add-plugins",
            "--plugin-file",
            "limits.yml",
            "--to",
            "services/llm",
            "--to",
            "routes",
            "kong.yml",
        ]),
        world.run(&[
            "add-plugins",
            "--plugin",
            scoped,
            "--to",
            "services",
            "kong.yml",
        ]),
        world.run(&[
            "add-plugins",
            "--plugin",
            cors,
            "--to",
            "upstreams",
            "kong.yml",
        ]),
        world.run(&["add-plugins", "--plugin", "{\"nme\": \"x\"}", "kong.yml"]),
        world.run(&["add-tags", "--tag", "a", "--to", "widgets", "kong.yml"]),
        world.run(&["add-tags", "--tag", "a", "kong.yml", "kong.json"]),
    ];
    seen.push(world.run(&[
        "add-tags",
        "--in-place",
        "--tag",
        "a",
        "kong.yml",
        "kong.json",
    ]));
    seen.push(world.text("kong.yml"));
    seen.push(world.run(&[
        "add-tags",
        "--in-place",
        "--tag",
        "a",
        "kong.yml",
        "kong.json",
    ]));
    insta::assert_snapshot!(seen.join("\n"));
}

/// Entities with tags of all sorts, and what patches may meet.
const TAGGED: &str = "\
_format_version: '3.0'
services:
# the model
- name: llm   # ours
  url: http://h
  retries: 3
  tags: [team-a, beta]  # who
  routes:
  - {name: chat, paths: [/chat], tags: [beta]}
  - name: embed
    paths:
    - /embed   # vectors
    methods: [POST]
    tags:
    - team-a
    - ${{ env \"TAG\" }}
consumers:
- &someone
  username: alice
  tags: [team-b]
- {<<: {tags: [team-c]}, username: bob}
";

#[test]
fn tags_are_removed_and_listed() {
    let without_merge = TAGGED.replace("- {<<: {tags: [team-c]}, username: bob}\n", "");
    let world = World::new(&[("kong.yml", &without_merge), ("merge.yml", TAGGED)]);
    let seen = [
        world.run(&["list-tags", "kong.yml"]),
        world.run(&["list-tags", "--to", "routes", "-o", "json", "kong.yml"]),
        world.run(&["list-tags", "--selector", "$.consumers[*]", "kong.yml"]),
        world.run(&["list-tags", "merge.yml"]),
        world.run(&["remove-tags", "--tag", "beta", "kong.yml"]),
        world.run(&[
            "remove-tags",
            "--tag",
            "team-a",
            "--keep-only",
            "--to",
            "services",
            "kong.yml",
        ]),
        world.run(&["remove-tags", "--keep-only", "kong.yml"]),
        world.run(&["remove-tags", "--tag", "team-c", "merge.yml"]),
        world.run(&["remove-tags", "kong.yml"]),
        world.run(&[
            "remove-tags",
            "--tag",
            "beta",
            "--selector",
            "$",
            "kong.yml",
        ]),
        world.run(&["remove-tags", "--in-place", "--tag", "beta", "kong.yml"]),
        world.run(&["list-tags", "kong.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn files_are_patched_by_words_and_by_decks_patch_files() {
    let production = r#"
_format_version: "1.0"
patches:
- selectors: ["$.services[*]"]
  values: {read_timeout: 10000, tags: [production]}
  remove: [retries]
- selectors: ["$..routes[*].methods"]
  values: [OPTIONS]
- values: {_info: {select_tags: [production]}}
"#;
    let wrong = |patch: &str| format!("patches:\n- {patch}\n");
    let world = World::new(&[
        ("kong.yml", TAGGED),
        ("production.yml", production),
        ("both.yml", &wrong("{values: {a: 1}, remove: [a]}")),
        ("nothing.yml", &wrong("{selectors: [$]}")),
        ("list.yml", &wrong("{values: [a]}")),
        ("field.yml", &wrong("{selector: $, values: {a: 1}}")),
        ("other.yml", "plugins: []\n"),
    ]);
    let patch = |words: &[&str]| world.run(&[&["patch-files"], words, &["kong.yml"]].concat());
    let seen = [
        patch(&["--patch-file", "production.yml"]),
        patch(&[
            "--to",
            "services/llm",
            "--value",
            "read_timeout:10000",
            "--value",
            "retries:",
        ]),
        patch(&[
            "--to",
            "routes",
            "--value",
            "hosts:[\"a.example\"]",
            "--value",
            "_comment:\"it's: new\"",
        ]),
        patch(&["--selector", "$..routes[*].paths", "--value", "[\"/more\"]"]),
        patch(&["--value", "_plugin_configs:{\"limits\": {\"minute\": 5}}"]),
        patch(&["--to", "services/lm", "--value", "retries:1"]),
        patch(&["--to", "consumers", "--value", "tags:"]),
        patch(&["--value", "retries"]),
        patch(&["--value", "host:h"]),
        patch(&["--value", "a:1", "--value", "a:"]),
        patch(&["--value", "a:1", "--value", "[1]"]),
        patch(&["--to", "routes", "--value", "[1]"]),
        patch(&["--patch-file", "both.yml"]),
        patch(&["--patch-file", "nothing.yml"]),
        patch(&["--patch-file", "list.yml"]),
        patch(&["--patch-file", "field.yml"]),
        patch(&["--patch-file", "other.yml"]),
        patch(&[]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn routes_are_put_under_a_namespace() {
    let file = "\
services:
- name: llm
  url: http://h/v1
  routes:
  - {name: chat, paths: [/chat, \"~/embed/\\\\d+$\"]}  # strips
  - name: whole
    strip_path: false
    paths:
    - /   # all
  - {name: hosted, hosts: [a.example], strip_path: false, plugins: [{name: pre-function, config: {access: [first()]}}]}
routes:
- {name: stream, protocols: [tcp], destinations: [{port: 9000}]}
";
    let other = "\
services:
- name: llm
  url: http://h
  plugins: [{name: pre-function, config: {access: [first()]}}]
routes:
- {name: whole, service: llm, paths: [/], strip_path: false}
- {name: template, paths: [\"/${{ env \\\"A\\\" }}\"]}
- {<<: {paths: [/merged]}, name: merged}
";
    let world = World::new(&[("kong.yml", file), ("other.yml", other)]);
    let under = |words: &[&str]| world.run(&[&["namespace"], words, &["kong.yml"]].concat());
    let seen = [
        under(&["--path-prefix", "/team.a"]),
        under(&["--path-prefix", "/v2/", "--to", "routes/chat"]),
        under(&["--host", "b.example", "--selector", "$..routes[?@.hosts]"]),
        under(&[
            "--clear-hosts",
            "--host",
            "b.example",
            "--to",
            "routes/hosted",
        ]),
        under(&["--clear-hosts"]),
        under(&["--path-prefix", "/v2", "--to", "routes/none"]),
        under(&["--path-prefix", "/v2", "--to", "services"]),
        under(&["--path-prefix", "/v2", "--selector", "$.services[*]"]),
        under(&["--path-prefix", "v2"]),
        under(&[]),
        world.run(&["namespace", "--path-prefix", "/v2", "other.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn what_may_be_a_boolean_is_told_before_it_is_written_down() {
    let world = World::new(&[
        (
            "open.yml",
            "services:\n- {name: llm, host: h, enabled: yes}\n\
             plugins:\n- {name: key-auth, config: {hide_credentials: yes, key_names: [off]}}\n",
        ),
        (
            "ours.yml",
            "plugins:\n- name: llm-jwt\n  config:\n    hide_credentials: off\n    issuers:\n    \
             - {issuer: https://idp.example, jwks_endpoint: https://idp.example/jwks, audience_required: ['on']}\n",
        ),
    ]);
    let seen = [
        world.run(&["validate", "open.yml"]),
        world.run(&["render", "open.yml"]),
        world.run(&["convert", "--to", "dbless", "open.yml"]),
        world.run(&["to-k8s", "open.yml"]),
        world.run(&["validate", "ours.yml"]),
        world.run(&["render", "ours.yml"]),
    ];
    insta::assert_snapshot!(seen.join("\n"));
}
