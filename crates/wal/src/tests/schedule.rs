//! Random schedules of appends, faults and crashes. Whatever happens, a reader finds every acknowledged event exactly
//! once, and only damage to bytes that were on the disk takes one away: then a gap names it.
//!
//! The test takes the steps of the sync thread itself, so a schedule runs the same way each time and shrinks; what other
//! threads would do during an fsync, it does during an fsync. The clock is drawn too: events and files carry times
//! that jump back and forth, and nothing may depend on them.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::{Config, TestCaseError};
use tollgate_interaction::Event;

use super::faulty_disk::{Arrivals, Damaged, EINTR, EIO, ENOSPC, FaultyDisk};
use super::ledger::{Excuses, Ledger, hold, number_of};
use super::{drain, segment_files};
use crate::samples::{noise, opened, opened_with, settled};
use crate::segment::FRAMES_START;
use crate::{AppendError, Appender, DropCause, GapReason, OnFull, Tail, TailItem, Wal, WalSettings, sync};

const SEGMENT_BYTES: u64 = 4 << 10;

/// Groups after which every append that waits must have been answered: each failure takes two.
const GROUPS: usize = 40;

#[derive(Clone, Debug)]
enum Step {
    /// That many durable appends at once, all awaited.
    Durable { sizes: Vec<u16> },
    /// A durable append that is not awaited yet.
    Start { size: u16 },
    /// A written append.
    Write { size: u16 },
    /// One turn of the sync thread.
    Sync,
    /// Appends while the next fsync is under way.
    DuringSync { written: Vec<u16>, durable: Vec<u16> },
    /// The live cursor reads on.
    Read,
    /// Events before some place are released.
    Release { choice: u16 },
    /// The disk fails once, after some calls that it does not fail.
    Fail { call: Call, after: u8, error: i32 },
    /// The disk writes so few bytes at a time.
    ShortWrites { bytes: u16 },
    /// The disk has so much room left.
    Room { bytes: u16 },
    /// The disk has room again, and works.
    Repair,
    /// The log ends in some way and is opened again.
    End { end: End, damage: Option<Damage>, clock: i32 },
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Write,
    TornWrite,
    Sync,
    EvictingSync,
    Create,
    Rename,
    Remove,
    SyncDirectory,
}

#[derive(Clone, Debug)]
enum End {
    Closed,
    Killed,
    PowerLost {
        seed: u64,
    },
    /// Killed, opened, and then the power is lost.
    KilledAndPowerLost {
        seed: u64,
    },
}

/// What happens to bytes that were synced. Files and places are fractions of 65536.
#[derive(Clone, Debug)]
enum Damage {
    FlippedBit {
        file: u16,
        place: u16,
        bit: u8,
    },
    /// A segment between others: that the first was released, and the last was never there, nobody could rule out.
    MissingSegment {
        file: u16,
    },
}

fn size() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0..700_u16, 2 => 700..3000_u16, 1 => 4500..7000_u16]
}

fn sizes(most: usize) -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(size(), 0..most)
}

fn failure() -> impl Strategy<Value = Step> {
    let call = prop_oneof![
        3 => Just(Call::Write),
        3 => Just(Call::TornWrite),
        5 => Just(Call::Sync),
        4 => Just(Call::EvictingSync),
        2 => Just(Call::Create),
        1 => Just(Call::Rename),
        1 => Just(Call::Remove),
        2 => Just(Call::SyncDirectory),
    ];
    let error = prop_oneof![6 => Just(EIO), 2 => Just(ENOSPC), 1 => Just(EINTR)];
    (call, 0..4_u8, error).prop_map(|(call, after, error)| Step::Fail { call, after, error })
}

fn end(damage: impl Strategy<Value = Option<Damage>>) -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(End::Closed),
        3 => Just(End::Killed),
        5 => any::<u64>().prop_map(|seed| End::PowerLost { seed }),
        2 => any::<u64>().prop_map(|seed| End::KilledAndPowerLost { seed }),
    ];
    (end, damage, any::<i32>()).prop_map(|(end, damage, clock)| Step::End { end, damage, clock })
}

