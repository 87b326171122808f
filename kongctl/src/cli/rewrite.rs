//! The words of the verbs that rewrite files; none of them needs a node.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Files;
use crate::syntax::{Prefix, Selector, Target, Where};

#[derive(Subcommand)]
pub(crate) enum Rewrite {
    /// Write files in one layout, comments kept.
    ///
    /// Two spaces, lists under their key, one blank line at most. Quotes, anchors, references and the order of keys stay.
    #[command(after_help = "Examples:
  kongctl format kong.yml                        shows it
  kongctl format --in-place gateway/
  kongctl format --check gateway/                exits with 2 if a file would change")]
    Format(FormatFiles),
    /// Put tags on entities of files, comments kept.
    #[command(after_help = "Examples:
  kongctl add-tags --tag team-a kong.yml
  kongctl add-tags --tag beta --to routes --to services/llm --in-place kong.yml
  kongctl add-tags --tag old --selector '$..routes[?@.protocols[0]==\"http\"]' kong.yml")]
    AddTags(AddTags),
    /// Take tags off entities of files, comments kept.
    #[command(after_help = "Examples:
  kongctl remove-tags --tag beta kong.yml
  kongctl remove-tags --tag team-a --keep-only --to routes --in-place kong.yml
  kongctl remove-tags --keep-only kong.yml       all of them")]
    RemoveTags(RemoveTags),
    /// Say which tags the entities of files have, one a line.
    #[command(after_help = "Examples:
  kongctl list-tags gateway/
  kongctl list-tags --to services -o json kong.yml")]
    ListTags(ListTags),
    /// Put plugins on entities of files, or into the files themselves, comments kept.
    ///
    /// A plugin of the same name that is there already stays, unless --overwrite.
    #[command(after_help = "Examples:
  kongctl add-plugins --plugin '{\"name\": \"prometheus\"}' kong.yml
  kongctl add-plugins --plugin-file limits.yml --to services --in-place kong.yml
  kongctl add-plugins --plugin-file plugins.yml kong.yml

Nothing chosen means for all requests.

A plugin file lists plugins, alone or under `plugins`; or, as decK's do, it says itself where they go:
  add-plugins:
  - selectors: ['$.services[*]']
    overwrite: false
    plugins: [{name: prometheus}]")]
    AddPlugins(AddPlugins),
    /// Change fields in files, comments kept, as decK's `file patch` does.
    ///
    /// A field is set to a JSON value, or removed; a list is appended to each list that a selector finds. Nothing chosen means the
    /// file itself. For an entity of a node, see `kongctl patch`.
    #[command(after_help = "Examples:
  kongctl patch-files --to services --value read_timeout:10000 kong.yml
  kongctl patch-files --to routes/chat --value 'hosts:[\"a.example\"]' --value strip_path: --in-place kong.yml
  kongctl patch-files --selector '$..routes[*].methods' --value '[\"OPTIONS\"]' kong.yml
  kongctl patch-files --patch-file production.yml kong.yml

A patch file is decK's:
  _format_version: \"1.0\"
  patches:
  - selectors: ['$.services[*]']
    values: {read_timeout: 10000}
    remove: [retries]")]
    PatchFiles(PatchFiles),
    /// Put routes under a path prefix or other hosts, comments kept, as decK's `file namespace` does.
    ///
    /// What the services get does not change: a route that does not strip its path is given a `pre-function` that takes the prefix off.
    /// Routes of TCP and TLS streams have no paths and get none.
    #[command(after_help = "Examples:
  kongctl namespace --path-prefix /team-a kong.yml
  kongctl namespace --path-prefix /v2 --to routes/chat --in-place kong.yml
  kongctl namespace --clear-hosts --host api.staging.example kong.yml")]
    Namespace(Namespace),
    /// Join files into one, comments kept. Nothing is evaluated.
    #[command(after_help = "Examples:
  kongctl merge base.yml team-a.yml > kong.yml
  kongctl merge --output-file kong.yml gateway/")]
    Merge(Merge),
    /// Write down what files say in the end: references, defaults and `_plugin_configs` put in.
    ///
    /// References stay references where a secret may be: in credentials, keys, and the configurations of plugins and vaults.
    #[command(after_help = "Examples:
  kongctl render gateway/
  kongctl render --show-secrets --output-file rendered.yml gateway/")]
    Render(Render),
    /// Write files in another shape or for another Kong.
    ///
    /// Files of format 1.1 and 2.1 are read as those of Kong 2, whose regular expressions among the paths have no `~`.
    #[command(after_help = "Examples:
  kongctl convert --to 3.x kong-2.yml            only what Kong 3 reads otherwise; comments kept
  kongctl convert --to dbless --show-secrets kong.yml > declarative.yml
  kongctl convert --to deck kong.yml             as `kongctl dump` would write it
  kongctl convert --to normal kong.yml")]
    Convert(Convert),
    /// Make services and routes of an OpenAPI description, 3.0 or 3.1, as decK does.
    ///
    /// A service for each place that says servers, a route for each operation; `x-kong-name`, `x-kong-tags`,
    /// `x-kong-{service,upstream,route}-defaults` and `x-kong-plugin-NAME` say the rest.
    ///
    /// Operations that the description protects are open in Kong, and named, unless --generate-security makes plugins of its
    /// security schemes: key-auth, basic-auth, and llm-jwt for tokens.
    #[command(
        name = "openapi2kong",
        after_help = "Examples:
  kongctl openapi2kong api.yml > kong.yml
  kongctl openapi2kong --generate-security api.yml > kong.yml
  kongctl openapi2kong --select-tag team-a --output-file kong.yml api.json
  curl https://api.example/openapi.json | kongctl openapi2kong - | kongctl diff -"
    )]
    OpenApi2Kong(OpenApi2Kong),
    /// Print the JSON Schema of the files, for editors.
    #[command(after_help = "Examples:
  kongctl schema > kong.schema.json
  # then, in the first line of a file: # yaml-language-server: $schema=kong.schema.json")]
    Schema,
}

