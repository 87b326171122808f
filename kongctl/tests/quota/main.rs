//! The verbs that speak to a plugin server: exit code, standard output and standard error, and a live view on a terminal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod server;
mod terminal;

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use tokio::net::{TcpListener, UnixListener};
use tokio::process::Command;

use server::{ACME, HOSTILE, Server, TOKEN};

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn kongctl(line: &str, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
    command
        .args(line.split_whitespace())
        .env_clear()
        .env("KONGCTL_LIMITER_ADDR", url)
        // Kong's own token is none of the plugin server's business.
        .env("KONGCTL_ADMIN_TOKEN", "kong-s3cret")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command line with a token, and tells all that can be seen of it.
async fn run(line: &str, url: &str) -> String {
    let mut command = kongctl(line, url);
    command.env("KONGCTL_LIMITER_TOKEN", TOKEN);
    seen(line, url, command).await
}

async fn seen(line: &str, url: &str, mut command: Command) -> String {
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the command ends")
        .unwrap();
    let mut seen = format!(
        "$ kongctl {line}\nexit code: {}\n",
        output.status.code().unwrap()
    );
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let text = text
            .replace(&format!("{url:<26}"), "http://LIMITER            ")
            .replace(url, "http://LIMITER");
        assert!(!text.contains("s3cret"), "a secret is shown:\n{text}");
        let obeyed = |character: char| {
            character != '\n' && (character.is_control() || character == '\u{202e}')
        };
        assert!(
            !text.contains(obeyed),
            "a terminal would obey this:\n{text:?}"
        );
        if !text.is_empty() {
            let _ = write!(seen, "--- {name}\n{text}");
        }
    }
    seen
}

async fn all(lines: &[&str], url: &str) -> String {
    let mut seen = Vec::new();
    for line in lines {
        seen.push(run(line, url).await);
    }
    seen.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_listed_and_found() {
    let url = Server::new().start().await;
    let key = format!("quota get {ACME} -o json");
    let lines = [
        "quota list --limit tokens-per-minute",
        "quota list --search acme -o name",
        "quota list --search evil -o yaml",
        "quota list --most 1",
        "quota list --search nobody",
        "quota get acme",
        &key,
        "quota get evil",
        "quota get user-14",
        "quota get nobody",
        "quota get 0000000000000000000000000000ffff",
    ];
    insta::assert_snapshot!(all(&lines, &url).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_page_by_page() {
    let url = Server::new().start().await;
    let seen = run("quota list -o name", &url).await;
    assert_eq!(seen.matches("counters/").count(), 150, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_tell_before_and_after() {
    let url = Server::new().start().await;
    let lines = [
        format!("quota grant {ACME} 5000 --yes"),
        format!("quota adjust {ACME} +500 --yes"),
        format!("quota adjust {ACME} -200 --yes -o json"),
        format!("quota reset counters/{ACME} {HOSTILE} {ACME} --yes"),
        "quota reservations".to_owned(),
        "quota release 00000000000000000000000000000c0d --yes".to_owned(),
        "quota release ../counters --yes".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(all(&lines, &url).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_changes_nothing() {
    let server = Server::new();
    let url = server.start().await;
    let lines = [
        format!("quota reset {ACME}"),
        "quota release 00000000000000000000000000000c0d".to_owned(),
        format!("quota reset {ACME} 0000000000000000000000000000ffff --yes"),
        "quota reset acme --yes".to_owned(),
        format!("quota adjust {ACME} 500 --yes"),
        format!("quota grant {ACME} 0 --yes"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(all(&lines, &url).await);
    assert!(server.changes().is_empty(), "{:?}", server.changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_what_to_do() {
    let url = Server::new().start().await;
    let reset = format!("quota reset {ACME} --yes");
    let mut seen_all = vec![seen(&reset, &url, kongctl(&reset, &url)).await];
    let mut wrong = kongctl(&reset, &url);
    wrong.env("KONGCTL_LIMITER_TOKEN", "another-s3cret");
    seen_all.push(seen(&reset, &url, wrong).await);
    let mut unsendable = kongctl("quota list", &url);
    unsendable.env("KONGCTL_LIMITER_TOKEN", "s3cret\n");
    seen_all.push(seen("quota list", &url, unsendable).await);
    let mut nowhere = kongctl("quota list", &url);
    nowhere.env_remove("KONGCTL_LIMITER_ADDR");
    seen_all.push(seen("quota list", &url, nowhere).await);
    let unused = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    seen_all.push(
        run(
            "quota list --retries 0 -o json",
            &format!("http://{unused}"),
        )
        .await,
    );

    // Not a plugin server: a page, another's 404, JSON of another shape.
    for (status, body) in [
        (StatusCode::OK, "<html>\u{1b}[2J"),
        (StatusCode::NOT_FOUND, "nothing here"),
        (StatusCode::OK, r#"{"data": [{"key": "\u001b[2J"}]}"#),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"message": "Redis is away\u001b[2J", "hint": "try again"}"#,
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(move || async move { (status, body) });
        tokio::spawn(async move { axum::serve(listener, router).await });
        seen_all.push(run("quota list --retries 0", &url).await);
    }
    insta::assert_snapshot!(seen_all.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_the_file_system_is_an_address() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    Server::new().serve(UnixListener::bind(&path).unwrap());
    let seen = run(
        "quota list --search acme -o name",
        &format!("unix:{}", path.display()),
    )
    .await;
    assert!(seen.contains(ACME), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn top_prints_one_frame_where_there_is_no_terminal() {
    let url = Server::new().start().await;
    let lines = ["top --once --limiter-token limiter", "top -o name"];
    let seen = all(&lines, &url).await;
    insta::assert_snapshot!(seen);
    let json = run("top -o json", &url).await;
    assert!(
        json.contains(r#""tokens_per_second": 100.0"#) && json.contains(r"\u001b[2J\u202eevil"),
        "{json}"
    );
}
