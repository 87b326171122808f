//! From files, or from a saved plan, and from what nodes have, to plans.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::try_join_all;

use crate::admin::client::{Client, Standing};
use crate::admin::entities::Kind;
use crate::admin::errors::AdminError;
use crate::admin::schema::Schemas;
use crate::cli::{Connection, FilesOrPlan};
use crate::output;
use crate::output::failure::Refused;
use crate::plan::saved::{self, SavedPlan};
use crate::plan::{self, Plan};
use crate::state::current::{self, Inventory};
use crate::state::declared::{self, Configuration};
use crate::state::diagnostics::Diagnostics;
use crate::state::files;
use crate::state::resolve::{self, Desired, Scope};

use super::{connect_all, read_files_for};

/// A node, and everything that its plan was made from.
pub(super) struct Planned {
    pub(super) client: Client,
    /// Unless it was not asked.
    pub(super) standing: Option<Standing>,
    pub(super) current: Inventory,
    pub(super) schemas: Schemas,
    pub(super) plan: Plan,
    pub(super) hashed_passwords: bool,
    /// The journal that the plan undoes.
    pub(super) undoes: Option<String>,
}

/// What a plan is to be about.
pub(super) struct Wish<'a> {
    pub(super) files: &'a [PathBuf],
    pub(super) select_tags: Vec<String>,
    pub(super) keeps_unnamed: bool,
    /// Ask the nodes how they stand, too.
    pub(super) standing: bool,
}

/// What a node has, read at once.
pub(super) struct Read {
    pub(super) standing: Option<Standing>,
    pub(super) current: Inventory,
    pub(super) schemas: Schemas,
}

/// Reads a node, and its schemas of these kinds and plugins.
pub(super) async fn read_node(
    client: &Client,
    kinds: Vec<Kind>,
    plugins: Vec<String>,
    ask_standing: bool,
) -> Result<Read, AdminError> {
    // First how it stands, then what it has: what is loaded between the two is noticed when the plan is carried out.
    let standing = if ask_standing {
        Some(client.standing().await?)
    } else {
        None
    };
    let (current, schemas) =
        tokio::try_join!(current::read(client), client.schemas(kinds, plugins))?;
    Ok(Read {
        standing,
        current,
        schemas,
    })
}

