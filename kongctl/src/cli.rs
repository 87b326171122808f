//! The words of the command line; what they do is in `commands`.

mod change;
#[cfg(test)]
mod examples;
mod hand;
mod limiter;
mod output;
mod plugin;
mod rewrite;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use crate::commands::completion;

pub(crate) use change::{Apply, Execution, FilesOrPlan, Plan, Reset, Rollback, Sync};
pub(crate) use hand::{
    Create, Delete, Describe, Fields, Health, Level, LogLevelCommand, Named, Parents, Patch,
    Safety, TargetCommand, UpstreamCommand,
};
pub(crate) use limiter::{Consent, LimiterConnection, Quota, QuotaCommand, Top};
pub(crate) use output::{Output, structured_format};
pub(crate) use plugin::{FailOn, Judgement, Lint, PluginCommand, Scaffold, Schema};
pub(crate) use rewrite::{
    AddPlugins, AddTags, Convert, FormatFiles, ListTags, Merge, Namespace, OpenApi2Kong,
    PatchFiles, RemoveTags, Render, Rewrite, Rewritten, Shape,
};
pub(crate) use token::{
    Algorithm, GivenToken, Inspect, JwksCommand, KeySource, Mint, Revoke, TokenCommand, Unrevoke,
};

/// Declares and operates Kong Gateway through its Admin API.
#[derive(Parser)]
#[command(
    name = "kongctl",
    version,
    after_help = "Examples:
  kongctl ping                                   is the node there, and of which kind is it?
  kongctl diff kong.yml                          what would a sync change?
  kongctl sync kong.yml                          make the node as the file says
  kongctl rollback                               undo that
  kongctl dump > kong.yml                        write down what the node has
  kongctl get routes                             look around
  kongctl top                                    who spends what, live
  kongctl token revoke -                         refuse a token before it expires

Exit codes: 0 done, 1 failed, 2 differences (diff --exit-code), 64 wrong usage.
Environment: KONGCTL_ADMIN_URL, KONGCTL_ADMIN_TOKEN, KONGCTL_ADMIN_CA_FILE, KONGCTL_ADMIN_PROFILE,
KONGCTL_ADMIN_CONFIG, KONGCTL_LIMITER_ADDR, KONGCTL_LIMITER_TOKEN, NO_COLOR.
Files: ~/.config/kongctl-admin/config.yml has profiles, ~/.local/state/kongctl-admin/journals what rollback needs."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How results are written [default: table; dump: yaml].
    #[arg(short, long, global = true, value_parser = output::OutputParser, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the Admin API.
