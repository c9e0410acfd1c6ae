use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;

use tlog_tiles::tlog::{HashReader, record_hash};
use tollgate_flush::keys::generate;

use super::*;
use crate::cosignature::CosignatureVerifier;

const NOW_S: u64 = 1_795_000_000;

/// A log in memory: all its hashes, by the numbers of `tlog_tiles`.
struct Log {
    key: KeyPair,
    hashes: Vec<Hash>,
}

struct Stored<'a>(&'a [Hash]);

impl HashReader for Stored<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

impl Log {
    /// Entries are the numbers; from `fork` on, other ones.
    fn new(key: &KeyPair, size: u64, fork: u64) -> Log {
        let mut log = Log { key: key.clone(), hashes: Vec::new() };
        for number in 0..size {
            let entry = if number < fork { format!("{number}") } else { format!("other {number}") };
            let hash = record_hash(entry.as_bytes());
            let more = tlog::stored_hashes_for_record_hash(number, hash, &Stored(&log.hashes)).unwrap();
            log.hashes.extend(more);
        }
        log
    }

    fn checkpoint(&self, size: u64) -> String {
        let root = if size == 0 { empty_root() } else { tlog::tree_hash(size, &Stored(&self.hashes)).unwrap() };
        let mut note = Note::new(format!("{}\n{size}\n{root}\n", self.key.name()).as_bytes(), &[]).unwrap();
        note.add_sigs(&[&self.key.signer().unwrap() as &dyn Signer]).unwrap();
        String::from_utf8(note.to_bytes()).unwrap()
    }

    fn request(&self, old: u64, size: u64) -> String {
        let proof = match old {
            0 => Vec::new(),
            old if old >= size => Vec::new(),
            old => tlog::prove_tree(size, old, &Stored(&self.hashes)).unwrap(),
        };
        let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
        format!("old {old}\n{proof}\n{}", self.checkpoint(size))
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    key: KeyPair,
    log: KeyPair,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let key = generate_as(KeyKind::Cosignature, "w/1").unwrap();
    Fixture { folder, key, log: generate("tollgate.log/a").unwrap() }
}

impl Fixture {
    fn open(&self) -> Witness {
        Witness::open(self.folder.path(), &self.key, std::slice::from_ref(&self.log.public)).unwrap()
    }

    /// Everything that is kept, to see that it stays as it is.
    fn kept(&self) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join("logs").join(file_name("tollgate.log/a"))).ok()
    }
}

fn add(witness: &Witness, request: &str) -> Result<(), Refusal> {
    witness.add_checkpoint(request.as_bytes(), NOW_S).map(|_| ())
}

#[test]
fn a_log_that_grows_is_cosigned_from_every_size_to_every_size() {
    let fixture = fixture();
    let log = Log::new(&fixture.log, 18, u64::MAX);
    for old in 0..=17 {
        for size in old..=17 {
            std::fs::remove_dir_all(fixture.folder.path().join("logs")).ok();
            let witness = fixture.open();
            add(&witness, &log.request(0, old)).unwrap();
            let line = witness.add_checkpoint(log.request(old, size).as_bytes(), NOW_S).unwrap();
            let note = [log.checkpoint(size).as_bytes(), &line].concat();
            let (text, signatures) = parts_of(&note).unwrap();
            let verifier = CosignatureVerifier::new(&fixture.key.public).unwrap();
            assert_eq!(verifier.find(&text, &signatures).unwrap().1, NOW_S, "{old} to {size}");
            drop(witness);
            let refused = add(&fixture.open(), &log.request(size + 1, size + 1));
            assert!(matches!(refused, Err(Refusal::Conflict { size: kept, .. }) if kept == size), "{refused:?}");
        }
    }
}

