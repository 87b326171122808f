//! From arguments to documents: files, directories and standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::plan::saved::FileMark;

use super::diagnostics::{Diagnostics, Place};
use super::ids;
use super::node::Node;
use super::references::{Policy, References};
use super::yaml;

/// The text of one file, or of standard input.
pub(crate) struct Input {
    /// What messages call it.
    pub(crate) name: String,
    /// Where it is; `None` for standard input.
    pub(crate) path: Option<PathBuf>,
    pub(crate) text: String,
}

/// Reads every file named, every `.yaml`, `.yml` and `.json` below every directory named (by name), and standard input for `-`.
pub(crate) fn read(
    arguments: &[PathBuf],
    env: &dyn Fn(&str) -> Option<String>,
    policy: Policy,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Vec<Arc<Node>>> {
    let mut documents = Vec::new();
    for file in texts(arguments, diagnostics)? {
        let directory = file.path.as_deref().and_then(Path::parent);
        let references = References {
            env,
            directory: directory.map(Path::to_owned).unwrap_or_default(),
            policy,
        };
        documents.extend(yaml::read(&file.name, &file.text, &references, diagnostics));
    }
    Ok(documents)
}

/// The texts that the arguments name. A file that is no text goes to `diagnostics`.
pub(crate) fn texts(
    arguments: &[PathBuf],
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Vec<Input>> {
    let mut texts = Vec::new();
    for argument in arguments {
        if argument.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
            texts.extend(decode("<stdin>".to_owned(), None, bytes, diagnostics));
            continue;
        }
        for path in expand(argument)? {
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.display().to_string();
            texts.extend(decode(name, Some(path), bytes, diagnostics));
        }
    }
    Ok(texts)
}

fn decode(
    name: String,
    path: Option<PathBuf>,
    bytes: Vec<u8>,
    diagnostics: &mut Diagnostics,
) -> Option<Input> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(Input { name, path, text }),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let good = String::from_utf8_lossy(good);
            let line = good.rsplit('\n').next().unwrap_or_default();
            let place = Place {
                file: name.into(),
                line: good.matches('\n').count() + 1,
                column: line.chars().count() + 1,
            };
            diagnostics.add_with_help(&place, "not UTF-8", Some("save the file as UTF-8"));
            None
        }
    }
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
