//! Damage at random places: every event that was durable is read back exactly once, or named by a gap.

use std::path::{Path, PathBuf};

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use tollgate_interaction::Event;

use super::{Found, copy, drain, reopen_and_drain, segment_files, settings};
use crate::samples::{noise, opened, opened_with, settled};
use crate::{GapReason, Wal};

/// What happens to one segment file; places are fractions of 65536 of its length.
#[derive(Clone, Debug)]
enum Damage {
    Nothing,
    Flip { places: Vec<(u16, u8)> },
    Zero { from: u16, length: usize },
    Truncate { at: u16 },
    Append { bytes: Vec<u8> },
    Delete,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        1 => Just(Damage::Nothing),
        6 => proptest::collection::vec((any::<u16>(), 0..8_u8), 1..5).prop_map(|places| Damage::Flip { places }),
        3 => (any::<u16>(), 1..3000_usize).prop_map(|(from, length)| Damage::Zero { from, length }),
        4 => any::<u16>().prop_map(|at| Damage::Truncate { at }),
        2 => proptest::collection::vec(any::<u8>(), 1..300).prop_map(|bytes| Damage::Append { bytes }),
        1 => Just(Damage::Delete),
    ]
}

impl Damage {
    fn apply(&self, path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        let at = |place: &u16| (bytes.len() * usize::from(*place)) >> 16;
        match self {
            Damage::Nothing => return,
            Damage::Flip { places } => {
                let places: Vec<_> = places.iter().map(|(place, bit)| (at(place), *bit)).collect();
                places.into_iter().for_each(|(at, bit)| bytes[at] ^= 1 << bit);
            }
            Damage::Zero { from, length } => {
                let from = at(from);
                let end = bytes.len().min(from + length);
                bytes[from..end].fill(0);
            }
            Damage::Truncate { at: place } => bytes.truncate(at(place)),
            Damage::Append { bytes: more } => bytes.extend_from_slice(more),
            Damage::Delete => return std::fs::remove_file(path).unwrap(),
        }
        std::fs::write(path, bytes).unwrap();
    }
}

fn event(number: u64, size: u16) -> Event {
    match size % 4 {
        0 => opened(number, usize::from(size % 900)),
        1 => opened_with(number, noise(usize::from(size % 2500))),
        2 => opened(number, 4000 + usize::from(size)),
        _ => settled(number, usize::from(size % 300)),
    }
}

/// Writes one epoch per list of sizes; the last one is killed, not closed. Every event is durable.
fn write(epochs: &[Vec<u16>]) -> (tempfile::TempDir, Vec<(u64, u64, Event)>) {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for (sizes, epoch) in epochs.iter().zip(1..) {
        let wal = Wal::open(settings(dir.path())).unwrap();
        for size in sizes {
            let event = event(written.len() as u64, *size);
            let seq = wal.appender().append_written(&event).unwrap();
            written.push((epoch, seq, event));
        }
        if epoch as usize == epochs.len() {
            return (copy(dir.path()), written);
        }
        wal.close().unwrap();
    }
    (dir, written)
}

fn is_named(found: &Found, epoch: u64, seq: u64) -> bool {
    found
        .gaps
        .iter()
        .any(|gap| gap.epoch == epoch && gap.first_seq <= seq && (seq <= gap.last_seq || gap.more_may_be_missing))
}

fn check(written: &[(u64, u64, Event)], found: &Found, may_lose_the_end: bool) {
    let seqs = found.seqs();
    assert!(seqs.is_sorted_by(|one, other| one < other), "out of order or twice: {seqs:?}");
    for event in &found.events {
        assert!(written.contains(event), "{:?} was never written", (event.0, event.1));
        let exact =
            found.gaps.iter().any(|gap| gap.epoch == event.0 && (gap.first_seq..=gap.last_seq).contains(&event.1));
        assert!(!exact, "{:?} was read and is named by a gap: {:?}", (event.0, event.1), found.gaps);
    }
    let last_read = seqs.last().copied().unwrap_or_default();
    for (epoch, seq, _) in written {
        let is_read = seqs.binary_search(&(*epoch, *seq)).is_ok();
        let is_end = may_lose_the_end && (*epoch, *seq) > last_read;
        assert!(is_read || is_named(found, *epoch, *seq) || is_end, "{epoch}/{seq} is lost; gaps: {:?}", found.gaps);
    }
    for gap in &found.gaps {
        let kept = gap.quarantine.as_ref().is_none_or(|path: &PathBuf| path.exists());
        assert!(kept && gap.first_seq <= gap.last_seq, "{gap:?}");
    }
}

