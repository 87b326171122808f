//! Carries a plan out on a node with a database: one graph, no barriers, as many calls at once as the node bears.
//!
//! # Failure
//!
//! A change that Kong refuses is reported with Kong's words; what needs it is skipped, the rest goes on, but nothing is deleted
//! any more. What is tried again is tried by a call that says where the node is to arrive (`PUT`, `PATCH` of every field, `DELETE`): for
//! what was to be created by `POST` too, but for a target, which is tried again only if its `POST` never arrived. A pause that the node asks for holds for all calls. Three calls in a row that fail for no fault of theirs end the
//! run. What was sent and not answered is looked up in the end: done, not done, or, if the node is gone, unknown.
//!
//! On an interrupt nothing new is started, calls in flight are waited for, and the report says what was done. A second interrupt
//! gives up the calls in flight: what became of their changes is unknown, and the report says so.

mod call;
pub(crate) mod dbless;
mod pace;
pub(crate) mod window;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::admin::client::Client;
use crate::admin::errors::AdminError;
use crate::admin::schema::Schemas;
use crate::output::redact;
use crate::plan::compare::compare;
use crate::plan::{Action, Change, Plan};

pub(crate) use call::path_of;

use call::Call;
use pace::Pace;

/// What became of one change.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// Kong refused, or never got the call.
    Failed(AdminError),
    /// Something that it needs failed, or something failed and it is a deletion.
    Skipped,
    /// An interrupt came first, or the node was given up.
    NotStarted,
    /// Sent, and no answer came, for this reason or because of a second interrupt: done or not.
    Unknown(Option<AdminError>),
}

/// What became of each change of a plan, in the plan's order.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) interrupted: bool,
    /// The node failed so often that the rest was not tried.
    pub(crate) gave_up: bool,
    /// What went wrong with all of them, where no single change is to blame.
    pub(crate) error: Option<AdminError>,
}

impl Report {
    /// Of a plan without changes.
    pub(crate) fn empty() -> Self {
        Self {
            outcomes: Vec::new(),
            interrupted: false,
            gave_up: false,
            error: None,
        }
    }

    /// True if the node is now as planned.
    pub(crate) fn is_complete(&self) -> bool {
        let done = |outcome| matches!(outcome, &Outcome::Done);
        self.error.is_none() && self.outcomes.iter().all(done)
    }
}

/// Carries out `plan`, telling `told` of each change that came to an end. After the first of the `interrupts` nothing is started,
/// after the second nothing is waited for.
pub(crate) async fn run(
    client: &Client,
    plan: &Plan,
    schemas: &Schemas,
    max_parallel: usize,
    interrupts: impl Stream<Item = ()>,
    told: &mut dyn FnMut(usize, &Outcome),
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
    let pace = Pace::new(max_parallel);
    let mut running = FuturesUnordered::new();
    let mut failed = false;
    let mut interrupted = false;
    let mut abandoned = false;
    let mut gave_up = false;
    tokio::pin!(interrupts);
    loop {
        while !pace.is_stopped() && running.len() < pace.size() {
            let Some(Reverse(index)) = ready.pop() else {
                break;
            };
            if failed && plan.changes[index].action == Action::Delete {
                skip(index, &waiters, &mut outcomes);
                continue;
            }
            // Until the answer is there.
            outcomes[index] = Some(Outcome::Unknown(None));
            let (pace, change) = (&pace, &plan.changes[index]);
            running.push(async move { (index, write(client, change, pace).await) });
        }
        if running.is_empty() {
            break;
        }
        tokio::select! {
            Some(()) = interrupts.next() => {
                if interrupted {
                    abandoned = true;
                    break;
                }
                interrupted = true;
                pace.stop();
            }
            Some((index, outcome)) = running.next() => {
                match outcome {
                    Outcome::Done => for waiter in &waiters[index] {
                        waiting[*waiter] -= 1;
                        if waiting[*waiter] == 0 && outcomes[*waiter].is_none() {
                            ready.push(Reverse(*waiter));
                        }
                    },
                    Outcome::Failed(_) | Outcome::Unknown(_) => {
                        failed = true;
                        for waiter in &waiters[index] {
                            skip(*waiter, &waiters, &mut outcomes);
                        }
                    }
                    Outcome::Skipped | Outcome::NotStarted => {}
                }
                let outcome = outcome.without(&secrets_of(&plan.changes[index], schemas));
                if outcome.blames_the_node() && !interrupted && pace.is_hopeless() {
                    gave_up = true;
                    pace.stop();
                }
                told(index, &outcome);
                outcomes[index] = Some(outcome);
            },
        }
    }
    drop(running);
    if !abandoned {
        settle(client, plan, schemas, &mut outcomes, told).await;
    }
    let outcomes = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or(Outcome::NotStarted))
        .collect();
    Report {
        outcomes,
        interrupted,
        gave_up,
        error: None,
    }
}