#[derive(Args, Clone)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The Admin API: http://, https:// or unix:/path/to.sock [default: http://127.0.0.1:8001]. Several nodes without a database
    /// are separated by commas, or the flag is repeated.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_URL",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) admin_url: Vec<String>,
    /// A profile of the configuration file: addresses, certificates, protected tags. Flags and other variables go first.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_PROFILE",
        value_name = "NAME"
    )]
    pub(crate) profile: Option<String>,
    /// A header for each call, as 'Name: value'; may be repeated.
    #[arg(long = "header", global = true, value_name = "HEADER")]
    pub(crate) headers: Vec<String>,
    /// Sent as Kong-Admin-Token.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    /// Trust certificates signed by the authorities in this PEM file.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_CA_FILE",
        value_name = "FILE"
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// Our certificate, for a node that asks for one.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_CLIENT_CERT",
        value_name = "FILE",
        requires = "client_key"
    )]
    pub(crate) client_cert: Option<PathBuf>,
    /// The key of our certificate.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_CLIENT_KEY",
        value_name = "FILE",
        requires = "client_cert"
    )]
    pub(crate) client_key: Option<PathBuf>,
    /// The name that the node's certificate is held against and TLS asks for (SNI), instead of the address' own.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_TLS_SERVER_NAME",
        value_name = "NAME"
    )]
    pub(crate) tls_server_name: Option<String>,
    /// For scripts that name one: workspaces are Kong Enterprise's, Kong OSS has `default` alone.
    #[arg(
        long,
        global = true,
        env = "KONGCTL_ADMIN_WORKSPACE",
        value_name = "NAME"
    )]
    pub(crate) workspace: Option<String>,
    /// The longest that one call may take.
    #[arg(long, global = true, value_parser = duration, default_value = "30s", value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// The longest that connecting may take.
    #[arg(long, global = true, value_parser = duration, default_value = "5s", value_name = "TIME")]
    pub(crate) connect_timeout: Duration,
    /// Tries after the first, of calls that may be repeated.
    #[arg(long, global = true, default_value_t = 3, value_name = "N")]
    pub(crate) retries: u32,
    /// Neither keep nor use what the node said of its plugins, which offline checks read.
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Is the node there, and of which kind is it?
    #[command(after_help = "Examples:
  kongctl ping
  kongctl ping --admin-url unix:/run/kong/admin.sock -o json")]
    Ping,
    /// Check files: without a node, or with --online by the node's own schemas.
    ///
    /// Without a node, environment variables that are not set count as null.
    #[command(after_help = "Examples:
  kongctl validate kong.yml
  kongctl validate --online gateway/ extra.yml
  kongctl validate --lint --fail-on warning kong.yml
  generate | kongctl validate -")]
    Validate(Validate),
    /// Write files as Kubernetes objects, for Kong's ingress controller.
    ///
    /// Services, HTTPRoutes (or Ingresses), KongPlugins, KongConsumers, upstream policies and Secrets, as YAML. What Kubernetes has no word for is told,
    /// and nothing is written: with --allow-losses the rest is.
    #[command(
        name = "to-k8s",
        after_help = "Examples:
  kongctl to-k8s kong.yml | kubectl apply -f -
  kongctl to-k8s --ingress --class kong-internal --namespace agents kong.yml
  kongctl to-k8s -o json kong.yml | jq '.items[].kind'"
    )]
    ToK8s(ToK8s),
    /// Look for what is allowed in LLM traffic and still not what was meant.
    ///
    /// As `validate --lint`, without a node. Each warning has the code of its rule; the README tells them.
    #[command(after_help = "Examples:
  kongctl lint kong.yml
  kongctl lint --fail-on warning gateway/        for a pipeline
  kongctl lint --allow insecure kong.yml")]
    Lint(Lint),
    /// Our plugins: configurations to start from, and the fields of any plugin.
    #[command(after_help = "Examples:
  kongctl plugin scaffold llm-rate-limiting
  kongctl plugin schema key-auth")]
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Show what a sync would change.
    #[command(after_help = "Examples:
  kongctl diff kong.yml
  kongctl diff --exit-code kong.yml || echo 'drift!'
  kongctl diff -o json kong.yml | jq .summary
  kongctl diff --no-delete kong.yml              what would `apply` change?")]
    Diff(Diff),
    /// Show what a sync would change, and save it, to be carried out later exactly so.
    ///
    /// A saved plan has what it would write, passwords and keys included: it is written so that only you can read it.
    #[command(after_help = "Examples:
  kongctl plan kong.yml -o plan.json
  kongctl sync --plan plan.json                  refused if the node moved since
  kongctl plan --no-delete kong.yml -o plan.json && kongctl apply --plan plan.json")]
    Plan(Plan),
    /// Make the node as the files say: create, update and delete.
    #[command(after_help = "Examples:
  kongctl sync kong.yml
  kongctl sync --plan plan.json                  what `kongctl plan -o plan.json` saved
  kongctl sync --yes --max-deletes 5 --protect-tag prod gateway/
  kongctl sync --select-tag team-a team-a.yml    leaves what others own alone
  kongctl sync --admin-url http://10.0.0.1:8001,http://10.0.0.2:8001 kong.yml
                                                 several nodes without a database, the first one first")]
    Sync(Sync),
    /// Create and update what the files say, or one entity; never delete.
    ///
    /// One entity is said by its kind: `apply service llm --set host=h` creates it, or makes it as it is said, other fields at
    /// their defaults.
    #[command(after_help = "Examples:
  kongctl apply consumers.yml
  kongctl apply service llm --set host=provider.example --set port=443
  kongctl apply --select-tag team-a team-a.yml")]
    Apply(Apply),
    /// Write down what the node has, as a file that sync understands. Secrets included, unless --redact.
    #[command(after_help = "Examples:
  kongctl dump --output-file kong.yml
  kongctl dump --select-tag team-a -o json
  kongctl dump --redact")]
    Dump(Dump),
    /// Delete everything, or everything with a tag.
    #[command(after_help = "Examples:
  kongctl reset
  kongctl reset --yes --select-tag team-a")]
    Reset(Reset),
    /// Restore what a sync, apply, reset or rollback found. Without a journal, the newest that is not undone yet.
    ///
    /// Each run keeps a journal of what was there before and of what it did, also if it is cut off. Entities that others changed
    /// since are left alone, and so is what the run did not touch.
    #[command(after_help = "Examples:
  kongctl rollback
  kongctl rollback --list
  kongctl rollback 20261123T160500-123Z-0
  kongctl rollback --passwords kong-of-yesterday.yml")]
    Rollback(Rollback),
    /// Tell how the nodes stand: database, loaded configuration; --wait until they can serve.
    #[command(after_help = "Examples:
  kongctl status
  kongctl status --wait=2m && kongctl sync kong.yml
  kongctl status --admin-url http://10.0.0.1:8001,http://10.0.0.2:8001")]
    Status(Status),
    /// List entities of a kind, or show one.
    #[command(
        after_help = "Kinds: services routes consumers plugins upstreams targets certificates snis ca_certificates
