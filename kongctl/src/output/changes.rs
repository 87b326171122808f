//! A plan and its report, for people and for programs. Secrets are taken out here, before anything is written.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use crate::admin::schema::Schemas;
use crate::execute::{Outcome, Report};
use crate::plan::{Action, Change, FieldChange, Plan, Summary};

use super::{Format, Paint, redact};

/// A plan in the format asked for.
pub(crate) fn plan(plan: &Plan, format: Format, paint: Paint, schemas: &Schemas) -> String {
    match format {
        Format::Table => plan_text(plan, paint),
        Format::Name => names(plan),
        Format::Json => super::json(&plan_value(plan, schemas)),
        Format::Yaml => super::yaml::write(&plan_value(plan, schemas)),
    }
}

/// What became of a plan, in the format asked for.
pub(crate) fn report(plan: &Plan, report: &Report, format: Format, paint: Paint) -> String {
    match format {
        Format::Table => report_text(plan, report, paint),
        Format::Name => names(plan),
        Format::Json => super::json(&report_value(plan, report)),
        Format::Yaml => super::yaml::write(&report_value(plan, report)),
    }
}

fn names(plan: &Plan) -> String {
    let lines = plan.changes.iter().map(|change| {
        format!(
            "{}/{}
",
            change.kind.name(),
            change.label
        )
    });
    lines.collect::<Vec<_>>().concat()
}

fn plan_text(plan: &Plan, paint: Paint) -> String {
    let mut out = String::new();
    for change in &plan.changes {
        let line = format!(
            "{} {} {}",
            change.action.name(),
            change.kind.singular(),
            change.label
        );
        let reason = change
            .reason
            .map(|reason| paint.dim(&format!("  ({reason})")))
            .unwrap_or_default();
        let line = match change.action {
            Action::Create => paint.green(&format!("+ {line}")),
            Action::Update => paint.yellow(&format!("~ {line}")),
            Action::Delete => paint.red(&format!("- {line}")),
        };
        let _ = writeln!(out, "{line}{reason}");
        for field in &change.fields {
            field_text(&mut out, field, paint);
        }
    }
    if !plan.changes.is_empty() {
        out.push('\n');
    }
    let Summary {
        create,
        update,
        delete,
        unchanged,
    } = plan.summary();
    if plan.is_empty() {
        let _ = writeln!(out, "No changes: {} as the files say.", entities(unchanged));
    } else {
        let _ = writeln!(
            out,
            "{create} to create, {update} to update, {delete} to delete, {unchanged} unchanged."
        );
    }
    out
}

/// `1 entity`, `2 entities`.
pub(crate) fn entities(count: usize) -> String {
    format!("{count} {}", if count == 1 { "entity" } else { "entities" })
}

fn field_text(out: &mut String, field: &FieldChange, paint: Paint) {
    let (before, after) = shown(field);
    if let (Value::String(before), Value::String(after)) = (&before, &after)
        && !field.secret
        && (before.contains('\n') || after.contains('\n'))
    {
        let _ = writeln!(out, "    {}:", field.path);
        lines(out, before, after, paint);
        return;
    }
    let _ = writeln!(
        out,
        "    {}: {} → {}",
        field.path,
        paint.red(&inline(&before)),
        paint.green(&inline(&after))
    );
}

/// Only the lines that differ.
fn lines(out: &mut String, before: &str, after: &str, paint: Paint) {
    for change in TextDiff::from_lines(before, after).iter_all_changes() {
        let text = change.value().trim_end_matches('\n');
        let line = match change.tag() {
            ChangeTag::Delete => paint.red(&format!("- {text}")),
            ChangeTag::Insert => paint.green(&format!("+ {text}")),
            ChangeTag::Equal => continue,
        };
        let _ = writeln!(out, "      {line}");
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text == redact::REDACTED => text.clone(),
        other => other.to_string(),
    }
}

fn shown(field: &FieldChange) -> (Value, Value) {
    let value = |value: &Option<Value>| {
        let value = value.clone().unwrap_or(Value::Null);
        if field.secret {
            redact::value(&value)
        } else {
            value
        }
    };
    (value(&field.before), value(&field.after))
}

fn plan_value(plan: &Plan, schemas: &Schemas) -> Value {
    let changes: Vec<Value> = plan
        .changes
        .iter()
        .map(|change| {
            let mut value = head(change);
            if let Some(reason) = change.reason {
                value.insert("reason".to_owned(), json!(reason));
            }
            match change.action {
                Action::Update => {
                    let fields: Vec<Value> = change
                        .fields
                        .iter()
                        .map(|field| {
                            let (before, after) = shown(field);
                            json!({"path": field.path, "before": before, "after": after})
                        })
                        .collect();
                    value.insert("fields".to_owned(), Value::Array(fields));
                }
                Action::Create => {
                    let body = redact::body(
                        change.kind,
                        change.after.as_ref().unwrap_or(&Map::new()),
                        schemas,
                    );
                    value.insert("entity".to_owned(), Value::Object(body));
                }
                Action::Delete => {}
            }
            Value::Object(value)
        })
        .collect();
    json!({"changes": changes, "summary": summary(plan.summary())})
}

