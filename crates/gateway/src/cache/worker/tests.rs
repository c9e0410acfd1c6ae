//! The store on a disk that runs full, and what it does when nobody asks.

use std::path::Path;
use std::sync::Weak;

use super::super::disk::tests::SmallDisk;
use super::super::disk::{Disk, LocalDisk};
use super::super::entry::tests::entry;
use super::super::key::Parts;
use super::super::store::{Pace, Store};
use super::super::vector::Vector;
use super::super::{CacheSettings, Purge};
use super::*;

const BIG: usize = 60_000;

fn start(disk: impl Disk + 'static, folder: &Path) -> Store {
    let settings = CacheSettings {
        folder: folder.to_owned(),
        max_bytes: 64 << 20,
        max_entry_bytes: 1 << 20,
        patience: Duration::from_secs(30),
    };
    let ms = Duration::from_millis;
    Store::start_on(Arc::new(disk), &settings, Pace { sweep: ms(50), pause: ms(50), longest_pause: ms(200) })
}

fn key(name: &str, at: usize) -> Key {
    Parts::of_tenant(name).with(at.to_string()).key()
}

fn put(store: &Store, name: &str, at: usize) {
    store.put(key(name, at), entry(name, &vec![b'x'; BIG]), None, clock::now_us());
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within half a minute");
}

fn state(store: &Store) -> State {
    *store.shared().state.borrow()
}

async fn all_written(store: &Store) {
    let waiting = || store.shared().waiting_bytes.load(Ordering::Relaxed);
    until("all is written", || waiting() == 0 && state(store) == State::Open).await;
}

/// A store with five answers whose disk has run full.
async fn full(folder: &Path) -> (Store, SmallDisk) {
    let disk = SmallDisk::of(u64::MAX);
    let store = start(disk.clone(), folder);
    for at in 0..5 {
        put(&store, "before", at);
    }
    let stored = || store.shared().tallies.stored.load(Ordering::Relaxed);
    until("five are stored", || stored() == 5).await;
    disk.fill(folder);
    for at in 0..200 {
        put(&store, "beyond", at);
        tokio::time::sleep(Duration::from_millis(1)).await;
        if state(&store) == State::Full {
            return (store, disk);
        }
    }
    until("the disk is full", || state(&store) == State::Full).await;
    (store, disk)
}

#[tokio::test]
async fn on_a_full_disk_what_is_there_is_given_and_when_there_is_room_more_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, disk) = full(dir.path()).await;
    for _ in 0..3 {
        for at in 0..5 {
            assert!(store.get(&key("before", at), 0).await.is_some(), "answer {at}");
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(state(&store), State::Full);
    let trouble = store.shared().trouble().unwrap();
    assert!(trouble.starts_with("the disk has no room for the cache: "), "{trouble}");
    let refused = store.shared().tallies.not_stored.load(Ordering::Relaxed);
    put(&store, "late", 0);
    assert_eq!(store.shared().tallies.not_stored.load(Ordering::Relaxed), refused + 1);
    assert!(store.get(&key("late", 0), 0).await.is_none());
    assert_eq!(store.shared().tallies.failures.load(Ordering::Relaxed), 1, "it is tried without touching the file");

    disk.make_room();
    until("there is room again", || state(&store) == State::Open).await;
    put(&store, "late", 1);
    all_written(&store).await;
    until("an answer shows that all is well", || store.shared().trouble().is_none()).await;
    assert!(store.get(&key("late", 1), 0).await.is_some() && store.get(&key("before", 0), 0).await.is_some());
}

#[tokio::test]
async fn a_disk_that_has_room_for_a_try_and_none_for_answers_is_one_trouble() {
    /// What is limited is the length of a file and not the room on the disk.
    struct ShortFiles(SmallDisk);
    impl Disk for ShortFiles {
        fn open(&self, path: &Path) -> Result<redb::Database, redb::DatabaseError> {
            self.0.open(path)
        }
        fn try_room(&self, _: &Path) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = start(ShortFiles(SmallDisk::of(3 << 20)), dir.path());
    let failures = || store.shared().tallies.failures.load(Ordering::Relaxed);
    let mut at = 0;
    while failures() < 4 {
        put(&store, "a", at);
        at += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(at < 10_000, "it fails at last");
    }
    assert!(
        !store
            .shared()
            .is_in_trouble(&ShelfError::Full(Box::new(redb::Error::Io(std::io::ErrorKind::StorageFull.into())))),
        "it is known: {:?}",
        store.shared().trouble()
    );
}

#[tokio::test]
async fn what_is_to_be_forgotten_is_forgotten_on_a_full_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _disk) = full(dir.path()).await;
    let purged = store.purge(Purge { tenant: Some("before".into()), ..Purge::default() }, clock::now_us()).await;
    assert!(purged.unwrap() >= 5);
    for at in 0..5 {
        assert!(store.get(&key("before", at), 0).await.is_none());
    }
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = std::fs::read(file.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&file, b"before").is_none(), "no byte is left");
    }
}

