//! The page in a real browser. Skipped, loudly, where there is none.

use std::path::Path;
use std::time::Duration;

use llm_plugin_server::rate_limiting::outcomes::{LimitDescription, Publication, Scope, Settled};
use tokio::task::block_in_place;

use crate::browser::Browser;
use crate::world::{HOSTILE, TOKEN, World};

/// With this variable set, the README's screenshot is taken anew.
const UPDATE: &str = "UPDATE_SCREENSHOT";

/// Limits, counters near and far from them, refusals, and settled tokens; `guest` is a tenant and a model.
async fn busy(world: &World, guest: &str) -> Publication {
    for (consumer, tokens) in [("alice", 930), ("bob", 1_000), ("carol", 410), ("dave", 85)] {
        world.spend(consumer, tokens).await.unwrap();
    }
    assert!(world.spend("bob", 300).await.is_none());
    assert!(world.spend(guest, 5_000).await.is_none());
    world.spend(guest, 120).await.unwrap();
    settle(world, guest, 1);
    world.outcomes.publish(vec![LimitDescription {
        name: "per-minute".to_owned(),
        unit: "total_tokens",
        limit: 1_000,
        window_type: "sliding",
        window: Duration::from_mins(1),
        mode: "enforce",
        limit_by: vec!["consumer".to_owned()],
        scope: Scope::default(),
        store: "memory",
        warn_at: Some(0.8),
    }])
}

fn settle(world: &World, guest: &str, times: u64) {
    for (tenant, model, tokens) in [
        ("alice", "gpt-4o", 310),
        ("bob", "claude-sonnet-4-5", 500),
        ("carol", "gpt-4o-mini", 140),
        (guest, guest, 60),
    ] {
        world.outcomes.settled(&Settled {
            tenant,
            model: Some(model),
            usage: None,
            source: "provider",
            reserved_tokens: 0,
            spent_tokens: tokens * times,
            cost_microdollars: Some(tokens * times * 5),
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_use_as_it_happens_and_names_as_text() {
    let Some(mut browser) = Browser::start_or_skip("the page as it happens") else {
        return;
    };
    let world = World::open().await;
    let _limits = busy(&world, HOSTILE).await;
    block_in_place(|| {
        browser.open(&world.base, "light");
        browser.until("document.querySelectorAll('.counter').length === 5");
        browser.until("document.querySelectorAll('#chart polyline').length === 4");
        browser.until("document.querySelectorAll('.refusal').length === 2");
        browser.until("document.querySelectorAll('.limit').length === 1");
        browser.until("document.documentElement.scrollWidth <= window.innerWidth");
        let fullest = browser.evaluate("document.querySelector('.counter .name').textContent");
        assert_eq!(fullest, "bob");
        assert_eq!(
            browser.evaluate("document.querySelector('.counter .fill').className"),
            "fill bad"
        );
        assert_eq!(
            browser.evaluate("document.querySelectorAll('main img').length"),
            0,
            "a name became an element"
        );
        let hostile = browser.evaluate("[...document.querySelectorAll('.counter .name')].map((name) => name.textContent).join()");
        assert!(
            hostile
                .as_str()
                .unwrap()
                .contains("<img src=x onerror=alert(1)>"),
            "{hostile}"
        );
        assert_eq!(
            browser
                .evaluate("[...document.querySelectorAll('.actions')].every((one) => one.hidden)"),
            true
        );
    });
    assert!(world.spend("erin", 2_000).await.is_none());
    block_in_place(|| {
        browser.until("document.querySelector('.refusal .name')?.textContent === 'erin'");
        browser.evaluate("document.getElementById('by-models').click()");
        browser
            .until("document.getElementById('legend')?.textContent?.includes('claude-sonnet-4-5')");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_unlocks_the_page_and_its_buttons_change_counters() {
    let Some(mut browser) = Browser::start_or_skip("the page and its token") else {
        return;
    };
    let world = World::new("127.0.0.1:0", Some(TOKEN)).await;
    let _limits = busy(&world, HOSTILE).await;
    let unlock = |browser: &mut Browser, token: &str| {
        browser.evaluate(&format!(
            "document.getElementById('token').value = '{token}'; document.getElementById('unlock').requestSubmit()"
        ));
    };
    block_in_place(|| {
        browser.open(&world.base, "dark");
        browser.until("document.getElementById('notice')?.textContent?.includes('shows nothing without its token')");
        unlock(&mut browser, "not-the-token-at-all");
        browser
            .until("document.getElementById('notice')?.textContent === 'That is not the token.'");
        assert_eq!(
            browser.evaluate("document.querySelectorAll('.counter').length"),
            0
        );
        unlock(&mut browser, TOKEN);
        browser.until("document.querySelectorAll('.counter').length === 5");
        assert_eq!(
            browser.evaluate("document.getElementById('token').value"),
            ""
        );
        assert_eq!(
            browser.evaluate("document.querySelector('.counter .name').textContent"),
            "bob"
        );
        browser.evaluate("document.querySelector('.counter .actions button').click()");
        browser.evaluate("document.getElementById('amount').value = '400'; document.getElementById('change').requestSubmit()");
        browser.until("[...document.querySelectorAll('.counter')].some((one) => one.textContent.includes('600 of 1,000'))");
        browser.evaluate("document.querySelector('.counter .actions button:last-child').click()");
        browser.evaluate("document.getElementById('change').requestSubmit()");
        browser.until("document.body.textContent.includes('unused')");
        assert_eq!(
            browser.evaluate("document.getElementById('notice').hidden"),
            true
        );
    });
    let (_, list) = crate::world::answer(
        world
            .request(reqwest::Method::GET, "/v1/counters")
            .bearer_auth(TOKEN),
    )
    .await;
    let mut used: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|counter| counter["used"].as_u64().unwrap())
        .collect();
    used.sort_unstable();
    assert_eq!(
        used,
        [0, 85, 120, 410, 600],
        "alice was reset, bob was granted 400"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_shows_the_page() {
    if std::env::var_os(UPDATE).is_some() {
        take_screenshots().await;
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    for scheme in ["light", "dark"] {
        let image = screenshot(scheme);
        assert!(readme.contains(&image), "{image}");
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(&image).is_file(),
            "take {image} with {UPDATE}=1"
        );
    }
}

/// The picture's place beside the README.
fn screenshot(scheme: &str) -> String {
    format!("images/admin-page-{scheme}.png")
}

async fn take_screenshots() {
    let mut browser = Browser::start().expect("a browser to take the picture");
    let world = World::new("127.0.0.1:0", Some(TOKEN)).await;
    let _limits = busy(&world, "erin").await;
    for second in 0..40 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        settle(&world, "erin", 1 + second % 5 + second % 3);
    }
    block_in_place(|| {
        for scheme in ["dark", "light"] {
            browser.open(&world.base, scheme);
            browser.until("typeof start === 'function'");
            browser.evaluate(&format!(
                "document.getElementById('token').value = '{TOKEN}'; document.getElementById('unlock').requestSubmit()"
            ));
            browser.until("document.querySelectorAll('.counter').length === 5 && document.querySelectorAll('#chart polyline').length === 4");
            std::thread::sleep(Duration::from_millis(600));
            browser.screenshot(&Path::new(env!("CARGO_MANIFEST_DIR")).join(screenshot(scheme)));
        }
    });
}