vaults keys key_sets filter_chains; credentials: key-auths jwts basic-auths hmac-auths oauth2 acls.

Examples:
  kongctl get services
  kongctl get consumer alice                     with her credentials
  kongctl get route chat -o yaml
  kongctl get plugins -o name"
    )]
    Get(Get),
    /// Create one entity, with what may be nested in it.
    #[command(after_help = "Examples:
  kongctl create service llm --set host=provider.example --set port=443 --set protocol=https
  kongctl create route chat --service llm --set 'paths=[/chat]'
  kongctl create plugin key-auth --route chat --set 'config.key_names=[apikey]'
  kongctl create target 10.0.0.1:80 --upstream pool --set weight=10
  kongctl create key-auth --consumer alice --set 'key=${{ env \"ALICE_KEY\" }}'
  kongctl create certificate --set cert=@tls.crt --set key=@tls.key")]
    Create(Create),
    /// Change some fields of one entity.
    ///
    /// Maps are merged, lists replaced; fields that are not named stay as they are.
    #[command(after_help = "Examples:
  kongctl patch service llm --set retries=0
  kongctl patch plugin rate-limiting --route chat --set config.minute=100
  kongctl patch upstream pool --file healthchecks.yml
  kongctl patch consumer alice --json '{\"tags\": [\"gold\"]}'")]
    Patch(Patch),
    /// Delete one entity, with what Kong deletes along with it.
    #[command(after_help = "Examples:
  kongctl delete route chat
  kongctl delete target 10.0.0.1:80 --upstream pool
  kongctl delete consumer alice --yes            with her credentials, without asking")]
    Delete(Delete),
    /// Show one entity, what it refers to and what refers to it.
    #[command(after_help = "Examples:
  kongctl describe service llm                   with its routes and plugins
  kongctl describe consumer alice                with her credentials, secrets left out
  kongctl describe route chat -o json")]
    Describe(Describe),
    /// Upstreams at work.
    #[command(after_help = "Examples:
  kongctl upstream health pool")]
    Upstream {
        #[command(subcommand)]
        command: UpstreamCommand,
    },
    /// Targets at work.
    #[command(after_help = "Examples:
  kongctl target set-health pool 10.0.0.1:80 unhealthy")]
    Target {
        #[command(subcommand)]
        command: TargetCommand,
    },
    /// What the node writes into its log.
    #[command(after_help = "Examples:
  kongctl log-level get
  kongctl log-level set debug --for 5m")]
    LogLevel {
        #[command(subcommand)]
        command: LogLevelCommand,
    },
    /// Look into tokens, revoke them, make some for trying things out.
    #[command(after_help = "Examples:
  kongctl token inspect -                        what does it say, who signed it?
  kongctl token revoke -                         refuse it before it expires")]
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Look into sets of public keys.
    #[command(after_help = "Examples:
  kongctl jwks show https://idp.example/.well-known/openid-configuration")]
    Jwks {
        #[command(subcommand)]
        command: JwksCommand,
    },
    /// See and correct what the plugin server's limits count.
    #[command(after_help = "Examples:
  kongctl quota list --search acme               what did it use, what is left?
  kongctl quota get acme                         the only counter with that text
  kongctl quota reset KEY                        nothing counts as used
  kongctl quota grant KEY 5000                   give back up to 5000 of what was used
  kongctl quota adjust KEY -500                  500 less count as used; +500: 500 more

