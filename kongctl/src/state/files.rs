//! From arguments to documents: files, directories and standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::plan::saved::FileMark;

use super::diagnostics::Diagnostics;
use super::ids;
use super::node::Node;
use super::references::References;
use super::yaml;

/// Reads every file named, every `.yaml`, `.yml` and `.json` below every directory named (by name), and standard input for `-`.
pub(crate) fn read(
    arguments: &[PathBuf],
    env: &dyn Fn(&str) -> Option<String>,
    lenient: bool,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Vec<Arc<Node>>> {
    let mut documents = Vec::new();
    for argument in arguments {
        if argument.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            let references = References {
                env,
                directory: PathBuf::new(),
                lenient,
            };
            documents.extend(yaml::read("<stdin>", &text, &references, diagnostics));
            continue;
        }
        for file in expand(argument)? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let directory = file.parent().map(Path::to_owned).unwrap_or_default();
            let references = References {
                env,
                directory,
                lenient,
            };
            documents.extend(yaml::read(
                &file.display().to_string(),
                &text,
                &references,
                diagnostics,
            ));
        }
    }
    Ok(documents)
}

/// Every file that [`read`] would read, with what it holds; what cannot be read is left out.
pub(crate) fn marks(arguments: &[PathBuf]) -> Vec<FileMark> {
    let stdin = || FileMark {
        path: "-".to_owned(),
        sha256: None,
    };
    arguments
        .iter()
        .flat_map(|argument| {
            if argument.as_os_str() == "-" {
                return vec![stdin()];
            }
            let files = expand(argument).unwrap_or_default();
            files.iter().filter_map(|file| mark(file)).collect()
        })
        .collect()
}

/// A file and the digest of what it holds now; `None` if it cannot be read.
pub(crate) fn mark(path: &Path) -> Option<FileMark> {
    let content = std::fs::read(path).ok()?;
    Some(FileMark {
        path: path.display().to_string(),
        sha256: Some(ids::hex(&Sha256::digest(content))),
    })
}

fn expand(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let metadata =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = std::fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json")
            {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        bail!("{} holds no .yaml, .yml or .json file", path.display());
    }
    files.sort();
    Ok(files)
}
