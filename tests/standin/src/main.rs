//! The stand-in as a program: flags under the names of `kong.conf`.

use std::net::SocketAddr;

use clap::Parser;
use kong_standin::{Config, Standin};

/// A small stand-in for Kong Gateway 3.9, for tests. Never for production.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:8000")]
    proxy_listen: SocketAddr,
    /// Where the Admin API answers.
    #[arg(long, default_value = "127.0.0.1:8001")]
    admin_listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let flags = Flags::parse();
    let config = Config {
        proxy_listen: flags.proxy_listen,
        admin_listen: flags.admin_listen,
        ..Config::default()
    };
    let standin = Standin::start(config).await?;
    println!(
        "proxy on http://{}, Admin API on http://{}",
        standin.proxy_addr(),
        standin.admin_addr()
    );
    tokio::signal::ctrl_c().await?;
    standin.shutdown().await;
    Ok(())
}
