//! Single values in the policy's terms, each problem with the field that has it.

use std::time::Duration;

use crate::jwt::claims::{ClaimPath, ScopeSet};
use crate::jwt::config::InvalidSetting;

pub(super) fn each<T, U>(
    field: &str,
    entries: Vec<T>,
    read: impl Fn(&str, T) -> Result<U, InvalidSetting>,
) -> Result<Vec<U>, InvalidSetting> {
    entries
        .into_iter()
        .enumerate()
        .map(|(at, entry)| read(&format!("{field}[{at}]"), entry))
        .collect()
}

pub(super) fn path(field: &str, names: Vec<String>) -> Result<ClaimPath, InvalidSetting> {
    ClaimPath::new(names).ok_or_else(|| {
        InvalidSetting::new(field, "a path has at least one name, none of them empty")
    })
}

pub(super) fn scopes(field: &str, lists: &[String]) -> Result<Vec<ScopeSet>, InvalidSetting> {
    let read = |(at, list): (usize, &String)| {
        let problem = || {
            InvalidSetting::new(
                format!("{field}[{at}]"),
                "not a list of scopes (RFC 6749 §3.3)",
            )
        };
        ScopeSet::parse(list).ok_or_else(problem)
    };
    lists.iter().enumerate().map(read).collect()
}

pub(super) fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

pub(super) fn to_usize(count: u32) -> usize {
    usize::try_from(count).expect("this runs on machines of 32 bits or more")
}
