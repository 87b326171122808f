//! Entities of the kinds that a plugin brings along: what the node tells of them is all that kongctl knows.

use std::path::Path;

use kong_standin::Config;
use kong_standin::config::Database;

use super::World;

const PLANS: &str = "
consumers:
- username: alice
  quota_members: [{plan: gold, since: 2024}]
- username: bob
quota_plans:
- {name: gold, tokens: 5000, key: gold-s3cret, tags: [paid]}
- {name: free}
";

const NO_PLANS: &str = "
consumers: [{username: alice}, {username: bob}]
services: [{name: llm, host: h}]
";

async fn world(database: Database) -> World {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kinds.json");
    let config = Config {
        database,
        kinds: Some(kinds),
        ..Config::default()
    };
    let world = World::on(config).await;
    world.write("plans.yml", PLANS);
    world.write("none.yml", NO_PLANS);
    world.write(
        "empty.yml",
        &format!("{NO_PLANS}quota_plans: []\nquota_members: []\n"),
    );
    world
}

fn times() -> Vec<(&'static str, &'static str)> {
    vec![
        (r"(created|updated)_at(:? +)[0-9.]+", "${1}_at${2}TIME"),
        (r"Undoing \S+: (.*) of .*UTC", "Undoing JOURNAL: $1 of TIME"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_declared_compared_and_dumped_like_kongs_own() {
    let world = world(Database::Memory).await;
    let seen = world
        .lines(&[
            "sync plans.yml --yes",
            "sync plans.yml --yes",
            "get quota-plans",
            "get quota_plan gold -o yaml",
            "describe consumer alice",
            "dump --redact",
            "sync none.yml --yes",
            "diff empty.yml",
            "sync empty.yml --yes",
            "rollback --yes",
            "get quota-members",
            "reset --yes",
        ])
        .await;
    insta::with_settings!({filters => times()}, { insta::assert_snapshot!(seen); });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_created_changed_and_deleted_by_hand() {
    let world = world(Database::Memory).await;
    let seen = world
        .lines(&[
            "create quota-plan gold --set tokens=7 --set key=gold-s3cret",
            "create consumer alice",
            "create quota-member --consumer alice --set plan=gold --set since=2024",
            "patch quota-plan gold --set tokens=8",
            "patch quota-plan gold --set tokns=8",
            "delete quota-plan gold --yes",
            "get quota_members",
            "get quota_plains",
        ])
        .await;
    insta::assert_snapshot!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_them_is_told_with_its_place_also_by_what_the_node_told_last() {
    let world = world(Database::Memory).await;
    world.write(
        "wrong.yml",
        "quota_plans:\n- {name: gold, tokns: 5}\n- {tokens: many}\nquota_members:\n- {plan: godl, consumer: bob}\n",
    );
    world.write(
        "tagged.yml",
        "_info: {select_tags: [team-a]}\n\
         consumers: [{username: alice, quota_members: [{plan: gold}]}]\nquota_plans: [{name: gold}]\n",
    );
    world.write(
        "kept.yml",
        "quota_plans: [{name: gold, key: '${{ env \"GOLD_KEY\" }}'}]",
    );
    let seen = world
        .lines(&[
            "validate plans.yml",
            "diff wrong.yml",
            "diff tagged.yml",
            "validate wrong.yml",
            "validate wrong.yml --no-cache",
            "validate plans.yml --online",
            "render kept.yml",
            "to-k8s plans.yml",
        ])
        .await;
    insta::assert_snapshot!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_database_keeps_what_no_file_lists() {
    let world = world(Database::Off).await;
    let seen = world
        .lines(&[
            "sync plans.yml --yes",
            "sync none.yml --yes",
            "get quota-plans -o name",
            "get quota-members -o name",
            "sync empty.yml --yes",
            "get quota-plans -o name",
        ])
        .await;
    insta::assert_snapshot!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_the_plugin_is_told_of_before_anything_is_sent() {
    let knowing = world(Database::Memory).await;
    let other = World::new(Database::Memory).await;
    let both = format!("http://{},ADMIN", knowing.gateway.admin_addr());
    let line = format!("diff plans.yml --admin-url {both}");
    let line = line.replace("ADMIN", &format!("http://{}", other.gateway.admin_addr()));
    let seen = knowing.run(&line).await;
    let seen = seen.replace(&knowing.gateway.admin_addr().to_string(), "KNOWING");
    let seen = seen.replace(&other.gateway.admin_addr().to_string(), "OTHER");
    insta::assert_snapshot!(seen);
}
