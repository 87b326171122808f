//! A plan and its report, for people and for programs. Secrets are taken out here, before anything is written.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::admin::schema::Schemas;
use crate::execute::{Outcome, Report};
use crate::plan::{Action, Change, FieldChange, Plan, Reason, Summary};

use super::{Format, Paint, difference, redact};

/// A node's plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) node: &'a str,
    pub(crate) plan: &'a Plan,
    pub(crate) schemas: &'a Schemas,
}

/// What became of a node's plan, and where that is written down.
#[derive(Debug)]
pub(crate) struct Ran<'a> {
    pub(crate) node: &'a str,
    pub(crate) plan: &'a Plan,
    pub(crate) report: Report,
    pub(crate) journal: Option<PathBuf>,
}

/// Plans in the format asked for.
pub(crate) fn plans(plans: &[Planned<'_>], format: Format, paint: Paint) -> String {
    match format {
        Format::Table => by_node(plans, |planned| {
            (planned.node, plan_text(planned.plan, paint))
        }),
        Format::Name => plans.iter().map(|planned| names(planned.plan)).collect(),
        Format::Json | Format::Yaml => structured(plans, format, |planned| {
            (planned.node, plan_value(planned.plan, planned.schemas))
        }),
    }
}

/// What became of plans, in the format asked for.
pub(crate) fn reports(ran: &[Ran<'_>], format: Format, paint: Paint) -> String {
    match format {
        Format::Table => by_node(ran, |ran| {
            (ran.node, report_text(ran.plan, &ran.report, paint))
        }),
        Format::Name => ran.iter().map(|ran| names(ran.plan)).collect(),
        Format::Json | Format::Yaml => structured(ran, format, |ran| (ran.node, report_value(ran))),
    }
}

/// One node's text as it is, several with their addresses.
fn by_node<T>(items: &[T], text: impl Fn(&T) -> (&str, String)) -> String {
    match items {
        [one] => text(one).1,
        several => {
            let texts = several.iter().map(|item| {
                let (node, text) = text(item);
                format!("{node}\n{text}")
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

/// One node's value as it is, several in a list.
fn structured<T>(items: &[T], format: Format, value: impl Fn(&T) -> (&str, Value)) -> String {
    let value = match items {
        [one] => value(one).1,
        several => {
            let nodes = several.iter().map(|item| {
                let (node, mut value) = value(item);
                value["node"] = json!(node);
                value
            });
            json!({ "nodes": nodes.collect::<Vec<_>>() })
        }
    };
    match format {
        Format::Yaml => super::yaml::write(&value),
        _ => super::json(&value),
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
        let line = format!("{} {}", change.action.name(), change.what());
        let reason = paint.dim(&format!("  ({})", why(change)));
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
        out.push_str(&no_changes(unchanged));
    } else {
        let _ = writeln!(
            out,
            "{create} to create, {update} to update, {delete} to delete, {unchanged} unchanged."
        );
    }
    out
}

fn no_changes(unchanged: usize) -> String {
    match unchanged {
        0 => "No changes.\n".to_owned(),
        count => format!("No changes: {} as the files say.\n", entities(count)),
    }
}

/// `1 entity`, `2 entities`.
pub(crate) fn entities(count: usize) -> String {
    format!("{count} {}", if count == 1 { "entity" } else { "entities" })
}

/// Why an entity changes, in words that end a line.
fn why(change: &Change) -> String {
    let place = change
        .source
        .as_ref()
        .map(|place| format!("{}:{}", place.file, place.line));
    match (change.reason, place) {
        (Reason::Missing, Some(place)) => format!("new in {place}"),
        (Reason::Missing, None) => "the node lacks it".to_owned(),
        (Reason::Differs, Some(place)) => format!("as {place} says"),
        (Reason::Differs, None) => "as the files say".to_owned(),
        (Reason::Undeclared, _) => "in no file".to_owned(),
        (Reason::OtherId, Some(place)) => format!("{place} gives it another id"),
        (Reason::OtherId, None) => "the file gives it another id".to_owned(),
        (Reason::GroundMoves, _) => "what it stands on gets another id".to_owned(),
        (Reason::Restored, _) => match change.action {
            Action::Create => "it was there before".to_owned(),
            Action::Update => "as it was before".to_owned(),
            Action::Delete => "it was not there before".to_owned(),
        },
    }
}

fn field_text(out: &mut String, field: &FieldChange, paint: Paint) {
    let (before, after) = shown(field);
    let note = if field.unwritten {
        paint.dim("  (not written: default)")
    } else {
        String::new()
    };
    difference::field(out, &field.path, (&before, &after), &note, paint);
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
            value.insert("reason".to_owned(), json!(why(change)));
            if let Some(place) = &change.source {
                value.insert("source".to_owned(), json!(place));
            }
            match change.action {
                Action::Update => {
                    let fields: Vec<Value> = change
                        .fields
                        .iter()
                        .map(|field| {
                            let (before, after) = shown(field);
                            json!({
                                "path": field.path,
                                "before": before,
                                "after": after,
                                "default": field.unwritten,
                            })
                        })
                        .collect();
                    value.insert("fields".to_owned(), Value::Array(fields));
                }
                Action::Create => {
                    let mut body = redact::body(
                        change.kind,
                        change.after.as_ref().unwrap_or(&Map::new()),
                        schemas,
                    );
                    redact::hide(&mut body, &change.hidden);
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
            Outcome::Unknown(_) => &mut tally.unknown,
        } += 1;
    }
    tally
}

fn report_text(plan: &Plan, report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    for (change, outcome) in plan.changes.iter().zip(&report.outcomes) {
        let what = change.what();
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
                let place = change.source.as_ref();
                let place = place.map(|place| format!(" ({}:{})", place.file, place.line));
                let _ = writeln!(
                    out,
                    "{} {} {what}{}: {error}",
                    paint.red("FAILED"),
                    change.action.name(),
                    place.unwrap_or_default()
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
            Outcome::Unknown(error) => {
                let error = error.as_ref().map(|error| format!(": {error}"));
                let _ = writeln!(
                    out,
                    "{} {} {what}{}",
                    paint.yellow("no answer yet:"),
                    change.action.name(),
                    error.unwrap_or_default()
                );
            }
        }
    }
    if plan.is_empty() {
        return no_changes(plan.unchanged);
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

fn report_value(ran: &Ran<'_>) -> Value {
    let Ran {
        plan,
        report,
        journal,
        ..
    } = ran;
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
                Outcome::Unknown(_) => "unknown",
            };
            value.insert("status".to_owned(), json!(status));
            if let Outcome::Failed(error) | Outcome::Unknown(Some(error)) = outcome {
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
        "gave_up": report.gave_up,
        "journal": journal,
    });
    if let Some(error) = &report.error {
        value["error"] = super::failure::admin_error_value(error);
    }
    value
}
