//! Documents that name tests as evidence: `[file](path) `test`, `test`; [file](path) `test``.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::document::text;

/// The tests that `evidence` for `subject` names, each with the path of its file from `room`, if all of them exist.
pub(crate) fn tests<'a>(
    room: &str,
    subject: &str,
    evidence: &'a str,
) -> Result<BTreeSet<(&'a str, &'a str)>> {
    let mut named = BTreeSet::new();
    for file in evidence.split("; ") {
        let (path, tests) = file
            .split_once("](")
            .and_then(|(_, rest)| rest.split_once(") "))
            .with_context(|| format!("{subject}: no file in {file:?}"))?;
        let source = text(&format!("{room}/{path}"))?;
        for test in tests.split(", ").map(|test| test.trim_matches('`')) {
            let function = format!("fn {test}(");
            ensure!(source.contains(&function), "{subject}: no {test} in {path}");
            named.insert((path, test));
        }
    }
    Ok(named)
}
