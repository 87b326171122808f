//! A Kong without a database: all of a load, or nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::http::StatusCode;

use super::front::Fate;
use super::scene::{Scene, count};

/// What a node with nothing on it is dumped as.
const NOTHING: &str = "_format_version: \"3.0\"\n";

pub(crate) async fn a_kong_that_is_killed_has_all_of_a_load_or_nothing(
    scene: &Scene<'_>,
) -> Result<()> {
    // Before the load arrives, and at moments after it.
    for pause in [None, Some(0), Some(5), Some(20), Some(100)] {
        let killer = scene.world.gateway.killer()?;
        let (front, address) = scene
            .front(move |number, _, _| {
                let killer = killer.clone();
                match pause {
                    _ if number > 0 => {}
                    None => killer().unwrap(),
                    Some(pause) => {
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(pause)).await;
                            killer().unwrap();
                        });
                    }
                }
                Fate::Pass
            })
            .await;
        let seen = scene.run_at(&address, super::scene::SYNC).await?;
        // The answer may have been quicker than the kill.
        if seen.code == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        scene.revive().await?;
        front.mend();
        let now = scene.dump().await?;
        ensure!(
            [&scene.before, &scene.after, NOTHING].contains(&now.as_str()),
            "Kong was killed after {pause:?}, and has neither all of it nor nothing:\n{now}"
        );
        scene.must_at(&address, "sync --yes kong.yml").await?;
        scene.is(&scene.after, "the sync that carried on").await?;
        scene.must("sync --yes --journal off before.yml").await?;
    }
    Ok(())
}

pub(crate) async fn a_load_that_is_refused_changes_nothing(scene: &Scene<'_>) -> Result<()> {
    for status in [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let weak = Arc::new(AtomicBool::new(true));
        let is_weak = Arc::clone(&weak);
        let (_front, address) = scene
            .front(move |_, _, _| {
                if is_weak.load(Ordering::SeqCst) {
                    Fate::Refused(status)
                } else {
                    Fate::Pass
                }
            })
            .await;
        let (report, _) = scene.fails(&address).await?;
        ensure!(count(&report, "done")? == 0, "{report}");
        scene.is(&scene.before, "a load that was refused").await?;
        weak.store(false, Ordering::SeqCst);
        scene.resumes_and_is_undone(&address, 1).await?;
    }
    Ok(())
}

pub(crate) async fn a_load_whose_answer_never_comes_is_in_doubt_and_resumed(
    scene: &Scene<'_>,
) -> Result<()> {
    // As often as it is sent: once where the network is gone, and once more where it is not.
    for (fate, sent) in [(Fate::Swallowed, 2), (Fate::Cut, 1)] {
        let (front, address) = scene
            .front(move |number, _, _| {
                if number < sent {
                    fate.clone()
                } else {
                    Fate::Pass
                }
            })
            .await;
        let (report, _) = scene.fails(&address).await?;
        ensure!(
            count(&report, "done")? == 0 && count(&report, "unknown")? > 20,
            "{report}"
        );
        front.mend();
        // It has arrived: the second run finds nothing to do, and the first one is undone.
        scene.resumes_and_is_undone(&address, 1).await?;
    }
    Ok(())
}

pub(crate) async fn a_load_by_somebody_else_is_not_overwritten(scene: &Scene<'_>) -> Result<()> {
    let address = scene.address();
    scene.must("plan kong.yml -o plan.json").await?;
    scene.write(
        "theirs.yml",
        "_info: {select_tags: [ours]}\nservices: [{name: s0, host: new}]\n",
    )?;
    scene.must("sync --yes --journal off theirs.yml").await?;
    let theirs = scene.dump().await?;
    let seen = scene
        .run_at(&address, "sync --yes --plan plan.json")
        .await?;
    ensure!(
        seen.code == 1 && seen.stderr.contains("was changed meanwhile"),
        "{}",
        seen.stderr
    );
    scene.is(&theirs, "a plan that was refused").await
}
