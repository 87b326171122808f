//! `plugin-server/COMPARISON*.md`, `kongctl/COMPARISON.md`, `helm-values/COMPARISON.md`: what they claim of ours has tests, and they exist.
//!
//! A row of a table has the feature, ours and the others. A line of the list below has the feature in bold, then links to files with the
//! names of their tests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::document::text;
use crate::evidence;

/// A page of comparison.
struct Page {
    /// The folder that it is in, and that its links start from.
    room: &'static str,
    text: String,
    /// Those beside ours.
    others: usize,
    /// Its README has some of its rows.
    in_readme: bool,
}

fn pages() -> Result<[Page; 4]> {
    let page = |room: &'static str, name: &str, others, in_readme| -> Result<Page> {
        let text = text(&format!("{room}/{name}"))?;
        Ok(Page {
            room,
            text,
            others,
            in_readme,
        })
    };
    Ok([
        page("plugin-server", "COMPARISON.md", 5, true)?,
        page("plugin-server", "COMPARISON-llm-jwt.md", 7, true)?,
        page("kongctl", "COMPARISON.md", 2, false)?,
        page("helm-values", "COMPARISON.md", 3, false)?,
    ])
}

impl Page {
    /// The features that the tables say ours has, at least in part.
    fn claims(&self) -> BTreeSet<&str> {
        rows(&self.text, self.others)
            .filter(|(_, cells)| !cells[0].starts_with("no"))
            .map(|(feature, _)| feature)
            .collect()
    }

    /// The features that have tests, and the rest of their lines.
    fn evidence(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text
            .lines()
            .filter_map(|line| line.strip_prefix("- **")?.split_once("**: "))
    }
}

/// The rows of the tables with so many others: a feature and its cells, ours first.
fn rows(text: &str, others: usize) -> impl Iterator<Item = (&str, Vec<&str>)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(move |row| {
            let (feature, cells) = row.split_once(" | ")?;
            let cells: Vec<_> = cells.split(" | ").collect();
            (cells.len() == others + 1).then_some((feature, cells))
        })
}

/// The README's tables are the first words of the pages'.
pub(crate) fn is_what_the_readme_says() -> Result<()> {
    for page in pages()?.iter().filter(|page| page.in_readme) {
        let readme = text(&format!("{}/README.md", page.room))?;
        let known: BTreeMap<_, _> = rows(&page.text, page.others).collect();
        let mut found = 0;
        for (feature, cells) in rows(&readme, page.others) {
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
    }
    Ok(())
}

pub(crate) fn names_tests_that_exist() -> Result<()> {
    for page in pages()? {
        for (feature, files) in page.evidence() {
            evidence::tests(page.room, feature, files)?;
        }
    }
    Ok(())
}

pub(crate) fn tests_what_it_claims() -> Result<()> {
    for page in pages()? {
        let claimed = page.claims();
        let tested: BTreeSet<_> = page.evidence().map(|(feature, _)| feature).collect();
        ensure!(!claimed.is_empty(), "no table was found");
        ensure!(
            claimed == tested,
            "claimed or tested, but not both: {:?}",
            claimed.symmetric_difference(&tested)
        );
    }
    Ok(())
}

pub(crate) fn cites_each_footnote() -> Result<()> {
    for page in pages()? {
        let (notes, prose): (Vec<_>, Vec<_>) =
            page.text.lines().partition(|line| line.starts_with("[^"));
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
    }
    Ok(())
}
