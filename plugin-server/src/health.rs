//! Asking a running server whether it serves.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kong_pdk::wire::{CmdGetPluginNames, RpcCall, RpcReturn, rpc_call, rpc_return};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::server::SOCKET;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes: a handful of names.
const LONGEST_ANSWER: u32 = 64 * 1024;

/// Connects as Kong does and asks for the plugins' names.
///
/// # Errors
///
/// When there is no server, or it does not answer in three seconds with all of `expected`.
pub async fn check(dir: &Path, expected: &[&str]) -> anyhow::Result<()> {
    let socket = dir.join(SOCKET);
    let names = tokio::time::timeout(PATIENCE, plugin_names(&socket))
        .await
        .with_context(|| {
            format!(
                "no answer on {} in {} seconds",
                socket.display(),
                PATIENCE.as_secs()
            )
        })??;
    match expected
        .iter()
        .find(|name| !names.iter().any(|known| known == *name))
    {
        Some(missing) => bail!(
            "the server on {} does not serve {missing}",
            socket.display()
        ),
        None => Ok(()),
    }
}

async fn plugin_names(socket: &Path) -> anyhow::Result<Vec<String>> {
    let mut stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    let sequence = 1;
    let call = RpcCall {
        sequence,
        call: Some(rpc_call::Call::CmdGetPluginNames(CmdGetPluginNames {})),
    };
    let call = call.encode_to_vec();
    let length = u32::try_from(call.len()).context("the question is short")?;
    stream
        .write_all(&[&length.to_ne_bytes()[..], &call].concat())
        .await
        .context("cannot ask")?;
    let mut length = [0; size_of::<u32>()];
    stream.read_exact(&mut length).await.context("no answer")?;
    let length = u32::from_ne_bytes(length);
    if length > LONGEST_ANSWER {
        bail!("the answer is not one of a plugin server");
    }
    let mut answer = vec![0; length.try_into().context("the answer is short")?];
    stream
        .read_exact(&mut answer)
        .await
        .context("the answer ends early")?;
    let answer =
        RpcReturn::decode(&answer[..]).context("the answer is not one of a plugin server")?;
    match answer.r#return {
        Some(rpc_return::Return::PluginNames(list)) if answer.sequence == sequence => Ok(list
            .names
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()),
        _ => bail!("the answer does not fit the question"),
    }
}
