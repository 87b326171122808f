//! Whose counters a request spends.

use token_limiter::{Identity, PerCharge};

use super::config::LimitSettings;
use super::identity::{Caller, LimitBy};

/// Who pays under each of some limits: digests for the counters, names for people. Each list of values is looked at once.
pub(super) struct Payers<'a> {
    lists: PerCharge<Payer<'a>>,
    /// The values of the first limit, for people.
    pub(super) tenant: String,
}

/// One list of values: how it is written in the configuration, its digest, and its names.
struct Payer<'a> {
    by: &'a [LimitBy],
    identity: Identity,
    values: Vec<(String, String)>,
}

impl<'a> Payers<'a> {
    pub(super) fn of(caller: &Caller, limits: &[&'a LimitSettings]) -> Self {
        let mut lists: PerCharge<Payer<'a>> = PerCharge::new();
        for limit in limits {
            let by = limit.limit_by.as_slice();
            if !lists.iter().any(|payer| payer.by == by) {
                lists.push(Payer {
                    by,
                    identity: caller.identity(by),
                    values: caller.labels(by),
                });
            }
        }
        let tenant = lists.first().map_or_else(
            || caller.address(),
            |payer| {
                let values: Vec<&str> = payer
                    .values
                    .iter()
                    .map(|(_, value)| value.as_str())
                    .collect();
                values.join("/")
            },
        );
        Self { lists, tenant }
    }

    fn find(&self, limit: &LimitSettings) -> &Payer<'a> {
        self.lists
            .iter()
            .find(|payer| payer.by == limit.limit_by)
            .expect("the payers of these limits have been looked at")
    }

    pub(super) fn identity(&self, limit: &LimitSettings) -> &Identity {
        &self.find(limit).identity
    }

    pub(super) fn values(&self, limit: &LimitSettings) -> &[(String, String)] {
        &self.find(limit).values
    }
}
