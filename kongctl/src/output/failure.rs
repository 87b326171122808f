//! How a failure is told: the chain of reasons and a hint on standard error, JSON on standard output where that was asked for.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::admin::errors::AdminError;
use crate::journal::JournalError;
use crate::limiter::errors::LimiterError;
use crate::plan::PlanError;
use crate::plan::guard::Forbidden;
use crate::plan::saved::Stale;
use crate::state::diagnostics::InvalidInput;

/// The command was called in a way that it does not understand: exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    pub(crate) message: String,
}

/// A refusal for safety's sake, with the way around it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// The words for standard error.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut out = String::new();
    if let Some(invalid) = error.downcast_ref::<InvalidInput>() {
        let count = invalid.0.len();
        let _ = write!(
            out,
            "{invalid}\nerror: {}; nothing was sent",
            counted(count)
        );
    } else {
        let _ = write!(out, "error: {error}");
        for cause in error.chain().skip(1) {
            let _ = write!(out, "\n  because: {cause}");
        }
    }
    if let Some(rejection) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<AdminError>()?.rejection())
    {
        for (path, message) in &rejection.fields {
            let _ = write!(out, "\n    {path}: {message}");
        }
    }
    if let Some(hint) = hint(error) {
        let _ = write!(out, "\nhint: {hint}");
    }
    out
}

fn counted(mistakes: usize) -> String {
    let s = if mistakes == 1 { "" } else { "s" };
    format!("{mistakes} mistake{s} in the input")
}

/// The same for a program.
pub(crate) fn value(error: &anyhow::Error) -> Value {
    let mut value = json!({
        "message": error.to_string(),
        "causes": error.chain().skip(1).map(ToString::to_string).collect::<Vec<_>>(),
        "hint": hint(error),
    });
    if let Some(invalid) = error.downcast_ref::<InvalidInput>() {
        let mistakes: Vec<Value> = invalid
            .0
            .iter()
            .map(|diagnostic| {
                let place = &diagnostic.place;
                json!({
                    "file": &*place.file,
                    "line": place.line,
                    "column": place.column,
                    "message": diagnostic.message,
                    "help": diagnostic.help,
                })
            })
            .collect();
        value["message"] = json!(counted(mistakes.len()));
        value["mistakes"] = Value::Array(mistakes);
    }
    if let Some(admin) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<AdminError>())
    {
        value["admin_api"] = admin_error_value(admin);
    }
    if let Some(status) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<LimiterError>()?.status())
    {
        value["limiter_api"] = json!({ "status": status });
    }
    json!({ "error": value })
}

/// The same of words that the command line does not know.
pub(crate) fn usage_value(error: &clap::Error) -> Value {
    let text = error.render().to_string();
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message).trim();
    json!({ "error": { "message": message, "causes": [], "hint": "see --help" } })
}

/// What the Admin API said, for a program.
pub(crate) fn admin_error_value(error: &AdminError) -> Value {
    let mut value = json!({ "message": error.to_string() });
    if let Some(rejection) = error.rejection() {
        value["status"] = json!(rejection.status);
        value["code"] = json!(rejection.code);
        value["kong"] = json!(rejection.message);
        value["fields"] = rejection
            .fields
            .iter()
            .map(|(path, message)| json!({"path": path, "message": message}))
            .collect();
    }
    value
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<AdminError>() {
            return error.hint().map(str::to_owned);
        }
        if let Some(error) = cause.downcast_ref::<LimiterError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<PlanError>() {
            return Some(error.hint().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<Stale>() {
            return Some(error.hint().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<Forbidden>() {
            return Some(error.hint().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<JournalError>() {
            return Some(error.hint().to_owned());
        }
        cause
            .downcast_ref::<Refused>()
            .map(|refused| refused.hint.clone())
    })
}
