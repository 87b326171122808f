//! The configuration: applied, applied again, applied often.

use std::fs;

use anyhow::{Context, Result, ensure};
use stories::chat::{Credential, question};
use stories::http;
use stories::world::World;

/// How often the configuration is pushed by the story that watches for growth.
const PUSHES: usize = 30;
/// Growth of the plugin server's memory that pushes may cause, in KiB: a leak of one instance a push and worker shows beyond it.
const GROWTH_KIB: u64 = 8 * 1024;

pub(crate) async fn the_admin_api_answers_its_root(world: &mut World) -> Result<()> {
    let client = http::client().build()?;
    let answer = client
        .get(format!("{}/", world.gateway.admin_url()))
        .send()
        .await?;
    ensure!(answer.status() == 200, "answered {}", answer.status());
    let root: serde_json::Value = answer.json().await?;
    for plugin in ["llm-jwt", "llm-rate-limiting"] {
        ensure!(
            root["plugins"]["available_on_server"].get(plugin).is_some(),
            "{plugin} is not on the server"
        );
    }
    Ok(())
}

/// This Kong, and the stand-in, run no WebAssembly, or none of that name: that is told where the file says the chain or its filter, before
/// anything is written.
pub(crate) async fn filter_chains_are_refused_where_nothing_runs_them(
    world: &mut World,
) -> Result<()> {
    let file = world.directory().join("filter-chain.yml");
    let text = "services:\n- name: agent\n  host: h\n  filter_chains:\n  - {name: chain, filters: [{name: any}]}\n";
    fs::write(&file, text)?;
    let before = world.kongctl.run(&["dump", "--with-ids"]).await?;
    for verb in [&["sync", "--yes"][..], &["validate", "--online"]] {
        let refused = world.kongctl.with_files(verb, &[&file]).await;
        let told = refused.err().context("it is refused")?;
        let told = format!("{told:#}");
        let has_filters =
            world.target.is_real_kong() && world.target.absence_of_filters().is_none();
        let (place, reason) = if has_filters {
            ("filter-chain.yml:5:36:", "has no filter `any`")
        } else {
            ("filter-chain.yml:5:5:", "runs no WebAssembly filters")
        };
        ensure!(told.contains(place) && told.contains(reason), "{told}");
    }
    ensure!(
        world.kongctl.run(&["dump", "--with-ids"]).await? == before,
        "something was written"
    );
    Ok(())
}

pub(crate) async fn a_second_sync_changes_nothing(world: &mut World) -> Result<()> {
    let file = crate::configuration_file();
    world.kongctl.sync(&file).await?;
    let file = file.to_str().context("the path is not UTF-8")?;
    // Exit code 2, an error here, says that there are differences.
    world
        .kongctl
        .run(&["diff", "--exit-code", file])
        .await
        .map(drop)
}

pub(crate) async fn configuration_pushed_often_makes_nothing_grow(world: &mut World) -> Result<()> {
    let caller = world.tenant("/metered/v1", "steady").await?;
    let before = memory(world);
    let original = fs::read_to_string(crate::configuration_file())?;
    // `!file` is read from where the file lies.
    let tap = stories::repository().join("kong").join("usage-tap.lua");
    let original = original.replace("../../kong/usage-tap.lua", &tap.display().to_string());
    let file = world.directory().join("pushed.yml");
    for push in 0..PUSHES {
        fs::write(&file, format!("{original}- username: passer-by-{push}\n"))?;
        world.kongctl.sync(&file).await?;
        let answer = caller.chat(&question("Still there?", 1)).await?;
        ensure!(
            answer.status == 200,
            "after push {push}: answered {}: {}",
            answer.status,
            answer.body
        );
    }
    world.configure(&crate::configuration_file()).await?;
    if let (Some(before), Some(after)) = (before, memory(world)) {
        ensure!(
            after < before + GROWTH_KIB,
            "the plugin server grew from {before} KiB to {after} KiB"
        );
    }
    Ok(())
}

/// Routes whose llm-jwt cannot work, and what the log says of it.
const UNWORKABLE: [(&str, &str); 6] = [
    ("audience", "issuers[0].audience_required"),
    ("algorithm", "issuers[0].algorithms"),
    ("key", "issuers[0].public_keys[0]"),
    ("address", "issuers[0].jwks_endpoint"),
    ("expression", "expression"),
    ("anonymous", "anonymous"),
];

pub(crate) async fn a_configuration_that_cannot_work_is_an_error_of_its_route_alone(
    world: &mut World,
) -> Result<()> {
    let files = [
        crate::configuration_file(),
        crate::file_beside("unworkable.yml"),
    ];
    world.configure_with(&[&files[0], &files[1]], &[]).await?;
    let retries = world.gateway.retries()?;
    let token = world.issuer.mint(&world.kongctl, "acme", "free").await?;
    let body = question("Does it work?", 1);
    for (route, field) in UNWORKABLE {
        // With and without a token: nobody passes where nobody can be judged.
        for credential in [Credential::None, Credential::Token("a.b.c".to_owned())] {
            let path = format!("/unworkable/{route}/v1");
            let answer = world.caller(&path, credential)?.chat(&body).await?;
            let message = answer.body["message"].as_str().unwrap_or_default();
            ensure!(
                answer.status == 500 && message.contains("llm-jwt"),
                "{route}: answered {}: {}",
                answer.status,
                answer.body
            );
            ensure!(
                !message.contains(field) || route == "anonymous",
                "{route}: the client is told {message:?}"
            );
        }
        let others = world.caller("/metered/v1", Credential::Token(token.clone()))?;
        let answer = others.chat(&body).await?;
        ensure!(
            answer.status == 200,
            "another route answered {} beside {route}",
            answer.status
        );
    }
    if let Some(server) = world.plugin_server() {
        let log = fs::read_to_string(server.log())?;
        for (route, field) in UNWORKABLE {
            ensure!(
                log.lines()
                    .any(|line| line.contains("llm-jwt") && line.contains(field)),
                "{route}: the log does not name {field}"
            );
        }
    }
    ensure!(
        world.gateway.retries()? == retries,
        "Kong tried events again"
    );
    Ok(())
}

/// Resident memory of the plugin server in KiB, where it is a process of ours.
fn memory(world: &World) -> Option<u64> {
    world.plugin_server()?.memory()
}
