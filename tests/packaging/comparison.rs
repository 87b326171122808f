//! `plugin-server/COMPARISON.md`: what it claims of ours has tests, and they exist.
//!
//! A row of a table has the feature, ours and the others. A line of the list below has the feature in bold, then links to files with the
//! names of their tests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::document::text;

const ROOM: &str = "plugin-server";

/// The gateways beside ours.
const OTHERS: usize = 5;

fn page() -> Result<String> {
    text(&format!("{ROOM}/COMPARISON.md"))
}

/// The features that the tables say ours has, at least in part.
fn claims(page: &str) -> BTreeSet<&str> {
    rows(page)
        .filter(|(_, cells)| !cells[0].starts_with("no"))
        .map(|(feature, _)| feature)
        .collect()
}

/// The features that have tests, and the rest of their lines.
fn evidence(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**: "))
}

/// The rows of the tables: a feature and its cells, ours first.
fn rows(page: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(|row| {
            let (feature, cells) = row.split_once(" | ")?;
            let cells: Vec<_> = cells.split(" | ").collect();
            (cells.len() == OTHERS + 1).then_some((feature, cells))
        })
}

/// The README's table is the first words of the page's.
pub(crate) fn is_what_the_readme_says() -> Result<()> {
    let readme = text(&format!("{ROOM}/README.md"))?;
    let page = page()?;
    let known: BTreeMap<_, _> = rows(&page).collect();
    let mut found = 0;
    for (feature, cells) in rows(&readme) {
        let whole = known
            .get(feature)
            .with_context(|| format!("{feature}: not compared"))?;
        for (cell, whole) in cells.iter().zip(whole) {
            let agrees = whole
                .strip_prefix(cell)
                .is_some_and(|rest| !rest.starts_with(|letter: char| letter.is_alphabetic()));
            ensure!(
                agrees,
                "{feature}: {cell:?} is not what {whole:?} begins with"
            );
        }
        found += 1;
    }
    ensure!(found > 10, "the README's table has {found} rows");
    Ok(())
}

pub(crate) fn names_tests_that_exist() -> Result<()> {
    let page = page()?;
    for (feature, files) in evidence(&page) {
        for file in files.split("; ") {
            let (path, tests) = file
                .split_once("](")
                .and_then(|(_, rest)| rest.split_once(") "))
                .with_context(|| format!("{feature}: no file in {file:?}"))?;
            let source = text(&format!("{ROOM}/{path}"))?;
            for test in tests.split(", ") {
                let function = format!("fn {}(", test.trim_matches('`'));
                ensure!(source.contains(&function), "{feature}: no {test} in {path}");
            }
        }
    }
    Ok(())
}

pub(crate) fn tests_what_it_claims() -> Result<()> {
    let page = page()?;
    let claimed = claims(&page);
    let tested: BTreeSet<_> = evidence(&page).map(|(feature, _)| feature).collect();
    ensure!(!claimed.is_empty(), "no table was found");
    ensure!(
        claimed == tested,
        "claimed or tested, but not both: {:?}",
        claimed.symmetric_difference(&tested)
    );
    Ok(())
}

pub(crate) fn cites_each_footnote() -> Result<()> {
    let page = page()?;
    let (notes, prose): (Vec<_>, Vec<_>) = page.lines().partition(|line| line.starts_with("[^"));
    let defined: BTreeSet<_> = notes
        .iter()
        .filter_map(|line| line.strip_prefix("[^")?.split_once("]: "))
        .map(|(name, _)| name)
        .collect();
    let cited: BTreeSet<_> = prose
        .iter()
        .flat_map(|line| line.split("[^").skip(1))
        .filter_map(|rest| rest.split_once(']'))
        .map(|(name, _)| name)
        .collect();
    ensure!(
        cited == defined,
        "cited or defined, but not both: {:?}",
        cited.symmetric_difference(&defined)
    );
    Ok(())
}
