//! Where journals lie: a directory of the user's own, with a bounded number of files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Fate, Head, Journal, Line};
use crate::clock;

/// Journals that the directory keeps; older ones go when one is added.
const KEPT: usize = 50;
const ENDING: &str = "jsonl";

/// What is wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot write the journal {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot read the journal {name}: {reason}")]
    Unreadable { name: String, reason: String },
    #[error("there is no journal {0}")]
    Absent(String),
}

impl JournalError {
    /// How to go on.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Unwritable { .. } => {
                "nothing was changed; --journal FILE writes it elsewhere, --journal off does without (and without rollback)"
            }
            Self::Unreadable { .. } | Self::Absent(_) => {
                "`kongctl rollback --list` shows the journals that there are"
            }
        }
    }
}

/// Where a run's journal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Directory,
    File(PathBuf),
    Off,
}

impl std::str::FromStr for Target {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "off" => Self::Off,
            path => Self::File(path.into()),
        })
    }
}

/// The directory of journals.
#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// `$XDG_STATE_HOME/kongctl-admin/journals`, or the same below `~/.local/state`; `None` where there is no home.
    pub(crate) fn of_user(env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        // The specification wants relative paths ignored.
        let absolute = |name: &str| {
            env(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".local").join("state")))?;
        Some(Self(state.join("kongctl-admin").join("journals")))
    }

    /// Every journal, the newest first. Files that are none are left out.
    pub(crate) fn all(&self) -> Vec<Journal> {
        let mut names = self.names();
        names.reverse();
        names
            .iter()
            .filter_map(|name| read(&self.path(name), name).ok())
            .collect()
    }

    /// One journal, by its name or path.
    pub(crate) fn find(&self, word: &str) -> Result<Journal, JournalError> {
        let path = self.path(word);
        if path.is_file() && !word.contains('/') {
            return read(&path, word);
        }
        from_file(Path::new(word))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == ENDING))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        names
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.{ENDING}"))
    }

    fn add(&self) -> io::Result<(File, PathBuf)> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        let names = self.names();
        for name in &names[..(names.len() + 1).saturating_sub(KEPT)] {
            // Another run may have been quicker.
            let _ = fs::remove_file(self.path(name));
        }
        let stem = clock::file_stamp();
        // Runs that begin in the same millisecond find the next name free.
        for number in 0_u32.. {
            let path = self.path(&format!("{stem}-{number}"));
            match create(&path, true) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return Ok((other?, path)),
            }
        }
        unreachable!("one of four thousand million names is free")
    }
}

fn create(path: &Path, new: bool) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .create_new(new)
        .truncate(!new)
        .mode(0o600)
        .open(path)
}

/// A journal anywhere.
pub(crate) fn from_file(path: &Path) -> Result<Journal, JournalError> {
    let name = path.display().to_string();
    read(path, &name)
}

fn read(path: &Path, name: &str) -> Result<Journal, JournalError> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => JournalError::Absent(name.to_owned()),
        _ => JournalError::Unreadable {
            name: name.to_owned(),
            reason: error.to_string(),
        },
    })?;
    Journal::parse(name, &text)
}

/// A journal being written.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    path: PathBuf,
    /// The first line that could not be written: later ones would mislead.
    broken: Option<io::Error>,
}

impl Writer {
    /// Puts the first line on the disk; `None` if there is to be no journal.
    pub(crate) fn begin(
        target: &Target,
        directory: Option<&Directory>,
        head: &Head,
    ) -> Result<Option<Self>, JournalError> {
        let (opened, path) = match (target, directory) {
            (Target::Off, _) | (Target::Directory, None) => return Ok(None),
            (Target::File(path), _) => (create(path, false), path.clone()),
            (Target::Directory, Some(directory)) => match directory.add() {
                Ok((file, path)) => (Ok(file), path),
                Err(error) => (Err(error), directory.0.clone()),
            },
        };
        let unwritable = |source| JournalError::Unwritable {
            path: path.clone(),
            source,
        };
        let mut writer = Self {
            file: opened.map_err(unwritable)?,
            path: path.clone(),
            broken: None,
        };
        writer
            .line(head)
            .and_then(|()| writer.file.sync_all())
            .map_err(unwritable)?;
        Ok(Some(writer))
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes what became of a change.
    pub(crate) fn outcome(&mut self, change: usize, fate: Fate) {
        self.note(&Line::Outcome { change, fate });
    }

    /// Notes that the run came to its end. The error is the first thing that could not be written.
    pub(crate) fn end(mut self, complete: bool) -> Result<(), JournalError> {
        self.note(&Line::End {
            ended_at: clock::unix_seconds(),
            complete,
        });
        if let Err(error) = self.file.sync_all() {
            self.broken.get_or_insert(error);
        }
        match self.broken {
            Some(source) => Err(JournalError::Unwritable {
                path: self.path,
                source,
            }),
            None => Ok(()),
        }
    }

    fn note(&mut self, line: &Line) {
        if self.broken.is_none() {
            self.broken = self.line(line).err();
        }
    }

    fn line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::VERSION;
    use super::*;

    fn head(node: &str) -> Head {
        Head {
            kongctl_journal: VERSION,
            made_by: "kongctl".to_owned(),
            made_at: 0,
            verb: "sync".to_owned(),
            node: node.to_owned(),
            mode: "database".to_owned(),
            undoes: None,
            changes: Vec::new(),
        }
    }

    #[test]
    fn journals_are_their_owners_alone_and_only_the_newest_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().to_str().unwrap().to_owned();
        let directory =
            Directory::of_user(|name| (name == "XDG_STATE_HOME").then(|| state.clone())).unwrap();
        for number in 0..KEPT + 3 {
            let writer = Writer::begin(
                &Target::Directory,
                Some(&directory),
                &head(&number.to_string()),
            );
            writer.unwrap().unwrap().end(true).unwrap();
        }
        let journals = directory.all();
        assert_eq!(journals.len(), KEPT);
        assert_eq!(journals[0].head.node, (KEPT + 2).to_string());
        let path = directory.path(&journals[0].name);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(directory.find(&journals[0].name).unwrap().end, Some(true));
    }

    #[test]
    fn the_state_directory_is_absolute_or_below_home() {
        let of = |state: Option<&str>, home: Option<&str>| {
            Directory::of_user(|name| match name {
                "XDG_STATE_HOME" => state.map(str::to_owned),
                "HOME" => home.map(str::to_owned),
                _ => None,
            })
            .map(|directory| directory.0.display().to_string())
        };
        assert_eq!(
            of(Some("/s"), None).as_deref(),
            Some("/s/kongctl-admin/journals")
        );
        let below = Some("/h/.local/state/kongctl-admin/journals");
        assert_eq!(of(Some("relative"), Some("/h")).as_deref(), below);
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn a_journal_that_cannot_be_written_stops_the_run_before_it_begins() {
        let target = Target::File(PathBuf::from("/nowhere/j.jsonl"));
        let error = Writer::begin(&target, None, &head("n")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot write the journal /nowhere/j.jsonl")
        );
    }
}