impl Rewrite {
    /// Where the file goes that the verb writes; `None` for those that rewrite the ones given.
    pub(super) fn output_file(&mut self) -> Option<&mut Option<PathBuf>> {
        match self {
            Self::Merge(arguments) => Some(&mut arguments.written.output_file),
            Self::Render(arguments) => Some(&mut arguments.written.output_file),
            Self::Convert(arguments) => Some(&mut arguments.written.output_file),
            Self::OpenApi2Kong(arguments) => Some(&mut arguments.output_file),
            Self::Format(_)
            | Self::AddTags(_)
            | Self::RemoveTags(_)
            | Self::ListTags(_)
            | Self::AddPlugins(_)
            | Self::PatchFiles(_)
            | Self::Namespace(_)
            | Self::Schema => None,
        }
    }
}

/// Where rewritten files go.
#[derive(Args)]
pub(crate) struct Rewritten {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Rewrite the files, instead of printing the one that is given.
    #[arg(short, long)]
    pub(crate) in_place: bool,
}

/// Where a new file goes.
#[derive(Args)]
pub(crate) struct Written {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Write to a file that only you can read, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct FormatFiles {
    #[command(flatten)]
    pub(crate) rewritten: Rewritten,
    /// Change nothing; exit with 2 if a file is laid out otherwise.
    #[arg(long, conflicts_with = "in_place")]
    pub(crate) check: bool,
}

#[derive(Args)]
pub(crate) struct AddTags {
    #[command(flatten)]
    pub(crate) rewritten: Rewritten,
    /// The tag; may be repeated.
    #[arg(long = "tag", required = true, value_name = "TAG", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) tags: Vec<String>,
    #[command(flatten)]
    pub(crate) to: Chosen,
}

#[derive(Args)]
pub(crate) struct RemoveTags {
    #[command(flatten)]
    pub(crate) rewritten: Rewritten,
    /// The tag; may be repeated.
    #[arg(long = "tag", required_unless_present = "keep_only", value_name = "TAG", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) tags: Vec<String>,
    /// Remove all others instead.
    #[arg(long)]
    pub(crate) keep_only: bool,
    #[command(flatten)]
    pub(crate) from: Chosen,
}

#[derive(Args)]
pub(crate) struct ListTags {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) of: Chosen,
}

/// What of a file a verb is about.
#[derive(Args)]
pub(crate) struct Chosen {
    /// Only these entities: a kind, or one by name or id; may be repeated.
    #[arg(long = "to", value_name = "KIND[/NAME]")]
    targets: Vec<Target>,
    /// Only what this JSONPath finds, such as `$..routes[*]`; may be repeated.
    #[arg(long = "selector", value_name = "JSONPATH", conflicts_with = "targets")]
    selectors: Vec<Selector>,
}

