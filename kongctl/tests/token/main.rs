//! `token` and `jwks`: exit code, standard output and standard error, against a plugin server and an issuer of few words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod issuer;
mod server;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use issuer::Issuer;
use server::{Server, TOKEN};

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A directory of files, and addresses that are shown by name.
struct World {
    files: tempfile::TempDir,
    addresses: Vec<(String, &'static str)>,
    limiter: Option<String>,
}

impl World {
    fn new() -> Self {
        Self {
            files: tempfile::tempdir().unwrap(),
            addresses: Vec::new(),
            limiter: None,
        }
    }

    fn path(&self) -> &Path {
        self.files.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kongctl"));
        command
            .args(line.split_whitespace())
            .current_dir(self.path())
            .env_clear()
            .env("KONGCTL_LIMITER_TOKEN", TOKEN)
            // Kong's own token is nobody else's business.
            .env("KONGCTL_ADMIN_TOKEN", "kong-s3cret")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(url) = &self.limiter {
            command.env("KONGCTL_LIMITER_ADDR", url);
        }
        command
    }

    async fn run(&self, line: &str) -> String {
        self.run_with(line, "").await
    }

    /// Runs a command line on this standard input, and tells all that can be seen of it.
    async fn run_with(&self, line: &str, input: &str) -> String {
        let mut child = self.command(line).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing is no failure.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
            .await
            .expect("the command ends")
            .unwrap();
        let mut seen = format!(
            "$ kongctl {line}\nexit code: {}\n",
            output.status.code().unwrap()
        );
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let mut text = String::from_utf8(bytes.clone()).unwrap();
            for (address, name) in &self.addresses {
                text = text.replace(address, name);
            }
            assert!(!text.contains("s3cret"), "a secret is shown:\n{text}");
            if !text.is_empty() {
                let _ = write!(seen, "--- {name}\n{text}");
            }
        }
        for (address, name) in &self.addresses {
            seen = seen.replace(address, name);
        }
        seen
    }

    async fn all(&self, lines: &[&str]) -> String {
        let mut seen = Vec::new();
        for line in lines {
            seen.push(self.run(line).await);
        }
        seen.join("\n")
    }
}