A KEY is a counter's 32 hexadecimal digits: `quota list` shows it.")]
    Quota(Quota),
    /// Watch tenants, models, what is left and what is refused.
    ///
    /// Refreshed every second. q or Ctrl-C leaves, s sorts by the next column.
    #[command(after_help = "Examples:
  kongctl top
  kongctl top --once                             one frame, as text
  kongctl top -o json | jq .usage.totals")]
    Top(Top),
    #[command(flatten)]
    Rewrite(Rewrite),
    /// Print a completion script, which completes the names of live entities too.
    ///
    /// The node of KONGCTL_ADMIN_URL, or of --admin-url in the line, is asked for a second at most. Source it anew with each
    /// version.
    #[command(after_help = "Examples:
  source <(kongctl completion bash)              in ~/.bashrc
  source <(kongctl completion zsh)               in ~/.zshrc
  kongctl completion fish | source               in config.fish")]
    Completion {
        /// For which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write all of them.
    #[command(after_help = "Examples:
  kongctl man quota grant | man -l -
  kongctl man --directory ~/.local/share/man/man1")]
    Man(ManPages),
}

#[derive(Args)]
pub(crate) struct ManPages {
    /// The verb; without one, kongctl itself.
    pub(crate) verb: Vec<String>,
    /// Write every page into this directory instead.
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    pub(crate) directory: Option<PathBuf>,
}

/// The files to read.
#[derive(Args)]
pub(crate) struct Files {
    /// Files, directories, or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Whose entities are spoken of.
#[derive(Args)]
pub(crate) struct Selection {
    /// Only entities with this tag are ours; may be repeated, then with all of them.
    #[arg(long = "select-tag", value_name = "TAG")]
    pub(crate) select_tags: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Ask the node about each entity, plugins' configurations included.
    #[arg(long)]
    pub(crate) online: bool,
    /// Look also for what is allowed and still not what was meant.
    #[arg(long)]
    pub(crate) lint: bool,
    #[command(flatten)]
    pub(crate) judgement: Judgement,
}

#[derive(Args)]
pub(crate) struct ToK8s {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Ingresses instead of HTTPRoutes.
    #[arg(long)]
    pub(crate) ingress: bool,
    /// The class of Ingresses, or of the Gateway, and of Kong's own objects.
    #[arg(long, default_value = "kong", value_name = "NAME")]
    pub(crate) class: String,
    /// The Gateway that HTTPRoutes attach to.
    #[arg(
        long,
        default_value = "kong",
        value_name = "NAME",
        conflicts_with = "ingress"
    )]
    pub(crate) gateway: String,
    /// The namespace of the objects [default: the one in which they are applied].
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Write what can be said although something is lost.
    #[arg(long)]
    pub(crate) allow_losses: bool,
}

#[derive(Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Exit with 2 if anything differs.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// What `apply` would change: nothing is deleted.
    #[arg(long)]
    pub(crate) no_delete: bool,
}

#[derive(Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Write ids of named entities too.
    #[arg(long)]
    pub(crate) with_ids: bool,
    /// Write fields that have their default too.
    #[arg(long)]
    pub(crate) all_fields: bool,
    /// Leave secrets out; such a file cannot be synced. Not known as secrets: code, and texts that neither schema nor name calls one.
    #[arg(long)]
    pub(crate) redact: bool,
    /// Write to a file that only you can read, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Status {
    /// Wait until every node is ready, and without databases until all have loaded the same; no longer than this.
    #[arg(
        long,
        value_name = "TIME",
        value_parser = duration,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5m"
    )]
    pub(crate) wait: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct Get {
    /// The kind, in the singular or plural.
    #[arg(add = ArgValueCandidates::new(completion::kinds))]
    pub(crate) kind: String,
    /// A name, key or id.
    #[arg(add = ArgValueCompleter::new(completion::names))]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Show secrets.
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

/// `500ms`, `30s`, `5m`, `1h`, `2d`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| "write a time as 500ms, 30s, 5m, 1h or 2d".to_owned())?;
    let seconds = |factor: u64| {
        number
            .checked_mul(factor)
            .map(Duration::from_secs)
            .ok_or("too long".to_owned())
    };
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86400),
        _ => Err("write a time as 500ms, 30s, 5m, 1h or 2d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("soon").is_err() && duration("99999999999999999999d").is_err());
    }
}
