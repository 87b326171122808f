//! MCP's own client and server, with the gateway between them and a real provider beside: nobody tells the client anything but an address.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stories::openid::OpenIdProvider;
use stories::process::{Process, run};
use stories::world::World;
use stories::{node, wait};

use crate::{configuration_file, file_beside};

/// What both scripts need.
const PACKAGE: &str = "@modelcontextprotocol/sdk/client/index.js";
/// Node has much to load.
const STARTUP: Duration = Duration::from_secs(30);

/// Why this cannot be told, or `None`.
pub(crate) fn absence() -> Option<&'static str> {
    OpenIdProvider::absence().or_else(|| node::absence(PACKAGE))
}

pub(crate) async fn an_mcp_client_finds_its_way_to_a_token(world: &mut World) -> Result<()> {
    let mut provider = OpenIdProvider::new(world.directory())?;
    let [port] = wait::free_ports()?;
    let mut command = node::script("mcp_server.cjs");
    command.arg(port.to_string());
    let mut server = Process::spawn(command, &world.directory().join(format!("mcp-{port}.log")))?;
    provider.start().await?;
    wait::until("the MCP server listens", STARTUP, async || {
        server.check_alive()?;
        std::net::TcpStream::connect(("127.0.0.1", port))?;
        Ok(())
    })
    .await?;

    let resource = format!("{}/mcp-{port}", world.gateway.proxy_url());
    world
        .configure_with(
            &[&configuration_file(), &file_beside("mcp.yml")],
            &[
                ("OPENID_ISSUER", &provider.issuer()),
                ("MCP_PORT", &port.to_string()),
                ("MCP_RESOURCE", &resource),
            ],
        )
        .await?;

    let mut command = node::script("mcp_story.cjs");
    command.arg(&resource);
    let said = tokio::task::spawn_blocking(move || run(&mut command)).await??;
    let told: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    ensure!(
        told["tools"] == json!(["who_am_i"]),
        "it sees {}",
        told["tools"]
    );
    // The server learns who is calling, and gets no token that it could use elsewhere.
    ensure!(
        told["caller"] == json!({"subject": "alice", "authorization": null}),
        "the server was told {}",
        told["caller"]
    );
    let asked = told["asked"].as_array().context("it asked for nothing")?;
    let metadata = resource.replace("/mcp-", "/.well-known/oauth-protected-resource/mcp-");
    for (step, url, status) in [
        (0, &resource, 401),
        // The challenge says where the metadata are: there is nothing to guess.
        (1, &metadata, 200),
    ] {
        ensure!(
            asked[step]["url"] == *url && asked[step]["status"] == status,
            "step {step} was {}",
            asked[step]
        );
    }
    Ok(())
}
