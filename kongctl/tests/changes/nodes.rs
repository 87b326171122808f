//! Several nodes at once, and how they stand.

use kong_standin::Standin;
use kong_standin::config::Database;
use serde_json::Value;

use super::{User, standin, url};

const A: &str = "services: [{name: llm, host: h, routes: [{name: chat, paths: [/chat]}]}]\nconsumers: [{username: alice}]\n";

async fn pair() -> ([Standin; 2], String) {
    let nodes = [standin(Database::Off).await, standin(Database::Off).await];
    let urls = nodes.each_ref().map(url).join(",");
    (nodes, urls)
}

async fn status(user: &User, urls: &str) -> Value {
    let seen = user.run("status -o json", urls).await;
    serde_json::from_str(&seen.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_a_database_come_to_the_same_configuration() {
    let (nodes, urls) = pair().await;
    let user = User::new();
    user.write("a.yml", A);
    assert_eq!(user.run("status", &urls).await.code, 1, "nothing is loaded");
    let told = user.must("sync a.yml", &urls).await;
    assert_eq!(
        told.matches("4 done").count() + told.matches("3 done").count(),
        2,
        "{told}"
    );
    let standing = status(&user, &urls).await;
    assert_eq!(standing["same_configuration"], true, "{standing}");
    // One of them falls behind; the next sync brings both to the same again.
    user.must("reset --yes", &url(&nodes[1])).await;
    let standing = status(&user, &urls).await;
    assert_eq!(
        (&standing["same_configuration"], &standing["ready"]),
        (&false.into(), &false.into())
    );
    user.must("sync a.yml", &urls).await;
    assert_eq!(status(&user, &urls).await["ready"], true);
    user.must("reset --yes", &url(&nodes[1])).await;
    user.write("a.yml", &A.replace("/chat", "/talk"));
    user.must("sync a.yml", &urls).await;
    let standing = status(&user, &urls).await;
    assert_eq!(standing["ready"], true, "{standing}");
    // Each has its own journal.
    user.must("rollback --yes", &urls).await;
    let first = user.dump(&url(&nodes[0])).await;
    assert!(first.contains("/chat"), "{first}");
    assert_eq!(
        user.dump(&url(&nodes[1])).await,
        "_format_version: \"3.0\"\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_first_node_refuses_reaches_no_other() {
    let (nodes, urls) = pair().await;
    let user = User::new();
    user.write("a.yml", &A.replace("name: llm", "name: 'bad name'"));
    let seen = user.run("sync -o json a.yml", &urls).await;
    assert_eq!(seen.code, 1);
    let told: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(told["nodes"][0]["summary"]["failed"], 1, "{told}");
    assert_eq!(
        told["nodes"][1]["results"][0]["status"], "not_started",
        "{told}"
    );
    assert_eq!(
        user.dump(&url(&nodes[1])).await,
        "_format_version: \"3.0\"\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_for_one_node_and_nodes_with_a_database_want_one_address() {
    let (_nodes, urls) = pair().await;
    let user = User::new();
    user.write("a.yml", A);
    let seen = user.run("dump", &urls).await;
    assert_eq!(seen.code, 64, "{seen:?}");
    let databases = [
        standin(Database::Memory).await,
        standin(Database::Memory).await,
    ];
    let urls = databases.each_ref().map(url).join(",");
    let seen = user.run("sync a.yml", &urls).await;
    assert_eq!(seen.code, 64, "{seen:?}");
    assert!(seen.stderr.contains("has a database"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_plan_is_for_several_nodes_that_are_alike() {
    let (nodes, urls) = pair().await;
    let user = User::new();
    user.write("a.yml", A);
    user.must("plan a.yml -o plan.json", &urls).await;
    user.must("sync --plan plan.json", &urls).await;
    assert_eq!(status(&user, &urls).await["ready"], true);
    user.must("reset --yes", &url(&nodes[1])).await;
    user.write("b.yml", &A.replace("host: h", "host: other"));
    let seen = user.run("plan b.yml -o plan.json", &urls).await;
    assert!(
        seen.stderr.contains("one plan cannot be for both"),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_the_node_is_ready_or_patience_is_over() {
    let node = standin(Database::Off).await;
    let (node, user) = (url(&node), User::new());
    let seen = user.run("status --wait=1s", &node).await;
    assert_eq!(seen.code, 1, "{seen:?}");
    user.write("a.yml", A);
    let waiting = user.run("status --wait=1m", &node);
    let (seen, _) = tokio::join!(waiting, user.must("sync a.yml", &node));
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.stdout.contains("db-less"), "{seen:?}");
}
