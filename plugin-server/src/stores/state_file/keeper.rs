//! The thread that writes a state file: a slow disk stops nobody else.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use super::{INTERVAL, StateFile, StateFileStatus};

/// Writes a state file until it is told to stop, or dropped.
#[derive(Debug)]
pub struct Keeper {
    status: Arc<StateFileStatus>,
    /// The thread stops when this is gone.
    running: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Keeper {
    /// Begins to write `file` in a thread of its own.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(mut file: StateFile) -> io::Result<Self> {
        let (running, stopped) = mpsc::channel();
        Ok(Self {
            status: Arc::clone(file.status()),
            running,
            thread: thread::Builder::new()
                .name("state-file".to_owned())
                .spawn(move || {
                    while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                        file.write();
                    }
                    file.close();
                })?,
        })
    }

    /// What the file goes through.
    pub fn status(&self) -> &Arc<StateFileStatus> {
        &self.status
    }

    /// Writes what is left, and lets other processes have the file.
    pub async fn stop(self) {
        drop(self.running);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the state file was not written to the end");
        }
    }
}
