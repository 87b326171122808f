//! `completion`, `man`, `token`: what shells, pagers and programs are given.

use std::process::{Command, Stdio};

use kong_standin::config::Database;

use super::World;

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

#[tokio::test(flavor = "multi_thread")]
async fn what_shells_pagers_and_programs_are_given() {
    let world = World::new(Database::Memory).await;
    world.write("secret.txt", "shared\n");
    let seen = world
        .lines(&[
            "token mint --algorithm HS256 --key-file secret.txt --subject alice",
            "token mint --algorithm RS256 --key-file secret.txt",
            "token mint --algorithm HS256 --key-file none.txt",
            "completion bash",
            "completion tcsh",
            "man ping",
            "man wash",
        ])
        .await;
    insta::with_settings!({filters => vec![
        (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "HEADER.PAYLOAD.SIGNATURE"),
    ]}, {
        insta::assert_snapshot!(seen);
    });
}
