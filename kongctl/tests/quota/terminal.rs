//! On a pseudo-terminal: what is asked, what is drawn, and that the terminal is given back.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::process::Child;
use tokio::sync::watch;

use super::server::{ACME, Server, TOKEN};
use super::{PATIENCE, kongctl};

/// A command on a terminal of 80 by 24.
struct Terminal {
    keyboard: File,
    screen: watch::Receiver<Vec<u8>>,
    /// Kept open: what the modes are asked of.
    device: OwnedFd,
    child: Child,
}

impl Terminal {
    fn run(line: &str, url: &str) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let path = ptsname(&keyboard, Vec::new()).unwrap();
        let device = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize {
            ws_col: 80,
            ws_row: 24,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&device, size).unwrap();
        let mut command = kongctl(line, url);
        command
            .env("KONGCTL_LIMITER_TOKEN", TOKEN)
            .env("TERM", "xterm-256color")
            .stdin(device.try_clone().unwrap())
            .stdout(device.try_clone().unwrap())
            .stderr(device.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let keyboard = File::from(keyboard);
        let mut reader = keyboard.try_clone().unwrap();
        let (shows, screen) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                shows.send_modify(|screen| screen.extend_from_slice(&bytes[..count]));
            }
        });
        Self {
            keyboard,
            screen,
            device,
            child,
        }
    }

    async fn shows(&mut self, text: &str) {
        let seen = self
            .screen
            .wait_for(|screen| String::from_utf8_lossy(screen).contains(text));
        let found = tokio::time::timeout(PATIENCE, seen).await.is_ok();
        assert!(
            found,
            "no {text:?} in {:?}",
            String::from_utf8_lossy(&self.screen.borrow())
        );
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.device)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    }

    async fn ends(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("the command ends")
            .unwrap()
    }

    /// The modes, the first screen and the cursor are back.
    async fn is_given_back(&mut self) {
        self.shows("\x1b[?1049l").await;
        self.shows("\x1b[?25h").await;
        assert!(!self.is_raw());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn top_draws_sorts_and_leaves_the_terminal_as_it_was() {
    let url = Server::new().start().await;
    for keys in ["q", "\x03"] {
        let mut terminal = Terminal::run("top", &url);
        terminal.shows("acme").await;
        assert!(terminal.is_raw());
        terminal.types("s");
        terminal.shows("requests\x1b").await;
        terminal.types(keys);
        assert_eq!(terminal.ends().await.code(), Some(0));
        terminal.is_given_back().await;
        let screen = String::from_utf8_lossy(&terminal.screen.borrow()).into_owned();
        assert!(
            !screen.contains("\x1b[2J\u{202e}evil") && screen.contains("�[2J�evil"),
            "{screen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_gives_the_terminal_back_too() {
    let url = Server::new().start().await;
    let mut terminal = Terminal::run("top", &url);
    terminal.shows("acme").await;
    let pid = i32::try_from(terminal.child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    assert_eq!(terminal.ends().await.code(), Some(0));
    terminal.is_given_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_and_asked_for() {
    let server = Server::new();
    let url = server.start().await;
    let line = format!("quota reset {ACME}");
    let mut terminal = Terminal::run(&line, &url);
    terminal
        .shows("used 15,000 → 0 of 20,000 total_tokens")
        .await;
    terminal.shows("Carry this out? [y/N]").await;
    terminal.types("n\n");
    assert_eq!(terminal.ends().await.code(), Some(1));
    terminal.shows("nothing was changed").await;
    assert!(server.changes().is_empty());

    let mut terminal = Terminal::run(&line, &url);
    terminal.shows("[y/N]").await;
    terminal.types("y\n");
    assert_eq!(terminal.ends().await.code(), Some(0));
    terminal.shows("left 5,000 → 20,000").await;
    assert_eq!(
        server.changes(),
        [format!("POST /v1/counters/{ACME}/reset")]
    );
}
