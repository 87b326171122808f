//! Error bodies, in the media type that the client accepts.

/// The media type of an error that Kong itself decides on, from the `Accept` header.
pub(crate) fn response_type(accept: Option<&str>) -> &'static str {
    const JSON: &str = "application/json; charset=utf-8";
    let Some(accept) = accept else { return JSON };
    let mut best = (JSON, -1.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media_type = match parts
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "application/json" | "application/*" | "*/*" => JSON,
            "text/html" => "text/html; charset=utf-8",
            "text/plain" | "text/*" => "text/plain; charset=utf-8",
            "application/xml" => "application/xml; charset=utf-8",
            _ => continue,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q=")?.parse().ok())
            .unwrap_or(1.0);
        if quality > best.1 {
            best = (media_type, quality);
        }
    }
    best.0
}

/// The media type of an error that nginx finds (a bad upstream): plain text unless the client says what it accepts.
pub(crate) fn upstream_error_type(
    accept: Option<&str>,
    content_type: Option<&str>,
) -> &'static str {
    response_type(Some(accept.or(content_type).unwrap_or("text/plain")))
}

/// The body of an error.
pub(crate) fn error_template(media_type: &str, message: &str, request_id: &str) -> String {
    match media_type.split(';').next().unwrap_or_default() {
        "text/plain" => format!("{message}\nrequest_id: {request_id}\n"),
        "text/html" => format!(
            "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  \
             <body>\n    <h1>Error</h1>\n    <p>{message}.</p>\n    <p>request_id: {request_id}</p>\n  </body>\n</html>\n"
        ),
        "application/xml" => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{message}</message>\n  \
             <requestid>{request_id}</requestid>\n</error>\n"
        ),
        _ => {
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            format!(
                "{{\n  \"message\":{},\n  \"request_id\":{}\n}}",
                quoted(message),
                quoted(request_id)
            )
        }
    }
}

/// What Kong says about a status that nobody gave a message.
pub(crate) fn error_text(status: u16) -> String {
    let text = match status {
        400 => "Bad request",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Request timeout",
        411 => "Length required",
        412 => "Precondition failed",
        413 => "Payload too large",
        414 => "URI too long",
        417 => "Expectation failed",
        500 => "An unexpected error occurred",
        502 => "An invalid response was received from the upstream server",
        503 => "The upstream server is currently unavailable",
        504 => "The upstream server is timing out",
        _ => return format!("The upstream server responded with {status}"),
    };
    text.to_owned()
}

/// nginx's own page for a status that Kong configured none for.
pub(crate) fn html_page(status: u16) -> String {
    let code = http::StatusCode::from_u16(status).ok();
    let reason = format!(
        "{status} {}",
        code.and_then(|code| code.canonical_reason())
            .unwrap_or_default()
    );
    format!(
        "<html>\r\n<head><title>{reason}</title></head>\r\n<body>\r\n<center><h1>{reason}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_accepted_type_wins() {
        assert_eq!(response_type(None), "application/json; charset=utf-8");
        assert_eq!(
            response_type(Some("text/html;q=0.5, text/plain")),
            "text/plain; charset=utf-8"
        );
        assert_eq!(
            response_type(Some("image/png")),
            "application/json; charset=utf-8"
        );
        assert_eq!(upstream_error_type(None, None), "text/plain; charset=utf-8");
    }
}
