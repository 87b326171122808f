//! The page: one file, which asks the API for everything that it shows.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("page.html");

/// Nothing runs and nothing is styled but what the page was built with, and nothing is loaded or told elsewhere.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let element = inside(PAGE, tag);
        BASE64_STANDARD.encode(Sha256::digest(element))
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style"),
    );
    HeaderValue::try_from(policy).expect("hashes in base64 are visible ASCII")
});

/// The text of the page's one element of this kind.
fn inside<'a>(page: &'a str, tag: &str) -> &'a str {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    page.split_once(&open)
        .and_then(|(_, rest)| rest.split_once(&close))
        .map_or("", |(element, _)| element)
}

pub(super) async fn show() -> impl IntoResponse {
    (
        [(header::CONTENT_SECURITY_POLICY, POLICY.clone())],
        Html(PAGE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_that_writes_no_markup() {
        for tag in ["script", "style"] {
            assert!(inside(PAGE, tag).len() > 1_000, "{tag}");
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "{tag}");
        }
        // What tenants and models are called reaches the page as text and never as markup.
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        for outside in ["src=\"", "url(", "@import", " style=\"", "onclick="] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }
}
