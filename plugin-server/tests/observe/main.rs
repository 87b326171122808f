//! The dashboard and the alerts of `kong/observe` against the metrics page that a server really has.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may fail as the test may"
)]

mod page;
mod query;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use self::page::Page;
use self::query::{Query, placeholders};

/// What Prometheus knows of every target by itself.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

fn text(path: &str) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(repository.join("kong/observe").join(path)).unwrap()
}

/// A query that is shown or alerted on, and the texts that name its labels.
struct Shown {
    place: String,
    query: String,
    texts: Vec<String>,
}

fn shown() -> Vec<Shown> {
    let string = |value: &Value| value.as_str().unwrap().to_owned();
    let dashboard: Value =
        serde_json::from_str(&text("grafana/dashboards/llm-gateway.json")).unwrap();
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            all.push(Shown {
                place: string(&panel["title"]),
                query: string(&target["expr"]),
                texts: vec![string(&target["legendFormat"])],
            });
        }
    }
    assert!(all.len() > 15, "the dashboard has its panels");
    let rules: Value = serde_saphyr::from_str(&text("alerts.yml")).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let annotations = rule["annotations"].as_object().unwrap();
        all.push(Shown {
            place: string(&rule["alert"]),
            query: string(&rule["expr"]),
            texts: annotations.values().map(string).collect(),
        });
    }
    all
}

/// What is wrong with a query, seen from the page.
fn problems(shown: &Shown, page: &Page) -> Vec<String> {
    let place = &shown.place;
    let query = match Query::parse(&shown.query) {
        Ok(query) => query,
        Err(problem) => return vec![format!("{place}: {problem}")],
    };
    let mut problems = Vec::new();
    for selector in &query.selectors {
        let metric = selector.metric.as_str();
        let has = |label: &str| match metric {
            "up" => TARGET_LABELS.contains(&label),
            _ => page.has_label(metric, label) || TARGET_LABELS.contains(&label),
        };
        if metric != "up" && !page.has(metric) {
            problems.push(format!("{place}: no metric is named {metric}"));
            continue;
        }
        for label in &query.grouped_by {
            if !has(label) {
                problems.push(format!("{place}: {metric} has no label {label}"));
            }
        }
        for (label, value) in &selector.matched {
            // Variables are filled in by Grafana, and targets by Prometheus.
            if value.starts_with('$') || TARGET_LABELS.contains(&label.as_str()) {
                continue;
            }
            if !page.has_value(metric, label, value) {
                problems.push(format!("{place}: {metric} has no {label}=\"{value}\""));
            }
        }
    }
    let known = |label: &str| {
        query.grouped_by.iter().any(|by| by == label)
            || query.grouped_by.is_empty() && TARGET_LABELS.contains(&label)
    };
    for label in shown.texts.iter().flat_map(|text| placeholders(text)) {
        if !known(&label) {
            problems.push(format!("{place}: the result has no label {label}"));
        }
    }
    problems
}

#[tokio::test]
async fn every_query_uses_metrics_and_labels_that_the_page_has() {
    let page = Page::of_a_server_in_use().await;
    let problems: Vec<String> = shown()
        .iter()
        .flat_map(|shown| problems(shown, &page))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[tokio::test]
async fn every_metric_is_on_the_dashboard_or_in_an_alert() {
    let page = Page::of_a_server_in_use().await;
    let asked: BTreeSet<String> = shown()
        .iter()
        .flat_map(|shown| Query::parse(&shown.query).unwrap().selectors)
        .map(|selector| selector.metric)
        .collect();
    let forgotten: Vec<&str> = page.names().filter(|name| !asked.contains(*name)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[tokio::test]
async fn the_dashboard_s_variable_lists_a_label_that_is_there() {
    let page = Page::of_a_server_in_use().await;
    let dashboard: Value =
        serde_json::from_str(&text("grafana/dashboards/llm-gateway.json")).unwrap();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"]["query"].as_str().unwrap();
        let (metric, label) = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.split_once(", "))
            .unwrap();
        assert!(page.has_label(metric, label), "{query}");
    }
}

#[tokio::test]
async fn what_is_not_on_the_page_is_found_out() {
    let page = Page::of_a_server_in_use().await;
    let found = |query: &str, legend: &str| {
        let shown = Shown {
            place: "panel".to_owned(),
            query: query.to_owned(),
            texts: vec![legend.to_owned()],
        };
        problems(&shown, &page).concat()
    };
    for (query, legend, problem) in [
        (
            "sum(rate(llm_request_total[5m]))",
            "",
            "no metric is named llm_request_total",
        ),
        (
            "sum by (limt) (rate(llm_refusals_total[5m]))",
            "",
            "llm_refusals_total has no label limt",
        ),
        (
            "llm_requests_total{decision=\"refused\"}",
            "",
            "has no decision=\"refused\"",
        ),
        (
            "llm_requests_total{decision=~\"denied|refused\"}",
            "",
            "has no decision=\"refused\"",
        ),
        (
            "sum by (limit) (llm_refusals_total)",
            "{{unit}}",
            "the result has no label unit",
        ),
        (
            "frobnicate(llm_requests_total)",
            "",
            "frobnicate is no function that is known here",
        ),
        ("sum(rate(llm_requests_total[5m])", "", "parentheses"),
        ("llm_requests_total{decision=denied}", "", "a matcher is"),
    ] {
        assert!(
            found(query, legend).contains(problem),
            "{query}: {}",
            found(query, legend)
        );
    }
    assert_eq!(
        found("sum by (limit) (llm_refusals_total)", "{{limit}}"),
        ""
    );
}
