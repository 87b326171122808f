//! Counters in Redis or Valkey, shared by all processes that use the same one.
//!
//! # Layout
//!
//! [`config`] says which Redis; `connection` reaches it; `names` says what things are called there; `script` runs the commands,
//! which are written in Lua in the files beside them; `deciding` reserves and settles with them. [`denied`] is a list beside the counters.
//!
//! # Model
//!
//! The algorithm is the crate `token-limiter`'s, in Lua, on the server's own time; the same contract suite holds both to it. A
//! reservation's id is drawn here, at random. Its record lies beside its counters and names them, their windows and where each
//! charge went; settling deletes it, its lease ends it.
//!
//! # Algorithm
//!
//! 1. A request whose keys share a slot is one call of one script, and on a single server all keys do.
//! 2. On a cluster there is one call a slot, one after another. If one refuses, those before it are released, and those after it are
//!    only asked, so that the refusal speaks of all limits.
//!
//! # Invariants
//!
//! 1. A request of one slot is decided atomically. One of several is not: until it is refused, another may see its first charges and
//!    be refused for them. None is admitted that should not be.
//! 2. Nothing is left without an expiry.
//!
//! # Failure
//!
//! Every call ends within the configured timeout. One that fails may have been carried out; its reservation is then released as soon as
//! that is possible.

pub mod config;
mod connection;
mod deciding;
pub mod denied;
mod names;
mod script;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::RedisResult;
use thiserror::Error;
use token_limiter::{
    Balance, Charge, Clock, Correction, Cost, Decision, Key, Meter, OpenReservation, PerCharge,
    Reservation, ReservationId, Settlement, Store, SystemClock, Timestamp,
};

use self::config::RedisConfig;
use self::connection::Link;
use self::script::{Arguments, CORRECT, HEARTBEAT, INSPECT, Script};

/// The longest that an operator's listing, or a change that no request waits for, may take.
const LISTING: Duration = Duration::from_secs(2);

/// How long a write-back is known to have happened: longer than anybody repeats one.
const MARKED: Duration = Duration::from_hours(1);

/// The store. Its clones share one connection.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    time: Time,
}

/// Whose time counts.
#[derive(Clone)]
enum Time {
    /// The server's. This process's own says only about which periods of a calendar to tell it.
    Server(SystemClock),
    /// A test's.
    Sent(Arc<dyn Clock>),
}

impl Time {
    /// The moment to send, if the server is not to look at its own clock.
    fn sent_ms(&self) -> Option<u64> {
        match self {
            Self::Server(_) => None,
            Self::Sent(clock) => Some(clock.now().as_millis()),
        }
    }

    fn about_now(&self) -> Timestamp {
        match self {
            Self::Server(clock) => clock.now(),
            Self::Sent(clock) => clock.now(),
        }
    }
}

/// Why Redis could not decide.
#[derive(Clone, Debug, Error)]
pub enum RedisStoreError {
    /// It did not answer in time. Whatever was asked may have happened.
    #[error("redis did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It cannot be reached, or refused the command.
    #[error("redis: {0}")]
    Redis(redis::RedisError),
    /// It answered what no script of this version answers.
    #[error("redis answered something unexpected")]
    Reply,
}

impl From<redis::RedisError> for RedisStoreError {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}

/// Where a counter stands, in units and milliseconds, and whether its charge exceeds.
#[derive(Clone, Copy, Default)]
struct Standing {
    used: u64,
    reset_ms: u64,
    exceeds: bool,
}

impl Standing {
    fn balance(self, room: Cost) -> Balance {
        let used = Cost::new(self.used);
        Balance {
            used,
            remaining: room.saturating_sub(used),
            reset_after: Duration::from_millis(self.reset_ms),
        }
    }
}

impl RedisStore {
    /// A store on this Redis; connects when it is first asked.
    pub fn new(config: Arc<RedisConfig>) -> Self {
        Self {
            link: Arc::new(Link::new(config)),
            time: Time::Server(SystemClock::new()),
        }
    }

    /// The same store, but its time is `clock`'s instead of the server's: for tests that own the time. Processes that share a server
    /// must share its time too, so nothing else may use this.
    #[must_use]
    pub fn on_clock(&self, clock: Arc<dyn Clock>) -> Self {
        Self {
            link: self.link.clone(),
            time: Time::Sent(clock),
        }
    }