/// Anywhere, and as often at the end: what is damaged there nothing follows.
fn place() -> impl Strategy<Value = u16> {
    prop_oneof![any::<u16>(), 56_000..=u16::MAX]
}

fn damage() -> impl Strategy<Value = Option<Damage>> {
    let flipped = (place(), place(), 0..8_u8);
    prop_oneof![
        2 => Just(None),
        6 => flipped.prop_map(|(file, place, bit)| Some(Damage::FlippedBit { file, place, bit })),
        2 => any::<u16>().prop_map(|file| Some(Damage::MissingSegment { file })),
    ]
}

fn steps(damage: impl Strategy<Value = Option<Damage>> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => sizes(4).prop_map(|sizes| Step::Durable { sizes }),
        3 => size().prop_map(|size| Step::Start { size }),
        7 => size().prop_map(|size| Step::Write { size }),
        4 => Just(Step::Sync),
        3 => (sizes(4), sizes(3)).prop_map(|(written, durable)| Step::DuringSync { written, durable }),
        2 => Just(Step::Read),
        1 => any::<u16>().prop_map(|choice| Step::Release { choice }),
        6 => failure(),
        1 => (1..300_u16).prop_map(|bytes| Step::ShortWrites { bytes }),
        2 => (0..6000_u16).prop_map(|bytes| Step::Room { bytes }),
        1 => Just(Step::Repair),
        3 => end(damage),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Those who append, also while the log is in an fsync.
struct Callers {
    appender: Appender,
    waiting: Vec<Waiting>,
    answers: Vec<Answer>,
    last_event: u64,
    clock: i64,
}

type Append = Pin<Box<dyn Future<Output = Result<u64, AppendError>> + Send>>;

struct Waiting {
    event: u64,
    append: Append,
}

struct Answer {
    event: u64,
    result: Result<u64, AppendError>,
    durable: bool,
}

impl Callers {
    fn next_event(&mut self, size: u16) -> Event {
        self.last_event += 1;
        let (number, length) = (self.last_event, usize::from(size));
        let mut event = match size % 3 {
            0 => opened(number, length),
            1 => opened_with(number, noise(length)),
            _ => settled(number, length),
        };
        if let Event::Opened(opened) = &mut event {
            opened.interaction.started_at_us = self.clock;
        }
        event
    }

    fn write(&mut self, size: u16) {
        let event = self.next_event(size);
        let result = self.appender.append_written(&event);
        self.answers.push(Answer { event: self.last_event, result, durable: false });
    }

    fn start(&mut self, size: u16) {
        let event = self.next_event(size);
        let appender = self.appender.clone();
        let append: Append = Box::pin(async move { appender.append_durable(&event).await });
        self.waiting.push(Waiting { event: self.last_event, append });
        self.poll();
    }

    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut still_waiting = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.append.as_mut().poll(&mut context) {
                Poll::Ready(result) => self.answers.push(Answer { event: waiting.event, result, durable: true }),
                Poll::Pending => still_waiting.push(waiting),
            }
        }
        self.waiting = still_waiting;
    }
}

/// A log that is open, and who uses it.
struct Running {
    wal: Wal,
    live: Tail,
    live_seq: u64,
    callers: Arc<Mutex<Callers>>,
}

struct Run {
    dir: tempfile::TempDir,
    disk: FaultyDisk,
    on_full: OnFull,
    quota_bytes: u64,
    ledger: Ledger,
    excuses: Excuses,
    last_event: u64,
    clock: i64,
}

impl Run {
    fn settings(&self) -> WalSettings {
        let (on_full, quota_bytes) = (self.on_full, self.quota_bytes);
        WalSettings { segment_bytes: SEGMENT_BYTES, quota_bytes, on_full, ..WalSettings::new(self.dir.path()) }
    }

