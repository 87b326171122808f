//! Tests on every gateway that this machine has: those of one gateway share its [`World`] one after another, those of different
//! gateways run side by side.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::target::{Target, interleaved};
use crate::world::World;

/// Starts the world that a gateway's tests find.
pub type Start = fn(&Runtime, Target) -> Result<World>;

/// A world once it was started, or why it did not start, so that it is tried once.
type Slot = Arc<Mutex<Option<Result<World, String>>>>;

/// The tests, as they are collected.
#[derive(Debug)]
pub struct Suite {
    runtime: Arc<Runtime>,
    start: Start,
    slots: Vec<(Target, Slot)>,
    lists: Vec<Vec<Trial>>,
}

impl Suite {
    /// No tests yet; a world is started by the first test that wants it.
    pub fn new(start: Start) -> Result<Self> {
        Ok(Self {
            runtime: Arc::new(Runtime::new()?),
            start,
            slots: Vec::new(),
            lists: Vec::new(),
        })
    }

    /// Where a gateway's tests go, or `None` on a machine without it; `every` says then what is left out.
    pub fn gateway(&mut self, target: Target, every: &str) -> Option<Tests<'_>> {
        self.lists.push(Vec::new());
        let slot = Slot::default();
        self.slots.push((target, Arc::clone(&slot)));
        let mut tests = Tests {
            target,
            slot,
            runtime: &self.runtime,
            start: self.start,
            trials: self.lists.last_mut()?,
        };
        match target.absence() {
            Some(reason) => {
                tests.skip(every, &reason);
                None
            }
            None => Some(tests),
        }
    }

    /// Runs the tests, or tells why there are none: all that a `main` does.
    pub fn main(suite: Result<Self>) -> ExitCode {
        match suite {
            Ok(suite) => suite.run(),
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// Runs what the command line chooses, and stops every world.
    fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        // One test of each gateway: they wait for time to pass more than for a processor.
        arguments.test_threads.get_or_insert(Target::ALL.len());
        let conclusion = libtest_mimic::run(&arguments, interleaved(self.lists));
        for (target, slot) in self.slots {
            let world = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(Ok(world)) = world
                && let Err(error) = self.runtime.block_on(world.stop())
            {
                eprintln!("{target} did not stop: {error:#}");
            }
        }
        conclusion.exit_code()
    }
}

/// The tests of one gateway.
#[derive(Debug)]
pub struct Tests<'a> {
    target: Target,
    slot: Slot,
    runtime: &'a Arc<Runtime>,
    start: Start,
    trials: &'a mut Vec<Trial>,
}

impl Tests<'_> {
    /// Adds a test, which has the world to itself while it runs.
    pub fn test<F>(&mut self, name: &str, test: F)
    where
        F: FnOnce(&Runtime, &mut World) -> Result<()> + Send + 'static,
    {
        let (target, start) = (self.target, self.start);
        let (runtime, slot) = (Arc::clone(self.runtime), Arc::clone(&self.slot));
        let trial = Trial::test(format!("{target}::{name}"), move || {
            // A test that panicked left its world to the next one.
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let world =
                slot.get_or_insert_with(|| start(&runtime, target).map_err(|e| format!("{e:#}")));
            let world = world.as_mut().map_err(|reason| reason.as_str())?;
            test(&runtime, world)
                .map_err(|error| Failed::from(format!("{error:#}\n{}", world.last_words())))
        });
        self.trials.push(trial);
    }

    /// Lists a test as skipped, by name and reason.
    pub fn skip(&mut self, name: &str, reason: &str) {
        let target = self.target;
        eprintln!("SKIPPED {target}: {name}: {reason}");
        let trial = Trial::test(format!("{target}::{name}"), || {
            Err(Failed::from("skipped on this machine"))
        });
        self.trials.push(
            trial
                .with_kind(format!("skipped: {reason}"))
                .with_ignored_flag(true),
        );
    }
}
