//! Filter chains by hand: created, shown, changed and deleted one at a time, and refused with their place.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use stories::world::World;

use super::state;

pub(crate) async fn chains(world: &World) -> Result<()> {
    state::ensure_filters(world).await?;
    let run = async |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        world.kongctl.run(&words).await
    };
    let json = async |line: &str| -> Result<Value> {
        Ok(serde_json::from_str(
            &run(&format!("{line} -o json")).await?,
        )?)
    };
    run("reset --yes --journal off").await?;
    run("create service s --set host=h").await?;
    run("create route r --service s --set paths=[/r]").await?;

    let filters = r#"--json={"filters":[{"name":"guard","config":"text"},{"name":"headers","config":{"append":{}}}]}"#;
    run(&format!("create filter-chain one --service s {filters}")).await?;
    run(&format!("create filter-chain --route r {filters}")).await?;
    let again = run(&format!("create filter-chain --route r {filters}")).await;
    let again = format!("{:#}", again.err().context("a route has one")?);
    ensure!(
        again.contains("filter chain of route r is there already"),
        "{again}"
    );

    let chains = json("get filter-chains").await?;
    ensure!(
        chains.as_array().is_some_and(|chains| chains.len() == 2),
        "{chains}"
    );
    let chain = json("describe filter-chain one").await?;
    ensure!(
        chain["filters"][0]["config"] == "[redacted]" && chain["filters"][0]["enabled"] == true,
        "{chain}"
    );

    run("patch filter-chain one --set enabled=false --set name=two").await?;
    run("patch filter-chain --route r --set tags=[t]")
        .await
        .err()
        .context("it has no name")?;
    let id = chains
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|chain| chain["name"].is_null().then(|| chain["id"].as_str())?)
        .context("the unnamed one has an id")?;
    run(&format!("patch filter-chain {id} --set tags=[t]")).await?;
    run(&format!("apply filter-chain two --service s {filters}")).await?;
    let chain = json("describe filter-chain two").await?;
    ensure!(chain["enabled"] == true, "{chain}");

    for (line, told) in [
        (
            r#"create filter-chain x --service s --json={"filters":[{"name":"gard"}]}"#,
            "has no filter `gard`",
        ),
        (
            r#"patch filter-chain two --json={"filters":[{"name":"gard"}]}"#,
            "did you mean `guard`?",
        ),
        (
            r#"patch filter-chain two --json={"filters":[]}"#,
            "a filter chain needs a filter",
        ),
        (
            r#"patch filter-chain two --json={"filters":[{"name":"headers","config":"s3cret"}]}"#,
            "wrong type: expected object, got string",
        ),
    ] {
        let refused = run(line).await.err().context(line)?;
        let refused = format!("{refused:#}");
        ensure!(refused.contains(told), "{line}: {refused}");
    }

    run("delete filter-chain two --yes").await?;
    run("delete route r --yes").await?;
    let left = json("get filter-chains").await?;
    ensure!(
        left == serde_json::json!([]),
        "its route took it along: {left}"
    );
    run("rollback --yes").await?;
    let back = json("get filter-chains").await?;
    ensure!(back[0]["id"] == id, "{back}");
    run("reset --yes --journal off").await.map(drop)
}
