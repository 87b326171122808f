//! Tests on every gateway that this machine has: those of one gateway share its [`Worlds`], and several tests run side by side.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::target::{Target, interleaved};
use crate::world::World;
use crate::worlds::{Start, Worlds};

/// Tests that run at a time: they wait for time to pass more than for a processor.
const SIDE_BY_SIDE: usize = 6;
/// The same where some of them are a Kong's, whose workers are processes of their own.
const SIDE_BY_SIDE_ON_KONG: usize = 4;

/// The tests, as they are collected.
#[derive(Debug)]
pub struct Suite {
    runtime: Arc<Runtime>,
    start: Start,
    side_by_side: usize,
    worlds: Vec<Arc<Worlds>>,
    lists: Vec<Vec<Trial>>,
}

impl Suite {
    /// No tests yet; a world is started by a test that finds none free.
    pub fn new(start: Start) -> Result<Self> {
        Ok(Self {
            runtime: Arc::new(Runtime::new()?),
            start,
            side_by_side: SIDE_BY_SIDE,
            worlds: Vec::new(),
            lists: Vec::new(),
        })
    }

    /// Where a gateway's tests go, or `None` on a machine without it; `every` says then what is left out.
    pub fn gateway(&mut self, target: Target, every: &str) -> Option<Tests<'_>> {
        self.lists.push(Vec::new());
        let worlds = Arc::new(Worlds::new(target, self.start, Arc::clone(&self.runtime)));
        self.worlds.push(Arc::clone(&worlds));
        let mut tests = Tests {
            target,
            worlds,
            trials: self.lists.last_mut()?,
        };
        if let Some(reason) = target.absence() {
            tests.skip(every, &reason);
            return None;
        }
        if target.is_real_kong() {
            self.side_by_side = SIDE_BY_SIDE_ON_KONG;
        }
        Some(tests)
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
        arguments.test_threads.get_or_insert(self.side_by_side);
        let conclusion = libtest_mimic::run(&arguments, interleaved(self.lists));
        for worlds in self.worlds {
            worlds.stop();
        }
        conclusion.exit_code()
    }
}

/// The tests of one gateway.
#[derive(Debug)]
pub struct Tests<'a> {
    target: Target,
    worlds: Arc<Worlds>,
    trials: &'a mut Vec<Trial>,
}

impl Tests<'_> {
    /// Adds a test, which has a world to itself while it runs.
    pub fn test<F>(&mut self, name: &str, test: F)
    where
        F: FnOnce(&Runtime, &mut World) -> Result<()> + Send + 'static,
    {
        let worlds = Arc::clone(&self.worlds);
        let trial = Trial::test(format!("{}::{name}", self.target), move || {
            let mut lent = worlds.lend();
            let world = lent.world()?;
            test(worlds.runtime(), world)
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
