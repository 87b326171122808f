//! A flood of tokens with made-up keys, and a host of keys that does what it likes: neither is felt by those with valid tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use stories::chat::{Caller, Credential, question};
use stories::issuer::{Issuer, under_header};
use stories::key_endpoint::{Conduct, KeyEndpoint};
use stories::world::World;
use tokio::task::JoinSet;

use crate::load::Load;
use crate::{configuration_file, file_beside};

/// The most that a valid token may wait in all this, on a machine that has other things to do: below `jwks_timeout`, so it waits for no fetch.
const BOUND: Duration = Duration::from_secs(8);
/// How long made-up keys are sent while the host is honest, as fast as the machine can, and how many that must be at the least.
const FLOOD: (Duration, usize) = (Duration::from_secs(3), 200);
/// How long each conduct is watched once the gateway has met it.
const WATCH: Duration = Duration::from_secs(1);
/// How many valid tokens must pass meanwhile.
const PASSING: usize = 20;
/// How long it may take to meet it: a fetch under way ends with `jwks_timeout`.
const PATIENCE: Duration = Duration::from_secs(30);
/// Growth of the plugin server's memory that is no buffer of what an endless answer sends, in KiB.
const GROWTH_KIB: u64 = 48 * 1024;

/// Senders of tokens, each with a key that nobody has.
struct Flood {
    refused: Arc<AtomicUsize>,
    tasks: JoinSet<Result<()>>,
}

impl Flood {
    const SENDERS: usize = 8;

    fn start(caller: &Caller, token: &str) -> Self {
        let refused = Arc::<AtomicUsize>::default();
        let mut tasks = JoinSet::new();
        for sender in 0..Self::SENDERS {
            let (caller, token) = (caller.clone(), token.to_owned());
            let refused = Arc::clone(&refused);
            tasks.spawn(async move {
                for number in 0.. {
                    let header = json!({"alg": "RS256", "kid": format!("{sender}-{number}")});
                    // Its signature is that of another header, but without a key nobody looks at it.
                    let made_up = Credential::Token(under_header(&token, &header)?);
                    let caller = caller.clone().with_credential(made_up);
                    let answer = caller.chat(&question("Let me in.", 1)).await?;
                    ensure!(
                        answer.status == 401,
                        "a made-up key was answered with {}",
                        answer.status
                    );
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { refused, tasks }
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Fails as soon as one of the senders has.
    fn check(&mut self) -> Result<()> {
        self.tasks.try_join_next().map_or(Ok(()), |ended| ended?)
    }
}

pub(crate) async fn made_up_keys_and_hostile_key_hosts_cost_the_others_nothing(
    world: &mut World,
) -> Result<()> {
    let endpoint = KeyEndpoint::start(&[world.issuer.jwk_with_id("k1")]).await?;
    let story = endpoint.port().to_string();
    let path = format!("/hostile-keys-{story}/v1");
    world
        .configure_with(
            &[&configuration_file(), &file_beside("hostile_keys.yml")],
            &[("JWKS_URL", &endpoint.url()), ("STORY", &story)],
        )
        .await?;
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "k1"});
    let claims = Issuer::claims("honest", 3600);
    let token = world.issuer.sign_with(&header, &claims)?;
    let honest = world.caller(&path, Credential::Token(token.clone()))?;
    let answer = honest.chat(&question("May I?", 1)).await?;
    ensure!(answer.status == 200, "answered {}", answer.status);

    let server = world.plugin_server().context("no process of ours")?;
    let memory = || server.memory().context("no memory");
    let before = memory()?;
    let (asked, start) = (endpoint.requests(), Instant::now());
    let mut flood = Flood::start(&honest, &token);

    let load = Load::start(&honest);
    let (flooded, least) = FLOOD;
    while start.elapsed() < flooded || flood.refused() < least {
        load.until_granted(10).await?;
        flood.check()?;
    }
    load.stop()
        .await
        .without_delay(BOUND)
        .context("an honest host")?;

    for conduct in [
        Conduct::Lies("<html>Down for maintenance</html>"),
        Conduct::Lies(r#"{"keys":[]}"#),
        Conduct::Redirects,
        Conduct::Endless,
        Conduct::Drip,
        Conduct::Stalls,
    ] {
        let case = format!("{conduct:?}");
        let is_slow = matches!(conduct, Conduct::Drip | Conduct::Stalls);
        let requests = endpoint.requests();
        endpoint.becomes(conduct);
        let (load, began) = (Load::start(&honest), Instant::now());
        let mut met = None;
        while met.is_none_or(|met: Instant| met.elapsed() < WATCH) {
            load.until_granted(PASSING).await?;
            flood.check()?;
            let memory = memory()?;
            ensure!(
                memory < before + GROWTH_KIB,
                "{case}: the plugin server grew from {before} KiB to {memory} KiB"
            );
            if met.is_none() && endpoint.requests() > requests {
                met = Some(Instant::now());
            }
            ensure!(
                met.is_some() || began.elapsed() < PATIENCE,
                "{case}: nobody asked for keys"
            );
        }
        // They passed while the host was being waited for, not after.
        ensure!(
            endpoint.requests() == requests + 1 || !is_slow,
            "{case}: the fetch was over before the others passed"
        );
        load.stop().await.without_delay(BOUND).context(case)?;
    }
    let (asked, cooldowns) = (endpoint.requests() - asked, start.elapsed().as_secs());
    drop(flood);

    // One at the beginning, and one at the end of each cooldown.
    ensure!(
        u64::try_from(asked)? <= cooldowns + 1,
        "{asked} fetches in {cooldowns} cooldowns"
    );
    ensure!(endpoint.followed() == 0, "a redirect was followed");
    Ok(())
}
