//! Kong's consumer for a token, remembered: Kong itself asks its database each time.

use std::time::Duration;

use moka::sync::Cache;

/// How long "there is no such consumer" is believed: a consumer made a moment ago must soon be found.
const ABSENCE_TTL: Duration = Duration::from_secs(5);
/// How many consumers are remembered for one configuration.
const CAPACITY: u64 = 10_000;

/// What of a consumer the policy needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Kong's id, a UUID.
    pub id: String,
    /// The name that Kong's users give it.
    pub username: Option<String>,
    /// The name that other systems give it.
    pub custom_id: Option<String>,
}

/// What a text may be of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsumerKey {
    /// Its `username`.
    Username,
    /// Its `id`.
    Id,
}

/// One question to Kong: `kong.client.load_consumer(name, by_username)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Whether Kong shall take the name as a username too. Without it, the name must be a UUID or Kong throws.
    pub by_username: bool,
}

impl Lookup {
    /// The question that finds a consumer named `name` by `keys`, if any can.
    pub fn new(name: &str, keys: &[ConsumerKey]) -> Option<Self> {
        let by_username = keys.contains(&ConsumerKey::Username);
        let by_id = keys.contains(&ConsumerKey::Id) && is_uuid(name);
        (by_username || by_id).then_some(Self { by_username })
    }

    /// Whether Kong's answer is named `name` by one of `keys`: asked by username, Kong also finds ids.
    pub fn accepts(consumer: &Consumer, name: &str, keys: &[ConsumerKey]) -> bool {
        keys.iter().any(|key| match key {
            ConsumerKey::Username => consumer.username.as_deref() == Some(name),
            ConsumerKey::Id => consumer.id.eq_ignore_ascii_case(name),
        })
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Kong's answers, by question: a consumer, or that there is none.
#[derive(Debug)]
pub struct ConsumerCache {
    by_id: Answers,
    by_username: Answers,
    ttl: Duration,
}

/// When each answer was given (monotonic), and the answer.
type Answers = Cache<String, (Duration, Option<Consumer>)>;

impl ConsumerCache {
    /// A cache whose entries are believed for `ttl`; zero remembers nothing.
    pub fn new(ttl: Duration) -> Self {
        let capacity = if ttl.is_zero() { 0 } else { CAPACITY };
        Self {
            by_id: Cache::new(capacity),
            by_username: Cache::new(capacity),
            ttl,
        }
    }

    /// What Kong has answered to this question, if that is believed at `now` (monotonic).
    pub fn get(&self, name: &str, lookup: Lookup, now: Duration) -> Option<Option<Consumer>> {
        let (at, consumer) = self.answers(lookup).get(name)?;
        let ttl = if consumer.is_some() {
            self.ttl
        } else {
            self.ttl.min(ABSENCE_TTL)
        };
        (now.saturating_sub(at) < ttl).then_some(consumer)
    }

    /// Remembers Kong's answer.
    pub fn put(&self, name: &str, lookup: Lookup, consumer: Option<Consumer>, now: Duration) {
        if !self.ttl.is_zero() {
            self.answers(lookup)
                .insert(name.to_owned(), (now, consumer));
        }
    }

    fn answers(&self, lookup: Lookup) -> &Answers {
        if lookup.by_username {
            &self.by_username
        } else {
            &self.by_id
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_USERNAME: Lookup = Lookup { by_username: true };
    const ID: &str = "b332379d-3d28-5683-a79c-72139be6e34f";

    fn alice() -> Consumer {
        Consumer {
            id: ID.into(),
            username: Some("alice".into()),
            custom_id: None,
        }
    }

    #[test]
    fn kong_is_never_asked_for_an_id_that_is_no_uuid() {
        assert_eq!(Lookup::new("alice", &[ConsumerKey::Id]), None);
        assert_eq!(
            Lookup::new(ID, &[ConsumerKey::Id]),
            Some(Lookup { by_username: false })
        );
        assert_eq!(
            Lookup::new("alice", &[ConsumerKey::Username, ConsumerKey::Id]),
            Some(Lookup { by_username: true })
        );
        assert_eq!(Lookup::new("alice", &[]), None);
    }

    #[test]
    fn a_username_that_looks_like_an_id_finds_no_other_consumer() {
        assert!(!Lookup::accepts(&alice(), ID, &[ConsumerKey::Username]));
        assert!(Lookup::accepts(&alice(), ID, &[ConsumerKey::Id]));
        assert!(Lookup::accepts(&alice(), "alice", &[ConsumerKey::Username]));
    }

    #[test]
    fn an_answer_is_believed_for_its_time_and_an_absence_for_less() {
        let cache = ConsumerCache::new(Duration::from_mins(1));
        let at = |seconds| Duration::from_secs(seconds);
        cache.put("alice", BY_USERNAME, Some(alice()), at(10));
        cache.put("bob", BY_USERNAME, None, at(10));
        assert_eq!(cache.get("alice", BY_USERNAME, at(69)), Some(Some(alice())));
        assert_eq!(cache.get("alice", BY_USERNAME, at(70)), None);
        assert_eq!(cache.get("bob", BY_USERNAME, at(14)), Some(None));
        assert_eq!(cache.get("bob", BY_USERNAME, at(15)), None);
        assert_eq!(cache.get("carol", BY_USERNAME, at(10)), None);
    }

    #[test]
    fn a_cache_without_time_remembers_nothing() {
        let cache = ConsumerCache::new(Duration::ZERO);
        cache.put("alice", BY_USERNAME, Some(alice()), Duration::ZERO);
        assert_eq!(cache.get("alice", BY_USERNAME, Duration::ZERO), None);
    }
}
