use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use futures_util::FutureExt as _;
use tempfile::TempDir;
use token_limiter::{
    Calendar, Charge, Correction, Cost, Decision, Identity, Key, Limit, Meter, Store as _,
    TimeZone, Window,
};

use super::*;
use crate::clock::{ManualClock, SystemClock};

const DAY: Duration = Duration::from_hours(24);

/// A directory with the state file of one process after another.
struct Place {
    dir: TempDir,
    clock: Arc<ManualClock>,
}

/// A process, as far as its counters go.
struct Process {
    store: Arc<MemoryStore>,
    file: StateFile,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn try_start(&self) -> Result<Process, StateFileError> {
        let store = Arc::new(MemoryStore::new());
        let file = StateFile::open(&self.path(), store.clone(), self.clock.clone())?;
        Ok(Process { store, file })
    }

    fn start(&self) -> Process {
        self.try_start().unwrap()
    }

    /// Why a process does not start on the file.
    fn refusal(&self) -> String {
        format!(
            "{:#}",
            anyhow::Error::new(self.try_start().map(drop).unwrap_err())
        )
    }
}

impl Process {
    fn spend(&self, limit: &Limit, who: u64, tokens: u64) {
        spend(&self.store, limit, who, tokens);
    }

    fn used(&self, limit: &Limit, who: u64) -> u64 {
        let meter = Meter {
            limit,
            key: key(limit, who),
        };
        let Ok(balances) = self.store.inspect(&[meter]).now_or_never().unwrap();
        balances[0].used.units()
    }
}

fn spend(store: &MemoryStore, limit: &Limit, who: u64, tokens: u64) {
    let charge = Charge::new(limit, key(limit, who), Cost::new(tokens));
    let Ok(decision) = store.reserve(&[charge], DAY).now_or_never().unwrap();
    assert!(matches!(decision, Decision::Granted(_)));
}

fn key(limit: &Limit, who: u64) -> Key {
    Key::new(
        limit,
        "total_tokens",
        &Identity::new([&who.to_le_bytes()[..]]),
    )
}

fn limit(window: Window) -> Limit {
    Limit {
        name: "tokens".to_owned(),
        limit: Cost::new(1_000_000_000),
        window,
    }
}

fn daily() -> Limit {
    limit(Window::sliding(DAY).unwrap())
}

#[test]
fn counters_of_every_window_survive() {
    let limits = [
        Window::sliding(DAY).unwrap(),
        Window::fixed(DAY * 365).unwrap(),
        // Half a unit a day: nothing flows back while the test runs.
        Window::token_bucket(DAY * 365, Cost::new(1_000_000_000)).unwrap(),
        Window::calendar(Calendar::Month, TimeZone::UTC),
    ]
    .map(limit);
    let limits = limits.map(|limit| Limit {
        limit: match limit.window {
            Window::TokenBucket(_) => Cost::new(180),
            _ => limit.limit,
        },
        ..limit
    });
    let place = Place::new();
    let mut first = place.start();
    for limit in &limits {
        first.spend(limit, 1, 60);
    }
    first.file.write();
    for limit in &limits {
        first.spend(limit, 1, 5);
        first.spend(limit, 2, 7);
    }
    first.file.close();

    let second = place.start();
    for limit in &limits {
        let used = [1, 2, 3].map(|who| second.used(limit, who));
        assert_eq!(used, [65, 7, 0], "{limit:?}");
    }
    let mode = fs::metadata(place.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut names: Vec<_> = fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["state", "state.lock"]);
}

