//! `namespace`: routes under a path prefix, or for other hosts.

use crate::admin::entities::Kind;
use crate::cli::Namespace;
use crate::output::failure::UsageError;
use crate::output::{self, Printer};
use crate::syntax;

use super::super::Exit;

pub(super) fn run(arguments: &Namespace, printer: Printer) -> anyhow::Result<Exit> {
    let other = arguments
        .to
        .targets()
        .iter()
        .find(|target| target.kind != Kind::Route);
    if let Some(target) = other {
        return Err(UsageError {
            message: format!(
                "{} has neither paths nor hosts: name routes",
                target.kind.with_article()
            ),
        }
        .into());
    }
    let namespace = syntax::Namespace {
        prefix: arguments.path_prefix.clone(),
        hosts: arguments.hosts.clone(),
        clear_hosts: arguments.clear_hosts,
    };
    let chosen = arguments.to.chosen();
    let mut found = 0;
    let done = super::rewrite(&arguments.rewritten, printer, |file, diagnostics| {
        found += file.namespace(&namespace, &chosen, diagnostics);
    })?;
    if found == 0 {
        output::note("No route is selected.");
    }
    Ok(done.exit)
}
