//! The program as an operator meets it: its exit codes, what it prints, how it starts and stops.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_llm-plugin-server");
/// More than any step takes, so that a failure ends the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program in an environment of its own.
fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear();
    command
}

fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A server that is killed if the test ends without stopping it.
struct Served(Child);

impl Served {
    fn start(dir: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = program();
        command
            .arg("serve")
            .arg("--dir")
            .arg(dir)
            .stderr(Stdio::piped());
        change(&mut command);
        let served = Self(command.spawn().unwrap());
        until("the socket is there", || dir.join("plugins.sock").exists());
        served
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn ends(&mut self) -> ExitStatus {
        let mut status = None;
        until("the server has ended", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_dump_describes_one_plugin_to_kong() {
    for (name, priority, phases) in [
        ("llm-jwt", 1450, &["access"][..]),
        ("llm-rate-limiting", 905, &["access", "log"]),
    ] {
        let dump: Value =
            serde_json::from_str(&stdout(&output(&["dump", name, "--dir", "/run/x"]))).unwrap();
        assert_eq!(dump["Protocol"], "ProtoBuf:1");
        assert_eq!(dump["SocketPath"], "/run/x/plugins.sock");
        let plugins = dump["Plugins"].as_array().unwrap();
        assert_eq!(plugins.len(), 1, "Kong 3.9 reads only the first");
        assert_eq!(plugins[0]["Name"], name);
        assert_eq!(plugins[0]["Priority"], priority);
        assert_eq!(plugins[0]["Phases"], serde_json::json!(phases));
        let fields = plugins[0]["Schema"]["fields"][0]["config"]["fields"]
            .as_array()
            .unwrap();
        assert!(fields.len() > 3);
        every_field(fields, &mut |field, schema| {
            let description = schema["description"].as_str().unwrap_or_default();
            assert!(
                (10..=500).contains(&description.len()),
                "{name}: {field} has no description that Kong accepts"
            );
        });
    }
}

fn every_field(fields: &[Value], visit: &mut impl FnMut(&str, &Value)) {
    for (name, schema) in fields.iter().flat_map(|field| field.as_object().unwrap()) {
        visit(name, schema);
        for inner in [&schema["fields"], &schema["elements"]["fields"]] {
            every_field(
                inner.as_array().map(Vec::as_slice).unwrap_or_default(),
                visit,
            );
        }
    }
}

#[test]
fn all_dumps_are_written_for_a_control_plane_that_runs_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("made/for/it");
    let shared_text = shared.to_str().unwrap();
    assert_eq!(stdout(&output(&["dump", "--dir", shared_text])), "");
    for name in ["llm-jwt", "llm-rate-limiting"] {
        let printed = stdout(&output(&["dump", name, "--dir", shared_text]));
        let written = fs::read_to_string(shared.join(name).with_extension("json")).unwrap();
        assert_eq!(written, printed);
    }
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 2);
    assert_eq!(output(&["dump"]).status.code(), Some(2), "it says where");
}

#[test]
fn a_plugin_that_is_not_there_is_named_with_those_that_are() {
    let output = output(&["dump", "nothing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stdout.is_empty(),
        "Kong's start fails on anything that is not JSON"
    );
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        message,
        "error: no plugin is named \"nothing\"; there are llm-rate-limiting and llm-jwt\n"
    );
}

#[test]
fn it_serves_answers_its_health_and_stops_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("made/for/it");
    let shared_text = shared.to_str().unwrap().to_owned();
    let sick = output(&["healthcheck", "--dir", &shared_text]);
    assert_eq!(sick.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&sick.stderr).starts_with("error: cannot connect to "));

    let mut served = Served::start(&shared, |_| {});
    for name in ["llm-jwt", "llm-rate-limiting"] {
        let file = shared.join(name).with_extension("json");
        let printed = stdout(&output(&["dump", name, "--dir", &shared_text]));
        assert_eq!(fs::read_to_string(&file).unwrap(), printed);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o644
        );
    }
    assert_eq!(
        fs::metadata(shared.join("plugins.sock"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o666
    );
    assert_eq!(
        fs::read_dir(&shared).unwrap().count(),
        3,
        "nothing temporary is left"
    );
    assert!(
        output(&["healthcheck", "--dir", &shared_text])
            .status
            .success()
    );

    served.signal("TERM");
    assert!(served.ends().success());
    assert_eq!(
        output(&["healthcheck", "--dir", &shared_text])
            .status
            .code(),
        Some(1)
    );
    let mut log = String::new();
    served
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(
            entry["timestamp"].is_string()
                && entry["level"].is_string()
                && entry["message"].is_string(),
            "{line}"
        );
    }
    assert!(log.contains("serving Kong") && log.contains("stopped"));
}

