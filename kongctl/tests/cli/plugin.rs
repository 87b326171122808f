//! `plugin`: a start for a configuration, and the reference for it.

use kong_standin::config::Database;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_scaffold_is_a_start_and_a_schema_a_reference() {
    let world = World::new(Database::Memory).await;
    let seen = world
        .lines(&[
            "plugin scaffold llm-rate-limiting",
            "plugin scaffold llm-jwt",
            "plugin scaffold llm-rate-limits",
            "plugin schema key-auth",
            "plugin schema key-auth -o name",
            "plugin schema no-such-plugin",
            "plugin schema key-auth --offline",
        ])
        .await;
    insta::assert_snapshot!(seen);
    let full = world.run("plugin scaffold llm-jwt --full").await;
    let (_, text) = full.split_once("--- stdout\n").unwrap();
    world.write("full.yml", text);
    let seen = world.run("validate full.yml").await;
    assert!(seen.contains("1 entity, no mistakes."), "{seen}");
    let offline = world.run("plugin schema llm-jwt --offline").await;
    let too_long: Vec<&str> = offline
        .lines()
        .filter(|line| line.starts_with("    ") && line.len() > 80)
        .collect();
    assert_eq!(too_long, [""; 0]);
}