/// What files want of a node, with all that only the node can tell held against them.
pub(super) async fn wanted(
    client: &Client,
    configuration: Configuration,
    current: &Inventory,
    schemas: &Schemas,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Result<Desired, AdminError> {
    current::check_kinds(client, &configuration, diagnostics).await?;
    let configuration = declared::with_booleans(configuration, schemas);
    declared::check_plugins(&configuration, schemas, diagnostics);
    Ok(resolve::resolve(configuration, current, scope, diagnostics))
}

/// Reads files and nodes, and plans what brings each node to where the files want it.
pub(super) async fn plan_files(
    wish: Wish<'_>,
    connection: &Connection,
) -> anyhow::Result<(Vec<Planned>, Scope)> {
    let mut diagnostics = Diagnostics::default();
    let clients = connect_all(connection)?;
    let configuration = read_files_for(&clients, wish.files, &mut diagnostics).await?;
    diagnostics.into_result()?;
    if configuration.entities.is_empty() {
        return Err(Refused {
            message: "the files declare nothing".to_owned(),
            hint: "to delete everything, say so: `kongctl reset`".to_owned(),
        }
        .into());
    }
    let mut select_tags = wish.select_tags;
    for tag in &configuration.select_tags {
        if !select_tags.contains(tag) {
            select_tags.push(tag.clone());
        }
    }
    let scope = Scope {
        select_tags,
        keeps_unnamed: wish.keeps_unnamed,
        custom_kinds: Some(configuration.custom_kinds.keys().copied().collect()),
    };
    let configuration = Arc::new(configuration);
    let nodes: Vec<_> = clients
        .into_iter()
        .map(|client| plan_node(client, configuration.clone(), &scope, wish.standing))
        .collect();
    // The last node takes it, the others copy it.
    drop(configuration);
    Ok((try_join_all(nodes).await?, scope))
}

async fn plan_node(
    client: Client,
    configuration: Arc<Configuration>,
    scope: &Scope,
    ask_standing: bool,
) -> anyhow::Result<Planned> {
    let (kinds, plugins) = (configuration.kinds(), configuration.plugin_names());
    let Read {
        standing,
        current,
        schemas,
    } = read_node(&client, kinds, plugins, ask_standing)
        .await
        .context("cannot read the node's configuration")?;
    let mut diagnostics = Diagnostics::default();
    let configuration = Arc::unwrap_or_clone(configuration);
    let hashed_passwords = configuration.hashed_passwords;
    let desired = wanted(
        &client,
        configuration,
        &current,
        &schemas,
        scope,
        &mut diagnostics,
    )
    .await?;
    diagnostics.into_result()?;
    let plan = plan::diff::diff(&current, desired, scope, &schemas)
        .context("there is no way to make these changes")?;
    Ok(Planned {
        client,
        standing,
        current,
        schemas,
        plan,
        hashed_passwords,
        undoes: None,
    })
}

/// Plans from files, or takes up a saved plan.
pub(super) async fn plan_or_take_up(
    source: &FilesOrPlan,
    select_tags: Vec<String>,
    keeps_unnamed: bool,
    connection: &Connection,
) -> anyhow::Result<Vec<Planned>> {
    if let Some(path) = &source.plan {
        return take_up(path, keeps_unnamed, connection).await;
    }
    let wish = Wish {
        files: &source.files,
        select_tags,
        keeps_unnamed,
        standing: true,
    };
    Ok(plan_files(wish, connection).await?.0)
}

/// Reads a saved plan, and what of it is left to do.
async fn take_up(
    path: &Path,
    never_deletes: bool,
    connection: &Connection,
) -> anyhow::Result<Vec<Planned>> {
    let saved = read_saved(path)?;
    let clients = connect_all(connection)?;
    let refused = |message: String, hint: &str| Refused {
        message,
        hint: hint.to_owned(),
    };
    for client in &clients {
        if !saved.made_of.nodes.iter().any(|node| node == client.url()) {
            let message = format!(
                "the plan was made for {}, not for {}",
                saved.made_of.nodes.join(", "),
                client.url()
            );
            return Err(refused(message, "give that address as --admin-url, or plan anew").into());
        }
    }
    let deletes = saved
        .changes
        .iter()
        .any(|change| change.found.is_some() && change.entity.is_none());
    if never_deletes && deletes {
        let message = "the plan deletes, and apply never does".to_owned();
        return Err(refused(
            message,
            "carry it out with `kongctl sync --plan`, or plan with --no-delete",
        )
        .into());
    }
    for file in saved
        .made_of
        .files
        .iter()
        .filter(|file| file.sha256.is_some())
    {
        let now = files::mark(Path::new(&file.path)).and_then(|mark| mark.sha256);
        if now.is_some() && now != file.sha256 {
            output::note(&format!(
                "{} has changed since the plan was made; the plan is carried out as it was made.",
                file.path
            ));
        }
    }
    let nodes = clients.into_iter().map(|client| take_up_on(client, &saved));
    try_join_all(nodes).await
}

async fn take_up_on(client: Client, saved: &SavedPlan) -> anyhow::Result<Planned> {
    // The plan may be about kinds that only the node knows.
    client
        .custom_kinds()
        .await
        .context("cannot read the node's configuration")?;
    let (kinds, plugins) = saved.subjects();
    let Read {
        standing,
        current,
        schemas,
    } = read_node(&client, kinds, plugins, true)
        .await
        .context("cannot read the node's configuration")?;
    let mode = standing.as_ref().map(|standing| standing.mode.name());
    if mode != Some(saved.made_of.mode.as_str()) {
        return Err(Refused {
            message: format!(
                "the plan was made for a node in {} mode; this one is in {} mode",
                saved.made_of.mode,
                mode.unwrap_or("another")
            ),
            hint: "plan anew".to_owned(),
        }
        .into());
    }
    let revived = saved.revive(&current, &schemas)?;
    if revived.already > 0 {
        output::note(&format!(
            "{} of the plan's changes were made before.",
            revived.already
        ));
    }
    Ok(Planned {
        client,
        standing,
        current,
        schemas,
        plan: revived.plan,
        hashed_passwords: saved.hashed_passwords,
        undoes: None,
    })
}

fn read_saved(path: &Path) -> anyhow::Result<SavedPlan> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the plan {shown}"))?;
    let version = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|plan| plan.get("kongctl_plan")?.as_u64());
    let hint = "`kongctl plan FILE… -o PLAN` writes one".to_owned();
    match version {
        Some(version) if version == u64::from(saved::VERSION) => {}
        Some(version) => {
            let message = format!(
                "the plan {shown} has a form of version {version}, this kongctl reads version {}",
                saved::VERSION
            );
            return Err(Refused { message, hint }.into());
        }
        None => {
            let message = format!("{shown} is no plan of kongctl");
            return Err(Refused { message, hint }.into());
        }
    }
    serde_json::from_str(&text).map_err(|error| {
        // Its words may repeat a value, which may be a secret.
        let message = format!(
            "the plan {shown} is not as expected at {}:{}",
            error.line(),
            error.column()
        );
        Refused { message, hint }.into()
    })
}

impl Planned {
    /// Looks again whether the node is as it was: a person has had time to think.
    pub(super) async fn look_again(&mut self) -> anyhow::Result<()> {
        let origin = saved::Origin {
            files: Vec::new(),
            nodes: Vec::new(),
            mode: String::new(),
            select_tags: Vec::new(),
        };
        let saved = saved::save(&self.plan, origin, self.hashed_passwords, 0);
        if self.standing.is_some() {
            self.standing = Some(self.client.standing().await?);
        }
        self.current = current::read(&self.client)
            .await
            .context("cannot read the node's configuration")?;
        let planned = std::mem::replace(
            &mut self.plan,
            saved.revive(&self.current, &self.schemas)?.plan,
        );
        self.plan.unchanged = planned.unchanged;
        // A saved plan knows nothing of changes of some fields alone.
        for change in &mut self.plan.changes {
            let same = |other: &&plan::Change| (other.kind, &other.id) == (change.kind, &change.id);
            let partial = planned.changes.iter().find(same);
            change.partial = partial.and_then(|planned| planned.partial.clone());
        }
        Ok(())
    }
}
