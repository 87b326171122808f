//! What is denied, in a real Redis.

use std::time::{Duration, UNIX_EPOCH};

use llm_plugin_server::stores::redis::RedisStore;
use llm_plugin_server::stores::redis::denied::{Entry, EntryPage, Keeping};

use crate::server::{Server, require_redis};

/// Half an hour from now: the server's own time counts.
fn soon() -> i64 {
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    i64::try_from(now).unwrap() + 1_800
}

fn entry(key: u128, ends: i64, mark: i64) -> Entry {
    Entry {
        key,
        ends,
        mark,
        made: 7,
        text: format!(r#"{{"number": "{key} \"of\" many"}}"#),
    }
}

const KEEPING: Keeping = Keeping {
    grace: Duration::from_mins(6),
    most: 100,
};

/// A whole life of entries: written, found, strengthened, listed, removed.
pub(crate) async fn serves(store: &RedisStore) {
    let soon = soon();
    let deny = async |entry: &Entry| store.deny(entry, KEEPING).await.unwrap().unwrap();
    let (first, second) = (entry(1, soon, 0), entry(u128::MAX, soon + 60, 5));
    assert_eq!(deny(&first).await, first);
    assert_eq!(deny(&second).await, second);
    let found = store.denied(&[2, u128::MAX, 1]).await.unwrap();
    assert_eq!(found, [None, Some(second.clone()), Some(first.clone())]);

    let weaker = deny(&entry(u128::MAX, soon, 3)).await;
    assert_eq!((weaker.ends, weaker.mark), (soon + 60, 5));
    let stronger = deny(&entry(1, soon + 120, 9)).await;
    assert_eq!((stronger.ends, stronger.mark), (soon + 120, 9));

    let page = async |offset, most| store.all_denied(offset, most).await.unwrap();
    let all = vec![stronger.clone(), weaker.clone()];
    let listed = |entries| EntryPage { total: 2, entries };
    assert_eq!(page(0, 10).await, listed(all));
    assert_eq!(page(1, 1).await, listed(vec![weaker.clone()]));
    assert_eq!(page(0, 0).await, listed(vec![]));
    assert_eq!(page(1_000_000, 10).await, listed(vec![]));

    assert_eq!(store.undeny(1).await.unwrap(), Some(stronger));
    assert_eq!(store.undeny(1).await.unwrap(), None);
    assert_eq!(store.denied(&[1]).await.unwrap(), [None]);
    assert_eq!(store.undeny(u128::MAX).await.unwrap(), Some(weaker));
    assert_eq!(page(0, 10).await, EntryPage::default());
}

#[tokio::test]
async fn what_is_denied_is_found_until_it_is_removed() {
    require_redis!();
    let server = Server::start();
    serves(&server.store()).await;
}

#[tokio::test]
async fn what_has_gone_makes_room_and_nothing_else_does() {
    require_redis!();
    let server = Server::start();
    let store = server.store();
    let keeping = Keeping {
        grace: Duration::ZERO,
        most: 2,
    };
    let soon = soon();
    // It goes a moment from now.
    let short = soon - 1_800 + 2;
    store.deny(&entry(1, short, 0), keeping).await.unwrap();
    store.deny(&entry(2, soon, 0), keeping).await.unwrap();
    let third = entry(3, soon, 0);
    assert_eq!(store.deny(&third, keeping).await.unwrap(), None, "full");
    let again = store.deny(&entry(2, soon + 1, 0), keeping).await.unwrap();
    assert!(again.is_some(), "what is there takes no room");
    let ttl: i64 = server.cli(&["ttl", "llm:{denied}"]).parse().unwrap();
    assert!((1_700..=1_801).contains(&ttl), "goes with the last: {ttl}");
    let ttl: i64 = server.cli(&["ttl", "llm:{denied}:ends"]).parse().unwrap();
    assert!((1_700..=1_801).contains(&ttl), "goes with the last: {ttl}");

    let mut kept = None;
    for _ in 0..200 {
        kept = store.deny(&third, keeping).await.unwrap();
        if kept.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kept, Some(third));
    assert_eq!(store.denied(&[1]).await.unwrap(), [None]);
    assert_eq!(store.all_denied(0, 10).await.unwrap().total, 2);
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    require_redis!();
    let server = Server::start();
    serves(&server.store()).await;
    server.cli(&["script", "flush"]);
    serves(&server.store()).await;
}

#[tokio::test]
async fn a_request_asks_once() {
    require_redis!();
    let server = Server::start();
    let store = server.store();
    store.ping().await.unwrap();
    let commands = || -> u64 {
        let info = server.cli(&["info", "stats"]);
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse().unwrap()
    };
    let before = commands();
    store.denied(&[1, 2, 3]).await.unwrap();
    // The second question about commands is one too, and so is its connection's greeting, twice.
    let asking = commands() - before;
    let alone = {
        let before = commands();
        commands() - before
    };
    assert_eq!(asking - alone, 1);
}
