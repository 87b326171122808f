//! `ping`, `status`, `log-level`: what a node is, and whether it is there.

use kong_standin::config::Database;

use super::{World, run};

#[tokio::test(flavor = "multi_thread")]
async fn ping_tells_the_mode() {
    let world = World::new(Database::Memory).await;
    insta::assert_snapshot!(world.run("ping").await);
    let world = World::new(Database::Off).await;
    insta::assert_snapshot!("ping_dbless", world.run("ping").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_is_a_failure_with_a_hint() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(run("ping --retries 0 -o json", directory.path(), unused).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_tell_how_they_stand_and_what_they_log() {
    let mut seen = Vec::new();
    for database in [Database::Memory, Database::Off] {
        let world = World::new(database).await;
        let lines = [
            "status",
            "sync kong.yml",
            "status",
            "status -o json",
            "log-level get",
            "log-level set debug --for 5m",
            "log-level set loud",
        ];
        seen.push(world.lines(&lines).await);
    }
    insta::with_settings!({filters => vec![(r"\b[0-9a-f]{32}\b", "HASH")]}, {
        insta::assert_snapshot!(seen.join("\n"));
    });
}
