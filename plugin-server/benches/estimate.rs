//! What pricing a prompt costs, by what it is written in: against the targets of 15 MB/s for prose, and of 1 MB/s for anything.
//!
//! A body goes the way that the plugin sends it: read as JSON, its text counted by the model's vocabulary. Every prompt is as long as is
//! counted exactly; what is beyond is priced by its size. Text that somebody wrote is repeated; texts made to be hard are not.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llm_plugin_server::rate_limiting::config::{
    ErrorFormat, LimitSettings, MaxTokens, Mode, Settings, Share, StreamUsage, Unit,
};
use llm_plugin_server::rate_limiting::estimate::{EstimateMode, Vocabulary};
use llm_plugin_server::rate_limiting::identity::{Caller, LimitBy};
use llm_plugin_server::rate_limiting::learned::Learned;
use llm_plugin_server::rate_limiting::matching::Match;
use llm_plugin_server::rate_limiting::price::PriceTable;
use llm_plugin_server::rate_limiting::request::{EXACT_BYTES, Request};
use llm_plugin_server::rate_limiting::{Body, Policy};
use llm_plugin_server::stores::StoreConfig;
use llm_plugin_server::stores::failover::OnStoreFailure;
use serde_json::json;
use token_limiter::{Cost, Limit, Window};

/// The bytes of every prompt: what is counted exactly, less what its pieces count for.
const PROMPT_BYTES: usize = EXACT_BYTES - 64;

/// One of each vocabulary.
const MODELS: [&str; 2] = ["gpt-4o", "gpt-4"];

const PROSE: &str = "The harbour town had grown around a single street, and nobody who lived there could say when the street had \
    begun to bend. On market days the fishermen's wives laid out mackerel and herring on wet slate, the baker's son ran between the \
    stalls with loaves under both arms, and the old customs officer, who had outlived three governments and two pensions, sat by the \
    window of the Anchor and wrote down the name of every ship. \"It isn't that I expect to be asked,\" he used to say, \"but if I am, \
    I shall know.\" In the winter of 1871 the ice came early; by December nothing moved in the bay except gulls, and letters from the \
    capital took eleven days. It was then that the stranger arrived, on foot, with a trunk that he wouldn't let anyone carry.\n\n";

const CHINESE: &str = "港口小镇沿着一条街道发展起来，住在那里的人谁也说不清这条街是从什么时候开始弯曲的。赶集的日子里，渔夫的妻子们把鲭鱼和鲱鱼\
    摆在湿漉漉的石板上，面包师的儿子夹着面包在摊位之间奔跑，而那位经历过三届政府的老海关官员坐在窗边，记下每一艘船的名字。“并不是说我盼着有人来问，”\
    他常说，“可要是有人问起，我就会知道。”1871年的冬天，冰来得很早；到了十二月，海湾里除了海鸥什么也不动，首都寄来的信要走十一天。";

const CODE: &str = include_str!("../src/rate_limiting/mod.rs");

fn policy() -> Policy {
    let limit = LimitSettings {
        limit: Limit {
            name: "tokens".to_owned(),
            limit: Cost::new(u64::MAX),
            window: Window::sliding(Duration::from_mins(1)).expect("a minute is a window"),
        },
        unit: Unit::TotalTokens,
        limit_by: vec![LimitBy::Consumer],
        matches: Match::default(),
        mode: Mode::Enforce,
        on_store_failure: OnStoreFailure::LocalShare,
        warn_at: None,
        cached_weight: Share::WHOLE,
    };
    Policy::new(Settings {
        limits: vec![limit],
        priorities: Vec::new(),
        prices: PriceTable::default(),
        allowed_models: Vec::new(),
        store: StoreConfig::Memory,
        estimate: EstimateMode::Body,
        max_tokens: MaxTokens::default(),
        stream_usage: StreamUsage::Hide,
        error_format: ErrorFormat::Openai,
        hide_client_headers: false,
        kong_headers: false,
        error_code: 429,
        error_message: None,
    })
    .expect("the settings of a limit on tokens")
}

/// Numbers without a pattern that a tokenizer could use, the same in each run: xorshift64 (Marsaglia, 2003).
struct Numbers(u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0)
    }
}

fn numbers() -> Numbers {
    Numbers(0x9e37_79b9_7f4a_7c15)
}

/// The start of `text`, repeated as often as it takes.
fn repeated(text: &str) -> String {
    cut(text.repeat(PROMPT_BYTES.div_ceil(text.len())))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(PROMPT_BYTES));
    text
}

fn records() -> String {
    let rows: Vec<_> = numbers()
        .take(PROMPT_BYTES / 64)
        .map(|number| {
            json!({"id": number, "sku": format!("A-{:04}", number % 9_973), "price": (number % 100_000) as f64 / 100.0,
                "stock": number % 7 == 0, "tags": ["new", null, number % 13]})
        })
        .collect();
    cut(json!(rows).to_string())
}

fn base64() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    numbers()
        .take(PROMPT_BYTES)
        .map(|number| char::from(LETTERS[(number >> 58) as usize]))
        .collect()
}

fn emoji() -> String {
    let faces = numbers().filter_map(|number| char::from_u32(0x1f300 + (number % 0x2b0) as u32));
    cut(faces.take(PROMPT_BYTES / 4).collect())
}

fn estimate(criterion: &mut Criterion) {
    let prompts = [
        ("prose", repeated(PROSE)),
        ("code", repeated(CODE)),
        ("JSON", records()),
        ("Chinese", repeated(CHINESE)),
        ("one letter", "a".repeat(PROMPT_BYTES)),
        ("one letter, spaced", "a ".repeat(PROMPT_BYTES / 2)),
        ("spaces", " ".repeat(PROMPT_BYTES)),
        ("random bytes in base64", base64()),
        ("emoji", emoji()),
    ];
    Vocabulary::load_all();
    let (policy, learned, caller) = (policy(), Learned::new(), Caller::default());
    let mut group = criterion.benchmark_group("estimate");
    for model in MODELS {
        for (kind, prompt) in &prompts {
            let body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]})
                .to_string();
            let read = Request::read(None, body.as_bytes()).expect("a chat");
            assert_eq!(
                read.prompt.beyond_bytes(),
                0,
                "{kind}: every byte is counted"
            );
            group.throughput(Throughput::BytesDecimal(prompt.len() as u64));
            group.bench_with_input(BenchmarkId::new(*kind, model), &body, |bencher, body| {
                let path = Some("/v1/chat/completions");
                bencher.iter(|| {
                    policy.price(
                        &caller,
                        path,
                        Body::Whole(black_box(body.as_bytes())),
                        &learned,
                    )
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, estimate);
criterion_main!(benches);