    /// Which Redis this is.
    pub fn config(&self) -> &RedisConfig {
        self.link.config()
    }

    /// An id that nobody else has drawn or will guess.
    pub fn draw_id() -> ReservationId {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).expect("the system's random generator never fails");
        let number = u128::from_le_bytes(random);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        ReservationId {
            epoch: (number >> 64) as u64,
            serial: number as u64,
        }
    }

    /// [`Store::reserve`] under an id of the caller's, who can release it if the call fails.
    pub async fn reserve_as(
        &self,
        id: ReservationId,
        charges: &[Charge<'_>],
        lease: Duration,
    ) -> Result<Decision, RedisStoreError> {
        if let Some(index) = charges
            .iter()
            .position(|charge| charge.enforced && charge.cost > charge.room())
        {
            return Ok(Decision::NeverPasses { index });
        }
        self.in_time(self.config().timeout, self.decide(id, charges, lease))
            .await
    }

    async fn inspect_parts(
        &self,
        meters: &[Meter<'_>],
    ) -> Result<PerCharge<Balance>, RedisStoreError> {
        let keys: PerCharge<Key> = meters.iter().map(|meter| meter.key).collect();
        let mut standings = vec![Standing::default(); meters.len()];
        for part in names::parts(self.config(), &keys) {
            if part.is_empty() {
                continue;
            }
            let names: Vec<_> = part.iter().map(|&at| names::counter(keys[at])).collect();
            let mut arguments = self.arguments();
            for &position in &part {
                self.describe(meters[position], &mut arguments);
            }
            let reply = self.run(&INSPECT, &names, &arguments).await?;
            if reply.len() != 2 * part.len() {
                return Err(RedisStoreError::Reply);
            }
            for (&position, standing) in part.iter().zip(reply.chunks_exact(2)) {
                standings[position] = Standing {
                    used: standing[0],
                    reset_ms: standing[1],
                    exceeds: false,
                };
            }
        }
        let with = meters.iter().zip(standings);
        Ok(with
            .map(|(meter, standing)| standing.balance(meter.limit.capacity()))
            .collect())
    }

    /// [`Store::correct`]; with an id it happens once, however often it is repeated within the hour.
    pub async fn correct_once(
        &self,
        meter: Meter<'_>,
        correction: Correction,
        id: Option<ReservationId>,
    ) -> Result<Balance, RedisStoreError> {
        let mut names = vec![names::counter(meter.key)];
        names.extend(id.map(|id| names::mark(meter.key, id)));
        let (what, amount) = match correction {
            Correction::Reset => ("reset", Cost::ZERO),
            Correction::Add(cost) => ("add", cost),
            Correction::Remove(cost) => ("remove", cost),
        };
        let mut arguments = self.arguments();
        arguments.word(what).number(amount.units());
        self.describe(meter, &mut arguments);
        arguments.number(milliseconds(MARKED));
        let call = self.run(&CORRECT, &names, &arguments);
        let reply = self.in_time(self.config().timeout, call).await?;
        let [used, reset_ms] = reply[..] else {
            return Err(RedisStoreError::Reply);
        };
        let standing = Standing {
            used,
            reset_ms,
            exceeds: false,
        };
        Ok(standing.balance(meter.limit.capacity()))
    }

    /// Says that the process `node` lives, and counts those that were heard within `silence`, this one among them.
    pub async fn heartbeat(
        &self,
        node: ReservationId,
        silence: Duration,
    ) -> Result<u64, RedisStoreError> {
        let mut arguments = Arguments::default();
        arguments
            .word(&node.to_string())
            .number(milliseconds(silence));
        let names = [names::NODES.to_owned()];
        let call = self.run(&HEARTBEAT, &names, &arguments);
        match self.in_time(self.config().timeout, call).await?[..] {
            [nodes] => Ok(nodes),
            _ => Err(RedisStoreError::Reply),
        }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), RedisStoreError> {
        let command = redis::cmd("PING");
        let call = async { Ok(self.link.query(&command).await.map(drop)?) };
        self.in_time(self.config().timeout, call).await
    }

    async fn list(&self, most: usize) -> Result<Vec<OpenReservation>, RedisStoreError> {
        let names = self.link.keys(names::RECORDS, most).await?;
        let now_ms = if let Some(now_ms) = self.time.sent_ms() {
            now_ms
        } else {
            let time = self.link.query(&redis::cmd("TIME")).await?;
            let (seconds, micros): (u64, u64) =
                redis::from_redis_value(time).map_err(|_| RedisStoreError::Reply)?;
            seconds * 1_000 + micros / 1_000
        };
        let records = names.iter().map(|name| async move {
            let record = self.link.query(redis::cmd("GET").arg(name)).await?;
            RedisResult::Ok(
                redis::from_redis_value::<Option<String>>(record)
                    .ok()
                    .flatten(),
            )
        });
        let mut found: Vec<OpenReservation> = Vec::new();
        for (name, record) in names.iter().zip(join_all(records).await) {
            let Some(open) =
                record?.and_then(|record| names::open_reservation(name, &record, now_ms))
            else {
                continue;
            };
            // On a cluster, a reservation has a record in each of its slots.
            match found
                .iter_mut()
                .find(|other| other.reservation.id == open.reservation.id)
            {
                Some(other) => {
                    other.reservation.keys.extend(open.reservation.keys);
                    other.costs.extend(open.costs);
                }
                None => found.push(open),
            }
        }
        Ok(found)
    }

    /// Drops the connection, so that the next call opens another.
    pub(super) fn disconnect(&self) {
        self.link.reset();
    }

    fn arguments(&self) -> Arguments {
        Arguments::at(self.time.sent_ms())
    }

    fn describe(&self, meter: Meter<'_>, arguments: &mut Arguments) {
        let (kind, numbers) = window::described(meter.limit, self.time.about_now(), Duration::ZERO);
        arguments.word(kind).numbers(&numbers);
    }

    async fn run(
        &self,
        script: &Script,
        names: &[String],
        arguments: &Arguments,
    ) -> Result<Vec<u64>, RedisStoreError> {
        let reply = script.run(&self.link, names, arguments).await?;
        match reply {
            redis::Value::Int(number) => u64::try_from(number)
                .map(|number| vec![number])
                .map_err(|_| RedisStoreError::Reply),
            reply => redis::from_redis_value(reply).map_err(|_| RedisStoreError::Reply),
        }
    }

    async fn in_time<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<T, RedisStoreError>>,
    ) -> Result<T, RedisStoreError> {
        match tokio::time::timeout(timeout, call).await {
            Ok(Err(RedisStoreError::Redis(error))) if error.is_timeout() => {
                Err(RedisStoreError::Timeout(timeout))
            }
            Ok(answer) => answer,
            Err(_) => Err(RedisStoreError::Timeout(timeout)),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({})", self.config())
    }
}

impl Store for RedisStore {
    type Error = RedisStoreError;

    async fn reserve(
        &self,
        charges: &[Charge<'_>],
        lease: Duration,
    ) -> Result<Decision, RedisStoreError> {
        let id = Self::draw_id();
        let decision = self.reserve_as(id, charges, lease).await;
        if decision.is_err() {
            let store = self.clone();
            let keys = charges.iter().map(|charge| charge.key).collect();
            tokio::spawn(async move { store.release(&Reservation { id, keys }).await });
        }
        decision
    }

    async fn settle(
        &self,
        reservation: &Reservation,
        actual: &[Cost],
    ) -> Result<Settlement, RedisStoreError> {
        self.in_time(self.config().timeout, self.close(reservation, actual))
            .await
    }

    async fn inspect(&self, meters: &[Meter<'_>]) -> Result<PerCharge<Balance>, RedisStoreError> {
        self.in_time(self.config().timeout, self.inspect_parts(meters))
            .await
    }

    async fn correct(
        &self,
        meter: Meter<'_>,
        correction: Correction,
    ) -> Result<Balance, RedisStoreError> {
        self.correct_once(meter, correction, None).await
    }

    async fn reservations(&self, most: usize) -> Result<Vec<OpenReservation>, RedisStoreError> {
        self.in_time(LISTING, self.list(most)).await
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis())
        .unwrap_or(u64::MAX)
        .min(Cost::MAX.units())
}
