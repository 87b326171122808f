//! Node, with the packages that `tests/run` installs for the scripts in `tests/clients`.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::process::run;
use crate::repository;

/// Node, which finds the installed packages.
pub fn node() -> Command {
    let packages = repository()
        .join(".cache")
        .join("node")
        .join("node_modules");
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", packages)
        // Loopback needs no proxy, whatever this machine says.
        .env("NO_PROXY", "127.0.0.1");
    command
}

/// Node, running a script of `tests/clients`.
pub fn script(name: &str) -> Command {
    let mut command = node();
    command.arg(repository().join("tests").join("clients").join(name));
    command
}

/// Why scripts that need the module `name` cannot be run, or `None`. Asked of Node once.
pub fn absence(name: &'static str) -> Option<&'static str> {
    static LOADS: Mutex<BTreeMap<&str, bool>> = Mutex::new(BTreeMap::new());
    let mut loads = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
    let loads = *loads.entry(name).or_insert_with(|| {
        // Modules of either kind, found as `require` finds them: `import` does not look at NODE_PATH.
        let load = format!("import(require('url').pathToFileURL(require.resolve('{name}')))");
        run(node().args(["-e", &load])).is_ok()
    });
    (!loads).then_some(
        "the Node package is not in .cache/node, or there is no node (tests/run installs both)",
    )
}
