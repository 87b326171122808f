//! The words of `lint` and `plugin`.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use crate::commands::completion;

use super::Files;

/// What counts as a failure besides mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Mistakes only.
    Mistake,
    /// Warnings too.
    Warning,
}

/// How warnings are judged.
#[derive(Args)]
pub(crate) struct Judgement {
    /// What the command fails on, with exit code 1.
    #[arg(long, value_enum, value_name = "WHAT", default_value = "mistake")]
    pub(crate) fail_on: FailOn,
    /// Do not warn by this rule; may be repeated.
    #[arg(long = "allow", value_name = "RULE", value_parser = rule)]
    pub(crate) allowed: Vec<crate::lint::Rule>,
}

fn rule(code: &str) -> Result<crate::lint::Rule, String> {
    crate::lint::Rule::from_code(code).ok_or_else(|| {
        let known = crate::lint::Rule::ALL.map(crate::lint::Rule::code);
        format!("the rules are {}", known.join(", "))
    })
}

#[derive(Args)]
pub(crate) struct Lint {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) judgement: Judgement,
}

#[derive(Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a configuration of one of our plugins to start from.
    ///
    /// It validates as it is; its comments are what the plugin says of its fields.
    #[command(after_help = "Examples:
  kongctl plugin scaffold llm-rate-limiting > limits.yml
  kongctl plugin scaffold llm-jwt --full         with every field there is")]
    Scaffold(Scaffold),
    /// Tell the fields of a plugin's configuration.
    #[command(after_help = "Examples:
  kongctl plugin schema key-auth                 as the node has it
  kongctl plugin schema llm-jwt --offline        as this kongctl has it
  kongctl plugin schema rate-limiting -o json | jq .fields")]
    Schema(Schema),
}

#[derive(Args)]
pub(crate) struct Scaffold {
    /// The plugin: llm-rate-limiting or llm-jwt.
    #[arg(add = ArgValueCandidates::new(completion::our_plugins))]
    pub(crate) name: String,
    /// Every field, those that are seldom needed as comments.
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(Args)]
pub(crate) struct Schema {
    /// The plugin's name.
    #[arg(add = ArgValueCompleter::new(completion::plugins))]
    pub(crate) name: String,
    /// Ask no node: llm-rate-limiting and llm-jwt only.
    #[arg(long)]
    pub(crate) offline: bool,
}
