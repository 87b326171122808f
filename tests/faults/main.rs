//! What becomes of a sync when a real Kong fails on the way: it is killed, it hangs, it answers errors, somebody else writes.
//!
//! 1. The report says what was done: what it calls done is there, what it calls not done is not.
//! 2. The same command carries on, and ends as if nothing had happened.
//! 3. A rollback restores the dump byte for byte, ids included.
//! 4. What others own on the same node stays as it is.
//!
//! The dump is of all that the node has, so that the last of these follows from the others. The stand-in is put through the same by
//! kongctl's own tests, which are quicker. `KONG_TARGET` chooses gateways, a word after `--` scenes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod database;
mod dbless;
#[path = "../../kongctl/tests/changes/front.rs"]
mod front;
mod scene;
#[path = "../../kongctl/tests/changes/subject.rs"]
mod subject;

use std::pin::Pin;
use std::process::ExitCode;

use anyhow::Result;
use stories::suite::Suite;
use stories::target::Target;
use stories::world::World;

use scene::Scene;

type Playing<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
type Play = for<'a> fn(&'a Scene<'a>) -> Playing<'a>;

/// Names async functions as plays.
macro_rules! plays {
    ($room:ident: $($name:ident),* $(,)?) => {
        vec![$((concat!(stringify!($room), "::", stringify!($name)), (|scene| Box::pin($room::$name(scene))) as Play)),*]
    };
}

fn plays(target: Target) -> Vec<(&'static str, Play)> {
    if target.is_dbless() {
        return plays![dbless:
            a_kong_that_is_killed_has_all_of_a_load_or_nothing,
            a_load_that_is_refused_changes_nothing,
            a_load_whose_answer_never_comes_is_in_doubt_and_resumed,
            a_load_by_somebody_else_is_not_overwritten,
        ];
    }
    plays![database:
        a_kong_that_is_killed_mid_sync_is_given_up_and_the_next_run_carries_on,
        what_a_kong_did_before_it_was_killed_is_undone_at_once,
        a_kong_that_is_killed_at_any_moment_leaves_what_can_be_resumed,
        weakness_that_passes_is_outlasted,
        a_kong_that_keeps_answering_errors_is_given_up,
        an_answer_that_never_comes_is_looked_up,
        what_another_writer_changed_since_the_plan_stops_it,
        what_another_writer_adds_meanwhile_is_left_alone,
        what_another_writer_hangs_on_what_goes_keeps_it,
        a_patch_leaves_what_another_writer_changes_meanwhile,
    ]
}

fn main() -> ExitCode {
    Suite::main(suite())
}

fn suite() -> Result<Suite> {
    let mut suite = Suite::new(|runtime, target| runtime.block_on(World::start(target)))?;
    let real = [Target::BinaryDbless, Target::BinaryPostgres];
    for target in Target::wanted()? {
        if !real.contains(&target) {
            continue;
        }
        let Some(mut tests) = suite.gateway(target, "every play") else {
            continue;
        };
        for (name, play) in plays(target) {
            tests.test(name, move |runtime, world| {
                runtime.block_on(perform(world, play))
            });
        }
    }
    Ok(suite)
}

async fn perform(world: &World, play: Play) -> Result<()> {
    let scene = Scene::set(world).await?;
    let played = play(&scene).await;
    if played.is_err() {
        // Whatever stands in the middle of its play is no ground for the next one.
        let _ = world.gateway.killer().and_then(|kill| kill());
        world.gateway.restart().await?;
    }
    played
}