impl Chosen {
    /// The one or the other.
    pub(crate) fn chosen(&self) -> Where {
        if self.selectors.is_empty() {
            Where::Entities(self.targets.clone())
        } else {
            Where::Selected(self.selectors.clone())
        }
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }
}

#[derive(Args)]
pub(crate) struct AddPlugins {
    #[command(flatten)]
    pub(crate) rewritten: Rewritten,
    /// A plugin as JSON; may be repeated.
    #[arg(
        long = "plugin",
        value_name = "JSON",
        required_unless_present = "plugin_files"
    )]
    pub(crate) plugins: Vec<String>,
    /// A file with plugins; may be repeated.
    #[arg(long = "plugin-file", value_name = "FILE")]
    pub(crate) plugin_files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) to: Chosen,
    /// Replace plugins of the same name.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Args)]
pub(crate) struct PatchFiles {
    #[command(flatten)]
    pub(crate) rewritten: Rewritten,
    /// KEY:JSON sets a field, KEY: removes it, a JSON list is appended; may be repeated.
    #[arg(
        long = "value",
        value_name = "KEY:JSON",
        required_unless_present = "sources"
    )]
    pub(crate) values: Vec<String>,
    /// A file with patches; may be repeated.
    #[arg(long = "patch-file", value_name = "FILE")]
    pub(crate) sources: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) to: Chosen,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("namespace").required(true).multiple(true).args(["path_prefix", "hosts", "clear_hosts"]))]
pub(crate) struct Namespace {
    #[command(flatten)]
    pub(crate) rewritten: Rewritten,
    /// What their paths are to start with, such as /team-a.
    #[arg(long, value_name = "PATH")]
    pub(crate) path_prefix: Option<Prefix>,
    /// A host that they are for, too; may be repeated.
    #[arg(long = "host", value_name = "HOST", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) hosts: Vec<String>,
    /// Take the hosts away that they have.
    #[arg(long)]
    pub(crate) clear_hosts: bool,
    #[command(flatten)]
    pub(crate) to: Chosen,
}

#[derive(Args)]
pub(crate) struct Merge {
    #[command(flatten)]
    pub(crate) written: Written,
}

#[derive(Args)]
pub(crate) struct Render {
    #[command(flatten)]
    pub(crate) written: Written,
    /// Put in the values of references where a secret may be, too.
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

/// What files are converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// What Kong 3 reads: `~` before regular expressions, format 3.0. The rest stays, comments too.
    #[value(name = "3.x", alias = "kong-gateway-3.x")]
    Kong3,
    /// decK's own shape, which `dump` writes.
    Deck,
    /// What Kong loads without a database: no references, no `_info`.
    Dbless,
    /// Nested wherever that is possible, sorted, without what is the default anyway.
    Normal,
}

#[derive(Args)]
pub(crate) struct Convert {
    #[command(flatten)]
    pub(crate) written: Written,
    /// The shape to write.
    #[arg(long, value_enum)]
    pub(crate) to: Shape,
    /// Put in the values of references where a secret may be, too.
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

#[derive(Args)]
pub(crate) struct OpenApi2Kong {
    /// The description, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) description: PathBuf,
    /// For all entities, instead of `x-kong-tags`; may be repeated.
    #[arg(long = "select-tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// What names and ids start with, instead of `x-kong-name` or the title.
    #[arg(long, value_name = "NAME")]
    pub(crate) uuid_base: Option<String>,
    /// Give entities no ids.
    #[arg(long)]
    pub(crate) no_id: bool,
    /// Name entities as Inso does, without ids.
    #[arg(long)]
    pub(crate) inso_compatible: bool,
    /// One service for all paths, or operations, that say the same servers and defaults.
    #[arg(long)]
    pub(crate) reuse_services: bool,
    /// One route for each operation, whatever headers it requires.
    #[arg(long)]
    pub(crate) skip_route_by_header: bool,
    /// Optional headers with a list of values route as required ones do.
    #[arg(long, conflicts_with = "skip_route_by_header")]
    pub(crate) route_by_optional_headers: bool,
    /// Plugins for security schemes: key-auth, basic-auth and llm-jwt, which x-kong-security-PLUGIN in a scheme configures.
    #[arg(long)]
    pub(crate) generate_security: bool,
    /// Leave operations open, and name them, whose security Kong OSS has no plugin for.
    #[arg(long, requires = "generate_security")]
    pub(crate) ignore_security_errors: bool,
    /// Write to a file that only you can read, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
}
