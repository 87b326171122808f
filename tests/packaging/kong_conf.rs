//! `kong/kong.conf`: what Kong must know of the plugin server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::kongctl::built_binary;
use stories::process::run;

use crate::document::text;

/// The plugins that the server supplies.
pub(crate) const PLUGINS: [&str; 2] = ["llm-rate-limiting", "llm-jwt"];

/// Where the server writes its descriptions and binds its socket.
pub(crate) const DIRECTORY: &str = "/run/llm-plugins";

/// The settings of `kong.conf`, in Kong's `name = value` form.
pub(crate) fn settings() -> Result<BTreeMap<String, String>> {
    text("kong/kong.conf")?
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line
                .split_once('=')
                .with_context(|| format!("no `=` in {line:?}"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

pub(crate) fn names_every_plugin() -> Result<()> {
    let settings = settings()?;
    let setting = |name: &str| {
        settings
            .get(name)
            .with_context(|| format!("kong.conf does not set {name}"))
    };
    ensure!(setting("plugins")? == &format!("bundled,{}", PLUGINS.join(",")));
    let names = PLUGINS.map(server_name);
    ensure!(setting("pluginserver_names")? == &names.join(","));
    for (plugin, name) in PLUGINS.into_iter().zip(names) {
        ensure!(
            setting(&format!("pluginserver_{name}_socket"))?
                == &format!("{DIRECTORY}/plugins.sock")
        );
        ensure!(
            setting(&format!("pluginserver_{name}_query_cmd"))?
                == &format!("cat {DIRECTORY}/{plugin}.json")
        );
    }
    Ok(())
}

/// What the binary writes and says of itself is what `kong.conf`, and so each Helm layer, asks for.
pub(crate) fn agrees_with_the_binary() -> Result<()> {
    let settings = settings()?;
    let program = built_binary("llm-plugin-server")?;
    let directory = tempfile::tempdir()?;
    let mut dump = Command::new(&program);
    run(dump.arg("dump").arg("--dir").arg(directory.path()))?;
    let mut written = BTreeSet::new();
    for entry in fs::read_dir(directory.path())? {
        written.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let mut asked = BTreeSet::new();
    for plugin in PLUGINS {
        let mut dump = Command::new(&program);
        let said = run(dump.args(["dump", plugin, "--dir", DIRECTORY]))?;
        let said: Value = serde_json::from_str(&said)?;
        ensure!(
            said["Plugins"][0]["Name"] == plugin,
            "{plugin}: another name"
        );
        let setting = |what: &str| {
            let name = format!("pluginserver_{}_{what}", server_name(plugin));
            settings.get(&name).with_context(|| format!("no {name}"))
        };
        let socket = setting("socket")?;
        ensure!(said["SocketPath"] == *socket, "{plugin}: not at {socket}");
        let file = setting("query_cmd")?.strip_prefix(&format!("cat {DIRECTORY}/"));
        asked.insert(file.context("no cat")?.to_owned());
    }
    ensure!(
        asked == written,
        "{asked:?} are asked for, {written:?} written"
    );
    Ok(())
}

pub(crate) fn never_spawns() -> Result<()> {
    let spawned: Vec<_> = settings()?
        .into_keys()
        .filter(|name| name.ends_with("_start_cmd"))
        .collect();
    ensure!(
        spawned.is_empty(),
        "with {spawned:?}, Kong 3.9 answers `GET /` with 500"
    );
    Ok(())
}

/// Kong's name of a plugin server, from its plugin's: lower case and underscores.
pub(crate) fn server_name(plugin: &str) -> String {
    plugin.replace('-', "_")
}
