//! A real Helm and the official charts, where this machine has them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process::run;
use crate::repository;

/// The variable with the path of the official chart `kong/kong`.
pub const CHART: &str = "KONG_CHART";
/// The variable with the path of the official chart `kong/ingress`.
pub const INGRESS_CHART: &str = "KONG_INGRESS_CHART";

/// Why nothing can be rendered, or `None`.
pub fn absence() -> Option<&'static str> {
    if env::var_os(CHART).is_none() {
        return Some("KONG_CHART does not name the official chart's directory");
    }
    run(Command::new("helm").arg("version"))
        .is_err()
        .then_some("no `helm` on PATH")
}

/// The chart's directory that a variable names; `Err` says that it names none.
pub fn chart(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{variable} does not name the official chart's directory"))
}

/// What Helm makes of a release with these layers of `helm-values/`, in a cluster that has cert-manager and the Prometheus operator.
pub fn template(release: &str, chart: &Path, layers: &[&str]) -> Result<String> {
    let mut command = Command::new("helm");
    command
        .args(["template", release])
        .arg(chart)
        .args(["--api-versions", "cert-manager.io/v1"])
        .args(["--api-versions", "monitoring.coreos.com/v1"])
        .current_dir(repository().join("helm-values"));
    for layer in layers {
        command.args(["--values", layer]);
    }
    run(&mut command)
}