/// Few by default, for each writes and reads a log; `PROPTEST_CASES=2000` for a night.
fn config() -> Config {
    const CASES: u32 = 64;
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked { Config::default().cases } else { CASES };
    Config { cases, max_shrink_iters: 200, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_durable_event_is_read_once_or_named_by_a_gap(
        epochs in proptest::collection::vec(proptest::collection::vec(any::<u16>(), 0..40), 1..4),
        chosen in any::<u16>(),
        last_one in any::<bool>(),
        damage in damage(),
    ) {
        let (dir, written) = write(&epochs);
        let files = segment_files(dir.path());
        let chosen = if last_one { files.len() - 1 } else { usize::from(chosen) % files.len() };
        let is_last = chosen + 1 == files.len();
        // Nobody can tell a first file that was deleted from one that was released.
        let deletes_an_end = matches!(damage, Damage::Delete) && (is_last || chosen == 0);
        if !deletes_an_end {
            damage.apply(&files[chosen]);
        }
        let found = reopen_and_drain(dir.path());
        // A disk that takes back acknowledged bytes at the very end of the log leaves no trace of them.
        let may_lose_the_end = is_last && matches!(damage, Damage::Truncate { .. } | Damage::Zero { .. });
        check(&written, &found, may_lose_the_end);
        let again = reopen_and_drain(dir.path());
        proptest::prop_assert_eq!(&again.events, &found.events);
        proptest::prop_assert_eq!(&again.gaps, &found.gaps);
    }
}

fn write_ten() -> (tempfile::TempDir, PathBuf) {
    let (dir, _) = write(&[vec![400; 10]]);
    let file = segment_files(dir.path()).remove(0);
    (dir, file)
}

#[test]
fn an_append_that_was_under_way_is_cut_at_every_byte_without_a_gap() {
    let (whole, file) = write_ten();
    let bytes = std::fs::read(&file).unwrap();
    let name = file.file_name().unwrap();
    let frame_bytes = (bytes.len() - 1024) / 10;
    for torn in 1..frame_bytes {
        let dir = copy(whole.path());
        std::fs::write(dir.path().join(name), &bytes[..bytes.len() - torn]).unwrap();
        let found = reopen_and_drain(dir.path());
        assert_eq!((found.events.len(), found.gaps.len()), (9, 0), "{torn}");
    }
}

#[test]
fn a_bad_frame_in_the_middle_is_quarantined_and_reading_goes_on() {
    let (dir, file) = write_ten();
    let mut bytes = std::fs::read(&file).unwrap();
    let frame_bytes = (bytes.len() - 1024) / 10;
    let fourth = 1024 + 3 * frame_bytes;
    bytes[fourth + 100] ^= 1;
    let damaged = bytes[fourth..fourth + frame_bytes].to_vec();
    std::fs::write(&file, bytes).unwrap();
    let found = reopen_and_drain(dir.path());
    let [gap] = &found.gaps[..] else { panic!("{:?}", found.gaps) };
    assert_eq!((gap.epoch, gap.first_seq, gap.last_seq, gap.reason), (1, 4, 4, GapReason::Damaged));
    assert_eq!(std::fs::read(gap.quarantine.as_ref().unwrap()).unwrap(), damaged);
    assert_eq!(found.events.len(), 9);
}

#[test]
fn a_bad_header_costs_no_more_than_its_own_frame() {
    let (dir, file) = write_ten();
    let mut bytes = std::fs::read(&file).unwrap();
    let frame_bytes = (bytes.len() - 1024) / 10;
    for frame in [3, 4, 9] {
        bytes[1024 + frame * frame_bytes + 2] ^= 1;
    }
    std::fs::write(&file, bytes).unwrap();
    let found = reopen_and_drain(dir.path());
    let gaps: Vec<_> = found.gaps.iter().map(|gap| (gap.first_seq, gap.last_seq, gap.more_may_be_missing)).collect();
    // Nothing stands behind the last one, so nobody can say that it was the last.
    assert_eq!(gaps, [(4, 5, false), (10, 10, true)]);
    assert_eq!(found.events.len(), 7);
}

#[test]
fn a_caller_cannot_forge_events_by_sending_frames() {
    let (_forger, file) = write_ten();
    let forged = std::fs::read(file).unwrap()[1024..].to_vec();
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(settings(dir.path())).unwrap();
    for number in [1, 2, 3] {
        wal.appender().append_written(&opened_with(number, [&noise(2000), &forged[..]].concat().into())).unwrap();
    }
    let killed = copy(dir.path());
    for file in segment_files(killed.path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[1024] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let found = reopen_and_drain(killed.path());
    let originals = drain(&mut wal.tail()).events;
    assert!(found.events.iter().all(|event| originals.contains(event)));
    assert!(
        originals
            .iter()
            .all(|(epoch, seq, _)| is_named(&found, *epoch, *seq) || found.seqs().contains(&(*epoch, *seq)))
    );
}
