//! `diff`, `plan`, `sync`, `apply`, `dump`, `reset`: the life of a file.

use kong_standin::config::Database;

use super::{FILE, World, run_with};

/// Sync, diff, second sync, dump, change, reset: the life of a file, in both modes.
async fn life(database: Database, name: &str) {
    let world = World::new(database).await;
    let mut seen = vec![
        world
            .lines(&[
                "diff --exit-code kong.yml",
                "sync kong.yml",
                "diff --exit-code kong.yml",
                "sync kong.yml",
                "dump --redact",
            ])
            .await,
    ];
    world.write(
        "kong.yml",
        &FILE
            .replace("/chat", "/talk")
            .replace("weight: 10", "weight: 20")
            .replace("pw-s3cret", "pw2-s3cret"),
    );
    seen.push(
        world
            .lines(&[
                "diff kong.yml",
                "diff -o json kong.yml",
                "sync -o json kong.yml",
                "diff --exit-code kong.yml",
            ])
            .await,
    );
    world.write(
        "less.yml",
        "consumers:\n- {username: alice, tags: [gold]}\n",
    );
    seen.push(
        world
            .lines(&[
                "diff --no-delete less.yml",
                "sync --max-deletes 2 less.yml",
                "apply less.yml",
                "sync less.yml",
                "reset",
                "reset --yes",
                "dump",
            ])
            .await,
    );
    let journal = (r"/\S+/journals/[0-9TZ-]+\.jsonl", "JOURNAL");
    insta::with_settings!({filters => vec![journal]}, {
        insta::assert_snapshot!(name, seen.join("\n"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_file_with_a_database() {
    life(Database::Memory, "life_database").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_file_without_a_database() {
    life(Database::Off, "life_dbless").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_deletes_nothing() {
    let world = World::new(Database::Memory).await;
    world.write("empty.yml", "_format_version: '3.0'\nservices: []\n");
    insta::assert_snapshot!(world.run("sync empty.yml").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kong_refuses_is_told_and_the_rest_is_done() {
    let world = World::new(Database::Memory).await;
    world.write("kong.yml", &FILE.replace("name: llm", "name: 'bad name'"));
    insta::assert_snapshot!("refused_database", world.run("sync kong.yml").await);
    let seen = world.run("sync -o json kong.yml").await;
    let journal = (r"/\S+/journals/[0-9TZ-]+\.jsonl", "JOURNAL");
    insta::with_settings!({filters => vec![journal]}, {
        insta::assert_snapshot!("refused_database_json", seen);
    });
    let world = World::new(Database::Off).await;
    world.write("kong.yml", &FILE.replace("name: llm", "name: 'bad name'"));
    insta::assert_snapshot!("refused_dbless", world.run("sync kong.yml").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_keep_apart_what_belongs_to_whom() {
    let world = World::new(Database::Memory).await;
    world.run("sync kong.yml").await;
    world.write(
        "mine.yml",
        "_info: {select_tags: [mine]}\nroutes:\n- {name: extra, paths: [/extra], service: llm}\n",
    );
    world.write("theirs.yml", "consumers: [{username: alice}]\n");
    let seen = world
        .lines(&[
            "sync mine.yml",
            "dump --select-tag mine",
            "reset --yes --select-tag mine",
            "sync --select-tag mine theirs.yml",
        ])
        .await;
    insta::assert_snapshot!(seen);
}

/// `run` itself fails where a text with `s3cret` is shown.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_the_environment_into_a_plugin_is_not_shown() {
    let world = World::new(Database::Memory).await;
    let file = FILE.replace(
        "{name: key-auth, config: {key_names: [apikey]}}",
        "{name: post-function, config: {access: ['-- ${{ env \"AGENT_KEY\" }}'], header_filter: ['-- plain']}}",
    );
    world.write("kong.yml", &file);
    let (directory, admin) = (world.files.path(), world.gateway.admin_addr());
    let with_key =
        async |line: &str, key: &str| run_with(line, directory, admin, &[("AGENT_KEY", key)]).await;
    let created = with_key("diff -o json kong.yml", "s3cret-old").await;
    assert!(
        created.contains("[redacted]") && created.contains("-- plain"),
        "{created}"
    );
    with_key("sync --journal off kong.yml", "s3cret-old").await;
    with_key("plan -o plan.json kong.yml", "s3cret-new").await;
    for line in ["diff kong.yml", "diff -o json kong.yml", "plan kong.yml"] {
        let seen = with_key(line, "s3cret-new").await;
        assert!(
            seen.contains("config.access") && seen.contains("[redacted]"),
            "{seen}"
        );
    }
    let done = with_key("sync --journal off -o json --plan plan.json", "").await;
    assert!(done.contains("exit code: 0"), "{done}");
}
