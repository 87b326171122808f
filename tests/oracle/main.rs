//! The oracle of configurations: whatever two files say, these laws hold, on every gateway that this machine has.
//!
//! 1. After a sync the dump is the canonical form of the file: the same on every gateway, written down with each case.
//! 2. Nothing differs then, and a second sync writes nothing.
//! 3. The dump is a file that says the same.
//! 4. A saved plan does what a sync does.
//! 5. B from A is B from nothing.
//! 6. A rollback restores the dump byte for byte, ids included.
//! 7. A reset leaves nothing but what others own.
//!
//! `KONG_TARGET` chooses gateways, a word after `--` cases. Cases are in `cases/`, one file each: what it shows, A, B and the canonical
//! A. Besides, configurations of up to two hundred entities are drawn at random, always the same ones.

mod case;
mod laws;
mod random;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use stories::target::{Target, VARIABLE, interleaved};
use stories::world::World;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

/// Worlds that were started, by target; `Err` keeps why one did not start, so that it is tried once.
type Slot = Arc<Mutex<Option<Result<World, String>>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The cases of one gateway wait for each other.
    arguments.test_threads.get_or_insert(Target::ALL.len());
    let prepared = Target::wanted().and_then(|wanted| Ok((wanted, case::all()?)));
    let (wanted, cases) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("{VARIABLE} or a case: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = Arc::new(Runtime::new().expect("a runtime can be had"));
    let mut slots: BTreeMap<&str, Slot> = BTreeMap::new();
    let mut lists = Vec::new();
    for target in wanted
        .into_iter()
        .filter(|target| *target != Target::Compose)
    {
        let mut trials = Vec::new();
        if let Some(reason) = target.absence() {
            lists.push(vec![skipped(target, "every case", &reason)]);
            continue;
        }
        let slot = Arc::clone(slots.entry(target.name()).or_default());
        for case in &cases {
            if let Some(reason) = &case.spec.real_kong
                && !target.is_real_kong()
            {
                trials.push(skipped(target, &case.name, reason));
                continue;
            }
            let (runtime, slot, case) = (Arc::clone(&runtime), Arc::clone(&slot), case.clone());
            trials.push(Trial::test(format!("{target}::{}", case.name), move || {
                with_world(&runtime, &slot, target, |world| {
                    runtime.block_on(laws::hold(world, &case))
                })
            }));
        }
        let (runtime, slot) = (Arc::clone(&runtime), Arc::clone(&slot));
        trials.push(Trial::test(
            format!("{target}::configurations_drawn_at_random"),
            move || {
                with_world(&runtime, &slot, target, |world| {
                    random::hold(world, &runtime)
                })
            },
        ));
        lists.push(trials);
    }
    let conclusion = libtest_mimic::run(&arguments, interleaved(lists));
    runtime.block_on(async {
        for (name, slot) in slots {
            if let Some(Ok(world)) = slot.lock().await.take()
                && let Err(error) = world.stop().await
            {
                eprintln!("{name} did not stop: {error:#}");
            }
        }
    });
    conclusion.exit_code()
}

/// Lists a case as skipped, by name and reason.
fn skipped(target: Target, case: &str, reason: &str) -> Trial {
    eprintln!("SKIPPED {target}: {case}: {reason}");
    let trial = Trial::test(format!("{target}::{case}"), || {
        Err(Failed::from("skipped on this machine"))
    });
    trial
        .with_kind(format!("skipped: {reason}"))
        .with_ignored_flag(true)
}

fn with_world(
    runtime: &Runtime,
    slot: &Slot,
    target: Target,
    check: impl FnOnce(&World) -> Result<()>,
) -> Result<(), Failed> {
    let mut slot = runtime.block_on(slot.lock());
    if slot.is_none() {
        let started = runtime.block_on(World::start(target));
        *slot = Some(started.map_err(|error| format!("{error:#}")));
    }
    match slot.as_ref().expect("filled above") {
        Ok(world) => check(world).map_err(|error| format!("{error:#}").into()),
        Err(reason) => Err(reason.as_str().into()),
    }
}
