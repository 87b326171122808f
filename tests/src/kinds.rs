//! A plugin that brings kinds of entities of its own, for configurations to hold: plans, and the consumers that have them.

use std::path::PathBuf;

use crate::repository;

/// Its name.
pub const PLUGIN: &str = "quota-plans";

/// Where Kong's Lua finds it: `lua_package_path`.
pub fn lua_package_path() -> String {
    let plugin = repository().join("tests").join("oracle").join("plugin");
    let plugin = plugin.display();
    format!("{plugin}/?.lua;{plugin}/?/init.lua;;")
}

/// The same kinds as the stand-in reads them.
pub fn definitions() -> PathBuf {
    repository().join("tests/standin/tests/fixtures/quota-plans.kinds.json")
}
