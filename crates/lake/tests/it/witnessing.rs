//! Witnesses: a checkpoint carries their cosignatures, one that is away holds nothing up, and a history that was rolled back
//! or rewritten is refused by whoever saw the other one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tollgate_flush::keys::{KeyKind, KeyPair, KeySource, generate, generate_as};
use tollgate_lake::audit::{ProblemKind, Verification, VerifySettings, check_proof, prove, verify};
use tollgate_lake::policy::Policy;
use tollgate_lake::witness::{Refusal, Witness};
use tollgate_lake::witnessing::{WitnessAnswer, WitnessClient, WitnessSettings, WitnessStatus};
use tollgate_lake::{Lake, Mode, ProofSettings};

use crate::writer::{Process, eventually, flush_settings, interaction, open_store, open_wal, proof_settings};

const UP: u8 = 0;
const AWAY: u8 = 1;
const HANGING: u8 = 2;

/// Two witnesses without a network, each of which may be away, or take a request and never answer.
#[derive(Debug)]
struct Pair {
    witnesses: [Witness; 2],
    states: [AtomicU8; 2],
    asked: AtomicU64,
}

impl WitnessClient for Pair {
    fn add_checkpoint(&self, url: &str, request: Vec<u8>) -> BoxFuture<'static, Result<WitnessAnswer, String>> {
        let place: usize = url.parse().unwrap();
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = match self.states[place].load(Ordering::SeqCst) {
            AWAY => return futures::future::ready(Err("connection refused".to_owned())).boxed(),
            HANGING => return futures::future::pending().boxed(),
            _ => self.witnesses[place].add_checkpoint(&request, 1_795_000_000),
        };
        let answer = match answer {
            Ok(line) => WitnessAnswer::Cosigned(line.into()),
            Err(Refusal::Conflict { size, .. } | Refusal::Contradiction { size, .. }) => {
                WitnessAnswer::Conflict { size }
            }
            Err(Refusal::Inconsistent { .. }) => WitnessAnswer::Inconsistent,
            Err(other) => WitnessAnswer::Refused(other.to_string()),
        };
        futures::future::ready(Ok(answer)).boxed()
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    pair: Arc<Pair>,
    keys: [KeyPair; 2],
    log: String,
    timeout: Duration,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let keys = ["w/0", "w/1"].map(|name| generate_as(KeyKind::Cosignature, name).unwrap());
    let source = KeySource::File(folder.path().join("data/spool/log.key"));
    let log = source.load(None, || generate("tollgate.log/a")).unwrap().current.public;
    let open = |place: usize| {
        let home = folder.path().join(format!("witness-{place}"));
        Witness::open(&home, &keys[place], std::slice::from_ref(&log)).unwrap()
    };
    let witnesses = [open(0), open(1)];
    let pair = Arc::new(Pair { witnesses, states: Default::default(), asked: AtomicU64::new(0) });
    Fixture { folder, pair, keys, log, timeout: Duration::from_millis(700) }
}

impl Fixture {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn policy(&self, threshold: &str) -> Policy {
        let [first, second] = &self.keys;
        let text =
            format!("witness A {} 0\nwitness B {} 1\ngroup G {threshold} A B\nquorum G\n", first.public, second.public);
        Policy::parse(text.as_bytes()).unwrap()
    }

    fn proof(&self, threshold: &str) -> ProofSettings {
        let witnesses = WitnessSettings {
            policy: self.policy(threshold),
            client: Arc::clone(&self.pair) as Arc<dyn WitnessClient>,
            timeout: self.timeout,
        };
        let interval = Duration::from_millis(300);
        ProofSettings { interval, witnesses: Some(witnesses), ..proof_settings(&self.data().join("spool")) }
    }

    async fn start(&self, threshold: &str) -> Process {
        let data = self.data();
        let wal = open_wal(&data);
        let store = open_store(&data.join("lake"));
        Process::start_proven(&wal, flush_settings(&data), store, self.proof(threshold)).await.unwrap()
    }

    fn turn(&self, place: usize, state: u8) {
        self.pair.states[place].store(state, Ordering::SeqCst);
    }

    async fn verify(&self, threshold: &str) -> Verification {
        let lake = Lake::open(open_store(&self.data().join("lake")), Mode::ReadOnly).await.unwrap();
        let policy = Some(self.policy(threshold));
        verify(lake, VerifySettings { keys: vec![self.log.clone()], policy, ..Default::default() }).await.unwrap()
    }

    fn checkpoint(&self) -> String {
        std::fs::read_to_string(self.data().join("lake/log/checkpoint")).unwrap_or_default()
    }
}

fn witness(process: &Process, place: usize) -> WitnessStatus {
    process.lake.proof().borrow().witnesses[place].clone()
}

fn covers_everything(process: &Process) -> bool {
    let proof = process.lake.proof().borrow().clone();
    proof.size > 0 && proof.checkpoint.is_some_and(|checkpoint| checkpoint.size == process.lake.snapshot().log_size)
}

