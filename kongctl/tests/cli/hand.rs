//! `get`, `create`, `patch`, `delete`, `describe`: one thing at a time.

use kong_standin::config::Database;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_64() {
    let world = World::new(Database::Memory).await;
    let seen = world.run("sync").await;
    assert!(seen.contains("exit code: 64"), "{seen}");
    insta::assert_snapshot!(world.run("get widgets").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_lists_and_shows_without_secrets() {
    let world = World::new(Database::Memory).await;
    world.run("sync kong.yml").await;
    let seen = world
        .lines(&[
            "get services",
            "get routes -o name",
            "get consumer alice",
            "get consumer alice -o yaml",
            "get targets",
            "get plugins",
            "get key-auths -o name",
            "get consumer alcie",
        ])
        .await;
    insta::with_settings!({filters => vec![(r"(created|updated)_at: [0-9.]+", "${1}_at: TIME")]}, {
        insta::assert_snapshot!(seen);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_is_created_changed_shown_and_deleted() {
    let world = World::new(Database::Memory).await;
    world.write("key.yml", "key: alice-s3cret\ntags: [hand]\n");
    let seen = world.lines(&[
        "create service llm --set url=http://provider.example/v1 --set retries=0",
        "create service llm --set host=h",
        "create route chat --service llm --set paths=[/chat] --set hots=x",
        "create route chat --service llm --set paths=[/chat]",
        "create plugin key-auth --route chat --set config.key_names=[apikey]",
        "create plugin key-auth --set config.key_nams=[apikey]",
        "create plugin key-auth --service llm",
        "create consumer alice --json {\"tags\":[\"gold\"]}",
        "create key-auth --consumer alice --file key.yml -o json",
        "create key-auth --consumer bob --file key.yml",
        "create acl gold --consumer alice",
        "create upstream pool",
        "create target 127.0.0.1:9955 --upstream pool --set weight=10",
        "create target 127.0.0.1:9955 --service llm",
        "create certificate mine --set cert=@nothing.pem",
        "patch service llm --set retries=3 --set tags=[a]",
        "patch service llm --set retries=3",
        "patch service llm --set retries=many",
        "patch plugin key-auth --set enabled=false",
        "patch plugin key-auth --route chat --set config.hide_credentials=true --set config.key_names=[apikey,x-key]",
        "patch target 127.0.0.1:9955 --upstream pool --set weight=20",
        "patch route chat --set service=nowhere",
        "patch route chat",
        "apply service llm --set host=other.example",
        "apply consumer carol --set custom_id=c-1",
        "apply widget w --set a=b",
        "describe service llm",
        "describe consumer alice",
        "describe route chat -o yaml",
        "describe route caht",
        "upstream health pool",
        "upstream health lake",
        "target set-health pool 127.0.0.1:9955 unhealthy",
        "delete service llm",
        "delete service llm --yes",
        "delete target 127.0.0.1:9955 --upstream pool --yes",
        "delete consumer alice --yes",
        "delete route chat --yes -o json",
        "delete service llm --yes",
        "delete service llm --yes --protect-tag a",
    ]).await;
    insta::with_settings!({filters => vec![
        (r"(created|updated)_at(:?) +[0-9.]+", "${1}_at${2} TIME"),
        (r#""journal": "[^"]+""#, r#""journal": "JOURNAL""#),
    ]}, {
        insta::assert_snapshot!(seen);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_database_takes_no_single_changes() {
    let world = World::new(Database::Off).await;
    world.run("sync kong.yml").await;
    let seen = world
        .lines(&[
            "create consumer bob",
            "apply consumer bob",
            "patch service llm --set retries=0",
            "delete route chat --yes",
            "describe upstream pool",
        ])
        .await;
    insta::with_settings!({filters => vec![(r"(created|updated)_at +[0-9.]+", "${1}_at TIME")]}, {
        insta::assert_snapshot!(seen);
    });
}

/// Long names, many tags, long lists: what does not fit gives way or is told row by row.
#[tokio::test(flavor = "multi_thread")]
async fn tables_and_pages_keep_to_eighty_columns_and_lose_nothing_in_a_pipe() {
    let world = World::new(Database::Memory).await;
    let long = |letter: &str| letter.repeat(60);
    let file = format!(
        "services:\n- name: {name}\n  host: {host}.example\n  tags: [{tags}]\n  routes:\n  - {{name: {name}-route, paths: [/{path}, /{path}/two], tags: [{tags}], plugins: [{{name: key-auth, tags: [{tags}]}}]}}\nconsumers:\n- {{username: {name}, custom_id: {host}, keyauth_credentials: [{{key: k, tags: [{tags}]}}], acls: [{{group: {path}}}]}}\nupstreams: [{{name: {name}-pool, targets: [{{target: '{host}.example:80'}}]}}]\n",
        name = long("n"),
        host = long("h"),
        path = long("p"),
        tags = (0..12)
            .map(|number| format!("tag-number-{number}"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    world.write("wide.yml", &file);
    world.run("sync --journal off wide.yml").await;
    let name = long("n");
    let lines = [
        "status".to_owned(),
        "get services".to_owned(),
        "get routes".to_owned(),
        "get plugins".to_owned(),
        "get targets".to_owned(),
        format!("get consumer {name}"),
        format!("describe service {name}"),
        format!("describe route {name}-route"),
        format!("describe consumer {name}"),
        "rollback --list".to_owned(),
    ];
    for line in &lines {
        let seen = world.run_in(line, 80).await;
        assert!(seen.contains("exit code: 0"), "{seen}");
        for shown in seen.lines().skip(2) {
            assert!(shown.chars().count() <= 80, "{line}: {shown}");
        }
        let piped = world.run(line).await;
        assert!(!piped.contains('…') && !piped.contains('\u{1b}'), "{piped}");
    }
    let whole = world.run("get services").await;
    assert!(
        whole.contains(&long("n")) && whole.contains("tag-number-11"),
        "{whole}"
    );
    let page = world.run_in(&format!("describe service {name}"), 80).await;
    assert!(
        page.contains("tag-number-11"),
        "what is wrapped is all there: {page}"
    );
}
