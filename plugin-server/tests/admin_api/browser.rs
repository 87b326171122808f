//! A headless Chromium, driven over the pipe that it offers for that (Chrome DevTools Protocol).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Of the window, in CSS pixels.
const SIZE: (u32, u32) = (1_240, 1_100);
/// How often a condition is tried, every so many milliseconds: a quarter of a minute in all.
const TRIES: usize = 150;
const BETWEEN: Duration = Duration::from_millis(100);

/// A browser with one page.
pub(crate) struct Browser {
    process: Child,
    commands: File,
    answers: BufReader<File>,
    session: Option<String>,
    number: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one, unless this machine has none.
    pub(crate) fn start() -> Option<Self> {
        let program = find("chromium").or_else(|| find("google-chrome"))?;
        let profile = tempfile::tempdir().unwrap();
        let (commands, answers) = (profile.path().join("in"), profile.path().join("out"));
        let made = Command::new("mkfifo").args([&commands, &answers]).status();
        assert!(made.unwrap().success());
        // Only a shell can hand over the descriptors 3 and 4, which the browser reads and writes.
        let script = r#"exec "$0" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --no-first-run --no-proxy-server \
            --user-data-dir="$1" --window-size="$2" --remote-debugging-pipe 3<"$3" 4>"$4""#;
        let process = Command::new("sh")
            .args(["-c", script])
            .arg(program)
            .arg(profile.path().join("profile"))
            .arg(format!("{},{}", SIZE.0, SIZE.1))
            .args([&commands, &answers])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Self {
            process,
            commands: File::options().write(true).open(commands).unwrap(),
            answers: BufReader::new(File::open(answers).unwrap()),
            session: None,
            number: 0,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        Some(browser)
    }

    /// Says so if the machine has no browser, and that the test proves nothing then.
    pub(crate) fn start_or_skip(test: &str) -> Option<Self> {
        let browser = Self::start();
        if browser.is_none() {
            // Past the harness's capture: a test that is only reported green would hide that it did not run.
            let _best_effort = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: neither chromium nor google-chrome is installed"
            );
        }
        browser
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut command = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        loop {
            let mut message = Vec::new();
            self.answers.read_until(0, &mut message).unwrap();
            assert_eq!(message.pop(), Some(0), "the browser has ended");
            let message: Value = serde_json::from_slice(&message).unwrap();
            if message["id"] == self.number {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Opens an address in the scheme `light` or `dark`.
    pub(crate) fn open(&mut self, address: &str, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({"features": [feature]}),
        );
        self.call("Page.navigate", &json!({"url": address}));
        self.until("location.protocol === 'http:' && document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn until(&mut self, expression: &str) {
        for _ in 0..TRIES {
            if self.evaluate(&format!("Boolean({expression})")) == true {
                return;
            }
            std::thread::sleep(BETWEEN);
        }
        let page = self.evaluate("document.body.innerText");
        panic!(
            "not in time: {expression}\n{}",
            page.as_str().unwrap_or_default()
        );
    }

    /// Writes what is seen, as a PNG.
    pub(crate) fn screenshot(&mut self, file: &Path) {
        let answer = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let png = BASE64_STANDARD
            .decode(answer["data"].as_str().unwrap())
            .unwrap();
        std::fs::write(file, png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
