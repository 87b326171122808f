//! Counters by names that others choose, with a bound on how many names there are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::Tokens;

/// The label of everything beyond a bound.
pub const OTHER: &str = "other";
/// The most characters of a name that are kept.
const LONGEST_NAME: usize = 128;
/// Between the two parts of a joined name; [`shown`] lets no name contain it.
const JOINT: char = '\0';

/// Values by name. Looking one up takes no lock; adding a name copies the map, which happens once a name.
#[derive(Debug)]
pub struct Labelled<T> {
    by_name: ArcSwap<HashMap<Box<str>, Arc<T>>>,
    other: Arc<T>,
    other_is_used: AtomicBool,
    most: usize,
}

impl<T: Default> Labelled<T> {
    /// Tells at most `most` names apart.
    pub fn new(most: usize) -> Self {
        Self {
            by_name: ArcSwap::default(),
            other: Arc::default(),
            other_is_used: AtomicBool::new(false),
            most,
        }
    }

    /// The value of `name`, or that of all names that came too late.
    pub fn of(&self, name: &str) -> Arc<T> {
        let known = self.by_name.load();
        if let Some(value) = known.get(name) {
            return Arc::clone(value);
        }
        // Whoever is really called so must not become a second series of that name.
        if known.len() >= self.most || parted(name) == (OTHER, OTHER) {
            return self.other();
        }
        let fresh = Arc::<T>::default();
        self.by_name.rcu(|known| {
            let mut more = HashMap::clone(known);
            if more.len() < self.most {
                more.entry(name.into())
                    .or_insert_with(|| Arc::clone(&fresh));
            }
            more
        });
        // Another thread may have been first, or have taken the last place.
        self.by_name
            .load()
            .get(name)
            .map_or_else(|| self.other(), Arc::clone)
    }

    fn other(&self) -> Arc<T> {
        self.other_is_used.store(true, Ordering::Relaxed);
        Arc::clone(&self.other)
    }

    /// Every name with its value, sorted; the rest last as [`OTHER`], once there is a rest.
    pub fn all(&self) -> Vec<(String, Arc<T>)> {
        let known = self.by_name.load();
        let mut all: Vec<_> = known
            .iter()
            .map(|(name, value)| (name.to_string(), Arc::clone(value)))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        if self.other_is_used.load(Ordering::Relaxed) {
            all.push((OTHER.to_owned(), Arc::clone(&self.other)));
        }
        all
    }
}

/// A name as it is kept and shown: bounded, and without control characters.
pub fn shown(name: &str) -> Cow<'_, str> {
    let end = name
        .char_indices()
        .nth(LONGEST_NAME)
        .map_or(name.len(), |(at, _)| at);
    let name = &name[..end];
    if name.contains(char::is_control) {
        name.replace(char::is_control, "\u{FFFD}").into()
    } else {
        name.into()
    }
}

/// Two names as one; [`parted`] takes it apart.
pub fn joined(first: &str, second: &str) -> String {
    let mut name = String::with_capacity(first.len() + 1 + second.len());
    name.push_str(first);
    name.push(JOINT);
    name.push_str(second);
    name
}

/// The two parts of a joined name. [`OTHER`] stands for both.
pub fn parted(name: &str) -> (&str, &str) {
    name.split_once(JOINT).unwrap_or((name, name))
}

/// Tokens by unit.
#[derive(Debug, Default)]
pub struct TokenCounts([AtomicU64; TokenCounts::UNITS.len()]);

impl TokenCounts {
    /// The labels of `llm_tokens_total`. Cached tokens are part of the prompt and reasoning is part of the completion, so what was
    /// used is `prompt_tokens + completion_tokens + unreported_tokens`; the last are those that nobody told apart.
    pub const UNITS: [&str; 6] = [
        "prompt_tokens",
        "completion_tokens",
        "cached_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "unreported_tokens",
    ];

    /// Adds what was used, or, where nobody counted, what was charged.
    pub fn add(&self, usage: Option<Tokens>, spent: u64) {
        let amounts = match usage {
            Some(usage) => [
                usage.prompt,
                usage.completion,
                usage.cached_read,
                usage.cache_write,
                usage.reasoning,
                0,
            ],
            None => [0, 0, 0, 0, 0, spent],
        };
        for (counter, amount) in self.0.iter().zip(amounts) {
            if amount > 0 {
                counter.fetch_add(amount, Ordering::Relaxed);
            }
        }
    }

    /// Each unit with its tokens.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::UNITS
            .into_iter()
            .zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let counts = Labelled::<AtomicU64>::new(2);
        for name in ["b", "a", "c", OTHER, "a"] {
            counts.of(name).fetch_add(1, Ordering::Relaxed);
        }
        let all: Vec<_> = counts
            .all()
            .into_iter()
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
            .collect();
        let expected = [("a", 2), ("b", 1), (OTHER, 2)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(all, expected);
    }

    #[test]
    fn a_name_that_reads_like_the_rest_is_the_rest() {
        let counts = Labelled::<AtomicU64>::new(5);
        counts.of("a");
        assert_eq!(counts.all().len(), 1);
        counts.of(OTHER);
        counts.of(&joined(OTHER, OTHER));
        assert_eq!(counts.all().len(), 2);
    }

    #[test]
    fn threads_that_race_for_the_last_places_lose_no_count() {
        let counts = Labelled::<AtomicU64>::new(5);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for name in 0..100 {
                        counts.of(&name.to_string()).fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let all = counts.all();
        assert_eq!(all.len(), 6);
        let total: u64 = all
            .iter()
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .sum();
        assert_eq!(total, 400);
    }

    #[test]
    fn a_hostile_name_is_cut_and_cannot_forge_a_joint() {
        assert_eq!(shown(&"ä".repeat(1_000)).chars().count(), LONGEST_NAME);
        assert_eq!(shown("a\0b\nc"), "a\u{FFFD}b\u{FFFD}c");
        assert_eq!(shown("gpt-4o"), "gpt-4o");
        assert_eq!(parted(&joined("m", "t")), ("m", "t"));
        assert_eq!(parted(OTHER), (OTHER, OTHER));
    }
}
