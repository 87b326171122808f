//! What a user sees of each verb: exit code, standard output and standard error, against the stand-in gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod verbs;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use kong_standin::config::Database;
use kong_standin::{Config, Standin};

const FILE: &str = r#"_format_version: "3.0"
services:
- name: llm
  url: http://provider.example/v1
  routes:
  - name: chat
    paths: [/chat]
    plugins:
    - {name: key-auth, config: {key_names: [apikey]}}
consumers:
- username: alice
  tags: [gold]
  keyauth_credentials: [{key: alice-s3cret}]
  basicauth_credentials: [{username: alice, password: pw-s3cret}]
  acls: [{group: gold}]
upstreams:
- name: pool
  targets: [{target: "127.0.0.1:9955", weight: 10}, {target: host.example}]
"#;

/// A gateway, and a directory with files.
struct World {
    gateway: Standin,
    files: tempfile::TempDir,
}

impl World {
    async fn new(database: Database) -> Self {
        let gateway = Standin::start(Config {
            database,
            ..Config::default()
        })
        .await
        .unwrap();
        let world = Self {
            gateway,
            files: tempfile::tempdir().unwrap(),
        };
        world.write("kong.yml", FILE);
        world
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.files.path().join(name), text).unwrap();
    }

    /// Runs a command line and tells all that can be seen of it.
    async fn run(&self, line: &str) -> String {
        run(line, self.files.path(), self.gateway.admin_addr()).await
    }

    /// The same where there is room for so many columns.
    async fn run_in(&self, line: &str, columns: usize) -> String {
        let room = columns.to_string();
        let (directory, admin) = (self.files.path(), self.gateway.admin_addr());
        run_with(line, directory, admin, &[("COLUMNS", &room)]).await
    }
}

async fn run(line: &str, directory: &Path, admin: SocketAddr) -> String {
    run_with(line, directory, admin, &[]).await
}

async fn run_with(
    line: &str,
    directory: &Path,
    admin: SocketAddr,
    environment: &[(&str, &str)],
) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
    command
        .args(line.split_whitespace())
        .current_dir(directory)
        .env_clear()
        .env("KONGCTL_ADMIN_URL", format!("http://{admin}"))
        .env("HOME", directory)
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let mut seen = format!(
        "$ kongctl {line}\nexit code: {}\n",
        output.status.code().unwrap()
    );
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = String::from_utf8(bytes.clone())
            .unwrap()
            .replace(&admin.to_string(), "ADMIN");
        assert!(!text.contains("s3cret"), "a secret is shown:\n{text}");
        if !text.is_empty() {
            let _ = write!(seen, "--- {name}\n{text}");
        }
    }
    seen
}

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
async fn wrong_usage_is_64() {
    let world = World::new(Database::Memory).await;
    let seen = world.run("sync").await;
    assert!(seen.contains("exit code: 64"), "{seen}");
    insta::assert_snapshot!(world.run("get widgets").await);
}

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