    /// Opens the log. Faults that are still to come may strike here: then the process dies and starts again.
    fn open(&mut self) -> Result<Running, String> {
        set_times(self.dir.path(), self.clock);
        let first = Wal::open_without_thread(Arc::new(self.disk.clone()), self.settings());
        let wal = match first {
            Ok(wal) => wal,
            Err(_) => {
                self.excuses.unsynced_lost = true;
                self.excuses.cache_only = true;
                self.disk.repair();
                let again = Wal::open_without_thread(Arc::new(self.disk.clone()), self.settings());
                again.map_err(|error| format!("the log does not open: {error}"))?
            }
        };
        let mut live = wal.tail();
        let found = drain(&mut live);
        self.ledger.inspect(&found, self.excuses)?;
        self.excuses = Excuses { synced_damaged: self.excuses.synced_damaged, ..Excuses::default() };
        let again = drain(&mut wal.tail());
        hold!(found == again, "a second reader finds something else: {found:?}, {again:?}");
        let (appender, last_event, clock) = (wal.appender(), self.last_event, self.clock);
        let callers = Callers { appender, waiting: Vec::new(), answers: Vec::new(), last_event, clock };
        Ok(Running { wal, live, live_seq: 0, callers: Arc::new(Mutex::new(callers)) })
    }

    fn take(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut running = self.open()?;
        for step in steps {
            running = self.step(running, step).map_err(|said| format!("at {step:?}: {said}"))?;
        }
        self.end(running, &End::Closed)?;
        self.open()?;
        Ok(())
    }

    fn step(&mut self, mut running: Running, step: &Step) -> Result<Running, String> {
        match step {
            Step::Durable { sizes } => {
                sizes.iter().for_each(|size| running.callers.lock().start(*size));
                running.sync_until_all_are_answered()?;
            }
            Step::Start { size } => running.callers.lock().start(*size),
            Step::Write { size } => running.callers.lock().write(*size),
            Step::Sync => {
                let _ = sync::sync_group(&running.wal.shared);
            }
            Step::DuringSync { written, durable } => {
                let (callers, written, durable) = (running.callers.clone(), written.clone(), durable.clone());
                self.disk.0.lock().during_sync = Some(Box::new(move || {
                    let mut callers = callers.lock();
                    written.iter().for_each(|size| callers.write(*size));
                    durable.iter().for_each(|size| callers.start(*size));
                }));
            }
            Step::Read => self.read(&mut running)?,
            Step::Release { choice } => self.release(&running, u64::from(*choice)),
            Step::Fail { call, after, error } => self.fail(*call, *after, *error),
            Step::ShortWrites { bytes } => self.disk.0.lock().short_bytes = Some(usize::from(*bytes)),
            Step::Room { bytes } => self.disk.0.lock().room_bytes = Some(u64::from(*bytes)),
            Step::Repair => self.disk.repair(),
            Step::End { end, damage, clock } => {
                self.end(running, end)?;
                self.clock = 1_795_000_000_000_000 + i64::from(*clock) * 1000;
                damage.iter().for_each(|damage| self.damage(damage));
                running = self.open()?;
            }
        }
        self.collect(&running)?;
        Ok(running)
    }

    fn fail(&self, call: Call, after: u8, error: i32) {
        let mut plan = self.disk.0.lock();
        plan.failing_writes_are_torn = matches!(call, Call::TornWrite);
        plan.failing_syncs_evict = matches!(call, Call::EvictingSync);
        let results = match call {
            Call::Write | Call::TornWrite => &mut plan.writes,
            Call::Sync | Call::EvictingSync => &mut plan.syncs,
            Call::Create => &mut plan.creations,
            Call::Rename => &mut plan.renames,
            Call::Remove => &mut plan.removals,
            Call::SyncDirectory => &mut plan.directory_syncs,
        };
        results.extend((0..after).map(|_| None).chain([Some(error)]));
    }

