//! `validate` and `lint`: mistakes and risks, with and without a node.

use std::path::Path;

use kong_standin::config::Database;

use super::{FILE, World};

#[tokio::test(flavor = "multi_thread")]
async fn validate_tells_every_mistake_with_its_place() {
    let world = World::new(Database::Memory).await;
    insta::assert_snapshot!("validate_good", world.run("validate kong.yml").await);
    world.write("bad.yml", "services:\n- nam: llm\n  host: h\n  port: '80'\n  port: 81\nplugins:\n- {name: key-auth, route: chat}\n");
    insta::assert_snapshot!("validate_bad", world.run("validate bad.yml").await);
    insta::assert_snapshot!(
        "validate_bad_json",
        world.run("validate -o json bad.yml").await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_online_asks_the_node() {
    let world = World::new(Database::Memory).await;
    insta::assert_snapshot!(
        "validate_online_good",
        world.run("validate --online kong.yml").await
    );
    world.write("bad.yml", "services:\n- name: 'bad name'\n  host: h\nplugins:\n- name: key-auth\n  config: {key_name: [x]}\n");
    insta::assert_snapshot!(
        "validate_online_plugin",
        world.run("validate --online bad.yml").await
    );
    world.write("bad.yml", "services:\n- name: 'bad name'\n  host: h\n");
    insta::assert_snapshot!(
        "validate_online_entity",
        world.run("validate --online bad.yml").await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_said_of_its_plugins_serves_without_it() {
    let world = World::new(Database::Memory).await;
    let wrong = FILE.replace("key_names: [apikey]", "key_nmes: [apikey]");
    world.write("wrong.yml", &wrong);
    let seen = world
        .lines(&[
            "validate wrong.yml",
            "plugin schema key-auth --offline",
            "diff --no-cache kong.yml",
            "validate wrong.yml",
            "diff kong.yml",
            "validate wrong.yml",
            "validate --no-cache wrong.yml",
            // Another node said nothing.
            "validate --admin-url http://127.0.0.1:1 wrong.yml",
            "plugin schema key-auth --offline -o name",
        ])
        .await;
    insta::assert_snapshot!(seen);
}

/// A file that has one mistake for each rule of `lint`, and none for `validate`.
fn risky() -> String {
    let plugins = r#"- name: llm-jwt
      config:
        issuers:
        - {issuer: "https://idp.example", jwks_endpoint: "https://idp.example/jwks", insecure_skip_audience: true}
    - {name: proxy-cache, config: {strategy: memory}}
    - name: llm-rate-limiting
      config:
        limits:
        - {name: tenant, limit: 1000, window_size: 60, limit_by: ["claim:org"]}
        - {name: caller, limit: 1000, window_size: 60}"#;
    FILE.replace("- {name: key-auth, config: {key_names: [apikey]}}", plugins)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_in_our_plugins_is_told_without_a_node() {
    let world = World::new(Database::Memory).await;
    let text = risky()
        .replace("insecure_skip_audience: true", "audience: llm")
        .replace("window_size: 60}", "window: 60}");
    world.write("bad.yml", &text);
    insta::assert_snapshot!(world.run("validate bad.yml").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_warns_and_fails_only_if_told_to() {
    let world = World::new(Database::Memory).await;
    world.write("risky.yml", &risky());
    let seen = world
        .lines(&[
            "lint risky.yml",
            "lint --fail-on warning --allow insecure --allow no-usage-tap risky.yml",
            "validate --lint --fail-on warning kong.yml",
            "lint -o json --allow insecure risky.yml",
            "lint --allow nonsense risky.yml",
        ])
        .await;
    insta::assert_snapshot!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repositorys_own_gateway_has_no_mistakes_and_no_warnings() {
    let world = World::new(Database::Memory).await;
    let kong = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kong");
    for name in ["kong.yml", "usage-tap.lua"] {
        let text = std::fs::read_to_string(kong.join(name)).unwrap();
        world.write(name, &text);
    }
    // None of its variables is set.
    let seen = world.run("lint --fail-on warning kong.yml").await;
    assert!(
        seen.contains("exit code: 0") && seen.contains("no mistakes, no warnings."),
        "{seen}"
    );
}
