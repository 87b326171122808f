//! A Kong with a database: each change by itself.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::http::{Method, StatusCode};
use serde_json::Value;
use stories::{http, wait};

use super::front::{self, Fate};
use super::scene::{SYNC, Scene, count};

/// Writes that are in flight at most.
const IN_FLIGHT: u64 = 32;
/// Writes at which Kong dies: the first, in the middle of the first layer, and in the middle of the whole.
const FATAL: [usize; 3] = [0, 7, 20];

/// Kills Kong when it is to get the write of this number.
fn killed_at(
    scene: &Scene<'_>,
    fatal: usize,
) -> Result<impl Fn(usize, &Method, &str) -> Fate + Send + Sync + use<>> {
    let killer = scene.world.gateway.killer()?;
    Ok(move |number: usize, _: &Method, _: &str| {
        if number == fatal {
            killer().unwrap();
        }
        Fate::Pass
    })
}

pub(crate) async fn a_kong_that_is_killed_mid_sync_is_given_up_and_the_next_run_carries_on(
    scene: &Scene<'_>,
) -> Result<()> {
    for fatal in FATAL {
        let (front, address) = scene.front(killed_at(scene, fatal)?).await;
        let (report, stderr) = scene.fails(&address).await?;
        ensure!(
            count(&report, "done")? <= fatal as u64 + IN_FLIGHT,
            "{report}"
        );
        ensure!(
            count(&report, "unknown")? > 0,
            "answers were lost with Kong: {report}"
        );
        ensure!(
            stderr.contains("`kongctl rollback` restores"),
            "it says the way back: {stderr}"
        );
        scene.revive().await?;
        front.mend();
        scene.is_as_told(&report).await?;
        scene.resumes_and_is_undone(&address, 2).await?;
    }
    Ok(())
}

pub(crate) async fn what_a_kong_did_before_it_was_killed_is_undone_at_once(
    scene: &Scene<'_>,
) -> Result<()> {
    for fatal in FATAL {
        let (front, address) = scene.front(killed_at(scene, fatal)?).await;
        scene.fails(&address).await?;
        scene.revive().await?;
        front.mend();
        scene.must_at(&address, "rollback --yes").await?;
        scene.is(&scene.before, "a rollback").await?;
    }
    Ok(())
}

/// Entities of the larger file: enough that Kong dies among them.
const SERVICES: usize = 400;

/// Nothing stands between: kongctl meets a Kong whose sockets are gone.
pub(crate) async fn a_kong_that_is_killed_at_any_moment_leaves_what_can_be_resumed(
    scene: &Scene<'_>,
) -> Result<()> {
    let mut text = "_info: {select_tags: [ours]}\nservices:\n".to_owned();
    for number in 0..SERVICES {
        writeln!(
            text,
            "- {{name: many-{number}, host: h, routes: [{{name: many-{number}, paths: [/many/{number}]}}]}}"
        )?;
    }
    scene.write("kong.yml", &text)?;
    let address = scene.address();
    for enough in [1, 100, 300] {
        let kill = async {
            wait::until("some of it is there", Duration::from_mins(1), async || {
                let page: Value = get(&format!("{address}/services?size=1000")).await?;
                let there = page["data"].as_array().context("a page")?.len();
                ensure!(there > 3 + enough, "{there} services");
                Ok(())
            })
            .await?;
            scene.world.gateway.killer()?()
        };
        let (failed, killed) = tokio::join!(scene.fails(&address), kill);
        killed?;
        let (report, _) = failed?;
        scene.revive().await?;
        scene.is_as_told(&report).await?;
        if enough == 100 {
            scene.must("sync --yes kong.yml").await?;
            scene.must("diff --exit-code kong.yml").await?;
            scene.must("rollback --yes").await?;
        }
        scene.must("rollback --yes").await?;
        scene.is(&scene.before, "the rollbacks").await?;
    }
    Ok(())
}

