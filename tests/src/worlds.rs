//! The worlds of one gateway: each has one test at a time, and stays for the next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::target::Target;
use crate::world::World;

/// Starts the world that a gateway's tests find.
pub type Start = fn(&Runtime, Target) -> Result<World>;

/// A world once it was started, or why it did not start, so that it is not tried again.
type Started = Result<World, String>;

/// Worlds of a gateway, started when they are needed.
#[derive(Debug)]
pub struct Worlds {
    target: Target,
    start: Start,
    runtime: Arc<Runtime>,
    stock: Mutex<Stock>,
    returned: Condvar,
}

#[derive(Debug)]
struct Stock {
    /// Those that no test has.
    free: Vec<Started>,
    /// How many more may be started.
    unstarted: usize,
}

impl Worlds {
    /// None is started yet.
    pub fn new(target: Target, start: Start, runtime: Arc<Runtime>) -> Self {
        // A Kong is told its ports before it binds them, and PostgreSQL comes up in between: what starts beside it might take them.
        let unstarted = if target.is_real_kong() { 1 } else { 3 };
        Self {
            target,
            start,
            runtime,
            stock: Mutex::new(Stock {
                free: Vec::new(),
                unstarted,
            }),
            returned: Condvar::new(),
        }
    }

    /// What the worlds run on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits for a world that no other test has.
    pub fn lend(&self) -> Lent<'_> {
        let mut stock = self
            .returned
            .wait_while(self.stock(), |stock| {
                stock.free.is_empty() && stock.unstarted == 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        let free = stock.free.pop();
        stock.unstarted -= usize::from(free.is_none());
        drop(stock);
        let mut lent = Lent {
            worlds: self,
            world: free,
        };
        if lent.world.is_none() {
            let started = (self.start)(&self.runtime, self.target);
            lent.world = Some(started.map_err(|error| format!("{error:#}")));
        }
        lent
    }

    /// Stops those that were started; no test has one any more.
    pub fn stop(&self) {
        for world in self.stock().free.drain(..).flatten() {
            if let Err(error) = self.runtime.block_on(world.stop()) {
                eprintln!("{} did not stop: {error:#}", self.target);
            }
        }
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A test's world until it ends: also one that panics leaves it to the next.
#[derive(Debug)]
pub struct Lent<'a> {
    worlds: &'a Worlds,
    world: Option<Started>,
}

impl Lent<'_> {
    /// The world, or why it did not start.
    pub fn world(&mut self) -> Result<&mut World, &str> {
        match &mut self.world {
            Some(Ok(world)) => Ok(world),
            Some(Err(reason)) => Err(reason),
            None => unreachable!("whoever lends it has tried to start it"),
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut stock = self.worlds.stock();
        match self.world.take() {
            Some(world) => stock.free.push(world),
            // Whoever was to start it panicked.
            None => stock.unstarted += 1,
        }
        drop(stock);
        self.worlds.returned.notify_one();
    }
}
