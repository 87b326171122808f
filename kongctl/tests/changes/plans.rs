//! Saved plans: made, carried out, refused.

use std::os::unix::fs::PermissionsExt as _;

use super::{DATABASES, User, standin, url};

const A: &str = "
services:
- {name: llm, url: 'http://provider.example/v1', retries: 9, routes: [{name: chat, paths: [/chat]}]}
consumers: [{username: alice, basicauth_credentials: [{username: alice, password: pw}]}]
";
const B: &str = "
services:
- {name: llm, url: 'http://provider.example/v2', routes: [{name: chat, paths: [/chat]}, {name: talk, paths: [/talk]}]}
consumers: [{username: bob, basicauth_credentials: [{username: bob, password: pw2}]}]
";

/// The lines of a refusal that name what moved.
fn moved(stderr: &str) -> Vec<&str> {
    stderr
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_does_what_a_sync_would_have_done() {
    for database in DATABASES {
        let (node, user) = (standin(database).await, User::new());
        let node = url(&node);
        user.write("a.yml", A);
        user.write("b.yml", B);
        user.must("sync a.yml", &node).await;
        let shown = user.must("plan b.yml -o plan.json", &node).await;
        assert_eq!(shown, user.must("diff b.yml", &node).await);
        let mode = std::fs::metadata(user.path().join("plan.json")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);

        let done = user.must("sync --plan plan.json", &node).await;
        assert!(done.contains("6 done"), "{done}");
        let carried_out = user.dump(&node).await;
        assert_eq!(user.run("diff --exit-code b.yml", &node).await.code, 0);
        // Once more: all of it was done before.
        let again = user.run("sync --plan plan.json", &node).await;
        assert_eq!(again.code, 0, "{again:?}");
        assert!(
            again
                .stderr
                .contains("6 of the plan's changes were made before"),
            "{again:?}"
        );
        assert_eq!(user.dump(&node).await, carried_out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_why_and_only_what_changes() {
    let (node, user) = (standin(DATABASES[0]).await, User::new());
    let node = url(&node);
    let long = "You are a helpful assistant of the shop; answer in German, and be brief.";
    let with = |text: &str, hosts: &str| {
        format!(
            "services:\n- name: llm\n  host: h\n  retries: 9\n  routes:\n  - name: chat\n    hosts: [{hosts}]\nplugins:\n- name: request-termination\n  config: {{message: '{text}', status_code: 403}}\n- name: pre-function\n  config: {{access: [\"local a = 1\\nreturn a\"]}}\n"
        )
    };
    user.write("kong.yml", &with(long, "a.example.com, b.example.com"));
    user.must("sync kong.yml", &node).await;
    let changed = with(
        &long.replace("German", "French"),
        "a.example.com, c.example.com",
    );
    user.write(
        "kong.yml",
        &changed
            .replace("  retries: 9\n", "")
            .replace("local a = 1", "local a = 2"),
    );
    insta::assert_snapshot!(user.must("plan kong.yml", &node).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_refused_when_the_node_moved_and_names_what_moved() {
    for database in DATABASES {
        let (node, user) = (standin(database).await, User::new());
        let node = url(&node);
        user.write("a.yml", A);
        user.write("b.yml", B);
        user.must("sync a.yml", &node).await;
        user.must("plan b.yml -o plan.json", &node).await;
        user.write(
            "theirs.yml",
            &A.replace("/chat", "/chatter")
                .replace("retries: 9", "retries: 3"),
        );
        user.must("sync theirs.yml", &node).await;
        let before = user.dump(&node).await;
        let refused = user.run("sync --plan plan.json", &node).await;
        assert_eq!(refused.code, 1);
        assert_eq!(
            moved(&refused.stderr),
            ["service llm: was changed meanwhile"],
            "the route moved too, but the plan does not touch it: {refused:?}"
        );
        assert!(
            refused.stderr.contains("hint: make a new plan"),
            "{refused:?}"
        );
        assert_eq!(user.dump(&node).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_for_its_node_and_its_verb_and_has_its_form() {
    let (node, other, user) = (
        standin(DATABASES[0]).await,
        standin(DATABASES[0]).await,
        User::new(),
    );
    let (node, other) = (url(&node), url(&other));
    user.write("a.yml", A);
    user.write("b.yml", B);
    user.must("sync a.yml", &node).await;
    user.must("plan b.yml -o plan.json", &node).await;
    let refusal = async |line: &str, node: &str| {
        let seen = user.run(line, node).await;
        assert_eq!(seen.code, 1, "{seen:?}");
        assert!(!seen.stderr.contains("pw2"), "{seen:?}");
        seen.stderr
    };
    assert!(
        refusal("sync --plan plan.json", &other)
            .await
            .contains("the plan was made for")
    );
    assert!(
        refusal("apply --plan plan.json", &node)
            .await
            .contains("the plan deletes")
    );
    assert!(
        refusal("sync --plan a.yml", &node)
            .await
            .contains("a.yml is no plan")
    );
    let plan = user.read("plan.json");
    user.write(
        "plan.json",
        &plan.replace("\"kongctl_plan\": 1", "\"kongctl_plan\": 2"),
    );
    assert!(
        refusal("sync --plan plan.json", &node)
            .await
            .contains("version 2")
    );
    user.write(
        "plan.json",
        &plan.replace("\"action\": \"create\"", "\"action\": \"pw2\""),
    );
    assert!(
        refusal("sync --plan plan.json", &node)
            .await
            .contains("not as expected at")
    );
    user.write("plan.json", &plan);
    user.write("b.yml", &B.replace("/v2", "/v3"));
    let seen = user.run("sync --plan plan.json", &node).await;
    assert!(
        seen.stderr
            .starts_with("b.yml has changed since the plan was made"),
        "{seen:?}"
    );
    assert_eq!(seen.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_protected_stops_a_run_before_it_begins() {
    let (node, user) = (standin(DATABASES[0]).await, User::new());
    let node = url(&node);
    user.write(
        "a.yml",
        "services: [{name: keep, host: h, tags: [prod]}, {name: llm, host: h}]",
    );
    user.must("sync a.yml", &node).await;
    let before = user.dump(&node).await;
    user.write("b.yml", "services: [{name: llm, host: other}]");
    for line in [
        "sync --protect-tag prod b.yml",
        "reset --yes --protect-tag prod",
    ] {
        let seen = user.run(line, &node).await;
        assert_eq!(seen.code, 1);
        assert_eq!(moved(&seen.stderr), ["delete service keep"], "{seen:?}");
    }
    let seen = user.run("reset --yes --max-deletes 1", &node).await;
    assert!(
        seen.stderr
            .contains("deletes 2 entities, --max-deletes allows 1"),
        "{seen:?}"
    );
    // A profile protects too.
    std::fs::create_dir_all(user.path().join(".config/kongctl-admin")).unwrap();
    user.write(
        ".config/kongctl-admin/config.yml",
        "default_profile: careful\nprofiles: {careful: {protect_tags: [prod]}}\n",
    );
    let seen = user.run("sync b.yml", &node).await;
    assert_eq!(moved(&seen.stderr), ["delete service keep"], "{seen:?}");
    assert_eq!(user.dump(&node).await, before);
    // What is protected may be referred to, and other things may change.
    user.must("apply b.yml", &node).await;
}
