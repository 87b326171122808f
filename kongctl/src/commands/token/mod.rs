//! `token`: tokens made, looked into and revoked.

mod inspect;
mod mint;
mod revocations;
mod revoke;

use crate::cli::{Connection, TokenCommand};
use crate::output::Printer;

use super::{Exit, connect_limiter, settings};

pub(super) async fn run(
    command: TokenCommand,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    match command {
        TokenCommand::Mint(arguments) => mint::run(&arguments, printer),
        TokenCommand::Inspect(arguments) => inspect::run(&arguments, connection, printer).await,
        TokenCommand::Revoke(arguments) => {
            let client = connect_limiter(&arguments.limiter, connection, connection.retries)?;
            revoke::run(&client, arguments, printer).await
        }
        TokenCommand::Revocations(arguments) => {
            let client = connect_limiter(&arguments.limiter, connection, connection.retries)?;
            revocations::list(&client, usize::from(arguments.most), printer).await
        }
        TokenCommand::Unrevoke(arguments) => {
            let client = connect_limiter(&arguments.limiter, connection, connection.retries)?;
            revocations::unrevoke(&client, &arguments, printer).await
        }
    }
}
