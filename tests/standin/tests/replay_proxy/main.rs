//! Replays 58 requests that a real Kong 3.9.1 served: same status, route, headers, upstream's view and error body.
//!
//! What cannot be the same is told by its form: ports, the ids of requests and of a credential, dates, latencies.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what was not expected is a failure"
)]

mod upstream;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kong_standin::{Config, Standin};
use serde_json::{Value, json};
use upstream::Upstream;

const RECORDING: &str = include_str!("../fixtures/proxy.jsonl");
const CONFIGURATION: &str = include_str!("../fixtures/proxy.kong.yml");

/// Requests that are not compared in full, and why.
const EXCEPTIONS: [(u64, Leniency, &str); 2] = [
    (
        54,
        Leniency::WhichTarget,
        "Kong starts its round at random: the two targets must alternate",
    ),
    (
        55,
        Leniency::WhichTarget,
        "the stand-in hashes otherwise: all requests must reach one target",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leniency {
    WhichTarget,
}

/// The ports of this run, in the place of the recorded ones.
#[derive(Debug, Clone, Copy)]
struct Ports {
    first: u16,
    second: u16,
    refusing: u16,
    proxy: u16,
}

impl Ports {
    fn translate(self, text: &str) -> String {
        [
            (47201, self.first),
            (47202, self.second),
            (47299, self.refusing),
            (47300, self.proxy),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (theirs, ours)| {
            text.replace(&theirs.to_string(), &ours.to_string())
        })
    }
}

#[tokio::test]
async fn every_recorded_request_is_answered_alike() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let refusing = refusing_port();
    let mut ports = Ports {
        first: first.port(),
        second: second.port(),
        refusing,
        proxy: 0,
    };
    let configuration = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    std::fs::write(configuration.path(), ports.translate(CONFIGURATION)).unwrap();
    let standin = Standin::start(Config {
        declarative_config: Some(configuration.path().to_owned()),
        allow_debug_header: true,
        ..Config::default()
    })
    .await
    .unwrap();
    ports.proxy = standin.proxy_addr().port();

    let mut differences = String::new();
    let mut compared = 0;
    for line in RECORDING.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let number = recorded["n"].as_u64().unwrap();
        let lenient = EXCEPTIONS
            .iter()
            .find(|(of, ..)| *of == number)
            .map(|(_, leniency, _)| *leniency);
        let expected = recorded["responses"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![recorded["response"].clone()]);
        let mut reached = Vec::new();
        for expected in &expected {
            let answer = send(ports.proxy, &recorded["request"]).await;
            reached.push(answer["body"]["port"].as_u64());
            for difference in compare(expected, &answer, ports, lenient) {
                writeln!(differences, "{number} ({}): {difference}", recorded["note"]).unwrap();
            }
        }
        match number {
            54 => assert!(
                reached.windows(2).all(|two| two[0] != two[1]),
                "round-robin reached {reached:?}"
            ),
            55 => assert!(
                reached.windows(2).all(|two| two[0] == two[1]),
                "hashing reached {reached:?}"
            ),
            _ => {}
        }
        compared += 1;
    }
    assert_eq!(compared, 58);
    assert!(differences.is_empty(), "{differences}");
    standin.shutdown().await;
}

/// A port on which nothing listens.
fn refusing_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Sends a recorded request; the answer has the form of a recorded one.
async fn send(port: u16, recorded: &Value) -> Value {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let body = recorded["body"].as_str().unwrap_or_default().to_owned();
    let mut request = Request::builder()
        .method(recorded["method"].as_str().unwrap())
        .uri(recorded["path"].as_str().unwrap());
    for header in recorded["headers"].as_array().unwrap() {
        request = request.header(header[0].as_str().unwrap(), header[1].as_str().unwrap());
    }
    let response = sender
        .send_request(request.body(Full::<Bytes>::from(body)).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    drop(sender);
    connection.await.unwrap().unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    json!({
        "status": head.status.as_u16(),
        "headers": head.headers.iter().map(|(name, value)| json!([name.as_str(), value.to_str().unwrap()])).collect::<Vec<_>>(),
        "body": serde_json::from_str(&text).unwrap_or(Value::String(text)),
    })
}

fn compare(recorded: &Value, ours: &Value, ports: Ports, lenient: Option<Leniency>) -> Vec<String> {
    let mut differences = Vec::new();
    let mut check = |what: &str, recorded: &Value, ours: &Value| {
        if recorded != ours {
            differences.push(format!("{what}: {ours} instead of {recorded}"));
        }
    };
    check("status", &recorded["status"], &ours["status"]);
    let names: BTreeSet<_> = pairs(&ours["headers"])
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    check("header names", &recorded["header_names"], &json!(names));
    let values = |headers: &Value, name: &str| {
        // Several lines are one list (RFC 9110, section 5.3).
        let lines = pairs(headers)
            .into_iter()
            .filter(|(of, _)| of == name)
            .map(|(_, value)| value);
        let mut values: Vec<_> = lines
            .flat_map(|line| line.split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        values.sort();
        json!(values)
    };
    for (name, _) in pairs(&recorded["headers"]) {
        // The length differs with the digits of a port.
        if name != "content-length" {
            check(
                &name,
                &values(&recorded["headers"], &name),
                &values(&ours["headers"], &name),
            );
        }
    }
    let translated = serde_json::from_str(&ports.translate(&recorded["body"].to_string())).unwrap();
    check(
        "body",
        &normal_body(&translated, lenient),
        &normal_body(&ours["body"], lenient),
    );
    differences
}

/// A body without what differs from run to run.
fn normal_body(body: &Value, lenient: Option<Leniency>) -> Value {
    let mut body = body.clone();
    if let Value::String(text) = &mut body {
        *text = hide_request_id(text);
    }
    if let Some(id) = body.get_mut("request_id") {
        *id = hide_request_id(id.as_str().unwrap()).into();
    }
    if body["headers"].is_array() {
        let mut headers = pairs(&body["headers"]);
        for (name, value) in &mut headers {
            match name.as_str() {
                "x-kong-request-id" => *value = hide_request_id(value),
                "x-credential-identifier" if uuid::Uuid::try_parse(value).is_ok() => {
                    "<uuid>".clone_into(value);
                }
                "host" if lenient == Some(Leniency::WhichTarget) => "<target>".clone_into(value),
                _ => {}
            }
        }
        headers.sort();
        body["headers"] = json!(headers);
        if lenient == Some(Leniency::WhichTarget) {
            body["port"] = Value::Null;
        }
    }
    body
}

/// Header names in small letters, with their values.
fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    headers
        .as_array()
        .into_iter()
        .flatten()
        .map(|pair| (text(&pair[0]).to_lowercase(), text(&pair[1])))
        .collect()
}

fn hide_request_id(text: &str) -> String {
    const HIDDEN: &str = "<32 hex>";
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_hexdigit());
    words
        .map(|word| {
            let digits = word.trim_end_matches(|letter: char| !letter.is_ascii_hexdigit());
            if digits.len() == 32 {
                word.replace(digits, HIDDEN)
            } else {
                word.to_owned()
            }
        })
        .collect()
}
