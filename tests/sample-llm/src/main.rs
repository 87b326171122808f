//! `sample-llm`: the provider as a process.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use sample_llm::{Config, Pace, RequestLog, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A small LLM provider for tests, demonstrations and benchmarks.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 picks a free one.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "SAMPLE_LLM_LISTEN"
    )]
    listen: SocketAddr,
    /// Milliseconds before the first token.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 0,
        env = "SAMPLE_LLM_FIRST_TOKEN_DELAY"
    )]
    first_token_delay: u64,
    /// Milliseconds for each further streamed token.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 0,
        env = "SAMPLE_LLM_TOKEN_DELAY"
    )]
    token_delay: u64,
    /// Tokens in one streamed chunk.
    #[arg(long, value_name = "TOKENS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    tokens_per_chunk: u16,
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
    let pace = Pace {
        first_token_delay: Duration::from_millis(arguments.first_token_delay),
        token_delay: Duration::from_millis(arguments.token_delay),
        tokens_per_chunk: arguments.tokens_per_chunk.into(),
    };
    serve(
        listener,
        Config {
            pace,
            log: RequestLog::default(),
        },
        stop_requested()?,
    )
    .await
}

fn stop_requested() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
