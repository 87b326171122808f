//! Cases, as files have them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use stories::target::Target;

/// One pair of configurations.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The file's name without its ending.
    pub(crate) name: String,
    pub(crate) spec: Spec,
    pub(crate) a: String,
    pub(crate) b: String,
    /// What a dump of A says; a configuration drawn at random has none.
    pub(crate) canonical: Option<String>,
}

/// What the laws need to know of a case.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// What it shows.
    pub(crate) about: String,
    /// What others own on the same node, and keep.
    #[serde(default)]
    pub(crate) others: Option<String>,
    /// The tag of what is ours, where there are others.
    #[serde(default)]
    pub(crate) tag: Option<String>,
    /// It needs WebAssembly filters.
    #[serde(default)]
    pub(crate) filters: bool,
    /// It has entities of the kinds that a plugin brings.
    #[serde(default)]
    pub(crate) kinds: bool,
    /// Why only a real Kong can show it.
    #[serde(default)]
    pub(crate) real_kong: Option<String>,
}

impl Case {
    /// Why a gateway cannot show it, or `None`.
    pub(crate) fn absence(&self, target: Target) -> Option<String> {
        let real_kong = self
            .spec
            .real_kong
            .clone()
            .filter(|_| !target.is_real_kong());
        let filters = || {
            self.spec
                .filters
                .then(|| target.absence_of_filters())
                .flatten()
        };
        real_kong.or_else(filters)
    }
}

/// Where cases lie, and the files that they refer to.
pub(crate) fn directory() -> PathBuf {
    stories::repository()
        .join("tests")
        .join("oracle")
        .join("cases")
}

/// Every case, by name.
pub(crate) fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(directory())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "yml") {
            cases.push(read(&path).with_context(|| path.display().to_string())?);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    if cases.is_empty() {
        bail!("there are no cases");
    }
    Ok(cases)
}

fn read(path: &Path) -> Result<Case> {
    let text = fs::read_to_string(path)?;
    let documents: Vec<&str> = text.split("\n---\n").collect();
    let [spec, a, b, canonical] = documents.as_slice() else {
        bail!("a case is what it shows, A, B and the canonical A: four documents")
    };
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let spec: Spec = serde_saphyr::from_str(spec)?;
    if spec.about.is_empty() {
        bail!("a case says what it shows");
    }
    Ok(Case {
        name: name.context("a name is UTF-8")?.to_owned(),
        spec,
        a: format!("{a}\n"),
        b: format!("{b}\n"),
        canonical: Some((*canonical).to_owned()),
    })
}
