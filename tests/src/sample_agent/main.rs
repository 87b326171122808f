//! `sample-agent`: the agent behind the topics' curl lines, as a process.

use std::io::Write;
use std::net::SocketAddr;

use axum::http::StatusCode;
use clap::Parser;
use stories::agent;
use tokio::net::TcpListener;

/// A small agent that answers with what reached it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// What it calls itself.
    #[arg(long, default_value = "agent")]
    name: String,
    /// The status of its answers; its health check passes whatever it is.
    #[arg(long, default_value = "200")]
    status: StatusCode,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind(arguments.listen).await?;
    // Whoever started this process may have closed our stdout: that is no reason not to serve.
    let _ = writeln!(
        std::io::stdout(),
        "listening on http://{}",
        listener.local_addr()?
    );
    agent::serve(listener, &arguments.name, arguments.status, async {
        // Without a handler for Ctrl-C, the signal ends the process as well.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await
}
