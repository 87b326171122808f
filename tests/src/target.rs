//! Which gateways a story can be told on.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::postgres;

/// The variable that chooses targets: a comma-separated list of [`Target`] names or of their families.
pub const VARIABLE: &str = "KONG_TARGET";

/// Kong's own setting, which the Kong on `PATH` inherits.
const WEBASSEMBLY: &str = "KONG_WASM";

/// A gateway, and who keeps its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The stand-in, configured entity by entity.
    StandinMemory,
    /// The stand-in, DB-less.
    StandinDbless,
    /// The `kong` on `PATH`, DB-less.
    BinaryDbless,
    /// The `kong` on `PATH` with a throwaway PostgreSQL.
    BinaryPostgres,
    /// `docker-compose.yml` on this machine's Docker.
    Compose,
}

impl Target {
    /// Every target, the quickest first.
    pub const ALL: [Self; 5] = [
        Self::StandinMemory,
        Self::StandinDbless,
        Self::BinaryDbless,
        Self::BinaryPostgres,
        Self::Compose,
    ];

    /// Its name in [`VARIABLE`] and in the names of tests.
    pub fn name(self) -> &'static str {
        match self {
            Self::StandinMemory => "standin-memory",
            Self::StandinDbless => "standin-dbless",
            Self::BinaryDbless => "binary-dbless",
            Self::BinaryPostgres => "binary-postgres",
            Self::Compose => "compose",
        }
    }

    /// The name that chooses it together with its siblings.
    pub fn family(self) -> &'static str {
        match self {
            Self::StandinMemory | Self::StandinDbless => "standin",
            Self::BinaryDbless | Self::BinaryPostgres => "binary",
            Self::Compose => "compose",
        }
    }

    /// Whether it is the official Kong and not our stand-in.
    pub fn is_real_kong(self) -> bool {
        self.family() != "standin"
    }

    /// Whether the whole configuration is replaced at once.
    pub fn is_dbless(self) -> bool {
        matches!(self, Self::StandinDbless | Self::BinaryDbless)
    }

    /// Why this machine cannot run it, or `None` if it can.
    pub fn absence(self) -> Option<String> {
        match self {
            Self::StandinMemory | Self::StandinDbless => None,
            Self::BinaryDbless => kong_absence(),
            Self::BinaryPostgres => kong_absence().or_else(postgres::absence),
            Self::Compose => compose_absence(),
        }
    }

    /// Why its gateway has no WebAssembly filters, or `None`: the stand-in has them wherever it is asked to.
    pub fn absence_of_filters(self) -> Option<String> {
        let is_on = env::var(WEBASSEMBLY).is_ok_and(|value| value == "on");
        (self.is_real_kong() && !is_on).then(|| {
            format!(
                "its Kong runs no WebAssembly filters: {WEBASSEMBLY}=on where it has the module"
            )
        })
    }

    /// The targets that [`VARIABLE`] names, or all.
    pub fn wanted() -> Result<Vec<Self>> {
        match env::var(VARIABLE) {
            Ok(list) if !list.trim().is_empty() => Self::parse_list(&list),
            _ => Ok(Self::ALL.to_vec()),
        }
    }

    /// Reads a comma-separated list of names and families.
    pub fn parse_list(list: &str) -> Result<Vec<Self>> {
        let mut wanted = Vec::new();
        for word in list
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            let mut matched = Self::ALL
                .into_iter()
                .filter(|target| [target.name(), target.family()].contains(&word));
            let Some(first) = matched.next() else {
                let names = Self::ALL.map(Self::name).join(", ");
                bail!("{VARIABLE}: `{word}` is no target: there are standin, binary, {names}");
            };
            wanted.extend(
                std::iter::once(first)
                    .chain(matched)
                    .filter(|target| !wanted.contains(target))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(wanted)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

fn kong_absence() -> Option<String> {
    find_on_path("kong")
        .is_none()
        .then(|| "no `kong` on PATH".to_owned())
}

fn compose_absence() -> Option<String> {
    if find_on_path("docker").is_none() {
        return Some("no `docker` on PATH".to_owned());
    }
    for (arguments, missing) in [
        (
            &["info", "--format", "{{.ServerVersion}}"][..],
            "no Docker engine answers",
        ),
        (
            &["compose", "version"][..],
            "Docker's compose plugin is not installed",
        ),
    ] {
        let status = Command::new("docker")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Some(missing.to_owned());
        }
    }
    None
}

/// The first executable of that name on `PATH`.
pub fn find_on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// The first of each list, then the second of each, and so on: what is asked of different gateways in this order runs side by side.
pub fn interleaved<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(lists.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_interleaved_keeps_its_order_and_loses_nothing() {
        let lists = vec![vec![1, 4, 6], vec![2], vec![3, 5]];
        assert_eq!(interleaved(lists), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_family_names_its_members_and_none_twice() {
        let parsed = Target::parse_list("standin-dbless, standin,compose").unwrap();
        assert_eq!(
            parsed,
            [
                Target::StandinDbless,
                Target::StandinMemory,
                Target::Compose
            ]
        );
    }

    #[test]
    fn an_unknown_target_is_an_error_that_lists_the_known() {
        let message = Target::parse_list("kubernetes").unwrap_err().to_string();
        assert!(message.contains("binary-postgres"), "{message}");
    }
}