    /// Writes down what callers were told and what the log says of itself.
    fn collect(&mut self, running: &Running) -> Result<(), String> {
        let mut callers = running.callers.lock();
        callers.poll();
        let epoch = running.wal.epoch();
        for Answer { event, result, durable } in std::mem::take(&mut callers.answers) {
            match result {
                Ok(seq) => self.ledger.promise((epoch, seq), event, durable)?,
                Err(AppendError::Full | AppendError::Stalled) => self.ledger.refused(event),
                Err(AppendError::Dropped { cause: DropCause::Full | DropCause::Stalled }) => self.ledger.refused(event),
                Err(_) => self.ledger.undecided(event),
            }
        }
        let status = running.wal.status();
        hold!(status.durable_seq <= status.appended_seq, "{status:?}");
        self.ledger.durable_until(epoch, status.durable_seq);
        // The frames stay in the kernel's cache, which may have dropped them.
        self.excuses.unsynced_lost |= status.failure.is_some();
        self.excuses.cache_only |= status.failure.is_some();
        self.last_event = callers.last_event;
        Ok(())
    }

    /// The live cursor finds every number, one after the other, and in the end all that was promised.
    fn read(&mut self, running: &mut Running) -> Result<(), String> {
        self.collect(running)?;
        let epoch = running.wal.epoch();
        while let Some(item) = running.live.try_next().map_err(|error| error.to_string())? {
            let (first_seq, last_seq) = match item {
                TailItem::Event { id, event } => {
                    let promised = self.ledger.event_at((id.epoch, id.seq));
                    let event = number_of(&event);
                    hold!(
                        promised.is_none_or(|promised| promised == event),
                        "live: {id:?} is {event}, not {promised:?}"
                    );
                    (id.seq, id.seq)
                }
                TailItem::Gap(gap) => {
                    let is_expected = matches!(gap.reason, GapReason::Dropped { .. } | GapReason::Released);
                    let is_released = self.ledger.is_released((gap.epoch, gap.last_seq));
                    hold!(is_expected || is_released || self.excuses.unsynced_lost, "live: {gap:?}");
                    (gap.first_seq, gap.last_seq)
                }
                TailItem::EndOfHistory => continue,
            };
            hold!(first_seq == running.live_seq + 1, "live: {first_seq} follows {}", running.live_seq);
            running.live_seq = last_seq;
        }
        let (read, promised) = (running.live_seq, self.ledger.last_seq(epoch));
        hold!(read >= promised || self.excuses.unsynced_lost, "live: {promised} was promised, {read} is the last read");
        Ok(())
    }

    fn release(&mut self, running: &Running, choice: u64) {
        let Some((epoch, seq)) = self.ledger.some_place(choice) else { return };
        // An error means that the disk failed; what was released may come back.
        let _ = running.wal.release_before(epoch, seq);
        self.ledger.released_before((epoch, seq));
    }

    /// Ends the log; what remains is what its directory holds.
    fn end(&mut self, running: Running, end: &End) -> Result<(), String> {
        self.collect(&running)?;
        if let End::Closed = end {
            running.wal.shared.queue.lock().closing = true;
            sync::finish(&running.wal.shared);
            self.collect(&running)?;
            hold!(running.callers.lock().waiting.is_empty(), "the log is closed and somebody still waits");
            let _ = running.wal.close();
        }
        running.callers.lock().waiting.iter().for_each(|waiting| self.ledger.undecided(waiting.event));
        drop(running);
        match end {
            End::Closed | End::Killed => self.disk.0.lock().during_sync = None,
            End::PowerLost { seed } => self.lose_power(*seed),
            End::KilledAndPowerLost { seed } => {
                self.disk.0.lock().during_sync = None;
                drop(self.open()?);
                self.lose_power(*seed);
            }
        }
        Ok(())
    }

    fn lose_power(&mut self, seed: u64) {
        self.excuses.unsynced_lost = true;
        self.disk.lose_power_in(self.dir.path(), &mut Arrivals::drawn_from(seed));
    }