/// Sync, diff, second sync, dump, change, reset: the life of a file, in both modes.
async fn life(database: Database, name: &str) {
    let world = World::new(database).await;
    let mut seen = Vec::new();
    for line in [
        "diff --exit-code kong.yml",
        "sync kong.yml",
        "diff --exit-code kong.yml",
        "sync kong.yml",
        "dump --redact",
    ] {
        seen.push(world.run(line).await);
    }
    world.write(
        "kong.yml",
        &FILE
            .replace("/chat", "/talk")
            .replace("weight: 10", "weight: 20")
            .replace("pw-s3cret", "pw2-s3cret"),
    );
    for line in [
        "diff kong.yml",
        "diff -o json kong.yml",
        "sync -o json kong.yml",
        "diff --exit-code kong.yml",
    ] {
        seen.push(world.run(line).await);
    }
    world.write(
        "less.yml",
        "consumers:\n- {username: alice, tags: [gold]}\n",
    );
    for line in [
        "diff --no-delete less.yml",
        "sync --max-deletes 2 less.yml",
        "apply less.yml",
        "sync less.yml",
        "reset",
        "reset --yes",
        "dump",
    ] {
        seen.push(world.run(line).await);
    }
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
    let mut seen = vec![world.run("sync mine.yml").await];
    seen.push(world.run("dump --select-tag mine").await);
    seen.push(world.run("reset --yes --select-tag mine").await);
    world.write("theirs.yml", "consumers: [{username: alice}]\n");
    seen.push(world.run("sync --select-tag mine theirs.yml").await);
    insta::assert_snapshot!(seen.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_lists_and_shows_without_secrets() {
    let world = World::new(Database::Memory).await;
    world.run("sync kong.yml").await;
    let mut seen = Vec::new();
    for line in [
        "get services",
        "get routes -o name",
        "get consumer alice",
        "get consumer alice -o yaml",
        "get targets",
        "get plugins",
        "get key-auths -o name",
        "get consumer alcie",
    ] {
        seen.push(world.run(line).await);
    }
    insta::with_settings!({filters => vec![(r"(created|updated)_at: [0-9.]+", "${1}_at: TIME")]}, {
        insta::assert_snapshot!(seen.join("\n"));
    });
}

/// A gateway's file that has one mistake for each rule of `lint`, and none for `validate`.
const RISKY: &str = r#"
services:
- name: llm
  url: http://provider.example/v1
  routes:
  - name: chat
    paths: [/chat]
    plugins:
    - name: llm-jwt
      config:
        issuers:
        - {issuer: "https://idp.example", jwks_endpoint: "https://idp.example/jwks", insecure_skip_audience: true}
    - name: llm-rate-limiting
      config:
        limits:
        - {name: tenant, limit: 1000, window_size: 60, limit_by: ["claim:org"]}
        - {name: caller, limit: 1000, window_size: 60}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_in_our_plugins_is_told_without_a_node() {
    let world = World::new(Database::Memory).await;
    let text = RISKY
        .replace("insecure_skip_audience: true", "audience: llm")
        .replace("window_size: 60}", "window: 60}");
    world.write("bad.yml", &text);
    insta::assert_snapshot!(world.run("validate bad.yml").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_warns_and_fails_only_if_told_to() {
    let world = World::new(Database::Memory).await;
    world.write("risky.yml", RISKY);
    let mut seen = Vec::new();
    for line in [
        "lint risky.yml",
        "lint --fail-on warning --allow insecure --allow no-usage-tap risky.yml",
        "validate --lint --fail-on warning kong.yml",
        "lint -o json --allow insecure risky.yml",
        "lint --allow nonsense risky.yml",
    ] {
        seen.push(world.run(line).await);
    }
    insta::assert_snapshot!(seen.join("\n"));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_scaffold_is_a_start_and_a_schema_a_reference() {
    let world = World::new(Database::Memory).await;
    let mut seen = Vec::new();
    for line in [
        "plugin scaffold llm-rate-limiting",
        "plugin scaffold llm-jwt",
        "plugin scaffold llm-rate-limits",
        "plugin schema key-auth",
        "plugin schema key-auth -o name",
        "plugin schema no-such-plugin",
        "plugin schema key-auth --offline",
    ] {
        seen.push(world.run(line).await);
    }
    insta::assert_snapshot!(seen.join("\n"));
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

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_is_created_changed_shown_and_deleted() {
    let world = World::new(Database::Memory).await;
    world.write("key.yml", "key: alice-s3cret\ntags: [hand]\n");
    let mut seen = Vec::new();
    for line in [
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
    ] {
        seen.push(world.run(line).await);
    }
    insta::with_settings!({filters => vec![
        (r"(created|updated)_at(:?) +[0-9.]+", "${1}_at${2} TIME"),
        (r#""journal": "[^"]+""#, r#""journal": "JOURNAL""#),
    ]}, {
        insta::assert_snapshot!(seen.join("\n"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_database_takes_no_single_changes() {
    let world = World::new(Database::Off).await;
    world.run("sync kong.yml").await;
    let mut seen = Vec::new();
    for line in [
        "create consumer bob",
        "apply consumer bob",
        "patch service llm --set retries=0",
        "delete route chat --yes",
        "describe upstream pool",
    ] {
        seen.push(world.run(line).await);
    }
    insta::with_settings!({filters => vec![(r"(created|updated)_at +[0-9.]+", "${1}_at TIME")]}, {
        insta::assert_snapshot!(seen.join("\n"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_offered_live_names_and_never_bothered() {
    let world = World::new(Database::Memory).await;
    world.run("sync kong.yml").await;
    let admin = world.gateway.admin_addr();
    let offered = |url: String, words: &'static str| async move {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
        command
            .env_clear()
            .env("KONGCTL_ADMIN_COMPLETE", "bash")
            .env("KONGCTL_ADMIN_URL", url)
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
            .env("_CLAP_IFS", "\n")
            .arg("--")
            .args(words)
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.lines().filter(|word| !word.starts_with('-'));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let node = format!("http://{admin}");
    assert_eq!(
        offered(node.clone(), "kongctl get consumer a").await,
        ["alice"]
    );
    assert_eq!(
        offered(node.clone(), "kongctl describe service ").await,
        ["llm"]
    );
    assert_eq!(
        offered(node.clone(), "kongctl create plugin key-auth --route c").await,
        ["chat"]
    );
    assert_eq!(
        offered(node.clone(), "kongctl delete target 127").await,
        ["127.0.0.1:9955"]
    );
    let keys = offered(node.clone(), "kongctl get key-auth ").await;
    assert!(
        keys.iter().all(|key| !key.contains("s3cret")) && keys.len() == 1,
        "{keys:?}"
    );
    assert!(
        offered(node.clone(), "kongctl get ups")
            .await
            .contains(&"upstream".to_owned())
    );
    assert!(
        offered(node, "kongctl descr")
            .await
            .contains(&"describe".to_owned())
    );
    let nowhere = "http://127.0.0.1:1".to_owned();
    assert_eq!(offered(nowhere, "kongctl get consumer a").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_has_a_manual_page() {
    let world = World::new(Database::Memory).await;
    let page = world.run("man quota grant").await;
    assert!(
        page.contains(".TH kongctl-quota-grant 1") && page.contains("Examples:"),
        "{page}"
    );
    let seen = world.run("man --directory pages").await;
    assert!(seen.contains("pages into pages."), "{seen}");
    for name in ["kongctl", "kongctl-sync", "kongctl-upstream-health"] {
        let path = world.files.path().join(format!("pages/{name}.1"));
        assert!(path.is_file(), "{name}");
    }
    let seen = world.run("man wash").await;
    assert!(seen.contains("exit code: 64"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_three_parts_and_a_shell_gets_its_script() {
    let world = World::new(Database::Memory).await;
    world.write("secret.txt", "shared\n");
    let seen = world
        .run("token mint --algorithm HS256 --key-file secret.txt --subject alice")
        .await;
    let token = seen.lines().last().unwrap();
    assert_eq!(token.split('.').count(), 3, "{seen}");
    let script = world.run("completion bash").await;
    assert!(
        script.contains("exit code: 0") && script.contains("_kongctl"),
        "{script}"
    );
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_said_of_its_plugins_serves_without_it() {
    let world = World::new(Database::Memory).await;
    let wrong = FILE.replace("key_names: [apikey]", "key_nmes: [apikey]");
    world.write("wrong.yml", &wrong);
    let gone = "http://127.0.0.1:1";
    let mut seen = vec![
        world.run("validate wrong.yml").await,
        world.run("plugin schema key-auth --offline").await,
        world.run("diff --no-cache kong.yml").await,
        world.run("validate wrong.yml").await,
        world.run("diff kong.yml").await,
        world.run("validate wrong.yml").await,
        world.run("validate --no-cache wrong.yml").await,
    ];
    // Another node said nothing.
    seen.push(
        world
            .run(&format!("validate --admin-url {gone} wrong.yml"))
            .await,
    );
    seen.push(world.run("plugin schema key-auth --offline -o name").await);
    insta::assert_snapshot!(seen.join("\n"));
}
