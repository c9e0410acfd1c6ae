//! Bad input to the log: a damaged segment, foreign files, a lake of a newer version, a store that refuses, a full disk.
//! Each is named, nothing is overwritten, and `/health/ready` and `/integrity` say what is being done about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ObjectStore, Tollgate, chat_request, eventually};

const CONFIG: &str = "log: {flush_seconds: 1}\n";

/// What both places say: the status of `/health/ready`, and the problems, which are the same in both.
fn told(tollgate: &Tollgate) -> (u16, Vec<String>) {
    let ready = tollgate.gateway().get("/health/ready");
    let body = ready.json();
    assert_eq!(body["ready"], ready.status == 200, "{body}");
    let problems = |of: &Value| -> Vec<String> {
        of["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
    };
    (ready.status, problems(&body))
}

/// Waits until a problem is told that has all of these words in it, in both places.
fn await_problem(tollgate: &Tollgate, status: u16, words: &[&str]) -> String {
    let has_words = |problem: &&String| words.iter().all(|word| problem.contains(word));
    let problem = eventually(&format!("{words:?} is told"), Duration::from_secs(60), || {
        let (found, problems) = told(tollgate);
        problems.iter().find(has_words).filter(|_| found == status).cloned()
    });
    let integrity = tollgate.console().get("/api/v1/integrity").json();
    let listed = integrity["problems"].as_array().unwrap();
    assert!(
        listed.iter().any(|listed| words.iter().all(|word| listed.as_str().unwrap().contains(word))),
        "{integrity}"
    );
    assert_eq!(integrity["healthy"], false);
    problem
}

fn await_no_problem(tollgate: &Tollgate) {
    let mut last = Vec::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let (status, problems) = told(tollgate);
        if status == 200 && problems.is_empty() {
            return;
        }
        last = problems;
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("still: {last:?}");
}

fn calls_go_on(tollgate: &Tollgate) -> String {
    let answer = tollgate.gateway().chat("sandbox/small", "still there?");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.interaction_id()
}

/// Every file under a folder with its content.
fn content_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content_of(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_foreign_file_in_the_inbox_is_set_aside_and_named() {
    let tollgate = Tollgate::with_config(CONFIG);
    calls_go_on(&tollgate);
    let lake = tollgate.data().join("lake");
    std::fs::create_dir_all(lake.join("inbox")).unwrap();
    std::fs::write(lake.join("inbox/holiday.json"), "{\"photos\": 12}").unwrap();
    await_problem(&tollgate, 200, &["1 file", "`inbox/rejected/holiday.json`", "move them back, or delete them"]);
    assert_eq!(std::fs::read(lake.join("inbox/rejected/holiday.json")).unwrap(), b"{\"photos\": 12}");
    let id = calls_go_on(&tollgate);
    tollgate.await_count(&format!("select count(*) from interactions where interaction_id = '{id}'"), 1);
    // A restart does not forget it.
    let mut tollgate = tollgate;
    tollgate.stop();
    tollgate.resume();
    await_problem(&tollgate, 200, &["`inbox/rejected/holiday.json`"]);
    std::fs::remove_file(lake.join("inbox/rejected/holiday.json")).unwrap();
    await_no_problem(&tollgate);
}

#[test]
fn the_checkpoint_of_another_log_is_named_and_left_alone() {
    let mut other = Tollgate::with_config(CONFIG);
    calls_go_on(&other);
    other.stop();
    let foreign = std::fs::read(other.data().join("lake/log/checkpoint")).unwrap();
    let mut tollgate = Tollgate::with_config(CONFIG);
    calls_go_on(&tollgate);
    tollgate.stop();
    let checkpoint = tollgate.data().join("lake/log/checkpoint");
    let own = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &foreign).unwrap();
    tollgate.resume();
    await_problem(&tollgate, 200, &["no checkpoint is published", "`log/checkpoint`", "not a checkpoint of this log"]);
    calls_go_on(&tollgate);
    tollgate.stop();
    assert_eq!(std::fs::read(&checkpoint).unwrap(), foreign, "nothing is overwritten");
    std::fs::write(&checkpoint, own).unwrap();
    tollgate.resume();
    await_no_problem(&tollgate);
}

#[test]
fn a_damaged_segment_costs_what_is_damaged_and_is_told_by_number() {
    // Nothing is flushed before the process dies: the log alone has the rows.
    let mut tollgate = Tollgate::with_config("log: {flush_seconds: 3600}\n");
    let mut ids = Vec::new();
    for number in 0..9 {
        let answer = tollgate.gateway().chat("sandbox/small", &format!("word-{number}-of-nine"));
        assert_eq!(answer.status, 200);
        ids.push(answer.interaction_id());
    }
    tollgate.kill();
    let wal = tollgate.data().join("wal");
    let segment = std::fs::read_dir(&wal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "wal"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let word = b"word-4-of-nine";
    let places: Vec<usize> = (0..bytes.len() - word.len()).filter(|at| bytes[*at..].starts_with(word)).collect();
    // The last time it stands there is in the record of the settled call.
    bytes[*places.last().expect("the prompt stands in the log")] ^= 0x40;
    std::fs::write(&segment, bytes).unwrap();

    tollgate.resume();
    await_problem(&tollgate, 200, &["of the write-ahead log could not be read", "`log_gaps`", "quarantine"]);
    let console = tollgate.console();
    let gaps = eventually("the gap is a record", Duration::from_secs(20), || {
        Some(console.rows("select * from log_gaps")).filter(|gaps| !gaps.is_empty())
    });
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["first_seq"], gaps[0]["last_seq"], "{gaps:?}");
    let kept = content_of(&wal.join("quarantine"));
    assert!(kept.values().any(|bytes| bytes.windows(word.len()).any(|found| found[1..] == word[1..])), "{kept:?}");
    let integrity = console.get("/api/v1/integrity").json();
    assert_eq!(integrity["wal"]["gaps"], 1, "{integrity}");
    // Everybody else's record is there, whole.
    for (number, id) in ids.iter().enumerate().filter(|(number, _)| *number != 4) {
        let sql = format!("select outcome from interactions where interaction_id = '{id}'");
        let rows = eventually("the others are there", Duration::from_secs(20), || console.rows(&sql).pop());
        assert_eq!(rows["outcome"], "success", "call {number}");
    }
    calls_go_on(&tollgate);
}

#[test]
fn a_lake_of_a_newer_version_is_refused_and_not_touched() {
    let mut tollgate = Tollgate::with_config(CONFIG);
    calls_go_on(&tollgate);
    tollgate.stop();
    // Payloads are opened after the facts: a check on the way would have written to those.
    for table in ["interactions", "payloads"] {
        let log = tollgate.data().join("lake").join(table).join("_delta_log");
        let newer = add_column(&log, "mood");
        let before = content_of(&tollgate.data().join("lake"));
        let said = tollgate.refused();
        assert!(said.contains("`mood`") && said.contains(table) && said.contains("upgrade"), "{said}");
        assert!(!said.contains("listens on"), "{said}");
        assert!(content_of(&tollgate.data().join("lake")) == before, "the lake was written to");
        std::fs::remove_file(newer).unwrap();
    }
    tollgate.resume();
    await_no_problem(&tollgate);
    calls_go_on(&tollgate);
}

/// Commits a column to a table as a newer version would, and returns the commit's file.
fn add_column(log: &Path, name: &str) -> PathBuf {
    let mut commits: Vec<PathBuf> = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    commits.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    commits.sort();
    let first = std::fs::read_to_string(&commits[0]).unwrap();
    let metadata = first.lines().find(|line| line.starts_with("{\"metaData\"")).unwrap();
    let mut metadata: Value = serde_json::from_str(metadata).unwrap();
    let schema = metadata["metaData"]["schemaString"].as_str().unwrap();
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    let column = json!({"name": name, "type": "string", "nullable": true, "metadata": {}});
    schema["fields"].as_array_mut().unwrap().push(column);
    metadata["metaData"]["schemaString"] = schema.to_string().into();
    let last: u64 = commits.last().unwrap().file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let path = log.join(format!("{:020}.json", last + 1));
    std::fs::write(&path, format!("{metadata}\n")).unwrap();
    path
}

#[test]
fn a_store_that_stops_taking_files_is_named_and_caught_up_with() {
    let tollgate = Tollgate::with_config(CONFIG);
    calls_go_on(&tollgate);
    let inbox = tollgate.data().join("lake/inbox");
    let aside = tollgate.data().join("lake/inbox-aside");
    // A file in the folder's way: unlike permissions, it stops root too.
    eventually("the inbox is replaced by a file", Duration::from_secs(10), || {
        if inbox.is_dir() {
            std::fs::rename(&inbox, &aside).ok()?;
        }
        std::fs::OpenOptions::new().write(true).create_new(true).open(&inbox).ok()
    });
    let id = calls_go_on(&tollgate);
    await_problem(
        &tollgate,
        200,
        &["rows cannot be handed over to the store", "the write-ahead log keeps them", "inbox"],
    );
    assert_eq!(calls_go_on(&tollgate).len(), id.len());
    std::fs::remove_file(&inbox).unwrap();
    if aside.exists() {
        std::fs::rename(&aside, &inbox).unwrap();
    }
    await_no_problem(&tollgate);
    tollgate.await_count("select count(*) from interactions", 3);
}

#[test]
fn a_bucket_without_permission_is_refused_by_name() {
    let store = ObjectStore::start();
    let config = store.put_only_log_section("forbidden");
    let tollgate = Tollgate::at_rest(&[("tollgate.yaml", &config)], &[]);
    let said = tollgate.refused();
    assert!(said.contains("forbidden") && said.contains("403"), "{said}");
    assert!(!said.contains("listens on"), "{said}");
}

/// A file system of its own for the log, as small as this; `None` where nobody may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at);
        mount.status().is_ok_and(|status| status.success()).then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: on a failed test the server still has files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_calls_until_it_has_room_again() {
    let mut tollgate = Tollgate::at_rest(&[("tollgate.yaml", CONFIG)], &[]);
    let wal = tollgate.data().join("wal");
    let Some(disk) = SmallDisk::mount(&wal, "2m") else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    tollgate.resume();
    let before = calls_go_on(&tollgate);
    // The disk fills up with something else.
    let filler = wal.join("filler");
    let mut size = 2 << 20;
    while size >= 512 {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&filler).unwrap();
        if file.write_all(&vec![7; size]).is_err() {
            size /= 2;
        }
    }
    let refused = eventually("a call finds no room", Duration::from_secs(10), || {
        let answer = tollgate.gateway().chat("sandbox/small", &"no room for this ".repeat(200));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.json()["error"]["code"].as_str().unwrap().contains("log"), "{}", refused.text());
    await_problem(&tollgate, 503, &["the disk of the write-ahead log is full", "calls are refused"]);
    assert_eq!(tollgate.console().get("/api/v1/integrity").json()["recording"], false);
    std::fs::remove_file(&filler).unwrap();
    await_no_problem(&tollgate);
    let after = calls_go_on(&tollgate);
    for id in [before, after] {
        tollgate.await_count(&format!("select count(*) from interactions where interaction_id = '{id}'"), 1);
    }
    tollgate.stop();
    drop(disk);
}

#[test]
fn a_log_that_has_used_its_quota_refuses_calls_until_the_store_takes_its_rows() {
    // The smallest quota there is: two segments of 64 MiB.
    let mut tollgate =
        Tollgate::at_rest(&[("tollgate.yaml", "log: {flush_seconds: 1, quota_bytes: 134217728}\n")], &[]);
    tollgate.resume();
    let inbox = tollgate.data().join("lake/inbox");
    eventually("the inbox is replaced by a file", Duration::from_secs(10), || {
        let _ = std::fs::remove_dir_all(&inbox);
        std::fs::OpenOptions::new().write(true).create_new(true).open(&inbox).ok()
    });
    let gateway = tollgate.gateway();
    let refused = (0..40).find_map(|number| {
        let answer = gateway.post("/v1/chat/completions", &chat_request("sandbox/small", &noise(number)));
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.expect("forty calls of eight megabytes do not fit");
    assert_eq!(refused.status, 503, "{}", refused.text());
    await_problem(&tollgate, 503, &["has used its quota of 134217728 bytes", "calls are refused"]);
    std::fs::remove_file(&inbox).unwrap();
    await_no_problem(&tollgate);
    calls_go_on(&tollgate);
}

/// Eight megabytes that do not compress.
fn noise(seed: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    (0..8 << 20)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(LETTERS[(state >> 33) as usize % 64])
        })
        .collect()
}
