//! Kinds that a plugin brings: left alone by files that do not name them, changed by hand, and their secrets kept.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use stories::world::World;

/// Two plans, and a member that each of two consumers has.
const WHOLE: &str = "
consumers: [{username: alice}, {username: bob}]
quota_plans: [{name: gold, tokens: 5, secret: hidden-one, tags: [t]}, {name: silver}]
quota_members: [{plan: gold, consumer: alice}, {plan: silver, consumer: bob, since: 3}]
";

/// One node and a directory for files.
struct Node<'a> {
    world: &'a World,
    directory: PathBuf,
}

impl<'a> Node<'a> {
    /// With [`WHOLE`] on it.
    async fn prepare(world: &'a World) -> Result<Self> {
        let directory = world.directory().join("kinds");
        fs::create_dir_all(&directory)?;
        let node = Self { world, directory };
        node.run("reset --yes --journal off").await?;
        node.sync(WHOLE).await?;
        Ok(node)
    }

    async fn run(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split(' ').collect();
        self.world.kongctl.run_in(&self.directory, &words).await
    }

    async fn json(&self, line: &str) -> Result<Value> {
        Ok(serde_json::from_str(
            &self.run(&format!("{line} -o json")).await?,
        )?)
    }

    /// Why a command is refused.
    async fn refusal(&self, line: &str) -> Result<String> {
        let refused = self.run(line).await.err().context(line.to_owned())?;
        Ok(format!("{refused:#}"))
    }

    /// Syncs a file, which has nothing more to say then.
    async fn sync(&self, text: &str) -> Result<String> {
        fs::write(self.directory.join("kong.yml"), text)?;
        let said = self.run("sync --yes kong.yml").await?;
        self.run("diff --exit-code kong.yml").await?;
        Ok(said)
    }

    /// What the Admin API lists under a path.
    async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}/{path}", self.world.gateway.admin_url());
        let mut page: Value = client.get(url).send().await?.json().await?;
        match page["data"].take() {
            Value::Array(list) => Ok(list),
            // An empty list, in Lua.
            _ => Ok(Vec::new()),
        }
    }

    /// Plans and members, but for when they were written.
    async fn custom_entities(&self) -> Result<Vec<Value>> {
        let mut entities = self.list("quota_plans").await?;
        entities.extend(self.list("quota-members").await?);
        for entity in entities.iter_mut().filter_map(Value::as_object_mut) {
            entity.retain(|field, _| !field.ends_with("_at"));
        }
        entities.sort_by_key(|entity| entity["id"].to_string());
        Ok(entities)
    }

    /// The plans' names in order, and how many members there are.
    async fn plans_and_members(&self) -> Result<(Vec<String>, usize)> {
        let plans = self.list("quota_plans").await?;
        let names = plans.iter().filter_map(|plan| plan["name"].as_str());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok((names, self.list("quota-members").await?.len()))
    }

    async fn has(&self, plans: &[&str], members: usize) -> Result<()> {
        let found = self.plans_and_members().await?;
        ensure!(
            found.0 == plans && found.1 == members,
            "there are {found:?}"
        );
        Ok(())
    }
}

/// A file that does not name a kind leaves its entities as they are, where the whole configuration is replaced at once too, and deletes
/// nothing that they need.
pub(crate) async fn are_left_alone(world: &World) -> Result<()> {
    let node = Node::prepare(world).await?;
    let before = node.custom_entities().await?;
    node.sync("consumers: [{username: alice}, {username: bob}, {username: carol}]\n")
        .await?;
    let after = node.custom_entities().await?;
    ensure!(after == before, "{before:#?}\nbecame\n{after:#?}");
    fs::write(
        node.directory.join("kong.yml"),
        "consumers: [{username: alice}]\n",
    )?;
    let refused = node.refusal("sync --yes kong.yml").await?;
    ensure!(
        refused.contains("deleting consumer bob would break what is not ours: quota_members"),
        "{refused}"
    );

    // What a list of nothing names is named.
    node.sync("consumers: [{username: alice}]\nquota_members: []\n")
        .await?;
    node.has(&["gold", "silver"], 0).await?;
    node.run("rollback --yes").await?;
    node.has(&["gold", "silver"], 2).await?;
    node.sync("consumers: [{username: alice}]\nquota_members: [{plan: gold, consumer: alice}]\n")
        .await?;
    node.has(&["gold", "silver"], 1).await?;
    node.sync("consumers: [{username: alice}]\nquota_plans: [{name: silver}]\nquota_members: []\n")
        .await?;
    node.has(&["silver"], 0).await?;
    node.run("reset --yes --journal off").await?;
    node.has(&[], 0).await
}

