//! `top`: a live view of who spends what, what is left, and what is refused.
//!
//! # Layout
//!
//! - `snapshot` reads what is shown, `view` draws it, the same for a terminal and for `--once`.
//! - `session` owns the terminal and gives it back, whatever happens.

mod session;
mod snapshot;
mod view;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::Context as _;
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::future::OptionFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::cli::{Connection, Top};
use crate::limiter::client::Client;
use crate::output::failure::UsageError;
use crate::output::{self, Format, Printer};

use self::session::Session;
use self::snapshot::Snapshot;
use self::view::{Trouble, View};

use super::{Exit, connect_limiter};

/// From one reading to the next.
const REFRESH: Duration = Duration::from_secs(1);
/// Columns of a frame that goes to no terminal.
const PLAIN_COLUMNS: u16 = 100;

pub(super) async fn run(
    arguments: &Top,
    connection: &Connection,
    printer: Printer,
) -> anyhow::Result<Exit> {
    if printer.format == Format::Name {
        return Err(UsageError {
            message: "top has no names to list: use -o table, json or yaml".to_owned(),
        }
        .into());
    }
    let once = arguments.once || printer.is_structured() || !io::stdout().is_terminal();
    // The next second is the retry.
    let retries = if once { connection.retries } else { 0 };
    let client = connect_limiter(&arguments.limiter, connection, retries)?;
    let snapshot = Snapshot::read(&client)
        .await
        .context("cannot read what the plugin server does")?;
    if printer.is_structured() {
        printer.value(&serde_json::to_value(&snapshot)?)?;
        return Ok(Exit::Done);
    }
    let mut view = View::new(client.url(), snapshot);
    if once {
        let columns = output::columns().and_then(|columns| columns.try_into().ok());
        printer.result(&view.plain(columns.unwrap_or(PLAIN_COLUMNS)))?;
        return Ok(Exit::Done);
    }
    view.coloured = printer.paint().0;
    live(&client, view).await.context("the terminal failed")?;
    Ok(Exit::Done)
}

async fn live(client: &Client, mut view: View) -> io::Result<()> {
    let mut terminates = signal(SignalKind::terminate())?;
    let mut hangs_up = signal(SignalKind::hangup())?;
    let mut session = Session::enter()?;
    let mut events = EventStream::new();
    let mut ticks = interval_at(Instant::now() + REFRESH, REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut read_at = Instant::now();
    let mut reading = None;
    loop {
        session.draw(&view)?;
        tokio::select! {
            _ = ticks.tick(), if reading.is_none() => reading = Some(Snapshot::read(client).boxed()),
            Some(result) = OptionFuture::from(reading.as_mut()) => {
                reading = None;
                match result {
                    Ok(snapshot) => {
                        read_at = Instant::now();
                        view.snapshot = snapshot;
                        view.trouble = None;
                    }
                    Err(error) => {
                        view.trouble = Some(Trouble { reason: error.to_string(), shown_since: read_at.elapsed() });
                    }
                }
            }
            event = events.next() => match event.transpose()? {
                Some(Event::Key(key)) if leaves(key) => return Ok(()),
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press && key.code == KeyCode::Char('s') => {
                    view.sort = view.sort.next();
                }
                Some(_) => {}
                None => return Ok(()),
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminates.recv() => return Ok(()),
            _ = hangs_up.recv() => return Ok(()),
        }
    }
}

/// True for q, and for Ctrl-C, which is a key and no signal while the terminal is ours.
fn leaves(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') => key.kind == KeyEventKind::Press,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}