#[test]
fn what_was_given_back_is_not_charged_after_a_restart() {
    let place = Place::new();
    // A bucket is as good as new as soon as it is full again.
    let limit = limit(Window::token_bucket(DAY * 365, Cost::new(1_000)).unwrap());
    let limit = Limit {
        limit: Cost::new(180),
        ..limit
    };
    let mut first = place.start();
    first.spend(&limit, 1, 60);
    first.file.write();
    let meter = Meter {
        limit: &limit,
        key: key(&limit, 1),
    };
    first
        .store
        .correct(meter, Correction::Reset)
        .now_or_never()
        .unwrap()
        .unwrap();
    // Whoever comes next makes the store forget counters that hold nothing.
    for who in 2..2_000 {
        first.spend(&limit, who, 1);
    }
    first.file.close();
    assert_eq!(place.start().used(&limit, 1), 0);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let (place, limit) = (Place::new(), daily());
    let mut first = place.start();
    first.spend(&limit, 1, 60);
    first.spend(&limit, 2, 70);
    first.file.write();
    let before = place.bytes().len();
    first.spend(&limit, 2, 5);
    first.file.close();
    let whole = place.bytes();
    assert!(whole.len() > before + 30);

    for cut in before..=whole.len() {
        fs::write(place.path(), &whole[..cut]).unwrap();
        let again = place.start();
        let last = if cut == whole.len() { 75 } else { 70 };
        let used = [1, 2].map(|who| again.used(&limit, who));
        assert_eq!(used, [60, last], "{cut} of {} bytes", whole.len());
        again.file.close();
        // It was written anew, and is whole.
        assert_eq!(place.start().used(&limit, 1), 60);
    }
    // A block that the disk never got.
    let mut torn = whole[..before].to_vec();
    torn.resize(before + 4_096, 0);
    fs::write(place.path(), torn).unwrap();
    assert_eq!(place.start().used(&limit, 2), 70);
}

#[test]
fn a_file_of_many_chunks_is_read_whole() {
    let (place, limit) = (Place::new(), daily());
    let mut first = place.start();
    for who in 0..20_000 {
        first.spend(&limit, who, who + 1);
    }
    first.file.write();
    assert!(place.bytes().len() > 2 * 256 * 1024);
    drop(first);
    let second = place.start();
    for who in 0..20_000 {
        assert_eq!(second.used(&limit, who), who + 1);
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let place = Place::new();
    for (bytes, problem) in [
        (
            &b"llm-plugin-server state 2\nrecords"[..],
            "was written by another version of this program: run that version, or",
        ),
        (
            b"llm-plugin-server state 10\n",
            "was written by another version",
        ),
        (
            b"llm-plugin-server",
            "is not a state file of this program: name another file, or move that one away",
        ),
        (
            b"[log]\nlevel = \"info\"\n",
            "is not a state file of this program",
        ),
    ] {
        fs::write(place.path(), bytes).unwrap();
        let refusal = place.refusal();
        assert!(
            refusal.starts_with(&format!(
                "{} (store.state_file) {problem}",
                place.path().display()
            )),
            "{refusal}"
        );
        assert_eq!(place.bytes(), bytes);
    }
    fs::write(place.path(), "").unwrap();
    place.start();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    let refusal = place.refusal();
    assert!(
        refusal.starts_with("cannot keep counters in ") && refusal.contains("directory"),
        "{refusal}"
    );
    for impossible in ["missing/state", "state/missing/state"] {
        let path = place.dir.path().join(impossible);
        let error = StateFile::open(&path, Arc::default(), place.clock.clone()).unwrap_err();
        assert!(matches!(error, StateFileError::Io { .. }), "{error}");
    }
}

#[test]
fn two_processes_never_share_a_file() {
    let (place, limit) = (Place::new(), daily());
    let mut first = place.start();
    assert!(
        place
            .refusal()
            .ends_with("is in use by another process: stop that one, or name another file")
    );
    let link = place.dir.path().join("link");
    symlink(place.path(), &link).unwrap();
    let through_link = StateFile::open(&link, Arc::default(), place.clock.clone()).unwrap_err();
    assert!(
        matches!(through_link, StateFileError::InUse { .. }),
        "{through_link}"
    );
    first.spend(&limit, 1, 60);
    first.file.write();
    assert!(
        place.try_start().is_err(),
        "the file was replaced, the lock was not"
    );
    drop(first);
    assert_eq!(place.start().used(&limit, 1), 60);
}

#[test]
fn a_long_log_is_written_anew() {
    let (place, limit) = (Place::new(), daily());
    let mut first = place.start();
    for _ in 0..120 {
        for who in 0..1_000 {
            first.spend(&limit, who, 1);
        }
        first.file.write();
        let length = place.bytes().len() as u64;
        assert!(length <= LEAST + 100 * 1_000, "{length} bytes");
        assert_eq!(first.file.status().snapshot().bytes, length);
    }
    let rewrites = first.file.status().snapshot().rewrites;
    assert!((3..20).contains(&rewrites), "{rewrites}");
    drop(first);
    let second = place.start();
    assert!((0..1_000).all(|who| second.used(&limit, who) == 120));
}

/// A clock on which every look takes a second.
#[derive(Debug, Default)]
struct HurryingClock(AtomicU64);

impl Clock for HurryingClock {
    fn unix_seconds(&self) -> i64 {
        SystemClock::new().unix_seconds()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, SeqCst))
    }
}