fn summary(summary: Summary) -> Value {
    json!({
        "create": summary.create, "update": summary.update, "delete": summary.delete, "unchanged": summary.unchanged
    })
}

fn head(change: &Change) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("action".to_owned(), json!(change.action.name()));
    value.insert("kind".to_owned(), json!(change.kind.name()));
    value.insert("name".to_owned(), json!(change.label));
    value.insert("id".to_owned(), json!(change.id));
    value
}

/// How many changes ended how.
#[derive(Default)]
struct Tally {
    done: usize,
    failed: usize,
    not_done: usize,
    unknown: usize,
}

fn tally(report: &Report) -> Tally {
    let mut tally = Tally::default();
    for outcome in &report.outcomes {
        *match outcome {
            Outcome::Done => &mut tally.done,
            Outcome::Failed(_) => &mut tally.failed,
            Outcome::Skipped | Outcome::NotStarted => &mut tally.not_done,
            Outcome::Unknown => &mut tally.unknown,
        } += 1;
    }
    tally
}

fn report_text(plan: &Plan, report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    for (change, outcome) in plan.changes.iter().zip(&report.outcomes) {
        let what = format!("{} {}", change.kind.singular(), change.label);
        match outcome {
            Outcome::Done => {
                let done = match change.action {
                    Action::Create => paint.green("created"),
                    Action::Update => paint.yellow("updated"),
                    Action::Delete => paint.red("deleted"),
                };
                let _ = writeln!(out, "{done} {what}");
            }
            Outcome::Failed(error) => {
                let _ = writeln!(
                    out,
                    "{} {} {what}: {error}",
                    paint.red("FAILED"),
                    change.action.name()
                );
                for (path, message) in error
                    .rejection()
                    .map(|rejection| rejection.fields.as_slice())
                    .unwrap_or_default()
                {
                    let _ = writeln!(out, "    {path}: {message}");
                }
            }
            Outcome::Skipped => {
                let _ = writeln!(
                    out,
                    "{} {} {what}",
                    paint.dim("not done:"),
                    change.action.name()
                );
            }
            Outcome::NotStarted => {
                let _ = writeln!(
                    out,
                    "{} {} {what}",
                    paint.dim("not started:"),
                    change.action.name()
                );
            }
            Outcome::Unknown => {
                let _ = writeln!(
                    out,
                    "{} {} {what}",
                    paint.yellow("no answer yet:"),
                    change.action.name()
                );
            }
        }
    }
    if plan.is_empty() {
        let _ = writeln!(
            out,
            "No changes: {} as the files say.",
            entities(plan.unchanged)
        );
        return out;
    }
    let Tally {
        done,
        failed,
        not_done,
        unknown,
    } = tally(report);
    let _ = write!(out, "\n{done} done");
    if failed + not_done + unknown > 0 {
        let _ = write!(out, ", {failed} failed, {not_done} not done");
    }
    if unknown > 0 {
        let _ = write!(out, ", {unknown} unknown");
    }
    let _ = writeln!(out, ", {} unchanged.", plan.unchanged);
    out
}

fn report_value(plan: &Plan, report: &Report) -> Value {
    let results: Vec<Value> = plan
        .changes
        .iter()
        .zip(&report.outcomes)
        .map(|(change, outcome)| {
            let mut value = head(change);
            let status = match outcome {
                Outcome::Done => "done",
                Outcome::Failed(_) => "failed",
                Outcome::Skipped => "skipped",
                Outcome::NotStarted => "not_started",
                Outcome::Unknown => "unknown",
            };
            value.insert("status".to_owned(), json!(status));
            if let Outcome::Failed(error) = outcome {
                value.insert("error".to_owned(), super::failure::admin_error_value(error));
            }
            Value::Object(value)
        })
        .collect();
    let tally = tally(report);
    let mut value = json!({
        "results": results,
        "summary": {
            "done": tally.done,
            "failed": tally.failed,
            "not_done": tally.not_done,
            "unknown": tally.unknown,
            "unchanged": plan.unchanged,
        },
        "interrupted": report.interrupted,
    });
    if let Some(error) = &report.error {
        value["error"] = super::failure::admin_error_value(error);
    }
    value
}
