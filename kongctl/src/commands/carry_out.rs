//! Plans become changes: guarded, asked for, journalled, carried out node by node, told.

use std::env;

use anyhow::Context as _;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::admin::client::Mode;
use crate::admin::entities::Kind;
use crate::cli::Execution;
use crate::clock;
use crate::execute::{self, Outcome, Report, dbless};
use crate::journal::{self, Fate, Head, Target, Writer};
use crate::output::changes::{self, Ran};
use crate::output::failure::{Refused, UsageError};
use crate::output::progress::Progress;
use crate::output::{self, Format, Paint, Printer};
use crate::plan::guard::Guard;
use crate::plan::{Action, Change};

use super::Exit;
use super::planning::Planned;

/// Who wants the changes, and under which conditions.
pub(super) struct Order<'a> {
    /// The verb that was called.
    pub(super) verb: &'static str,
    pub(super) execution: &'a Execution,
    pub(super) guard: Guard,
}

/// Carries plans out, each on its node, and tells what became of them.
///
/// Of several nodes the first goes first: what it refuses reaches none of the others.
pub(super) async fn carry_out(
    mut nodes: Vec<Planned>,
    order: &Order<'_>,
    printer: Printer,
) -> anyhow::Result<Exit> {
    let several = nodes.len() > 1;
    for node in &nodes {
        order.guard.check(&node.plan)?;
        match mode(node, order) {
            Mode::Database if several => {
                return Err(UsageError {
                    message: format!(
                        "{} has a database: nodes that share one are changed through one of them",
                        node.client.url()
                    ),
                }
                .into());
            }
            Mode::Database => refuse_hashes(node)?,
            Mode::Dbless => {}
        }
    }
    let target = order.execution.journal.clone().unwrap_or(Target::Directory);
    if several && matches!(target, Target::File(_)) {
        return Err(UsageError {
            message: "--journal FILE is for one node; several write theirs to the state directory"
                .to_owned(),
        }
        .into());
    }
    if !may_execute(&mut nodes, order.execution.yes).await? {
        return Err(Refused {
            message: "nothing was changed".to_owned(),
            hint: "the answer was no".to_owned(),
        }
        .into());
    }
    let payloads = payloads(&nodes, order);
    let interrupts = Interrupts::listen();
    let mut jobs: Vec<Job> = Vec::with_capacity(nodes.len());
    for (node, payload) in nodes.iter().zip(payloads) {
        jobs.push(Job {
            node,
            payload,
            journal: begin_journal(node, &target, order)?,
        });
    }
    let mut jobs = jobs.into_iter();
    let mut ran = Vec::new();
    if let Some(first) = jobs.next() {
        ran.push(first.run(order, &interrupts).await);
    }
    if ran.iter().all(|ran| ran.report.is_complete()) {
        ran.extend(join_all(jobs.map(|job| job.run(order, &interrupts))).await);
    } else {
        ran.extend(jobs.map(Job::leave));
    }
    tell(ran, order, printer)
}

fn mode(node: &Planned, order: &Order<'_>) -> Mode {
    match &node.standing {
        Some(standing) if !order.execution.dbless => standing.mode,
        _ => Mode::Dbless,
    }
}

/// Shows plans to a person who can say no. True if they may be carried out.
async fn may_execute(nodes: &mut [Planned], yes: bool) -> anyhow::Result<bool> {
    if yes || nodes.iter().all(|node| node.plan.is_empty()) || !output::can_ask() {
        return Ok(true);
    }
    output::note(&changes::plans(
        &shown_plans(nodes),
        Format::Table,
        Paint(false),
    ));
    if !output::confirm("Carry this out?").context("cannot ask")? {
        return Ok(false);
    }
    for node in nodes {
        node.look_again().await?;
    }
    Ok(true)
}

/// The plans as output wants them.
pub(super) fn shown_plans(nodes: &[Planned]) -> Vec<changes::Planned<'_>> {
    let shown = nodes.iter().map(|node| changes::Planned {
        node: node.client.url(),
        plan: &node.plan,
        schemas: &node.schemas,
    });
    shown.collect()
}

/// What each node without a database will load. Where they come to the same, it is the same text, and their hashes agree; for
/// that, a node loads again what it has if another one changes.
fn payloads(nodes: &[Planned], order: &Order<'_>) -> Vec<Option<Value>> {
    let changes = nodes.iter().any(|node| !node.plan.is_empty());
    let mut payloads: Vec<Option<Value>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let payload = (changes && mode(node, order) == Mode::Dbless)
            .then(|| dbless::payload(&node.plan, &node.current, node.hashed_passwords));
        let first = payloads.first().and_then(Option::as_ref);
        let same = payload
            .as_ref()
            .zip(first)
            .is_some_and(|(own, first)| dbless::is_same(own, first, &node.schemas));
        payloads.push(if same { first.cloned() } else { payload });
    }
    payloads
}

fn begin_journal(
    node: &Planned,
    target: &Target,
    order: &Order<'_>,
) -> Result<Option<Writer>, journal::JournalError> {
    if node.plan.is_empty() {
        return Ok(None);
    }
    let directory = journals();
    if *target == Target::Directory && directory.is_none() {
        output::note(
            "No journal is kept, and no rollback possible: neither XDG_STATE_HOME nor HOME is set.",
        );
    }
    let head = Head {
        kongctl_journal: journal::VERSION,
        made_by: concat!("kongctl ", env!("CARGO_PKG_VERSION")).to_owned(),
        made_at: clock::unix_seconds(),
        verb: order.verb.to_owned(),
        node: node.client.url().to_owned(),
        mode: mode(node, order).name().to_owned(),
        undoes: node.undoes.clone(),
        changes: journal::entries(&node.plan, node.hashed_passwords),
    };
    Writer::begin(target, directory.as_ref(), &head)
}