#[test]
fn a_second_server_takes_over_while_the_first_drains() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Served::start(dir.path(), |_| {});
    let mut second = program();
    second
        .arg("serve")
        .arg("--dir")
        .arg(dir.path())
        .stderr(Stdio::piped());
    let mut second = Served(second.spawn().unwrap());
    let mut log = BufReader::new(second.0.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("serving Kong"), "{line}");
    first.signal("TERM");
    assert!(first.ends().success());
    assert!(
        output(&["healthcheck", "--dir", dir.path().to_str().unwrap()])
            .status
            .success()
    );
    second.signal("INT");
    assert!(second.ends().success());
}

#[test]
fn a_closed_stderr_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), |command| {
        command.env("LLM_PLUGIN_SERVER_LOG_LEVEL", "trace");
    });
    drop(served.0.stderr.take());
    for _ in 0..3 {
        assert!(
            output(&["healthcheck", "--dir", dir.path().to_str().unwrap()])
                .status
                .success()
        );
    }
    served.signal("TERM");
    assert!(served.ends().success());
}

#[test]
fn the_admin_listener_shows_health_and_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(dir.path(), |command| {
        command.args(["--admin-listen", "127.0.0.1:0"]);
    });
    let mut log = BufReader::new(served.0.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let entry: Value = serde_json::from_str(&line).unwrap();
    let address = entry["address"].as_str().unwrap().to_owned();
    assert!(get(&address, "/healthz").ends_with("ok\n"));
    until("it is ready", || {
        get(&address, "/readyz").starts_with("HTTP/1.1 200")
    });
    let metrics = get(&address, "/metrics");
    assert!(metrics.contains("\nkong_pdk_events_total 0\n"), "{metrics}");
    assert!(
        metrics.contains("\nllm_jwt_requests_total{outcome=\"granted\"} 0\n"),
        "{metrics}"
    );
    assert!(get(&address, "/nothing").starts_with("HTTP/1.1 404"));
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_flag_wins_over_its_variable_which_wins_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    fs::write(
        &file,
        "[log]\nlevel = \"error\"\nformat = \"text\"\n\n[events]\nworker_threads = 3\ndeadline_ms = 1\ndrain_ms = 1\n",
    )
    .unwrap();
    let output = program()
        .args([
            "check-config",
            "--config",
            file.to_str().unwrap(),
            "--deadline-ms",
            "3",
        ])
        .env("LLM_PLUGIN_SERVER_DEADLINE_MS", "2")
        .env("LLM_PLUGIN_SERVER_DRAIN_MS", "2")
        .output()
        .unwrap();
    let expected = "[log]\nlevel = \"error\"\nformat = \"text\"\n\n[admin]\nconsumer_label = false\n\n[events]\nworker_threads = 3\nmax_concurrency = 4096\ndeadline_ms = 3\ndrain_ms = 2\n";
    assert_eq!(stdout(&output), expected);
    fs::write(&file, stdout(&output)).unwrap();
    let again = program()
        .args(["check-config", "--config", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(
        stdout(&again),
        expected,
        "what it prints is a configuration file"
    );
}

#[test]
fn what_is_kept_and_told_is_shown_and_the_secret_is_not() {
    let output = program()
        .args(["check-config", "--state-file", "/var/lib/llm/state"])
        .env("LLM_PLUGIN_SERVER_WEBHOOK_URL", "https://alerts.example/a")
        .env(
            "LLM_PLUGIN_SERVER_WEBHOOK_SECRET",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
        .output()
        .unwrap();
    let shown = stdout(&output);
    let expected = "\n[store]\nstate_file = \"/var/lib/llm/state\"\n\n\
                    [webhook]\nurl = \"https://alerts.example/a\"\ntimeout_ms = 5000\n";
    assert!(shown.ends_with(expected), "{shown}");
}

#[test]
fn a_configuration_that_cannot_work_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    for (text, problem) in [
        ("[log]\nlevle = \"info\"\n", "unknown field `levle`"),
        ("[log]\nlevel = \"=,\"\n", "log.level"),
        (
            "[admin]\nlisten = \"0.0.0.0:9000\"\n",
            "admin.listen: an address that other machines reach needs a token",
        ),
        ("[events]\nworker_threads = 0\n", "events.worker_threads"),
        ("[events]\nmax_concurrency = 0\n", "events.max_concurrency"),
        ("[events]\ndeadline_ms = 60000\n", "events.deadline_ms"),
        ("[store]\nstate_file = \"/\"\n", "store.state_file"),
        (
            "[webhook]\nurl = \"http://10.0.0.1/\"\n",
            "webhook.url: plain http is for loopback alone",
        ),
        (
            "[tracing]\nendpoint = \"127.0.0.1:4317\"\n",
            "tracing.endpoint",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let output = output(&["check-config", "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            message.starts_with("error: ") && message.contains(problem),
            "{message}"
        );
    }
    let absent = output(&["check-config", "--config", "/nonexistent/server.toml"]);
    assert_eq!(absent.status.code(), Some(1));
}
