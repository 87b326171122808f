//! `plugin-server/ATTACKS.md`: each attack and each answer has tests, and they exist.
//!
//! A row of a table has what is done, what comes of it, and the tests that do it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::document::text;
use crate::evidence;

const ROOM: &str = "plugin-server";

/// Files whose every test is an attack, or its counterpart that passes.
const ATTACKS: [&str; 3] = [
    "src/jwt/attacks.rs",
    "src/jwt/key_attacks.rs",
    "src/jwt/proof/tests.rs",
];

fn page() -> Result<String> {
    text(&format!("{ROOM}/ATTACKS.md"))
}

/// The rows of the tables, but for their heads.
fn rows(page: &str) -> impl Iterator<Item = [&str; 3]> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(|row| <[&str; 3]>::try_from(row.split(" | ").collect::<Vec<_>>()).ok())
        .filter(|[_, _, tests]| *tests != "tests")
}

/// Every row names tests that exist, and every test of an attack is in a row.
pub(crate) fn are_tested_and_told() -> Result<()> {
    let page = page()?;
    let mut named = BTreeSet::new();
    let mut told = 0;
    for [attack, _, tests] in rows(&page) {
        named.extend(evidence::tests(ROOM, attack, tests)?);
        told += 1;
    }
    ensure!(told > 40, "the tables have {told} rows");
    for path in ATTACKS {
        let source = text(&format!("{ROOM}/{path}"))?;
        let tests = source
            .split("::test]\n")
            .skip(1)
            .filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
        let mut found = 0;
        for (test, _) in tests {
            ensure!(
                named.contains(&(path, test)),
                "{test} of {path} is in no row"
            );
            found += 1;
        }
        ensure!(found > 5, "{path} has {found} tests");
    }
    Ok(())
}

/// The README's table of answers is the page's.
pub(crate) fn answers_are_the_readme_s() -> Result<()> {
    let (page, readme) = (page()?, text(&format!("{ROOM}/README.md"))?);
    let (_, section) = page
        .split_once("\n## Answers\n")
        .context("no section Answers")?;
    let tested: BTreeMap<_, _> = rows(section)
        .map(|[case, answer, _]| (case, answer))
        .collect();
    let (_, table) = readme
        .split_once("\n| case | answer |\n|---|---|\n")
        .context("the README has no table of answers")?;
    let promised: BTreeMap<_, _> = table
        .lines()
        .map_while(|line| {
            line.strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")
        })
        .collect();
    ensure!(
        promised == tested,
        "promised or tested, but not both: {:?}",
        promised
            .iter()
            .filter(|row| !tested.iter().any(|other| other == *row))
            .chain(
                tested
                    .iter()
                    .filter(|row| !promised.iter().any(|other| other == *row))
            )
            .collect::<Vec<_>>()
    );
    Ok(())
}