pub(crate) async fn weakness_that_passes_is_outlasted(scene: &Scene<'_>) -> Result<()> {
    for status in [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::BAD_GATEWAY,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        // Every third write is refused, the first time round; only a target's POST may not be repeated. One answer asks for a pause.
        let (_front, address) = scene
            .front(move |number, method, path| match number {
                _ if *method == Method::POST && path.ends_with("/targets") => Fate::Pass,
                4 => Fate::Later,
                _ if number % 3 == 0 && number < 30 => Fate::Refused(status),
                _ => Fate::Pass,
            })
            .await;
        scene.must_at(&address, "sync --yes kong.yml").await?;
        scene.is(&scene.after, "a sync through weakness").await?;
        scene.must_at(&address, "rollback --yes").await?;
        scene.is(&scene.before, "a rollback").await?;
    }
    Ok(())
}

pub(crate) async fn a_kong_that_keeps_answering_errors_is_given_up(
    scene: &Scene<'_>,
) -> Result<()> {
    for status in [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let (front, address) = scene.front(front::refuses_after(4, status)).await;
        let (report, stderr) = scene.fails(&address).await?;
        ensure!(report["gave_up"] == true, "{report}");
        ensure!(count(&report, "done")? == 4, "{report}");
        ensure!(
            count(&report, "unknown")? == 0,
            "all is looked up: {report}"
        );
        ensure!(stderr.contains("the rest was not tried"), "{stderr}");
        ensure!(front.writes() < 40, "{} writes", front.writes());
        scene.is_as_told(&report).await?;
        scene.must("sync --yes --journal off kong.yml").await?;
        scene.is(&scene.after, "the sync that carried on").await?;
        scene.must("sync --yes --journal off before.yml").await?;
    }
    Ok(())
}

pub(crate) async fn an_answer_that_never_comes_is_looked_up(scene: &Scene<'_>) -> Result<()> {
    // An update arrives, as often as it is sent, and is never answered.
    let swallowed: Arc<std::sync::OnceLock<String>> = Arc::default();
    let path = Arc::clone(&swallowed);
    let (_front, address) = scene
        .front(move |_, method, sent| {
            let is_it = *method == Method::PUT && path.get_or_init(|| sent.to_owned()) == sent;
            if is_it { Fate::Swallowed } else { Fate::Pass }
        })
        .await;
    let seen = scene.run_at(&address, SYNC).await?;
    let report: Value = serde_json::from_str(&seen.stdout)?;
    ensure!(swallowed.get().is_some(), "a write was swallowed");
    ensure!(count(&report, "unknown")? == 0, "{report}");
    scene.is_as_told(&report).await?;
    scene.must("sync --yes --journal off kong.yml").await?;
    scene.is(&scene.after, "the sync that carried on").await
}

pub(crate) async fn what_another_writer_changed_since_the_plan_stops_it(
    scene: &Scene<'_>,
) -> Result<()> {
    let address = scene.address();
    scene.must("plan kong.yml -o plan.json").await?;
    // What the plan does not touch may move.
    send(
        Method::PATCH,
        &format!("{address}/services/theirs"),
        r#"{"retries": 1}"#,
    )
    .await?;
    send(
        Method::PATCH,
        &format!("{address}/services/s0"),
        r#"{"retries": 1}"#,
    )
    .await?;
    let moved = scene.dump().await?;
    let seen = scene
        .run_at(&address, "sync --yes --plan plan.json")
        .await?;
    ensure!(
        seen.code == 1 && seen.stderr.contains("service s0: was changed meanwhile"),
        "{}",
        seen.stderr
    );
    ensure!(
        !seen.stderr.contains("theirs"),
        "it concerns nobody else: {}",
        seen.stderr
    );
    scene.is(&moved, "a plan that was refused").await?;
    send(
        Method::PATCH,
        &format!("{address}/services/s0"),
        r#"{"retries": 5}"#,
    )
    .await?;
    scene.must("sync --yes --plan plan.json").await?;
    let done = scene.dump().await?;
    ensure!(done.contains("retries: 1"), "{done}");
    let others = |line: &&str| line.trim() != "retries: 1";
    ensure!(
        done.lines()
            .filter(others)
            .eq(scene.after.lines().filter(others)),
        "{done}"
    );
    Ok(())
}

