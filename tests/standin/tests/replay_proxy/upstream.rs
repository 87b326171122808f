//! The upstream of the recording: it answers with what it saw.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running upstream; it stops when dropped.
pub(crate) struct Upstream {
    port: u16,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, port));
            }
        });
        Self { port, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request after another, read by hand to see headers as they were sent.
async fn serve(stream: TcpStream, port: u16) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut parts = line.split_whitespace();
        let (method, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let mut headers = Vec::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().ok()?;
            }
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        if path.starts_with("/die") {
            return None;
        }
        if path.starts_with("/slow") {
            // Longer than the read timeout of the configuration; the connection ends before.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let status = path
            .strip_prefix("/status/")
            .and_then(|code| code.parse().ok())
            .unwrap_or(200);
        let seen = serde_json::json!({
            "port": port, "method": method, "path": path, "headers": headers, "body": String::from_utf8(body).ok()?,
        })
        .to_string();
        let length = seen.len();
        let content = if method == "HEAD" { "" } else { seen.as_str() };
        let answer = format!(
            "HTTP/1.1 {status} Status\r\nServer: BaseHTTP/0.6 Python/3.11.7\r\nDate: Mon, 23 Nov 2026 06:10:53 GMT\r\n\
             X-Upstream: u\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{content}"
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
