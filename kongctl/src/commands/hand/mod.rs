//! The verbs that act on one thing: `create`, `apply KIND`, `patch`, `delete`, `describe`.
//!
//! What is said on the command line becomes a document of one entry, and goes the way of files from there: the same checks,
//! defaults, references, redaction, plan, questions, journal and report.

mod change;
mod delete;
mod describe;
mod fields;
mod patch;

use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::admin::client::{Client, Mode};
use crate::admin::entities::Kind;
use crate::admin::schema::Schemas;
use crate::cli::{Named, Parents, Safety};
use crate::output::Printer;
use crate::output::failure::{Refused, UsageError};
use crate::plan;
use crate::plan::guard::Guard;
use crate::profiles::Profile;
use crate::state::Entity;
use crate::state::current::Inventory;
use crate::state::diagnostics::suggestion;
use crate::state::resolve::{Desired, Scope};

use super::carry_out::{Order, carry_out};
use super::planning::{Planned, Read, read_node, wanted};
use super::{Exit, connect, protected};

pub(super) use change::{apply, create, names_kind};
pub(super) use delete::run as delete;
pub(super) use describe::run as describe;
pub(super) use patch::run as patch;

/// The kind that a word means, on a node that may know more of them than Kong itself has.
pub(super) async fn kind_of(word: &str, client: &Client) -> Result<Kind, UsageError> {
    if let Some(kind) = Kind::from_word(word) {
        return Ok(kind);
    }
    client.glance_at_kinds().await;
    Kind::from_word(word).ok_or_else(|| {
        let help = suggestion(word, Kind::all().map(Kind::name)).unwrap_or_else(|| {
            let known: Vec<_> = Kind::all().map(Kind::name).collect();
            format!("known are {}", known.join(", "))
        });
        UsageError {
            message: format!("there is no kind `{word}`: {help}"),
        }
    })
}

/// A node on which single entities can be changed.
struct Node {
    client: Client,
    read: Read,
    /// Only these fields of the one entity are sent.
    partial: Option<Map<String, Value>>,
}

impl Node {
    /// Reads the node, with its schemas of these kinds and plugins.
    async fn read(
        client: Client,
        verb: &str,
        kinds: Vec<Kind>,
        plugins: Vec<String>,
    ) -> anyhow::Result<Self> {
        if client.mode().await? == Mode::Dbless {
            return Err(Refused {
                message: format!(
                    "{verb} changes one entity, which a node without a database does not take"
                ),
                hint: "change the file that the node was loaded from, and `kongctl sync` that file"
                    .to_owned(),
            }
            .into());
        }
        let read = read_node(&client, kinds, plugins, true)
            .await
            .context("cannot read the node's configuration")?;
        Ok(Self {
            client,
            read,
            partial: None,
        })
    }

    /// Plans what brings the node to `desired`, and carries it out. `keeps_others`: what is not desired stays.
    async fn make(
        self,
        desired: Desired,
        keeps_others: bool,
        order: &Order<'_>,
        printer: Printer,
    ) -> anyhow::Result<Exit> {
        let Read {
            standing,
            current,
            schemas,
        } = self.read;
        let scope = Scope {
            keeps_unnamed: keeps_others,
            ..Scope::default()
        };
        let mut plan = plan::diff::diff(&current, desired, &scope, &schemas)
            .context("there is no way to make these changes")?;
        for change in &mut plan.changes {
            change.partial.clone_from(&self.partial);
        }
        let planned = Planned {
            client: self.client,
            standing,
            current,
            schemas,
            plan,
            hashed_passwords: false,
            undoes: None,
        };
        carry_out(vec![planned], order, printer).await
    }
}

/// What must not be changed.
fn guard(safety: &Safety, profile: &Profile) -> Guard {
    Guard {
        protect_tags: protected(&safety.protect_tags, profile),
        max_deletes: None,
    }
}

/// What a node says of the fields of these entities.
async fn schemas(client: &Client, entities: &[&Entity]) -> anyhow::Result<Schemas> {
    let mut kinds: Vec<Kind> = entities.iter().map(|entity| entity.kind).collect();
    kinds.sort();
    kinds.dedup();
    let mut plugins: Vec<String> = entities
        .iter()
        .filter(|entity| entity.kind == Kind::Plugin)
        .filter_map(|entity| entity.body.get("name")?.as_str().map(str::to_owned))
        .collect();
    plugins.sort();
    plugins.dedup();
    let schemas = client.schemas(kinds, plugins).await;
    schemas.context("cannot read the node's schemas")
}

/// The one entity of this kind that a command line names.
fn named<'a>(inventory: &'a Inventory, kind: Kind, entity: &Named) -> anyhow::Result<&'a Entity> {
    find(inventory, kind, &entity.name, &entity.parents)
}

/// The one entity of this kind and name that belongs to `parents`.
fn find<'a>(
    inventory: &'a Inventory,
    kind: Kind,
    name: &str,
    parents: &Parents,
) -> anyhow::Result<&'a Entity> {
    let mut wanted = Vec::new();
    for (field, parent) in parents.given() {
        let to = parent_kind(kind, field)?;
        let parent = find(inventory, to, parent, &Parents::default())?;
        wanted.push((field, parent.id.as_str()));
    }
    let among = |entity: &&Entity| {
        let belongs = |(field, id): &(&str, &str)| entity.reference(field) == Some(*id);
        wanted.iter().all(belongs)
    };
    let of_kind: Vec<&Entity> = inventory.of_kind(kind).filter(among).collect();
    let exact = of_kind.iter().find(|entity| entity.id == name);
    let found: Vec<&Entity> = match exact {
        Some(entity) => vec![entity],
        None => of_kind
            .iter()
            .copied()
            .filter(|entity| entity.is_called(name))
            .collect(),
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let known = of_kind.iter().map(|entity| entity.label.as_str());
            Err(Refused {
                message: format!("there is no {} `{name}`", kind.singular()),
                hint: suggestion(name, known)
                    .unwrap_or_else(|| format!("`kongctl get {}` lists them", kind.name())),
            }
            .into())
        }
        several => {
            let named: Vec<String> = several
                .iter()
                .map(|entity| format!("{} ({})", entity.label, entity.id))
                .collect();
            Err(Refused {
                message: format!(
                    "{} {} are called `{name}`: {}",
                    several.len(),
                    kind.name(),
                    named.join(", ")
                ),
                hint: "say which by its id, or by what it belongs to: --route, --service, --consumer, --upstream"
                    .to_owned(),
            }
            .into())
        }
    }
}

/// The kind that a field of `kind` refers to.
fn parent_kind(kind: Kind, field: &str) -> Result<Kind, UsageError> {
    kind.references()
        .find(|(name, ..)| *name == field)
        .map(|(_, to, _)| to)
        .ok_or_else(|| {
            let flag = if field == "set" { "key-set" } else { field };
            let fields: Vec<_> = kind.references().map(|(name, ..)| name).collect();
            let known = if fields.is_empty() {
                "belongs to nothing".to_owned()
            } else {
                format!("belongs to: {}", fields.join(", "))
            };
            UsageError {
                message: format!("--{flag}: {} {known}", kind.with_article()),
            }
        })
}
