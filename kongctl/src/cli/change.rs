//! The words of what changes a node: plan, sync, apply, reset, rollback.

use std::path::PathBuf;

use clap::Args;

use super::{Fields, Files, Parents, Selection};
use crate::journal;

/// How changes are carried out.
#[derive(Args)]
pub(crate) struct Execution {
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Load everything at once through /config, without asking the node whether it has a database.
    #[arg(long)]
    pub(crate) dbless: bool,
    /// The most calls at once; fewer while the node is slow or refuses.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) parallelism: u16,
    /// Refuse to change or delete what has this tag; may be repeated.
    #[arg(long = "protect-tag", value_name = "TAG")]
    pub(crate) protect_tags: Vec<String>,
    /// Where the journal goes, which rollback needs: a file instead of the state directory, or off.
    #[arg(long, value_name = "FILE|off")]
    pub(crate) journal: Option<journal::Target>,
}

/// Files to plan from, or a plan.
#[derive(Args)]
pub(crate) struct FilesOrPlan {
    /// Files, directories, or - for standard input.
    #[arg(required_unless_present = "plan", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Carry out a plan that `kongctl plan -o` saved, if the node still is as it was then.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "select_tags"])]
    pub(crate) plan: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Plan for `apply`: nothing is deleted.
    #[arg(long)]
    pub(crate) no_delete: bool,
    /// Exit with 2 if anything differs.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Save the plan to a file that only you can read; -o FILE does too.
    #[arg(long, value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) source: FilesOrPlan,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) execution: Execution,
    /// Refuse a plan that deletes more.
    #[arg(long, value_name = "N")]
    pub(crate) max_deletes: Option<usize>,
}

#[derive(Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) source: FilesOrPlan,
    #[command(flatten)]
    pub(crate) parents: Parents,
    #[command(flatten)]
    pub(crate) fields: Fields,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) execution: Execution,
}

#[derive(Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) execution: Execution,
    /// Refuse to delete more.
    #[arg(long, value_name = "N")]
    pub(crate) max_deletes: Option<usize>,
}

#[derive(Args)]
pub(crate) struct Rollback {
    /// The name or path of a journal [default: the node's newest that is not undone yet].
    #[arg(value_name = "JOURNAL", conflicts_with = "list")]
    pub(crate) from: Option<String>,
    /// List the journals that there are.
    #[arg(long)]
    pub(crate) list: bool,
    /// Restore what others changed since, too.
    #[arg(long)]
    pub(crate) force: bool,
    /// Restore what can be restored, if not all can.
    #[arg(long)]
    pub(crate) partial: bool,
    /// Files with the basic-auth passwords of then, of which Kong keeps only hashes: the files that were synced; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) passwords: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) execution: Execution,
    /// Refuse to delete more.
    #[arg(long, value_name = "N")]
    pub(crate) max_deletes: Option<usize>,
}
