//! `kong/topics`: each folder is a page and files that hold together, alone and with the others.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use stories::kongctl::built_binary;
use stories::process::run;
use stories::repository;

use crate::document::text;

const ROOM: &str = "kong/topics";
const BASE: &str = "agent.yml";

/// Of each group, one file at most: as `kong/topics/README.md` says.
const ALTERNATIVES: [&[&str]; 2] = [
    &[
        "api-keys/kong.yml",
        "jwt/kong.yml",
        "oauth2/kong.yml",
        "oauth2/kong-plugin.yml",
    ],
    &[
        "load-balancing/kong.yml",
        "load-balancing/least-connections.yml",
        "load-balancing/consistent-hashing.yml",
        "health-checks/kong.yml",
        "canary/kong.yml",
    ],
];

/// The folders.
fn topics() -> Result<BTreeSet<String>> {
    let mut topics = BTreeSet::new();
    for entry in fs::read_dir(repository().join(ROOM))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            topics.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(topics)
}

/// The declarative files, by their paths in the room: the one list of topics.
pub(crate) fn files() -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for topic in topics()? {
        for entry in fs::read_dir(repository().join(ROOM).join(&topic))? {
            let path = entry?.path();
            if path.extension() == Some("yml".as_ref()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                files.insert(format!("{topic}/{name}"));
            }
        }
    }
    Ok(files)
}

pub(crate) fn have_a_page_each() -> Result<()> {
    let index = text("kong/README.md")?;
    for topic in topics()? {
        ensure!(
            index.contains(&format!("](topics/{topic}/README.md)")),
            "kong/README.md does not lead to {topic}"
        );
        ensure!(files()?.contains(&format!("{topic}/kong.yml")), "{topic}");
        let page = text(&format!("{ROOM}/{topic}/README.md"))?;
        for heading in ["**For**", "**Not", "## See it work", "## Pitfalls"] {
            ensure!(page.contains(heading), "{topic}: no {heading}");
        }
    }
    for file in files()? {
        let (topic, name) = file.split_once('/').context("a file lies in a folder")?;
        let page = text(&format!("{ROOM}/{topic}/README.md"))?;
        ensure!(
            page.contains(&format!("kongctl sync agent.yml {file}"))
                || page.contains(&format!("`{name}`"))
                || page.contains(&format!(" {file}")),
            "{file} is not on its page"
        );
    }
    Ok(())
}

/// The variables that a file reads, and the words of its first comment.
pub(crate) fn say_what_they_read() -> Result<()> {
    for file in files()?.into_iter().chain([BASE.to_owned()]) {
        let text = text(&format!("{ROOM}/{file}"))?;
        let said: BTreeSet<&str> = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
            .filter(|word| word.contains('_') && word.chars().all(|letter| !letter.is_lowercase()))
            .collect();
        let read = variables(&text);
        ensure!(
            said == read,
            "{file} says that it reads {said:?}, and reads {read:?}"
        );
    }
    Ok(())
}

pub(crate) fn are_told_as_stories() -> Result<()> {
    let mut told = String::new();
    for entry in fs::read_dir(repository().join("tests/stories/topics"))? {
        told.push_str(&fs::read_to_string(entry?.path())?);
    }
    for file in files()? {
        ensure!(
            told.contains(&format!("\"{file}\"")),
            "no story serves {file}"
        );
    }
    Ok(())
}

/// `kongctl validate` on the base and files, each variable with a value of its own.
fn validate(files: &BTreeSet<&str>) -> Result<String> {
    let mut command = Command::new(built_binary("kongctl")?);
    command.arg("validate");
    for file in files.iter().copied().chain([BASE]) {
        let path = format!("{ROOM}/{file}");
        for name in variables(&text(&path)?) {
            let value = name.to_lowercase().replace('_', "-");
            let value = match name.rsplit('_').next() {
                Some("PORT" | "TIMEOUT") => "9001".to_owned(),
                Some("ISSUER") => format!("https://{value}.example"),
                _ => value,
            };
            command.env(name, value);
        }
        command.arg(repository().join(path));
    }
    run(&mut command)
}

/// The environment variables that a file reads.
fn variables(text: &str) -> BTreeSet<&str> {
    text.split("env \"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name)
        .collect()
}

pub(crate) fn validate_alone_and_together() -> Result<()> {
    let all = files()?;
    for file in &all {
        validate(&BTreeSet::from([file.as_str()]))?;
    }
    let [callers, agents] = ALTERNATIVES;
    let common: BTreeSet<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|file| !callers.contains(file) && !agents.contains(file))
        .collect();
    ensure!(
        common.len() + callers.len() + agents.len() == all.len(),
        "an alternative does not exist"
    );
    for caller in callers {
        for agent in agents {
            let mut files = common.clone();
            files.extend([*caller, *agent]);
            validate(&files).with_context(|| format!("{caller} and {agent}"))?;
        }
    }
    Ok(())
}

/// One upstream cannot be declared twice, and the mistake is told before anything is sent.
pub(crate) fn refuse_two_upstreams() -> Result<()> {
    let [_, agents] = ALTERNATIVES;
    for (place, one) in agents.iter().enumerate() {
        for other in &agents[place + 1..] {
            let Err(error) = validate(&BTreeSet::from([*one, *other])) else {
                anyhow::bail!("{one} and {other} are accepted together");
            };
            ensure!(
                format!("{error:#}").contains("this upstream is already declared"),
                "{one} and {other}: {error:#}"
            );
        }
    }
    Ok(())
}
