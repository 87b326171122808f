//! `kong/kong.conf`: what Kong must know of the plugin server.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

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