    fn damage(&mut self, damage: &Damage) {
        let files = segment_files(self.dir.path());
        let chosen = |file: &u16, among: &[PathBuf]| among.get((among.len() * usize::from(*file)) >> 16).cloned();
        match damage {
            Damage::FlippedBit { file, place, bit } => {
                let Some(path) = chosen(file, &files) else { return };
                self.disk.damage(&path, |bytes| {
                    let at = (bytes.len() * usize::from(*place)) >> 16;
                    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
                    Damaged::Bytes
                });
            }
            Damage::MissingSegment { file } => {
                // A file without a frame may be one that was being created: no segment that anything follows.
                let holds_frames = |path: &PathBuf| std::fs::metadata(path).unwrap().len() > FRAMES_START;
                let segments: Vec<_> = files.into_iter().filter(holds_frames).collect();
                let between = segments.get(1..segments.len().saturating_sub(1)).unwrap_or_default();
                let Some(path) = chosen(file, between) else { return };
                self.disk.damage(&path, |_| Damaged::Name);
            }
        }
        self.excuses.synced_damaged = true;
    }
}

impl Running {
    fn sync_until_all_are_answered(&self) -> Result<(), String> {
        for _ in 0..GROUPS {
            self.callers.lock().poll();
            if self.callers.lock().waiting.is_empty() {
                return Ok(());
            }
            let _ = sync::sync_group(&self.wal.shared);
        }
        Err("somebody waits, and the sync thread has nothing to do".to_owned())
    }
}

/// Files carry the time of a clock that may have jumped back.
fn set_times(dir: &Path, clock: i64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(clock.unsigned_abs());
    for path in segment_files(dir) {
        std::fs::File::open(path).and_then(|file| file.set_modified(time)).unwrap();
    }
}

/// In memory if there is such a place: thousands of logs are written, and no real disk is what is tested.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn run(steps: &[Step], fail_open: bool, is_roomy: bool) -> Result<(), TestCaseError> {
    let mut run = Run {
        dir: directory(),
        disk: FaultyDisk::default(),
        on_full: if fail_open { OnFull::FailOpen } else { OnFull::FailClosed },
        quota_bytes: if is_roomy { 1 << 20 } else { 3 * SEGMENT_BYTES },
        ledger: Ledger::default(),
        excuses: Excuses::default(),
        last_event: 0,
        clock: 1_795_000_000_000_000,
    };
    run.take(steps).map_err(TestCaseError::fail)
}

