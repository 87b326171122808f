//! Spans as a collector on loopback receives them.

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;

use super::*;
use crate::jwt::outcomes::Outcome;

const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const KONG: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

struct FakeCollector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for FakeCollector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> (
    SocketAddr,
    mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(FakeCollector(sender)))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    (address, received)
}

fn config(address: SocketAddr) -> TracingConfig {
    TracingConfig {
        endpoint: format!("http://{address}"),
        service_name: "gateway-limits".to_owned(),
        sample_ratio: 1.0,
    }
}

/// What arrives of what `work` does.
async fn spans(work: impl FnOnce(&Telemetry)) -> Vec<Span> {
    let (address, mut received) = collector().await;
    let telemetry = Telemetry::to(&config(address)).unwrap();
    work(&telemetry);
    telemetry.stop().await;
    let mut spans = Vec::new();
    while let Ok(request) = received.try_recv() {
        for resource in request.resource_spans {
            let names = resource.resource.unwrap().attributes;
            let service = names.iter().find(|name| name.key == "service.name");
            assert_eq!(
                service.unwrap().value.clone().unwrap().value,
                Some(Value::StringValue("gateway-limits".to_owned()))
            );
            spans.extend(
                resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans),
            );
        }
    }
    spans
}

/// The attributes as text, in order.
fn attributes(span: &Span) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let mut attributes: Vec<String> = span
        .attributes
        .iter()
        .map(|attribute| {
            let value = attribute
                .value
                .as_ref()
                .and_then(|value| value.value.as_ref());
            format!("{}={}", attribute.key, text(value.unwrap()))
        })
        .collect();
    attributes.sort();
    attributes
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn admit(telemetry: &Telemetry, traceparent: Option<&str>) -> String {
    let mut access = telemetry.access();
    access.joins(traceparent);
    access.model("gpt-4o");
    access.decided(Decision::Granted, None);
    access.carry().unwrap()
}

fn settle(telemetry: &Telemetry, carried: &str, traceparent: Option<&str>) {
    let mut settlement = telemetry.settlement();
    settlement.joins(Some(carried), traceparent);
    settlement.settled(Settled {
        tokens: Some((12, 30)),
        source: "provider",
        status: 200,
    });
}

