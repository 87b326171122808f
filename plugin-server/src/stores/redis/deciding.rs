//! Reserving and settling: one call for what lives together, and what holds when it does not.

use std::time::Duration;

use futures_util::future::join_all;
use token_limiter::{
    Balance, Charge, Cost, Decision, Denial, Grant, Key, PerCharge, Reservation, ReservationId,
    Settlement, Store as _,
};

use super::script::{RESERVE, SETTLE};
use super::{RedisStore, RedisStoreError, Standing, milliseconds, names, window};

/// What `reserve.lua` says of the charges that live together.
struct Answer {
    granted: bool,
    /// The binding charge, among those of the part.
    binding: usize,
    retry_after: Duration,
    standings: Vec<Standing>,
}

/// How a part of a request is to be reserved.
#[derive(Clone, Copy)]
struct Terms {
    id: ReservationId,
    lease: Duration,
    only_ask: bool,
}

impl RedisStore {
    pub(super) async fn decide(
        &self,
        id: ReservationId,
        charges: &[Charge<'_>],
        lease: Duration,
    ) -> Result<Decision, RedisStoreError> {
        let keys: PerCharge<Key> = charges.iter().map(|charge| charge.key).collect();
        let reservation = Reservation { id, keys };
        let mut standings = vec![Standing::default(); charges.len()];
        let mut refusal: Option<(usize, Duration)> = None;
        let mut charged: PerCharge<usize> = PerCharge::new();
        for part in names::parts(self.config(), &reservation.keys) {
            if part.is_empty() {
                continue;
            }
            let terms = Terms {
                id,
                lease,
                only_ask: refusal.is_some(),
            };
            let answer = self.reserve_part(terms, charges, &part).await?;
            for (&position, &standing) in part.iter().zip(&answer.standings) {
                standings[position] = standing;
            }
            if answer.granted {
                if refusal.is_none() {
                    charged.extend(part);
                }
            } else if refusal.is_none_or(|(_, longest)| answer.retry_after > longest) {
                refusal = Some((part[answer.binding], answer.retry_after));
            }
        }
        let balances = |standings: &[Standing]| -> PerCharge<Balance> {
            let with = charges.iter().zip(standings);
            with.map(|(charge, standing)| standing.balance(charge.room()))
                .collect()
        };
        let Some((index, retry_after)) = refusal else {
            return Ok(Decision::Granted(Grant {
                balances: balances(&standings),
                exceeded: standings.iter().map(|one| one.exceeds).collect(),
                reservation,
            }));
        };
        if !charged.is_empty() {
            self.release(&reservation).await?;
            for &position in &charged {
                let standing = &mut standings[position];
                standing.used = standing.used.saturating_sub(charges[position].cost.units());
            }
        }
        Ok(Decision::Denied(Denial {
            index,
            retry_after,
            balances: balances(&standings),
        }))
    }

    async fn reserve_part(
        &self,
        terms: Terms,
        charges: &[Charge<'_>],
        part: &[usize],
    ) -> Result<Answer, RedisStoreError> {
        let mut names = vec![names::record(charges[part[0]].key, terms.id)];
        let mut arguments = self.arguments();
        arguments
            .number(milliseconds(terms.lease))
            .flag(terms.only_ask);
        for &position in part {
            let charge = &charges[position];
            names.push(names::counter(charge.key));
            let (kind, numbers) =
                window::described(charge.limit, self.time.about_now(), terms.lease);
            arguments
                .word(kind)
                .number(charge.cost.units())
                .number(charge.room().units())
                .flag(charge.enforced)
                .numbers(&numbers);
        }
        let reply = self.run(&RESERVE, &names, &arguments).await?;
        let [granted, binding, retry_ms, standings @ ..] = &reply[..] else {
            return Err(RedisStoreError::Reply);
        };
        let standings: Vec<Standing> = standings
            .chunks_exact(3)
            .map(|standing| Standing {
                used: standing[0],
                reset_ms: standing[1],
                exceeds: standing[2] == 1,
            })
            .collect();
        if standings.len() != part.len() {
            return Err(RedisStoreError::Reply);
        }
        let binding = usize::try_from(binding.saturating_sub(1)).unwrap_or(usize::MAX);
        Ok(Answer {
            granted: *granted == 1,
            binding: binding.min(part.len() - 1),
            retry_after: Duration::from_millis(*retry_ms),
            standings,
        })
    }

    pub(super) async fn close(
        &self,
        reservation: &Reservation,
        actual: &[Cost],
    ) -> Result<Settlement, RedisStoreError> {
        let parts = names::parts(self.config(), &reservation.keys);
        let closings = parts.iter().filter(|part| !part.is_empty()).map(|part| {
            let beside = reservation.keys[part[0]];
            let mut names = vec![names::record(beside, reservation.id)];
            let mut arguments = self.arguments();
            for &position in part {
                names.push(names::counter(reservation.keys[position]));
                match actual.get(position) {
                    Some(cost) => arguments.number(cost.units()),
                    None => arguments.word(""),
                };
            }
            async move { self.run(&SETTLE, &names, &arguments).await }
        });
        let mut settlement = Settlement::Unknown;
        // Each part is idempotent, so whoever repeats a settlement that failed in one closes the rest.
        for closed in join_all(closings).await {
            if closed? == [1] {
                settlement = Settlement::Settled;
            }
        }
        Ok(settlement)
    }
}