#[test]
fn what_changes_while_the_file_is_written_anew_is_in_it() {
    let (place, limit) = (Place::new(), daily());
    let store = Arc::new(MemoryStore::new());
    for who in 0..20_000 {
        spend(&store, &limit, who, 1);
    }
    let clock = Arc::new(HurryingClock::default());
    let mut file = StateFile::open(&place.path(), store.clone(), clock).unwrap();
    let done = AtomicBool::new(false);
    let spent = std::thread::scope(|scope| {
        let spending = scope.spawn(|| {
            let mut spent = 0;
            while !done.load(SeqCst) {
                spend(&store, &limit, spent % 20_000, 1);
                spent += 1;
            }
            spent
        });
        for _ in 0..5 {
            file.rewrite().unwrap();
        }
        done.store(true, SeqCst);
        spending.join().unwrap()
    });
    file.close();
    let again = place.start();
    let used: u64 = (0..20_000).map(|who| again.used(&limit, who)).sum();
    assert_eq!(used, 20_000 + spent);
}

#[test]
fn a_full_disk_stops_nothing_and_is_recovered_from() {
    let (place, limit) = (Place::new(), daily());
    let mut first = place.start();
    first.spend(&limit, 1, 60);
    first.file.write();
    let kept = place.bytes();

    first.file.log.as_mut().unwrap().fill_disk();
    let obstacle = place.dir.path().join("state.tmp");
    fs::create_dir(&obstacle).unwrap();
    for _ in 0..20 {
        first.spend(&limit, 1, 1);
        first.file.write();
    }
    place.clock.advance(60);
    first.file.write();
    let status = first.file.status().snapshot();
    assert!(!status.is_up);
    assert_eq!(
        (status.failures, status.age_seconds),
        (2, 60),
        "not at every beat"
    );
    assert_eq!(place.bytes(), kept);

    fs::remove_dir(&obstacle).unwrap();
    first.file.write();
    assert!(
        !first.file.status().snapshot().is_up,
        "it is left alone for a while"
    );
    place.clock.advance(PAUSE.as_secs());
    first.file.write();
    let status = first.file.status().snapshot();
    assert!(status.is_up);
    assert_eq!(status.age_seconds, 0);
    drop(first);
    assert_eq!(place.start().used(&limit, 1), 80);
}

#[test]
fn a_log_that_cannot_be_compacted_goes_on() {
    let (place, limit) = (Place::new(), daily());
    let mut first = place.start();
    fs::create_dir(place.dir.path().join("state.tmp")).unwrap();
    first.file.most = 0;
    for _ in 0..3 {
        first.spend(&limit, 1, 20);
        first.file.write();
    }
    place.clock.advance(PAUSE.as_secs() - 1);
    first.file.write();
    let status = first.file.status().snapshot();
    assert_eq!((status.is_up, status.failures), (false, 1));
    assert_eq!(status.age_seconds, 0, "nothing is lacking");
    drop(first);
    fs::remove_dir(place.dir.path().join("state.tmp")).unwrap();
    assert_eq!(place.start().used(&limit, 1), 60);
}

#[test]
fn a_file_that_somebody_removed_or_changed_is_written_anew() {
    let (place, limit) = (Place::new(), daily());
    let mut first = place.start();
    first.spend(&limit, 1, 60);
    first.file.write();
    fs::remove_file(place.path()).unwrap();
    first.spend(&limit, 2, 1);
    first.file.write();
    fs::write(place.path(), "nonsense").unwrap();
    first.file.close();
    let second = place.start();
    assert_eq!([1, 2].map(|who| second.used(&limit, who)), [60, 1]);
}

#[tokio::test]
async fn the_keeper_writes_by_itself_and_once_more_at_the_end() {
    let (place, limit) = (Place::new(), daily());
    let first = place.start();
    let store = first.store.clone();
    let keeper = Keeper::start(first.file).unwrap();
    let before = place.bytes().len();
    spend(&store, &limit, 1, 60);
    while place.bytes().len() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    spend(&store, &limit, 1, 5);
    keeper.stop().await;
    assert_eq!(place.start().used(&limit, 1), 65);
}