/// Compares with the snapshot, but for what no two runs share: keys, moments, hashes.
macro_rules! assert_seen {
    ($seen:expr) => {
        insta::with_settings!({filters => vec![
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, (?:now|(?:in )?\d+(?:ms|[dhms])(?: \d+[dhms])?(?: ago)?)", "MOMENT"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "DATE"),
            (r"\b[0-9a-f]{64}\b", "SHA256"),
            // YAML quotes it where it could be read as a number.
            (r#"sha256: "SHA256""#, "sha256: SHA256"),
            // It may begin or end with what is no part of a word.
            (
                r"\b{start-half}[A-Za-z0-9_-]{43}\b{end-half}",
                "THUMBPRINT",
            ),
            (r#"thumbprint: "THUMBPRINT""#, "thumbprint: THUMBPRINT"),
            (r"\b1[6-9]\d{8}\b", "SECONDS"),
            (r"\b[0-9a-f]{40}…", "SHA256…"),
            (r#"in_seconds("?): -?\d+"#, "in_seconds$1: N"),
            // Columns are as wide as moments are long.
            (r"(\S) {2,}", "$1  "),
        ]}, { insta::assert_snapshot!($seen) });
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_and_believed_only_where_a_key_signed_it() {
    let world = World::new();
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let token = issuer.token(world.path(), "k1", "--jti 7f3a").await;
    let signature = token.rsplit_once('.').unwrap().1;
    world.write("token.txt", &format!("Bearer {token}\n"));
    world.write("jwks.json", &issuer.jwks("k1"));
    world.write("renamed.json", &issuer.jwks("k2"));
    world.write("stranger.json", &stranger.jwks("k1"));
    let seen = world
        .all(&[
            "token inspect --token-file token.txt",
            "token inspect --token-file token.txt --jwks jwks.json",
            "token inspect --token-file token.txt --jwks jwks.json -o json",
            "token inspect --token-file token.txt --jwks renamed.json",
            "token inspect --token-file token.txt --jwks stranger.json",
            "token inspect --token-file token.txt --jwks stranger.json -o yaml",
            "token inspect --token-file token.txt -o name",
        ])
        .await;
    assert!(!seen.contains(signature), "a signature is shown:\n{seen}");
    let piped = world.run_with("token inspect - -o name", &token).await;
    assert!(piped.contains("exit code: 0"), "{piped}");
    assert_seen!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_about_a_token_is_said() {
    let world = World::new();
    // {"alg":"none"} and {"iss":"https://idp.example","sub":"alice","sub":"bob\u001b[2J","exp":1}.
    let twice = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJzdWIiOiJib2JcdTAwMWJbMkoiLCJleHAiOjF9.";
    world.write("odd.txt", twice);
    world.write("opaque.txt", "7f3a9c-opaque");
    world.write("jwe.txt", "a.b.c.d.e");
    world.write("words.txt", "not a token");
    let seen = world
        .all(&[
            "token inspect --token-file odd.txt",
            "token inspect --token-file opaque.txt",
            "token inspect --token-file jwe.txt",
            "token inspect --token-file words.txt",
            "token inspect --token-file none.txt",
            "token inspect",
        ])
        .await;
    insta::with_settings!({filters => vec![
        (r"expired [\dhd ]+ ago", "expired LONG ago"),
        (r"(1970-01-01T00:00:01Z), [\dhd ]+ ago", "$1, LONG ago"),
    ]}, { insta::assert_snapshot!(seen) });
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_by_the_issuers_metadata() {
    let mut world = World::new();
    let issuer = Issuer::new();
    let url = issuer.serve("k1").await;
    let token = issuer.token(world.path(), "k1", "--jti 7f3a").await;
    world.write("token.txt", &token);
    let lines = [
        format!("token inspect --token-file token.txt --discovery {url}"),
        format!("token inspect --token-file token.txt --jwks {url}/jwks -o name"),
        format!("jwks show {url}/.well-known/openid-configuration"),
        format!("jwks show {url}/moved"),
        format!("jwks show {url}/nowhere"),
    ];
    world.addresses.push((url, "http://ISSUER"));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let seen = world.all(&lines).await;
    assert_seen!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_keys_is_shown_with_what_each_is_good_for() {
    let world = World::new();
    world.write("jwks.json", include_str!("../fixtures/jwks.json"));
    world.write(
        "useless.json",
        r#"{"keys": [{"kty": "oct", "k": "czNjcmV0"}]}"#,
    );
    world.write("page.html", "<html>");
    let seen = world
        .all(&[
            "jwks show jwks.json",
            "jwks show jwks.json -o json",
            "jwks show jwks.json -o name",
            "jwks show useless.json",
            "jwks show page.html",
            "jwks show none.json",
        ])
        .await;
    assert!(!seen.contains("czNjcmV0"), "a secret is shown:\n{seen}");
    insta::assert_snapshot!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_listed_and_let_pass_again() {
    let mut world = World::new();
    let server = Server::default();
    world.limiter = Some(server.start().await);
    let issuer = Issuer::new();
    let with_jti = issuer.token(world.path(), "k1", "--jti 7f3a").await;
    let without = issuer.token(world.path(), "k1", "--claim jti=null").await;
    world.write("with-jti.txt", &with_jti);
    world.write("without.txt", &without);
    let mut seen = world
        .all(&[
            "token revoke --token-file with-jti.txt --yes",
            "token revoke --token-file without.txt --yes -o json",
            "token revoke --issuer https://idp.example --jti 8a --yes --expires-at 2090-01-01T00:00:00Z",
            "token revoke --issuer https://typo.example --subject alice --issued-before 2026-01-31T12:00:00Z --yes",
            "token revocations",
            "token revocations --most 1 -o json",
        ])
        .await;
    let listed = world.run("token revocations -o name").await;
    let first = listed.lines().find(|line| line.starts_with("revocations/"));
    let first = first.unwrap();
    let unknown = "0".repeat(32);
    seen.push('\n');
    seen += &world
        .all(&[
            &format!("token unrevoke {first} {unknown} --yes"),
            &format!("token unrevoke {unknown} --yes -o json"),
            "token unrevoke ../counters --yes",
        ])
        .await;
    let sent = server.bodies();
    assert!(sent.iter().all(|body| !body.contains("eyJ")), "{sent:?}");
    assert_eq!(sent.len(), 4);
    assert_seen!(seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_revokes_nothing() {
    let mut world = World::new();
    let server = Server::default();
    world.limiter = Some(server.start().await);
    world.write("opaque.txt", "7f3a9c-opaque");
    let issuer = Issuer::new();
    let expired = issuer.expired();
    world.write("expired.txt", &expired);
    let seen = world
        .all(&[
            "token revoke --token-file opaque.txt",
            "token revoke --token-file expired.txt --yes",
            "token revoke --yes",
            "token revoke --issuer https://idp.example --yes",
            "token revoke --issuer https://idp.example --jti 1 --subject alice --yes",
            "token revoke --jti 1 --yes",
            "token revoke --token-file opaque.txt --issuer https://idp.example --jti 1 --yes",
            "token revoke --issuer https://idp.example --subject alice --issued-before yesterday --yes",
            "token unrevoke 0123456789abcdef0123456789abcdef",
        ])
        .await;
    assert_eq!(server.bodies().len(), 0);
    insta::with_settings!({filters => vec![
        (r"\b[0-9a-f]{64}\b", "SHA256"),
        (r"expired [\dhmsd ]+ ago", "expired LONG ago"),
    ]}, { insta::assert_snapshot!(seen) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_denylist_says_so() {
    let mut world = World::new();
    let server = Server::without_denylist();
    world.limiter = Some(server.start().await);
    let seen = world
        .all(&[
            "token revoke --issuer https://idp.example --jti 1 --yes",
            "token revocations -o json",
        ])
        .await;
    insta::assert_snapshot!(seen);
}