/// What a file says wrong of them is told with its place, before anything is written.
pub(crate) async fn are_judged(world: &World) -> Result<()> {
    let node = Node::prepare(world).await?;
    let before = node.custom_entities().await?;
    for (line, told) in [
        (
            "quota_plans: [{name: x, token: 5}]",
            &["kong.yml:2:", "token", "tokens"][..],
        ),
        ("quota_plans: [{tokens: 5}]", &["kong.yml:2:", "name"]),
        (
            "quota_plans: [{name: x, tokens: many}]",
            &["kong.yml:2:", "tokens"],
        ),
        (
            "quota_plans: [{name: x, tokens: -1}]",
            &["kong.yml:2:", "tokens"],
        ),
        (
            "quota_plans: [{name: x, window: {unit: week}}]",
            &["kong.yml:2:", "unit"],
        ),
        (
            "quota_plans: [{name: x, window: {units: day}}]",
            &["kong.yml:2:", "units"],
        ),
        ("quota_plans: [{name: x}, {name: x}]", &["kong.yml:2:", "x"]),
        (
            "quota_members: [{plan: nope, consumer: alice}]",
            &["kong.yml:2:", "nope"],
        ),
        (
            "quota_members: [{consumer: alice}]",
            &["kong.yml:2:", "plan"],
        ),
        ("quota_plan: [{name: x}]", &["kong.yml:2:", "quota_plans"]),
    ] {
        let text = format!("consumers: [{{username: alice}}, {{username: bob}}]\n{line}\n");
        fs::write(node.directory.join("kong.yml"), text)?;
        for verb in ["validate --online", "sync --yes"] {
            let refused = node.refusal(&format!("{verb} kong.yml")).await?;
            for word in told {
                ensure!(
                    refused.contains(word),
                    "{verb}, {line}: no {word} in\n{refused}"
                );
            }
        }
    }
    ensure!(
        node.custom_entities().await? == before,
        "something was written"
    );
    node.run("reset --yes --journal off").await.map(drop)
}

/// Old and new values of a field that is a secret are shown nowhere.
pub(crate) async fn keep_secrets(world: &World) -> Result<()> {
    let node = Node::prepare(world).await?;
    let changed = WHOLE.replace("hidden-one", "hidden-two");
    fs::write(node.directory.join("changed.yml"), &changed)?;
    for line in [
        "diff changed.yml",
        "diff -o json changed.yml",
        "describe quota_plans gold",
        "sync --yes changed.yml",
    ] {
        let said = node.run(line).await?;
        ensure!(
            !said.contains("hidden-") && (said.contains("[redacted]") || line.starts_with("sync")),
            "{line} says\n{said}"
        );
    }
    let plans = node.list("quota_plans").await?;
    ensure!(
        plans.iter().any(|plan| plan["secret"] == "hidden-two"),
        "{plans:?}"
    );
    node.run("reset --yes --journal off").await.map(drop)
}

/// Created, shown, changed and deleted one at a time, and refused with their place.
pub(crate) async fn by_hand(world: &World) -> Result<()> {
    let node = Node::prepare(world).await?;
    node.run("create quota_plans bronze --set tokens=7 --set window.unit=hour")
        .await?;
    let plans = node.json("get quota_plans").await?;
    ensure!(
        plans.as_array().is_some_and(|plans| plans.len() == 3),
        "{plans}"
    );
    let plan = node.json("describe quota_plans bronze").await?;
    ensure!(
        plan["tokens"] == 7 && plan["window"]["unit"] == "hour" && plan["window"]["burst"] == 1.5,
        "{plan}"
    );

    node.run("patch quota_plans bronze --set window.warning.percent=1 --set models=[b,a]")
        .await?;
    let plan = node.json("describe quota_plans bronze").await?;
    ensure!(
        plan["window"]["warning"]["percent"] == 1
            && plan["window"]["unit"] == "hour"
            && plan["tokens"] == 7,
        "{plan}"
    );
    node.run("apply quota_plans bronze --set tokens=8").await?;
    let plan = node.json("describe quota_plans bronze").await?;
    ensure!(plan["tokens"] == 8, "{plan}");

    let member =
        r#"create quota_members --json={"plan":{"name":"bronze"},"consumer":{"username":"alice"}}"#;
    node.run(member).await?;
    let members = node.json("get quota_members").await?;
    ensure!(
        members.as_array().is_some_and(|members| members.len() == 3),
        "{members}"
    );

    for (line, told) in [
        ("create quota_plans bronze", "bronze"),
        ("create quota_plans x --set tokens=-1", "tokens"),
        ("create quota_plans x --set token=1", "token"),
        ("patch quota_plans bronze --set window.unit=week", "unit"),
        ("patch quota_plans nope --set tokens=1", "nope"),
        ("get quota_plan_s", "quota_plan_s"),
        (member, "quota_members"),
        (
            r#"create quota_members --json={"plan":{"name":"nope"},"consumer":{"username":"alice"}}"#,
            "nope",
        ),
    ] {
        let refused = node.refusal(line).await?;
        ensure!(refused.contains(told), "{line}: {refused}");
    }

    node.run("delete quota_plans bronze --yes").await?;
    node.has(&["gold", "silver"], 2).await?;
    node.run("rollback --yes").await?;
    node.has(&["bronze", "gold", "silver"], 3).await?;
    let id = node.list("quota-members").await?[0]["id"].take();
    let id = id.as_str().context("a member has an id")?;
    node.run(&format!("delete quota_members {id} --yes"))
        .await?;
    node.has(&["bronze", "gold", "silver"], 2).await?;
    node.run("reset --yes --journal off").await?;
    ensure!(
        node.json("get quota_plans").await? == json!([]),
        "a reset left some"
    );
    Ok(())
}
