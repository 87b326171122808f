//! What a user sees of files: every kind of mistake, and every verb that rewrites them. No node is asked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod bad_input;
mod openapi;
mod rewrite;
mod schema;

use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// Where Go keeps the sources of a module; `None`, said loudly, where there is no Go.
fn go_module(module: &str) -> Option<std::path::PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", module])
        .current_dir(std::env::temp_dir())
        .output();
    let directory = output.ok().and_then(|output| {
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(std::path::PathBuf::from(answer.get("Dir")?.as_str()?))
    });
    if directory.is_none() {
        eprintln!("SKIPPED: {module} is not to be had (it takes Go, and its module proxy)");
    }
    directory
}

/// A directory with files.
struct World(tempfile::TempDir);

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            world.write(name, text);
        }
        world
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    /// Runs a command and tells all that can be seen of it.
    fn run(&self, words: &[&str]) -> String {
        self.run_with(words, &[])
    }

    fn run_with(&self, words: &[&str], environment: &[(&str, &str)]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_kongctl"))
            .args(words)
            .current_dir(self.0.path())
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown: Vec<String> = words
            .iter()
            .map(|word| {
                if word.contains([' ', '"', '{']) {
                    format!("'{word}'")
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        let mut seen = format!(
            "$ kongctl {}\nexit code: {}\n",
            shown.join(" "),
            output.status.code().unwrap()
        );
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let text = String::from_utf8(bytes).unwrap();
            if !text.is_empty() {
                let _ = write!(seen, "--- {name}\n{text}");
            }
        }
        seen
    }

    /// Runs a command that must succeed, for its standard output.
    fn stdout(&self, words: &[&str]) -> String {
        let seen = self.run(words);
        let head = format!(
            "{}\nexit code: 0\n--- stdout\n",
            seen.lines().next().unwrap()
        );
        let rest = seen.strip_prefix(&head);
        let rest = rest.unwrap_or_else(|| panic!("{seen}"));
        rest.split("--- stderr\n").next().unwrap().to_owned()
    }
}
