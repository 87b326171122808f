//! `kong.nginx` and `ngx.var`.

use crate::proxy::Exchange;

impl Exchange {
    /// `ngx.var[name]`, for the variables that plugins commonly read; others are nil.
    pub(crate) fn nginx_variable(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let text = |value: &str| Some(value.as_bytes().to_vec());
        match name {
            "request_id" => text(&self.nginx_request_id),
            "kong_request_id" => text(&self.request_id),
            "remote_addr" | "realip_remote_addr" => text(&self.connection.client.ip().to_string()),
            "remote_port" => text(&self.connection.client.port().to_string()),
            "server_addr" => text(&self.connection.server.ip().to_string()),
            "server_port" => text(&self.connection.server.port().to_string()),
            "server_protocol" => text(if self.original.version == http::Version::HTTP_2 {
                "HTTP/2.0"
            } else {
                "HTTP/1.1"
            }),
            "scheme" => text("http"),
            "host" => text(&self.host()),
            "request_method" => text(state.method.as_str()),
            "request_uri" => text(&self.original.target),
            "uri" => Some(self.path()),
            "args" | "query_string" => state.query.as_deref().and_then(text),
            "is_args" => text(if state.query.as_deref().unwrap_or_default().is_empty() {
                ""
            } else {
                "?"
            }),
            "bytes_sent" | "body_bytes_sent" => text(&state.bytes_sent.to_string()),
            "status" => text(&format!("{:03}", state.response.status)),
            "upstream_uri" => state
                .target
                .as_ref()
                .map(|target| target.path.clone().into_bytes()),
            "upstream_scheme" => state
                .target
                .as_ref()
                .and_then(|target| text(&target.scheme)),
            "upstream_status" => state
                .upstream_status
                .and_then(|status| text(&status.to_string())),
            "content_type" => state
                .headers
                .get("content-type")
                .map(|value| value.as_bytes().to_vec()),
            "content_length" => state
                .headers
                .get("content-length")
                .map(|value| value.as_bytes().to_vec()),
            _ => {
                let header = name.strip_prefix("http_")?.replace('_', "-");
                let mut values = state
                    .headers
                    .get_all(header)
                    .iter()
                    .map(http::HeaderValue::as_bytes)
                    .peekable();
                values.peek()?;
                Some(values.collect::<Vec<_>>().join(&b", "[..]))
            }
        }
    }

    /// `ngx.req.start_time()`: seconds since 1970.
    pub(crate) fn start_time(&self) -> f64 {
        self.started_ms as f64 / 1000.0
    }
}