impl Outcome {
    fn without(self, secrets: &[String]) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error.without(secrets)),
            Self::Unknown(Some(error)) => Self::Unknown(Some(error.without(secrets))),
            other => other,
        }
    }

    /// What failed says nothing of the change, but of the node.
    fn blames_the_node(&self) -> bool {
        match self {
            Self::Failed(error) | Self::Unknown(Some(error)) => error.is_overload(),
            _ => false,
        }
    }
}

/// Looks up what was sent and not answered. The first lookup that fails ends it: the node is gone.
async fn settle(
    client: &Client,
    plan: &Plan,
    schemas: &Schemas,
    outcomes: &mut [Option<Outcome>],
    told: &mut dyn FnMut(usize, &Outcome),
) {
    for (index, slot) in outcomes.iter_mut().enumerate() {
        let Some(Outcome::Unknown(Some(_))) = slot else {
            continue;
        };
        let change = &plan.changes[index];
        let Ok(found) = client.find_once(&path_of(change)).await else {
            return;
        };
        let found = found
            .as_ref()
            .and_then(Value::as_object)
            .filter(|found| found.get("id").and_then(Value::as_str) == Some(&change.id));
        let as_planned = match (&change.after, found) {
            (None, None) => true,
            (Some(after), Some(found)) => {
                compare(change.kind, after, found, schemas, false).is_empty()
            }
            _ => false,
        };
        let Some(Outcome::Unknown(Some(error))) = slot.take() else {
            unreachable!("it was just seen to be unknown")
        };
        let outcome = if as_planned {
            Outcome::Done
        } else {
            Outcome::Failed(error)
        };
        told(index, &outcome);
        *slot = Some(outcome);
    }
}

/// What a change's error may not repeat.
fn secrets_of(change: &Change, schemas: &Schemas) -> Vec<String> {
    let bodies = change.before.iter().chain(&change.after);
    let mut secrets: Vec<String> = bodies
        .flat_map(|body| redact::secrets(change.kind, body, schemas))
        .collect();
    if let Some(after) = change.after.clone().filter(|_| !change.hidden.is_empty()) {
        let after = Value::Object(after);
        for value in change
            .hidden
            .iter()
            .filter_map(|pointer| after.pointer(pointer))
        {
            redact::texts(value, &mut secrets);
        }
    }
    secrets
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

/// Writes a change, again and again where that is safe and promising.
async fn write(client: &Client, change: &Change, pace: &Pace) -> Outcome {
    let mut call = Call::first(change);
    let policy = client.retry_policy();
    let mut retry = 0;
    let mut last: Option<(AdminError, bool)> = None;
    loop {
        if !pace.admits().await {
            return match last {
                Some((error, unsent)) => ended(error, unsent),
                None => Outcome::NotStarted,
            };
        }
        let began = Instant::now();
        let result = client
            .write_once(call.method.clone(), &call.path, call.body.as_ref())
            .await;
        let failure = match result {
            Ok(()) => {
                pace.succeeded(began.elapsed());
                return Outcome::Done;
            }
            // Nothing to delete is as good as deleted.
            Err(failure)
                if call.method == Method::DELETE && failure.error.status() == Some(404) =>
            {
                pace.succeeded(began.elapsed());
                return Outcome::Done;
            }
            Err(failure) => failure,
        };
        if failure.error.is_overload() {
            pace.overloaded(began, policy.wish(failure.retry_after));
        }
        let again = Call::repeatable(change);
        let repeatable = again.method != Method::POST || failure.unsent;
        let pause = policy
            .pause(retry, failure.retry_after)
            .filter(|_| failure.passing && repeatable);
        // An earlier try may have arrived, though the last one did not.
        let unsent = failure.unsent && last.as_ref().is_none_or(|(_, unsent)| *unsent);
        let Some(pause) = pause else {
            return ended(failure.error, unsent);
        };
        retry += 1;
        call = again;
        if !pace.pause(pause).await {
            return ended(failure.error, unsent);
        }
        last = Some((failure.error, unsent));
    }
}

/// How a change ended whose last try failed.
fn ended(error: AdminError, unsent: bool) -> Outcome {
    if error.leaves_doubt() && !unsent {
        Outcome::Unknown(Some(error))
    } else {
        Outcome::Failed(error)
    }
}
