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
//! Where there is decK, the cases are also held against it, and the verbs that rewrite files: see `agreement` and `rewriting`.
//!
//! `KONG_TARGET` chooses gateways, a word after `--` cases. Cases are in `cases/`, one file each: what it shows, A, B and the canonical
//! A. Besides, configurations of up to two hundred entities are drawn at random, always the same ones.

mod agreement;
mod by_hand;
mod case;
mod deck;
mod kinds;
mod laws;
mod random;
mod rewriting;
mod state;

use std::process::ExitCode;

use anyhow::Result;
use stories::suite::{Suite, Tests};
use stories::target::Target;
use stories::world::World;

use case::Case;
use deck::Deck;

fn main() -> ExitCode {
    Suite::main(suite())
}

fn suite() -> Result<Suite> {
    let cases = case::all()?;
    let mut suite = Suite::new(|runtime, target| runtime.block_on(World::start_extended(target)))?;
    let wanted = Target::wanted()?;
    let beside_deck = beside_deck(&wanted);
    for target in wanted {
        if target == Target::Compose {
            continue;
        }
        let Some(mut tests) = suite.gateway(target, "every case") else {
            continue;
        };
        // What takes longest begins first.
        for draw in random::DRAWS {
            let name = format!("configurations_drawn_at_random::{draw}");
            tests.test(&name, move |runtime, world| {
                random::hold(world, runtime, draw)
            });
        }
        for case in &cases {
            if let Some(reason) = case.absence(target) {
                tests.skip(&case.name, &reason);
                continue;
            }
            let case = case.clone();
            tests.test(&case.name.clone(), move |runtime, world| {
                runtime.block_on(laws::hold(world, &case))
            });
        }
        if Some(target) == beside_deck {
            agreements(&mut tests, target, &cases);
        }
        tests.test("kinds::are_left_alone", |runtime, world| {
            runtime.block_on(kinds::are_left_alone(world))
        });
        tests.test("kinds::are_judged", |runtime, world| {
            runtime.block_on(kinds::are_judged(world))
        });
        tests.test("kinds::keep_secrets", |runtime, world| {
            runtime.block_on(kinds::keep_secrets(world))
        });
        changes_by_hand(&mut tests, target);
    }
    Ok(suite)
}

/// What changes one entity at a time.
fn changes_by_hand(tests: &mut Tests<'_>, target: Target) {
    let (chains, kinds) = ("filter_chains_by_hand", "kinds::by_hand");
    if target.is_dbless() {
        let reason = "a node without a database takes no single changes";
        tests.skip(chains, reason);
        tests.skip(kinds, reason);
        return;
    }
    match target.absence_of_filters() {
        Some(reason) => tests.skip(chains, &reason),
        None => tests.test(chains, |runtime, world| {
            runtime.block_on(by_hand::chains(world))
        }),
    }
    tests.test(kinds, |runtime, world| {
        runtime.block_on(kinds::by_hand(world))
    });
}

/// Where decK is held against kongctl: on Kong itself if it can be had with a database, since decK writes entity by entity; else on the
/// stand-in.
fn beside_deck(wanted: &[Target]) -> Option<Target> {
    let with_database = [Target::BinaryPostgres, Target::StandinMemory];
    let had = |target: &Target| wanted.contains(target) && target.absence().is_none();
    with_database.into_iter().find(had)
}

/// The cases, held against decK.
fn agreements(tests: &mut Tests<'_>, target: Target, cases: &[Case]) {
    let deck = match Deck::find() {
        Ok(deck) => deck,
        Err(reason) => return tests.skip("agreement with decK", &reason),
    };
    let rewriter = deck.clone();
    tests.test("agreement::rewritten_files", move |runtime, world| {
        runtime.block_on(rewriting::agrees(world, &rewriter))
    });
    let files = agreement::several_files();
    let cases = cases.iter().chain(&files);
    for case in cases.filter(|case| case.absence(target).is_none()) {
        let (case, deck) = (case.clone(), deck.clone());
        let name = format!("agreement::{}", case.name);
        if let Some(reason) = agreement::beyond(&case, target) {
            tests.skip(&name, reason);
            continue;
        }
        tests.test(&name, move |runtime, world| {
            runtime.block_on(agreement::holds(world, &case, &deck))
        });
    }
}
