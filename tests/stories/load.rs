//! Callers that keep asking while something happens to the gateway.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stories::chat::{Caller, question};
use stories::wait;
use tokio::task::JoinSet;

/// How many there are.
pub(crate) const CALLERS: usize = 8;
/// Patience with a gateway that finds its plugin server again. Usually that is at once; but where Kong starts an instance on a pooled
/// connection that has just died, its claim on that instance stays for ten seconds, and then once more for whoever claimed next.
pub(crate) const RECOVERY: Duration = Duration::from_secs(30);

/// Requests without pause, until told to stop.
pub(crate) struct Load {
    running: Arc<AtomicBool>,
    granted: Arc<AtomicUsize>,
    report: Arc<Mutex<Report>>,
    tasks: JoinSet<()>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// How many were not granted.
    pub(crate) failed: usize,
    /// What the first failure looked like.
    pub(crate) failure: Option<String>,
    /// The tokens that those granted used, as the provider reported them.
    pub(crate) tokens: u64,
    /// How long the slowest took.
    pub(crate) longest: Duration,
}

impl Report {
    pub(crate) fn without_failure(&self) -> Result<()> {
        ensure!(
            self.failed == 0,
            "{} requests failed, the first: {}",
            self.failed,
            self.failure.as_deref().unwrap_or_default()
        );
        Ok(())
    }

    /// Nor one that took longer than `bound`.
    pub(crate) fn without_delay(&self, bound: Duration) -> Result<()> {
        self.without_failure()?;
        ensure!(self.longest < bound, "a request took {:?}", self.longest);
        Ok(())
    }
}

impl Load {
    pub(crate) fn start(caller: &Caller) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let (granted, report) = (
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Report>>::default(),
        );
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let (caller, running) = (caller.clone(), Arc::clone(&running));
            let (granted, report) = (Arc::clone(&granted), Arc::clone(&report));
            tasks.spawn(async move {
                let body = question("Are you there?", 1);
                while running.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = caller.chat(&body).await;
                    let took = asked.elapsed();
                    let failure = match &answer {
                        Ok(answer) if answer.status == 200 => None,
                        Ok(answer) => Some(format!("{}: {}", answer.status, answer.body)),
                        Err(error) => Some(format!("{error:#}")),
                    };
                    let failed = failure.is_some();
                    {
                        let mut report = report.lock().expect("nobody panics with it");
                        report.longest = report.longest.max(took);
                        match failure {
                            None => {
                                let used = answer.ok().and_then(|answer| answer.total_tokens());
                                report.tokens += used.unwrap_or_default();
                            }
                            Some(failure) => {
                                report.failed += 1;
                                report.failure.get_or_insert(failure);
                            }
                        }
                    }
                    if failed {
                        // A refused connection comes back at once: leave the processor to the recovery.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    } else {
                        granted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Self {
            running,
            granted,
            report,
            tasks,
        }
    }

    /// Waits until so many more are granted.
    pub(crate) async fn until_granted(&self, more: usize) -> Result<()> {
        let goal = self.granted.load(Ordering::Relaxed) + more;
        wait::until("requests are granted", RECOVERY, async || {
            let granted = self.granted.load(Ordering::Relaxed);
            ensure!(granted >= goal, "{granted} of {goal}");
            Ok(())
        })
        .await
    }

    /// Lets those under way end, and sends no more.
    pub(crate) async fn stop(mut self) -> Report {
        self.running.store(false, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        let report = self.report.lock().expect("nobody panics with it");
        report.clone()
    }
}