pub(crate) async fn what_another_writer_adds_meanwhile_is_left_alone(
    scene: &Scene<'_>,
) -> Result<()> {
    let address = scene.address();
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let (_front, through) = scene
        .front(move |number, _, _| {
            if number == 0 {
                let _ = sender.send(());
            }
            Fate::Pass
        })
        .await;
    let other = async {
        asked.recv().await.context("the sync writes")?;
        let body = r#"{"name": "added", "paths": ["/added"]}"#;
        send(Method::POST, &format!("{address}/services/s0/routes"), body).await?;
        let body = r#"{"name": "changed", "host": "changed"}"#;
        send(Method::PATCH, &format!("{address}/services/theirs"), body).await
    };
    let (ran, written) = tokio::join!(scene.must_at(&through, "sync --yes kong.yml"), other);
    written?;
    ran?;
    let now = scene.dump().await?;
    ensure!(
        now.contains("name: added") && now.contains("name: changed"),
        "{now}"
    );
    // Undoing the sync touches nothing of theirs.
    scene.must_at(&through, "rollback --yes").await?;
    let now = scene.dump().await?;
    ensure!(
        now.contains("name: added") && now.contains("name: changed") && now.contains("host: old"),
        "{now}"
    );
    Ok(())
}

pub(crate) async fn what_another_writer_hangs_on_what_goes_keeps_it(
    scene: &Scene<'_>,
) -> Result<()> {
    let address = scene.address();
    // Before the service goes, somebody gives it a route.
    let routes = format!("{address}/services/leaves/routes");
    let (_front, through) = scene
        .front(move |number, _, _| {
            if number == 0 {
                let body = r#"{"name": "late", "paths": ["/late"]}"#;
                meanwhile(Method::POST, &routes, body);
            }
            Fate::Pass
        })
        .await;
    let (report, _) = scene.fails(&through).await?;
    ensure!(count(&report, "failed")? == 1, "{report}");
    scene.is_as_told(&report).await?;
    let now = scene.dump().await?;
    ensure!(
        now.contains("name: leaves") && now.contains("name: late"),
        "{now}"
    );
    // Once it is gone again, the same command ends what it began.
    send(Method::DELETE, &format!("{address}/routes/late"), "").await?;
    scene.resumes_and_is_undone(&through, 2).await
}

pub(crate) async fn a_patch_leaves_what_another_writer_changes_meanwhile(
    scene: &Scene<'_>,
) -> Result<()> {
    let other = format!("{}/services/s0", scene.address());
    let (_front, through) = scene
        .front(move |number, method, _| {
            if number == 0 {
                assert_eq!(*method, Method::PATCH);
                meanwhile(Method::PATCH, &other, r#"{"host": "theirs"}"#);
            }
            Fate::Pass
        })
        .await;
    scene
        .must_at(&through, "patch service s0 --set retries=0")
        .await?;
    let service = get(&format!("{}/services/s0", scene.address())).await?;
    ensure!(
        service["host"] == "theirs" && service["retries"] == 0,
        "{service}"
    );
    Ok(())
}

/// Another writer's call, before the one that is in the front's hands goes on.
fn meanwhile(method: Method, url: &str, body: &'static str) {
    let url = url.to_owned();
    let written = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(send(method, &url, body)).unwrap();
    });
    written.join().unwrap();
}

fn client() -> Result<reqwest::Client> {
    Ok(http::client().timeout(Duration::from_secs(10)).build()?)
}

async fn get(url: &str) -> Result<Value> {
    let text = client()?.get(url).send().await?.text().await?;
    Ok(serde_json::from_str(&text)?)
}

/// Another writer's call.
async fn send(method: Method, url: &str, body: &str) -> Result<()> {
    let request = client()?
        .request(method, url)
        .header("content-type", "application/json")
        .body(body.to_owned());
    request.send().await?.error_for_status()?;
    Ok(())
}
