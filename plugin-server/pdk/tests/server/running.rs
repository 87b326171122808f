//! A server on a socket of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use kong_pdk::argument::Status;
use kong_pdk::server::{Drained, Snapshot, bind};
use kong_pdk::{FailureMode, Server, registration};
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::fake_kong::FakeKong;
use super::script::{Other, Script};

/// A server with the plugins of `script`.
pub(crate) struct Running {
    server: Server,
    pub(crate) socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Drained>,
    pub(crate) configured: Arc<AtomicUsize>,
    pub(crate) release: Arc<Notify>,
    _directory: tempfile::TempDir,
}

impl Running {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("plugins.sock");
        let script = Script::default();
        let (configured, release) = (Arc::clone(&script.configured), Arc::clone(&script.release));
        let server = Server::builder()
            .plugin(
                registration!(script)
                    .failure(FailureMode::closed(Status::BAD_GATEWAY, "failed"))
                    .overload(FailureMode::closed(Status::SERVICE_UNAVAILABLE, "full"))
                    .deadline(Duration::from_millis(300))
                    .max_concurrency(2),
            )
            .plugin(registration!(Other).failure(FailureMode::Open))
            .drain_timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let listener = bind(&socket, 0o660).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.clone();
        let task =
            tokio::spawn(
                async move { serving.serve(listener, async { drop(stopped.await) }).await },
            );
        Self {
            server,
            socket,
            stop: Some(stop),
            task,
            configured,
            release,
            _directory: directory,
        }
    }

    pub(crate) async fn connect(&self) -> FakeKong {
        FakeKong::connect(&self.socket).await
    }

    /// A connection with a started instance of the script.
    pub(crate) async fn script(&self, act: &str) -> (FakeKong, i32) {
        let mut kong = self.connect().await;
        let id = kong.start("script", &json!({ "act": act })).await;
        (kong, id)
    }

    pub(crate) fn counters(&self) -> Snapshot {
        self.server.counters().snapshot()
    }

    pub(crate) async fn stop(mut self) -> Drained {
        drop(self.stop.take());
        self.task.await.unwrap()
    }
}
