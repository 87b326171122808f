//! Patience with an end.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::http;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `ready` gives a value; after `patience` fails with the last reason.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut ready: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match ready().await {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                return Err(reason).with_context(|| format!("{what}: not so after {patience:?}"));
            }
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// Looks until an HTTP GET is answered by one of `statuses`.
pub async fn until_status(url: &str, statuses: &[u16], patience: Duration) -> Result<()> {
    let client = http::client().timeout(Duration::from_secs(2)).build()?;
    until(url, patience, async || {
        let status = client.get(url).send().await?.status().as_u16();
        if !statuses.contains(&status) {
            bail!("answered {status}");
        }
        Ok(())
    })
    .await
}

/// Ports on which nothing listened a moment ago, all different.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