#[tokio::test]
async fn answers_that_are_too_old_are_removed_from_the_file_when_nobody_asks() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(LocalDisk, dir.path());
    let mut old = entry("acme", b"soon too old");
    old.card.expires_at_us = clock::now_us() + 200_000;
    store.put(key("old", 0), old, None, clock::now_us());
    store.put(key("new", 0), entry("acme", b"stays"), None, clock::now_us());
    let stored = || store.shared().tallies.stored.load(Ordering::Relaxed);
    until("both are stored", || stored() == 2).await;
    until("one is gone", || store.shared().index.lock().len() == 1).await;
    store.stop();
    drop(store);
    let mut cards = Vec::new();
    Shelf::open(dir.path()).unwrap().cards(|key, _| cards.push(key)).unwrap();
    assert_eq!(cards, [key("new", 0)], "from the file as well");
}

#[tokio::test]
async fn a_doubt_about_a_file_that_is_not_open_any_more_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(LocalDisk, dir.path());
    put(&store, "a", 0);
    store.send(Job::Doubt { shelf: Weak::new(), trouble: ShelfError::BrokeOff });
    put(&store, "a", 1);
    let stored = || store.shared().tallies.stored.load(Ordering::Relaxed);
    until("both are stored", || stored() == 2).await;
    assert!(store.get(&key("a", 0), 0).await.is_some() && store.shared().trouble().is_none());
}

#[tokio::test]
async fn the_answer_of_a_call_that_was_under_way_when_its_tenant_was_forgotten_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(LocalDisk, dir.path());
    let began_us = clock::now_us();
    let purge = Purge { tenant: Some("acme".into()), ..Purge::default() };
    assert_eq!(store.purge(purge, clock::now_us()).await.unwrap(), 0);
    store.put(key("a", 0), entry("acme", b"late"), None, began_us);
    store.put(key("b", 0), entry("globex", b"another's"), None, began_us);
    assert!(store.get(&key("a", 0), 0).await.is_none() && store.get(&key("b", 0), 0).await.is_some());
    tokio::time::sleep(Duration::from_millis(2)).await;
    store.put(key("a", 0), entry("acme", b"new"), None, clock::now_us());
    assert!(store.get(&key("a", 0), 0).await.is_some(), "it was asked afterwards");
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[tokio::test]
async fn however_a_file_is_damaged_no_wrong_answer_is_given_and_new_ones_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(LocalDisk, dir.path());
    for at in 0..20 {
        put(&store, "a", at);
    }
    all_written(&store).await;
    store.stop();
    drop(store);
    let file = Shelf::path(dir.path());
    let whole = std::fs::read(&file).unwrap();
    let mut dice = Dice(7);
    let mut damaged = vec![Vec::new(), vec![0; 4_096], vec![0; whole.len()]];
    damaged.extend([1, 100, 512, 4_096, 70_000, whole.len() - 1].map(|length| whole[..length].to_vec()));
    damaged.extend((1..40).map(|round| {
        let mut bent = whole.clone();
        // Half of them where the library's own notes are.
        let end = if round % 2 == 0 { bent.len() } else { 4_096 };
        for _ in 0..1 + dice.below(round * 4) {
            let at = dice.below(end);
            bent[at] ^= 1 << dice.below(8);
        }
        bent
    }));
    for (round, damaged) in damaged.iter().enumerate() {
        std::fs::write(&file, damaged).unwrap();
        let store = start(LocalDisk, dir.path());
        for at in 0..20 {
            if let Some(found) = store.get(&key("a", at), 0).await {
                assert_eq!(found.body, vec![b'x'; BIG], "round {round}");
            }
        }
        until("it is open", || state(&store) == State::Open).await;
        // What was read may still have been doubted.
        let mut is_kept = false;
        for _ in 0..100 {
            put(&store, "new", round);
            tokio::time::sleep(Duration::from_millis(5)).await;
            is_kept = store.get(&key("new", round), 0).await.is_some();
            if is_kept {
                break;
            }
        }
        assert!(is_kept, "round {round}");
        store.stop();
    }
}

#[tokio::test]
async fn a_question_is_found_before_it_is_on_the_disk_and_once_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = start(LocalDisk, dir.path());
    let around = key("around", 0);
    let vector = Vector::of(&[0.6, 0.8]).unwrap();
    let mut asked = entry("acme", b"first");
    asked.card.surroundings = Some(around.bytes().to_vec());
    until("it is open", || state(&store) == State::Open).await;
    store.put(key("a", 0), asked, Some((around, vector.clone())), clock::now_us());
    let find = || async {
        let near = store.nearest(around, vector.clone()).await;
        near.iter().map(|near| near.key).collect::<Vec<_>>()
    };
    // However far the writing has come by then.
    for _ in 0..50 {
        assert_eq!(find().await, [key("a", 0)]);
    }
    all_written(&store).await;
    until("nothing waits", || store.shared().questions.lock().is_empty()).await;
    assert_eq!(find().await, [key("a", 0)]);
    assert_eq!(store.nearest(key("elsewhere", 0), vector.clone()).await.len(), 0);
}
