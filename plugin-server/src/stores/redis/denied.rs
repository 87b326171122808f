//! What is denied, for all processes that share this Redis: entries that every request looks for by their key.
//!
//! # Model
//!
//! An [`Entry`] is known by 128 bits. What it means is its owner's business: here it has a text, a mark, of which the larger says
//! more, and an end. All entries live in one hash, by key, beside a sorted set of when they may go: one command looks for several,
//! on a cluster too, and both names share a slot, so that a change is one script.
//!
//! # Invariants
//!
//! 1. Writing an entry again never weakens it: the later end and the larger mark stay.
//! 2. None goes before its end and the grace after it, and none is given up for another: a full list takes no more.

use std::time::Duration;

use redis::{FromRedisValue, from_redis_value};

use super::script::{DENIED, DENY, Script, UNDENY};
use super::{LISTING, RedisStore, RedisStoreError, names};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is known by.
    pub key: u128,
    /// When it ends, in Unix seconds.
    pub ends: i64,
    /// Zero or more.
    pub mark: i64,
    /// When it was written, in Unix seconds.
    pub made: i64,
    /// What its owner wants to know of it again.
    pub text: String,
}

/// How entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// How long beyond its end each stays.
    pub grace: Duration,
    /// The most that there may be.
    pub most: u64,
}

/// Some entries, those that end last first, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// All that have not gone.
    pub total: usize,
    /// Those that were asked for.
    pub entries: Vec<Entry>,
}

impl Entry {
    fn read(key: u128, value: &str) -> Option<Self> {
        let mut parts = value.splitn(4, ' ');
        let mut number = || parts.next()?.parse().ok();
        Some(Self {
            key,
            ends: number()?,
            mark: number()?,
            made: number()?,
            text: parts.next()?.to_owned(),
        })
    }
}

impl RedisStore {
    /// The entries of these keys, in their order.
    ///
    /// # Errors
    ///
    /// When the answer does not come within the configured time.
    pub async fn denied(&self, keys: &[u128]) -> Result<Vec<Option<Entry>>, RedisStoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(names::DENIED);
        for &key in keys {
            command.arg(name(key));
        }
        let call = async { read(self.link.query(&command).await?) };
        let values: Vec<Option<String>> = self.in_time(self.config().timeout, call).await?;
        if values.len() != keys.len() {
            return Err(RedisStoreError::Reply);
        }
        let entry = |(&key, value): (&u128, Option<String>)| match value {
            None => Ok(None),
            Some(value) => Entry::read(key, &value)
                .map(Some)
                .ok_or(RedisStoreError::Reply),
        };
        keys.iter().zip(values).map(entry).collect()
    }

    /// Writes an entry, or strengthens the one of that key; what is there then. Nothing if there is no room.
    ///
    /// # Errors
    ///
    /// When the answer takes longer than an operator waits.
    pub async fn deny(
        &self,
        entry: &Entry,
        keeping: Keeping,
    ) -> Result<Option<Entry>, RedisStoreError> {
        let mut arguments = self.arguments();
        arguments
            .word(&name(entry.key))
            .word(&entry.ends.to_string())
            .word(&entry.mark.to_string())
            .word(&entry.made.to_string())
            .word(&entry.text)
            .number(keeping.grace.as_secs())
            .number(keeping.most);
        self.change(&DENY, &arguments, entry.key).await
    }

    /// Removes an entry; what it was.
    ///
    /// # Errors
    ///
    /// When the answer takes longer than an operator waits.
    pub async fn undeny(&self, key: u128) -> Result<Option<Entry>, RedisStoreError> {
        let mut arguments = self.arguments();
        arguments.word(&name(key));
        self.change(&UNDENY, &arguments, key).await
    }

    /// Some of the entries.
    ///
    /// # Errors
    ///
    /// When the answer takes longer than an operator waits.
    pub async fn all_denied(
        &self,
        offset: usize,
        most: usize,
    ) -> Result<EntryPage, RedisStoreError> {
        let mut arguments = self.arguments();
        arguments.number(offset as u64).number(most as u64);
        let (total, flat): (usize, Vec<String>) =
            self.in_time(LISTING, self.ask(&DENIED, &arguments)).await?;
        let entry = |pair: &[String]| {
            let key = u128::from_str_radix(&pair[0], 16).ok()?;
            Entry::read(key, &pair[1])
        };
        let entries: Option<Vec<Entry>> = flat.chunks_exact(2).map(entry).collect();
        Ok(EntryPage {
            total,
            entries: entries.ok_or(RedisStoreError::Reply)?,
        })
    }

    async fn change(
        &self,
        script: &Script,
        arguments: &super::Arguments,
        key: u128,
    ) -> Result<Option<Entry>, RedisStoreError> {
        let call = self.ask(script, arguments);
        let value: Option<String> = self.in_time(LISTING, call).await?;
        value
            .map(|value| Entry::read(key, &value).ok_or(RedisStoreError::Reply))
            .transpose()
    }

    async fn ask<T: FromRedisValue>(
        &self,
        script: &Script,
        arguments: &super::Arguments,
    ) -> Result<T, RedisStoreError> {
        let names = [names::DENIED.to_owned(), names::DENIED_ENDS.to_owned()];
        read(script.run(&self.link, &names, arguments).await?)
    }
}

fn read<T: FromRedisValue>(value: redis::Value) -> Result<T, RedisStoreError> {
    from_redis_value(value).map_err(|_| RedisStoreError::Reply)
}

fn name(key: u128) -> String {
    format!("{key:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_back_with_its_text_whole() {
        let entry = Entry::read(7, r#"1800000000 5 1700000000 {"jti":"a b"}"#).unwrap();
        assert_eq!(
            (entry.ends, entry.mark, entry.made),
            (1_800_000_000, 5, 1_700_000_000)
        );
        assert_eq!(entry.text, r#"{"jti":"a b"}"#);
        for broken in ["", "1", "1 2 3", "x 2 3 t"] {
            assert_eq!(Entry::read(7, broken), None, "{broken:?}");
        }
    }
}