#[test]
fn another_history_is_never_cosigned() {
    let fixture = fixture();
    let honest = Log::new(&fixture.log, 20, u64::MAX);
    let witness = fixture.open();
    add(&witness, &honest.request(0, 9)).unwrap();
    let kept = fixture.kept();
    for fork in 0..9 {
        let forked = Log::new(&fixture.log, 20, fork);
        for size in 10..=20 {
            assert!(matches!(add(&witness, &forked.request(9, size)), Err(Refusal::Inconsistent { .. })));
        }
        assert!(matches!(add(&witness, &forked.request(9, 9)), Err(Refusal::Contradiction { size: 9, .. })));
        assert!(matches!(add(&witness, &forked.request(0, 9)), Err(Refusal::Conflict { size: 9, .. })));
    }
    assert!(matches!(add(&witness, &honest.request(0, 8)), Err(Refusal::Conflict { size: 9, .. })), "rolled back");
    assert!(matches!(add(&witness, &honest.request(8, 12)), Err(Refusal::Conflict { size: 9, .. })));
    assert_eq!(fixture.kept(), kept);
    add(&witness, &honest.request(9, 9)).unwrap();
    add(&witness, &honest.request(9, 20)).unwrap();
}

#[test]
fn it_remembers_after_a_restart_and_does_not_start_without_its_memory() {
    let fixture = fixture();
    let log = Log::new(&fixture.log, 7, u64::MAX);
    add(&fixture.open(), &log.request(0, 5)).unwrap();
    let witness = fixture.open();
    assert!(matches!(add(&witness, &log.request(0, 7)), Err(Refusal::Conflict { size: 5, .. })));
    add(&witness, &log.request(5, 7)).unwrap();
    let twin = Witness::open(fixture.folder.path(), &fixture.key, &[]);
    assert!(matches!(twin, Err(WitnessError::InUse { .. })));
    drop(witness);
    let path = fixture.folder.path().join("logs").join(file_name("tollgate.log/a"));
    for damaged in ["", "tollgate.log/a\n7\n", &log.checkpoint(7).replace("log/a", "log/b")] {
        std::fs::write(&path, damaged).unwrap();
        let opened = Witness::open(fixture.folder.path(), &fixture.key, std::slice::from_ref(&fixture.log.public));
        assert!(matches!(opened, Err(WitnessError::Damaged { .. })), "{damaged}");
    }
}

