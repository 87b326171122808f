//! Carries a plan out on a node with a database: one graph, no barriers, as many calls at once as the node bears.
//!
//! # Failure
//!
//! A change that Kong refuses is reported with Kong's words; what needs it is skipped, the rest goes on, but nothing is deleted
//! any more. On an interrupt nothing new is started, calls in flight are waited for, and the report says what was done. A second
//! interrupt gives up the calls in flight: what became of their changes is unknown, and the report says so.

pub(crate) mod dbless;
pub(crate) mod window;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};

use crate::admin::client::Client;
use crate::admin::entities::Kind;
use crate::admin::errors::AdminError;
use crate::admin::schema::{Schemas, Type};
use crate::output::redact;
use crate::plan::{Action, Change, Plan};

use window::Window;

/// What became of one change.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// Kong refused, or did not answer.
    Failed(AdminError),
    /// Something that it needs failed, or something failed and it is a deletion.
    Skipped,
    /// An interrupt came first.
    NotStarted,
    /// Sent, but a second interrupt came before the answer: done or not.
    Unknown,
}

/// What became of each change of a plan, in the plan's order.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) interrupted: bool,
    /// What went wrong with all of them, where no single change is to blame.
    pub(crate) error: Option<AdminError>,
}

impl Report {
    /// True if the node is now as planned.
    pub(crate) fn is_complete(&self) -> bool {
        self.outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Done))
    }
}

/// Carries out `plan`. After the first of the `interrupts` nothing is started, after the second nothing is waited for.
pub(crate) async fn run(
    client: &Client,
    plan: &Plan,
    schemas: &Schemas,
    max_parallel: usize,
    interrupts: impl Stream<Item = ()>,
) -> Report {
    let count = plan.changes.len();
    let mut waiting: Vec<usize> = plan.needs.iter().map(Vec::len).collect();
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, needs) in plan.needs.iter().enumerate() {
        for need in needs {
            waiters[*need].push(index);
        }
    }
    let mut outcomes: Vec<Option<Outcome>> = (0..count).map(|_| None).collect();
    // The plan's order has creations first: they go first where there is a choice.
    let mut ready: BinaryHeap<Reverse<usize>> = (0..count)
        .filter(|index| waiting[*index] == 0)
        .map(Reverse)
        .collect();
    let mut window = Window::new(max_parallel);
    let mut running = FuturesUnordered::new();
    let mut failed = false;
    let mut interrupted = false;
    tokio::pin!(interrupts);
    loop {
        while !interrupted && running.len() < window.size() {
            let Some(Reverse(index)) = ready.pop() else {
                break;
            };
            if failed && plan.changes[index].action == Action::Delete {
                skip(index, &waiters, &mut outcomes);
                continue;
            }
            // Until the answer is there.
            outcomes[index] = Some(Outcome::Unknown);
            running.push(async move {
                let started = Instant::now();
                (
                    index,
                    write(client, &plan.changes[index]).await,
                    started.elapsed(),
                )
            });
        }
        if running.is_empty() {
            break;
        }
        tokio::select! {
            Some(()) = interrupts.next() => {
                if interrupted {
                    break;
                }
                interrupted = true;
            }
            Some((index, result, latency)) = running.next() => match result {
                Ok(()) => {
                    window.succeeded(latency);
                    outcomes[index] = Some(Outcome::Done);
                    for waiter in &waiters[index] {
                        waiting[*waiter] -= 1;
                        if waiting[*waiter] == 0 && outcomes[*waiter].is_none() {
                            ready.push(Reverse(*waiter));
                        }
                    }
                }
                Err(error) => {
                    if error.is_overload() {
                        window.overloaded();
                    }
                    failed = true;
                    let error = error.without(&secrets_of(&plan.changes[index], schemas));
                    outcomes[index] = Some(Outcome::Failed(error));
                    for waiter in &waiters[index] {
                        skip(*waiter, &waiters, &mut outcomes);
                    }
                }
            },
        }
    }
    let outcomes = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or(Outcome::NotStarted))
        .collect();
    Report {
        outcomes,
        interrupted,
        error: None,
    }
}

/// What a change's error may not repeat.
fn secrets_of(change: &Change, schemas: &Schemas) -> Vec<String> {
    let bodies = change.before.iter().chain(&change.after);
    bodies
        .flat_map(|body| redact::secrets(change.kind, body, schemas))
        .collect()
}

/// Marks a change and whatever waits for it.
fn skip(index: usize, waiters: &[Vec<usize>], outcomes: &mut [Option<Outcome>]) {
    let mut stack = vec![index];
    while let Some(index) = stack.pop() {
        if outcomes[index].is_none() {
            outcomes[index] = Some(Outcome::Skipped);
            stack.extend(&waiters[index]);
        }
    }
}

async fn write(client: &Client, change: &Change) -> Result<(), AdminError> {
    let path = path_of(change);
    let Some(after) = &change.after else {
        return client.delete(&path).await;
    };
    let body = Value::Object(after.clone());
    match (change.kind, change.action) {
        // Kong creates no target by PUT.
        (Kind::Target, Action::Create) => {
            let mut body = after.clone();
            body.insert("id".to_owned(), Value::String(change.id.clone()));
            let list = path
                .rsplit_once('/')
                .map_or(path.as_str(), |(list, _)| list);
            client.post(list, &Value::Object(body)).await.map(drop)
        }
        (Kind::Target, Action::Update) => client
            .patch(&path, &all_fields(change.kind, after))
            .await
            .map(drop),
        // The hash of a password would be hashed again: leave it out, which only PATCH can.
        (Kind::BasicAuth, Action::Update) if keeps_password(change) => {
            let mut body = after.clone();
            body.shift_remove("password");
            client
                .patch(&path, &all_fields(change.kind, &body))
                .await
                .map(drop)
        }
        _ => client.put(&path, &body).await.map(drop),
    }
}

fn keeps_password(change: &Change) -> bool {
    !change.fields.iter().any(|field| field.path == "password")
}

/// The path of the changed entity itself.
fn path_of(change: &Change) -> String {
    let spec = change.kind.spec();
    let body = change.after.as_ref().or(change.before.as_ref());
    if let Some((field, segment)) = spec.below {
        let parent = body
            .and_then(|body| crate::state::reference_id(body.get(field)?))
            .unwrap_or_default();
        let parents = change
            .kind
            .references()
            .find(|(name, ..)| *name == field)
            .and_then(|(_, kind, _)| kind.spec().list_path)
            .unwrap_or_default();
        return format!("{parents}/{parent}/{segment}/{}", change.id);
    }
    format!("{}/{}", spec.list_path.unwrap_or(spec.name), change.id)
}

/// A body for PATCH that says every field, as PUT would understand it.
fn all_fields(kind: Kind, body: &Map<String, Value>) -> Value {
    let mut body = body.clone();
    for (name, field) in &kind.record().fields {
        let written = body.contains_key(name)
            || field.auto
            || field.secret
            || matches!(field.ty, Type::Foreign(_));
        if !written {
            body.insert(name.clone(), field.default.clone().unwrap_or(Value::Null));
        }
    }
    Value::Object(body)
}