/// A failing schedule is shrunk, printed, and its seed kept in `proptest-regressions/`; `PROPTEST_CASES` for a night.
fn config() -> Config {
    const CASES: u32 = 1200;
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked { Config::default().cases } else { CASES };
    Config { cases, max_shrink_iters: 4000, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_was_acknowledged_is_found_exactly_once_whatever_the_disk_does(
        steps in steps(Just(None)),
        fail_open in any::<bool>(),
        is_roomy in any::<bool>(),
    ) {
        run(&steps, fail_open, is_roomy)?;
    }

    #[test]
    fn what_damage_takes_from_the_disk_is_named_by_gaps_and_nothing_else_is_lost(
        steps in steps(damage()),
        fail_open in any::<bool>(),
        is_roomy in any::<bool>(),
    ) {
        run(&steps, fail_open, is_roomy)?;
    }
}

// What the random schedules have found once, each in its shortest form.

#[test]
fn what_a_killed_process_wrote_survives_a_loss_of_power_once_the_log_was_opened_again() {
    let killed = End::KilledAndPowerLost { seed: 0 };
    run(&[Step::Write { size: 0 }, Step::End { end: killed, damage: None, clock: 0 }], false, true).unwrap();
}

#[test]
fn a_directory_whose_fsync_failed_is_not_believed_although_the_frames_have_moved_meanwhile() {
    let steps = [
        Step::Fail { call: Call::SyncDirectory, after: 0, error: EIO },
        Step::DuringSync { written: vec![32], durable: vec![] },
        Step::Fail { call: Call::Create, after: 1, error: EIO },
        Step::Durable { sizes: vec![32, 2602] },
        Step::End { end: End::PowerLost { seed: 0 }, damage: None, clock: 0 },
    ];
    run(&steps, false, false).unwrap();
}

#[test]
fn a_log_that_failed_writes_no_note_when_it_is_closed() {
    let steps = [
        Step::DuringSync { written: vec![], durable: vec![216] },
        Step::Fail { call: Call::Sync, after: 2, error: EIO },
        Step::Fail { call: Call::EvictingSync, after: 1, error: EIO },
        Step::Durable { sizes: vec![0] },
        Step::Start { size: 0 },
        Step::Sync,
        Step::Write { size: 1863 },
        Step::Write { size: 552 },
        Step::Durable { sizes: vec![] },
    ];
    run(&steps, true, false).unwrap();
}

#[test]
fn a_release_takes_no_event_away_that_stands_in_a_segment_which_was_written_again() {
    let steps = [
        Step::Fail { call: Call::Write, after: 2, error: EIO },
        Step::Start { size: 18 },
        Step::Write { size: 2008 },
        Step::Start { size: 2223 },
        Step::Write { size: 2554 },
        Step::Write { size: 0 },
        Step::End { end: End::PowerLost { seed: 15_285_601_434_409_349_275 }, damage: None, clock: 0 },
        Step::DuringSync { written: vec![], durable: vec![0] },
        Step::Durable { sizes: vec![] },
        Step::Release { choice: 24_386 },
    ];
    run(&steps, false, false).unwrap();
}

#[test]
fn a_release_that_cannot_delete_a_segment_leaves_no_hole() {
    // Each fills a segment.
    let mut steps = vec![Step::Write { size: 2998 }; 4];
    steps.push(Step::Fail { call: Call::Remove, after: 0, error: EIO });
    steps.extend(vec![Step::Release { choice: 3 }; 2]);
    steps.push(Step::End { end: End::Killed, damage: None, clock: 0 });
    run(&steps, false, true).unwrap();
}

#[test]
fn epochs_of_which_nothing_is_left_are_all_named() {
    let mut steps = Vec::new();
    for damage in [None, None, None, Some(Damage::MissingSegment { file: 0 }), Some(Damage::MissingSegment { file: 0 })]
    {
        steps.push(Step::Write { size: 0 });
        steps.push(Step::End { end: End::Closed, damage, clock: 0 });
    }
    run(&steps, false, true).unwrap();
}

/// Schedules that once failed, as they were shrunk.
fn hold_whatever_happens(steps: &[Step]) {
    run(steps, false, false).unwrap();
}

#[test]
fn a_torn_segment_that_was_deleted_stays_deleted_when_the_power_is_lost() {
    hold_whatever_happens(&[
        Step::End { end: End::KilledAndPowerLost { seed: 10_507_590_496_378_740_672 }, damage: None, clock: 0 },
        Step::Durable { sizes: vec![48, 1556] },
        Step::Write { size: 5722 },
        Step::Fail { call: Call::TornWrite, after: 1, error: EIO },
        Step::Write { size: 539 },
        Step::End { end: End::PowerLost { seed: 11_892_879_060_965_212_258 }, damage: None, clock: 0 },
        Step::End { end: End::PowerLost { seed: 13_598_741_422_827_539_340 }, damage: None, clock: 0 },
    ]);
}

#[test]
fn a_torn_frame_shows_that_the_damaged_one_before_it_was_there() {
    let damage = Damage::FlippedBit { file: 56_000, place: 31_012, bit: 0 };
    hold_whatever_happens(&[
        Step::Write { size: 201 },
        Step::Write { size: 148 },
        Step::Write { size: 521 },
        Step::End { end: End::Closed, damage: None, clock: 0 },
        Step::Start { size: 46 },
        Step::DuringSync { written: vec![], durable: vec![607] },
        Step::Durable { sizes: vec![534, 2020] },
        Step::Write { size: 313 },
        Step::End { end: End::PowerLost { seed: 16_093_500_525_822_895_938 }, damage: Some(damage), clock: 0 },
    ]);
}