#[test]
fn what_cannot_be_kept_is_not_cosigned() {
    let fixture = fixture();
    let log = Log::new(&fixture.log, 7, u64::MAX);
    let witness = fixture.open();
    add(&witness, &log.request(0, 5)).unwrap();
    let logs = fixture.folder.path().join("logs");
    // A folder in the way of the file: no user, root included, can rename over it.
    let path = logs.join(file_name("tollgate.log/a"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("in the way")).unwrap();
    assert!(matches!(add(&witness, &log.request(5, 7)), Err(Refusal::Disk(_))));
    std::fs::remove_dir_all(&path).unwrap();
    add(&witness, &log.request(5, 7)).unwrap();
    assert!(fixture.kept().unwrap().starts_with("tollgate.log/a\n7\n"));
}

#[test]
fn unknown_logs_and_foreign_signatures_are_refused() {
    let fixture = fixture();
    let witness = fixture.open();
    let other = Log::new(&generate("tollgate.log/b").unwrap(), 3, u64::MAX);
    assert!(matches!(add(&witness, &other.request(0, 3)), Err(Refusal::UnknownLog { .. })));
    let impostor = Log::new(&generate("tollgate.log/a").unwrap(), 3, u64::MAX);
    assert!(matches!(add(&witness, &impostor.request(0, 3)), Err(Refusal::Signature { .. })));
    // A further signature of somebody unknown is passed over.
    let log = Log::new(&fixture.log, 3, u64::MAX);
    let foreign = impostor.checkpoint(3);
    let both = format!("{}{}\n", log.request(0, 3), foreign.lines().last().unwrap());
    add(&witness, &both).unwrap();
    assert!(!fixture.kept().unwrap().contains(foreign.lines().last().unwrap()));
}

#[test]
fn after_a_rotation_either_key_of_the_log_will_do() {
    let fixture = fixture();
    let rotated = generate("tollgate.log/a").unwrap();
    let keys = [fixture.log.public.clone(), rotated.public.clone()];
    let witness = Witness::open(fixture.folder.path(), &fixture.key, &keys).unwrap();
    add(&witness, &Log::new(&fixture.log, 3, u64::MAX).request(0, 3)).unwrap();
    add(&witness, &Log::new(&rotated, 6, u64::MAX).request(3, 6)).unwrap();
}

#[test]
fn garbage_is_malformed_and_changes_nothing() {
    let fixture = fixture();
    let log = Log::new(&fixture.log, 9, u64::MAX);
    let witness = fixture.open();
    add(&witness, &log.request(0, 5)).unwrap();
    let kept = fixture.kept();
    let good = log.request(5, 9);
    let note = log.checkpoint(9);
    let hash = good.lines().nth(1).unwrap().to_owned();
    for bad in [
        String::new(),
        "\n".to_owned(),
        "old 5".to_owned(),
        good.replacen("old 5", "old 05", 1),
        good.replacen("old 5", "old +5", 1),
        good.replacen("old 5", "old  5", 1),
        good.replacen("old 5", "old 5 ", 1),
        good.replacen("old 5", "old -1", 1),
        good.replacen("old 5", "Old 5", 1),
        good.replacen("old 5", "old 18446744073709551616", 1),
        good.replacen("old 5", "old 10", 1),
        good.replacen(&hash, &hash[1..], 1),
        good.replacen("\n\n", "\n", 1),
        good.replacen('\n', "\r\n", 1),
        format!("old 5\n{}\n{note}", format!("{hash}\n").repeat(64)),
        format!("old 5\n\n{}", note.trim_end()),
        format!("old 5\n\n{}", note.replacen("\n9\n", "\n09\n", 1)),
        format!("old 5\n\n{}\u{7}", note),
        "x".repeat(MAX_REQUEST_BYTES + 1),
    ] {
        let refused = add(&witness, &bad);
        assert!(matches!(refused, Err(Refusal::Malformed { .. })), "{bad:.80}: {refused:?}");
    }
    // Every byte changed, one at a time, and every length: never a cosignature of anything but the honest tree.
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] ^= 1;
        assert!(witness.add_checkpoint(&changed, NOW_S).is_err(), "byte {at}");
        assert!(witness.add_checkpoint(&good.as_bytes()[..at], NOW_S).is_err(), "{at} bytes");
    }
    let long = format!("old 5\n{}\n{note}", format!("{hash}\n").repeat(63));
    assert!(matches!(add(&witness, &long), Err(Refusal::Inconsistent { .. })));
    assert!(matches!(
        add(&witness, &format!("old 5\n{hash}\n\n{}", log.checkpoint(5))),
        Err(Refusal::Inconsistent { .. })
    ));
    assert_eq!(fixture.kept(), kept);
    add(&witness, &good).unwrap();
}

#[test]
fn of_two_histories_at_once_only_one_is_cosigned() {
    let fixture = fixture();
    add(&fixture.open(), &Log::new(&fixture.log, 4, u64::MAX).request(0, 4)).unwrap();
    let witness = fixture.open();
    let rivals: Vec<String> = (0..8)
        .map(|rival| {
            // Alike up to 4 entries; then half of them go on with other ones.
            let log = Log::new(&fixture.log, 5 + rival, if rival % 2 == 0 { u64::MAX } else { 4 });
            log.request(4, 5 + rival)
        })
        .collect();
    let cosigned: HashSet<usize> = std::thread::scope(|scope| {
        let asked: Vec<_> = rivals
            .iter()
            .enumerate()
            .map(|(number, request)| (number, scope.spawn(|| add(&witness, request).is_ok())))
            .collect();
        asked.into_iter().filter_map(|(number, answer)| answer.join().unwrap().then_some(number)).collect()
    });
    assert_eq!(cosigned.len(), 1, "all began at 4, and 4 is the last only once");
}

#[test]
fn its_key_is_made_once_with_the_name_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let source = KeySource::File(folder.path().join("witness.key"));
    let made = key(&source, Some("audit.example/w1")).unwrap();
    assert!(made.public.starts_with("audit.example/w1+"));
    assert_eq!(key(&source, None).unwrap(), made);
    assert!(key(&source, Some("another.example")).is_err());
    let mode = std::fs::metadata(folder.path().join("witness.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