async fn grow(process: &Process, numbers: std::ops::RangeInclusive<u64>) {
    let before = process.lake.snapshot().interactions.rows();
    let count = numbers.clone().count() as u64;
    process.record(numbers).await;
    eventually("rows are committed", || process.lake.snapshot().interactions.rows() == before + count).await;
    eventually("a checkpoint covers them", || covers_everything(process)).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_carry_the_cosignatures_of_all_witnesses_and_proofs_carry_them_on() {
    let fixture = fixture();
    let process = fixture.start("all").await;
    for round in 0..3 {
        grow(&process, round * 10 + 1..=round * 10 + 10).await;
        eventually("both cosign", || fixture.checkpoint().matches("— w/").count() == 2).await;
    }
    assert_eq!(process.lake.proof().borrow().problem, None);
    assert_eq!(witness(&process, 0).cosigned_at_us, Some(1_795_000_000_000_000));
    let lake = process.stop().await;
    assert!(fixture.verify("all").await.ok);
    let proof = prove(lake, interaction(5).interaction_id, Default::default()).await.unwrap();
    let keys = std::slice::from_ref(&fixture.log);
    check_proof(&proof, keys, Some(&fixture.policy("all"))).unwrap();
    let uncosigned =
        proof.lines().filter(|line| !line.starts_with("— w/1")).fold(String::new(), |all, line| all + line + "\n");
    check_proof(&uncosigned, keys, Some(&fixture.policy("any"))).unwrap();
    let refused = check_proof(&uncosigned, keys, Some(&fixture.policy("all"))).unwrap_err();
    assert!(refused.to_string().contains("cosigned by `w/0`"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_hangs_holds_up_nothing_and_is_asked_again_when_it_is_back() {
    let fixture = Fixture { timeout: Duration::from_secs(3), ..fixture() };
    fixture.turn(1, HANGING);
    let process = fixture.start("all").await;
    process.record(1..=10).await;
    // While it is waited for, commits go on.
    eventually("it is asked", || fixture.pair.asked.load(Ordering::SeqCst) >= 2).await;
    process.record(11..=20).await;
    eventually("rows are committed", || process.lake.snapshot().interactions.rows() == 20).await;
    assert_eq!(fixture.checkpoint(), "", "it is still waited for");
    eventually("a checkpoint covers them", || covers_everything(&process)).await;
    eventually("its silence is told", || witness(&process, 1).problem.is_some()).await;
    assert!(witness(&process, 1).problem.unwrap().contains("did not answer"));
    assert!(fixture.checkpoint().contains("— w/0 ") && !fixture.checkpoint().contains("— w/1 "));
    let problem = process.lake.proof().borrow().problem.clone().unwrap();
    assert!(problem.contains("published all the same") && problem.contains("cosigned by `w/0`"), "{problem}");
    let found = fixture.verify("all").await;
    assert!(found.problems.iter().all(|problem| problem.kind == ProblemKind::CheckpointPolicy), "{found:#?}");
    assert_eq!(found.problems.len(), 1);
    assert!(fixture.verify("any").await.ok);
    fixture.turn(1, UP);
    eventually("it cosigns although there is nothing new", || fixture.checkpoint().contains("— w/1 ")).await;
    eventually("all is well", || process.lake.proof().borrow().problem.is_none()).await;
    process.stop().await;
    assert!(fixture.verify("all").await.ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_while_witnesses_are_asked_publishes_what_it_signed_when_it_is_back() {
    let fixture = fixture();
    let process = fixture.start("all").await;
    grow(&process, 1..=10).await;
    let before = fixture.checkpoint();
    fixture.turn(0, HANGING);
    fixture.turn(1, HANGING);
    let asked = fixture.pair.asked.load(Ordering::SeqCst);
    process.record(11..=20).await;
    let signed = fixture.data().join("spool/last-checkpoint");
    eventually("it is asked", || {
        let signed = std::fs::read_to_string(&signed).unwrap();
        fixture.pair.asked.load(Ordering::SeqCst) > asked && signed.lines().nth(1) != before.lines().nth(1)
    })
    .await;
    process.kill().await;
    assert_eq!(fixture.checkpoint(), before, "nothing is published before the witnesses were asked");
    fixture.turn(0, UP);
    fixture.turn(1, UP);
    let process = fixture.start("all").await;
    eventually("both cosign", || covers_everything(&process) && fixture.checkpoint().matches("— w/").count() == 2)
        .await;
    process.stop().await;
    assert!(fixture.verify("all").await.ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_rolled_back_is_refused_by_the_witnesses_that_saw_more() {
    let fixture = fixture();
    let process = fixture.start("all").await;
    grow(&process, 1..=10).await;
    process.stop().await;
    let older = fixture.folder.path().join("older");
    copy(&fixture.data(), &older);
    // One witness sees what comes next, the other is away.
    fixture.turn(1, AWAY);
    let process = fixture.start("any").await;
    for round in 1..4 {
        grow(&process, round * 10 + 1..=round * 10 + 10).await;
    }
    process.stop().await;
    std::fs::remove_dir_all(fixture.data()).unwrap();
    std::fs::rename(&older, fixture.data()).unwrap();
    fixture.turn(1, UP);
    let process = fixture.start("any").await;
    grow(&process, 101..=110).await;
    eventually("it is named", || witness(&process, 0).problem.is_some_and(|problem| problem.contains("rolled back")))
        .await;
    assert!(witness(&process, 0).saw_another_history);
    eventually("the other saw nothing of it", || fixture.checkpoint().contains("— w/1 ")).await;
    assert!(!fixture.checkpoint().contains("— w/0 "));
    // Once it has grown beyond what the witness saw, the proof fails instead.
    for round in 11..16 {
        grow(&process, round * 10 + 1..=round * 10 + 10).await;
    }
    eventually("it is named", || {
        witness(&process, 0).problem.is_some_and(|problem| problem.contains("history was rewritten"))
    })
    .await;
    assert!(witness(&process, 0).saw_another_history && !witness(&process, 1).saw_another_history);
    assert!(!fixture.checkpoint().contains("— w/0 "));
    process.stop().await;
    assert!(!fixture.verify("all").await.ok);
}