/// The user's directory of journals.
pub(super) fn journals() -> Option<journal::Directory> {
    journal::Directory::of_user(|name| env::var(name).ok())
}

/// One node's share of the work.
struct Job<'a> {
    node: &'a Planned,
    payload: Option<Value>,
    journal: Option<Writer>,
}

impl<'a> Job<'a> {
    async fn run(mut self, order: &Order<'_>, interrupts: &Interrupts) -> Ran<'a> {
        let plan = &self.node.plan;
        let mut progress = Progress::new(plan.changes.len());
        let mut journal = self.journal.take();
        let mut told = |index, outcome: &Outcome| {
            if let Some(journal) = &mut journal {
                journal.outcome(index, fate(outcome));
            }
            progress.ended(matches!(outcome, Outcome::Done));
        };
        let report = match &self.payload {
            None if plan.is_empty() => Report::empty(),
            Some(payload) => {
                let standing = self.node.standing.as_ref();
                let load = dbless::Load {
                    payload,
                    onto: standing.and_then(|standing| standing.configuration_hash.as_deref()),
                };
                dbless::run(
                    &self.node.client,
                    load,
                    plan,
                    &self.node.schemas,
                    interrupts.stream(),
                    &mut told,
                )
                .await
            }
            None => {
                execute::run(
                    &self.node.client,
                    plan,
                    &self.node.schemas,
                    usize::from(order.execution.parallelism),
                    interrupts.stream(),
                    &mut told,
                )
                .await
            }
        };
        drop(progress);
        self.ran(report, journal)
    }

    /// Nothing is done: another node refused.
    fn leave(mut self) -> Ran<'a> {
        let journal = self.journal.take();
        let report = Report {
            outcomes: self
                .node
                .plan
                .changes
                .iter()
                .map(|_| Outcome::NotStarted)
                .collect(),
            ..Report::empty()
        };
        self.ran(report, journal)
    }

    fn ran(self, report: Report, journal: Option<Writer>) -> Ran<'a> {
        let path = journal.as_ref().map(|journal| journal.path().to_owned());
        if let Some(Err(error)) = journal.map(|journal| journal.end(report.is_complete())) {
            output::note(&format!("warning: {error}; the journal is not whole"));
        }
        Ran {
            node: self.node.client.url(),
            plan: &self.node.plan,
            report,
            journal: path,
        }
    }
}

fn fate(outcome: &Outcome) -> Fate {
    match outcome {
        Outcome::Done => Fate::Done,
        Outcome::Failed(_) => Fate::Failed,
        Outcome::Skipped | Outcome::NotStarted => Fate::NotDone,
        Outcome::Unknown(_) => Fate::Unknown,
    }
}

fn tell(ran: Vec<Ran<'_>>, order: &Order<'_>, printer: Printer) -> anyhow::Result<Exit> {
    printer.result(&changes::reports(&ran, printer.format, printer.paint()))?;
    if ran.iter().all(|ran| ran.report.is_complete()) {
        return Ok(Exit::Done);
    }
    let mut changed = false;
    for ran in ran {
        changed |= ran.journal.is_some()
            && ran
                .report
                .outcomes
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Done | Outcome::Unknown(_)));
        if ran.report.gave_up {
            output::note("The node failed too often in a row: the rest was not tried.");
        }
        if let Some(error) = ran.report.error {
            // The report is on standard output already; a second JSON document would follow it.
            output::note(&output::failure::text(&anyhow::Error::new(error)));
        }
    }
    output::note(match order.verb {
        "rollback" => {
            "The node is not as it was. The same command carries on where this one stopped."
        }
        "reset" => "The node is not empty. The same command carries on where this one stopped.",
        "create" | "patch" | "delete" => "Not all of it was done.",
        _ => {
            "The node is not as the files say. The same command carries on where this one stopped."
        }
    });
    if changed && order.verb != "rollback" {
        output::note("`kongctl rollback` restores what was there before.");
    }
    Ok(Exit::Failed)
}

/// Ctrl-C, told to the user as it comes, to every node's run alike.
struct Interrupts(watch::Receiver<usize>);

impl Interrupts {
    fn listen() -> Self {
        let (sender, receiver) = watch::channel(0);
        // From here on; without a handler the signal ends the process as always.
        if let Ok(mut signals) = signal(SignalKind::interrupt()) {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    output::note(if *sender.borrow() > 0 {
                        "Interrupted again: not waiting any more."
                    } else {
                        "Interrupted: waiting for the calls in flight; interrupt again to give them up."
                    });
                    sender.send_modify(|count| *count += 1);
                }
            });
        }
        Self(receiver)
    }

    fn stream(&self) -> impl Stream<Item = ()> + use<> {
        stream::unfold((self.0.clone(), 0), |(mut receiver, seen)| async move {
            receiver.wait_for(|count| *count > seen).await.ok()?;
            Some(((), (receiver, seen + 1)))
        })
        .chain(stream::pending())
    }
}

/// A database's node hashes every password that it is given, a hash too.
fn refuse_hashes(node: &Planned) -> Result<(), Refused> {
    let changes_password = |change: &&Change| {
        change.kind == Kind::BasicAuth
            && (change.action == Action::Create || change.changes("password"))
    };
    match node.plan.changes.iter().find(changes_password) {
        Some(change) if node.hashed_passwords => Err(Refused {
            message: format!(
                "{}: a node with a database takes no hashed password",
                change.what()
            ),
            hint: "give the password itself, and remove `_transform: false`".to_owned(),
        }),
        _ => Ok(()),
    }
}