#[tokio::test]
async fn both_spans_of_an_admitted_request_join_the_trace_that_kong_propagates() {
    let spans = spans(|telemetry| {
        let carried = admit(telemetry, Some(CLIENT));
        settle(telemetry, &carried, Some(KONG));
    })
    .await;
    let [access, log] = &spans[..] else {
        panic!("{spans:?}");
    };
    for span in [access, log] {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
        assert!(span.start_time_unix_nano > 0);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    assert!(access.end_time_unix_nano <= log.start_time_unix_nano);
    assert_eq!(access.name, "llm-rate-limiting access");
    assert_eq!(
        attributes(access),
        ["gen_ai.request.model=gpt-4o", "llm.limit.decision=granted"]
    );
    assert_eq!(log.name, "llm-rate-limiting log");
    assert_eq!(
        attributes(log),
        [
            "gen_ai.request.model=gpt-4o",
            "gen_ai.usage.input_tokens=12",
            "gen_ai.usage.output_tokens=30",
            "http.response.status_code=200",
            "llm.usage.source=provider"
        ]
    );
}

#[tokio::test]
async fn a_refusal_is_exported_at_once_under_the_client_s_span() {
    let spans = spans(|telemetry| {
        let mut access = telemetry.access();
        access.joins(Some(CLIENT));
        access.decided(Decision::Denied, Some("per-minute"));
    })
    .await;
    let [access] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(hex(&access.trace_id), TRACE);
    assert_eq!(hex(&access.parent_span_id), "b7ad6b7169203331");
    assert_eq!(
        attributes(access),
        ["llm.limit.decision=denied", "llm.limit.name=per-minute"]
    );
    let status = access.status.as_ref().map(|status| status.code);
    assert_ne!(status, Some(StatusCode::Error as i32));
}

#[tokio::test]
async fn without_a_trace_the_decision_starts_one_and_the_settlement_follows_it() {
    for absent in [None, Some("00-zz-not-a-parent"), Some("é")] {
        let spans = spans(|telemetry| {
            let carried = admit(telemetry, absent);
            settle(telemetry, &carried, absent);
        })
        .await;
        let [access, log] = &spans[..] else {
            panic!("{spans:?}");
        };
        assert!(access.parent_span_id.is_empty());
        assert_eq!(log.parent_span_id, access.span_id);
        assert_eq!(log.trace_id, access.trace_id);
    }
}

#[tokio::test]
async fn a_request_that_nothing_was_decided_about_is_an_error() {
    let spans = spans(|telemetry| drop(telemetry.access())).await;
    let [access] = &spans[..] else {
        panic!("{spans:?}");
    };
    let status = access.status.as_ref().unwrap();
    assert_eq!(status.code, StatusCode::Error as i32);
}

#[tokio::test]
async fn a_trace_that_others_do_not_keep_is_not_kept_here() {
    let spans = spans(|telemetry| {
        let carried = admit(telemetry, Some(NOT_SAMPLED));
        settle(telemetry, &carried, Some(NOT_SAMPLED));
        drop(telemetry.settlement());
        judge(telemetry, Some(NOT_SAMPLED), Outcome::Granted);
    })
    .await;
    assert!(spans.is_empty(), "{spans:?}");
}

#[tokio::test]
async fn a_record_that_is_not_ours_and_a_long_model_do_no_harm() {
    let spans = spans(|telemetry| {
        settle(telemetry, "{\"started_ns\":-1}", Some(KONG));
        let mut access = telemetry.access();
        access.model(&"é".repeat(1000));
        access.decided(Decision::NeverPasses, Some("day"));
    })
    .await;
    let [log, access] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(log.name, "llm-rate-limiting log");
    assert!(attributes(access)[0].len() <= "gen_ai.request.model=".len() + 128);
}

/// A token's judgement, and what is left of it for another plugin.
fn judge(telemetry: &Telemetry, traceparent: Option<&str>, outcome: Outcome) -> Option<String> {
    let mut span = telemetry.token();
    span.joins(traceparent.map(str::as_bytes));
    span.decided(outcome);
    (outcome == Outcome::Granted)
        .then(|| span.carry())
        .flatten()
}

#[tokio::test]
async fn a_token_s_span_under_the_client_s_is_exported_at_once_whatever_its_outcome() {
    for outcome in [Outcome::Granted, Outcome::Invalid] {
        let spans = spans(|telemetry| {
            assert_eq!(judge(telemetry, Some(CLIENT), outcome), None);
        })
        .await;
        let [token] = &spans[..] else {
            panic!("{spans:?}");
        };
        assert_eq!(token.name, "llm-jwt access");
        assert_eq!(hex(&token.trace_id), TRACE);
        assert_eq!(hex(&token.parent_span_id), "b7ad6b7169203331");
        assert_eq!(
            attributes(token),
            [format!("llm.jwt.outcome={}", outcome.label())]
        );
        let status = token.status.as_ref().map(|status| status.code);
        assert_ne!(status, Some(StatusCode::Error as i32));
    }
}

#[tokio::test]
async fn a_token_s_span_without_a_client_s_joins_the_trace_that_kong_propagates() {
    let spans = spans(|telemetry| {
        let left = judge(telemetry, None, Outcome::Granted).unwrap();
        let mut access = telemetry.access();
        access.joins(None);
        access.follows(Some(&left));
        access.decided(Decision::Granted, None);
        let carried = access.carry().unwrap();
        settle(telemetry, &carried, Some(KONG));
    })
    .await;
    let [token, access, log] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(
        [&token.name, &access.name, &log.name],
        [
            "llm-jwt access",
            "llm-rate-limiting access",
            "llm-rate-limiting log"
        ]
    );
    for span in [token, access, log] {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    }
    assert!(token.end_time_unix_nano <= access.start_time_unix_nano);
}

#[tokio::test]
async fn without_any_trace_the_token_s_span_starts_one_and_the_decision_follows_it() {
    let spans = spans(|telemetry| {
        let left = judge(telemetry, None, Outcome::Granted).unwrap();
        let mut access = telemetry.access();
        access.follows(Some(&left));
        access.decided(Decision::Denied, Some("per-minute"));
        drop(access);
        judge(telemetry, None, Outcome::Missing);
    })
    .await;
    let [token, access, refused] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert!(token.parent_span_id.is_empty());
    assert_eq!(access.parent_span_id, token.span_id);
    assert_eq!(access.trace_id, token.trace_id);
    assert_ne!(refused.trace_id, token.trace_id);
}

#[tokio::test]
async fn a_token_s_span_that_nobody_takes_along_starts_a_trace() {
    let (address, mut received) = collector().await;
    let grace = Duration::from_millis(20);
    let telemetry = Telemetry::waiting_for(grace, &config(address)).unwrap();
    let left = judge(&telemetry, None, Outcome::Granted).unwrap();
    let request = received.recv().await.unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.name, "llm-jwt access");
    assert!(span.parent_span_id.is_empty());

    // Whoever comes too late for it does not export it again.
    let mut access = telemetry.access();
    access.follows(Some(&left));
    access.decided(Decision::Denied, None);
    drop(access);
    telemetry.stop().await;
    let request = received.recv().await.unwrap();
    let [span] = &request.resource_spans[0].scope_spans[0].spans[..] else {
        panic!("{request:?}");
    };
    assert_eq!(span.name, "llm-rate-limiting access");
}

