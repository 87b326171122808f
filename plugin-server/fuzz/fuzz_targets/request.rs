//! Whatever a client sends, and wherever to: reading it costs bounded memory, and what is sent upstream in its place is read
//! again as what was priced, with the cap that was promised.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_plugin_server::rate_limiting::estimate::Estimate;
use llm_plugin_server::rate_limiting::learned::Forecast;
use llm_plugin_server::rate_limiting::request::{CapPlace, EXACT_BYTES, Request};
use llm_plugin_server::rate_limiting::rewrite::Rewrite;

/// The dearest member, `"image":0,`, is an image of 1,600 tokens.
const MOST_TOKENS_PER_BYTE: u64 = 160;
/// The edit that adds most makes `"options":{"num_predict":18446744073709551615}` of `"options":0`.
const MOST_GROWTH: usize = 4;

fuzz_target!(|input: &[u8]| {
    let Some((path, caps, body)) = parts(input) else {
        return;
    };
    let Some(mut request) = Request::read(path.as_deref(), body) else {
        return;
    };
    let kept: usize = request.prompt.texts().map(|text| text.len() + 1).sum();
    assert!(kept <= EXACT_BYTES);

    let asked = request.clone();
    let rewrite = Rewrite {
        include_usage: request.lacks_stream_usage(),
        ..Rewrite::capping(&mut request, caps.clamp, caps.inject)
    };
    let rewritten = rewrite.apply(body);
    let sent = rewritten.as_deref().unwrap_or(body);
    assert!(sent.len() <= MOST_GROWTH * body.len() + 256);
    let mut read = Request::read(path.as_deref(), sent).expect("JSON stays JSON");

    assert_eq!(read.model, asked.model);
    assert_eq!(read.prompt, asked.prompt);
    assert_eq!(
        (read.stream, read.generates, read.legible, read.choices),
        (asked.stream, asked.generates, asked.legible, asked.choices)
    );
    assert_eq!(
        (read.output_cap, read.unlimited),
        (request.output_cap, request.unlimited),
        "it is priced as it is sent"
    );
    assert!(rewritten.is_some() || read == asked);
    caps.hold(&asked, &read);

    assert_eq!(rewrite.apply(sent), None, "twice is once");
    let again = Rewrite::capping(&mut read, caps.clamp, caps.inject);
    assert_eq!(
        again.apply(sent),
        None,
        "so it is for whoever reads it anew"
    );

    let estimate = Estimate::of_request(&request, body.len(), Forecast::default());
    assert!(estimate.prompt_tokens <= (body.len() as u64 + 1) * MOST_TOKENS_PER_BYTE);
    if request.generates {
        assert!(estimate.output_tokens >= request.output_cap.unwrap_or(1));
    } else {
        assert_eq!(estimate.output_tokens, 0);
    }
    assert!(estimate.reserve_total(1_000) <= estimate.prompt_tokens.max(1_000));
});

/// What an operator configured; each at least 1, and `inject` at most `clamp`.
struct Caps {
    clamp: Option<u64>,
    inject: Option<u64>,
}

impl Caps {
    fn hold(&self, asked: &Request, read: &Request) {
        if let Some(most) = self.clamp {
            assert!(!read.unlimited);
            assert!(read.output_cap.is_none_or(|cap| cap <= most));
        }
        if let Some(tokens) = self.inject
            && asked.generates
            && CapPlace::of(asked.api, asked.model.as_deref()).is_some()
        {
            assert!(!read.unlimited);
            let cap = read.output_cap.expect("a cap is stated");
            assert!(cap == tokens || asked.output_cap.is_some() || asked.unlimited);
        }
    }
}

/// The path on the first line, `clamp inject` on the second, then the body. A path that is empty is unknown; what is no number is
/// not configured.
fn parts(input: &[u8]) -> Option<(Option<String>, Caps, &[u8])> {
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let (path, caps, body) = (lines.next()?, lines.next()?, lines.next()?);
    let path = String::from_utf8_lossy(path).into_owned();
    let caps = str::from_utf8(caps).ok()?;
    let mut caps = caps
        .split(' ')
        .map(|cap| cap.parse().ok().filter(|&cap: &u64| cap > 0));
    let clamp = caps.next().flatten();
    let inject = caps.next().flatten();
    let caps = Caps {
        clamp,
        inject: inject.map(|tokens| tokens.min(clamp.unwrap_or(tokens))),
    };
    Some(((!path.is_empty()).then_some(path), caps, body))
}
