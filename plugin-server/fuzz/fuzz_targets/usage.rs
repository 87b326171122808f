//! Whatever an upstream answers, and wherever it is cut, the figure is consistent and the request is not free.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_plugin_server::rate_limiting::estimate::Estimate;
use llm_plugin_server::rate_limiting::usage::{Observed, spent};

/// Above the sum of all counts that a figure may have.
const MOST_TOKENS: u64 = 1 << 44;

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (ended, cut, answer) = input;
    let (head, tail) = answer.split_at(usize::from(cut).min(answer.len()));
    let observed = Observed {
        head: head.to_vec(),
        tail: tail.to_vec(),
        bytes: answer.len() as u64,
        ended,
    };
    let estimate = Estimate {
        prompt_tokens: 19,
        output_tokens: 100,
        ..Estimate::default()
    };
    let usage = spent(Some(&observed), 200, &estimate)
        .usage()
        .expect("a tap ran");
    assert!(usage.total_tokens > 0);
    assert!(usage.total_tokens >= usage.prompt_tokens + usage.completion_tokens);
    assert!(usage.total_tokens < MOST_TOKENS);
    assert!(usage.cached_read_tokens + usage.cache_write_tokens <= usage.prompt_tokens);
    assert!(usage.reasoning_tokens <= usage.completion_tokens);
});