#[tokio::test]
async fn a_stop_exports_the_spans_that_wait() {
    let spans = spans(|telemetry| {
        judge(telemetry, None, Outcome::Granted).unwrap();
    })
    .await;
    assert_eq!(spans.len(), 1);
}

#[tokio::test]
async fn a_token_that_nothing_was_decided_about_is_an_error() {
    let spans = spans(|telemetry| drop(telemetry.token())).await;
    let [token] = &spans[..] else {
        panic!("{spans:?}");
    };
    let status = token.status.as_ref().unwrap();
    assert_eq!(status.code, StatusCode::Error as i32);
}

/// Lines that this process logs while a test runs, as text.
#[derive(Clone, Default)]
struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An exporter that fails as told.
#[derive(Debug)]
struct Failing<'a>(&'a std::sync::atomic::AtomicBool);

impl opentelemetry_sdk::trace::SpanExporter for Failing<'static> {
    async fn export(
        &self,
        _: Vec<opentelemetry_sdk::trace::SpanData>,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        if self.0.load(std::sync::atomic::Ordering::Relaxed) {
            let away = "connection refused".to_owned();
            return Err(opentelemetry_sdk::error::OTelSdkError::InternalFailure(
                away,
            ));
        }
        Ok(())
    }
}

#[test]
fn a_collector_that_is_away_is_one_warning_until_it_is_back() {
    use opentelemetry_sdk::trace::SpanExporter as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    static AWAY: AtomicBool = AtomicBool::new(false);
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(log, || {
        let exporter = Announced::new(Failing(&AWAY));
        for away in [false, true, true, true, false, false, true] {
            AWAY.store(away, Ordering::Relaxed);
            let result = futures_util::FutureExt::now_or_never(exporter.export(Vec::new()));
            assert_eq!(result.unwrap().is_err(), away);
        }
    });
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    let told: Vec<&str> = text
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(told, ["WARN", "INFO", "WARN"], "{text}");
}

#[tokio::test]
async fn no_request_waits_for_a_collector_that_is_away_or_mute() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = refusing.local_addr().unwrap();
    drop(refusing);
    // It accepts, and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [refused, mute.local_addr().unwrap()] {
        let telemetry = Telemetry::to(&config(address)).unwrap();
        let started = std::time::Instant::now();
        // Four times as many spans as the queue holds: waiting for room would take over a minute.
        for _ in 0..2 * QUEUE {
            let carried = admit(&telemetry, Some(CLIENT));
            settle(&telemetry, &carried, Some(KONG));
        }
        let took = started.elapsed();
        assert!(took.as_secs() < 30, "{took:?}: something waited");
        // Sending all of the queue in vain would take 24 s.
        let stopping = std::time::Instant::now();
        telemetry.stop().await;
        let took = stopping.elapsed();
        assert!(took.as_secs() < 12, "{took:?}: the stop waited too long");
    }
}

#[test]
fn without_a_collector_nothing_is_recorded() {
    let off = Telemetry::off();
    assert!(!off.is_on());
    let mut access = off.access();
    access.joins(Some(CLIENT));
    assert_eq!(access.carry(), None);
    assert_eq!(off.token().carry(), None);
}
