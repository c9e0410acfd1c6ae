//! A second party cosigns: the checkpoint carries its word, an auditor's policy counts it, and a log that went back on what it
//! had shown is refused by whoever saw it. The verifier that shares no code with ours must agree.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Api, Python, Tollgate, Witness, eventually};

/// Longer than the interval between two checkpoints.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// An all-in-one that asks two witnesses, of which either will do.
struct Watched {
    tollgate: Tollgate,
    log: String,
    witnesses: [Witness; 2],
}

impl Watched {
    fn start() -> Watched {
        let mut tollgate = Tollgate::start();
        let log = tollgate.run(&["audit", "key"]).trim().to_owned();
        tollgate.stop();
        let witnesses = ["audit.example/w1", "regulator.example/w2"].map(|name| Witness::start(name, &log));
        let watched = Watched { tollgate, log, witnesses };
        watched.write_policy("any.policy", "any");
        watched.write_policy("all.policy", "all");
        let config = "log: {flush_seconds: 1, witness_policy: any.policy}\n";
        std::fs::write(watched.tollgate.folder().join("tollgate.yaml"), config).unwrap();
        watched.tollgate.run(&["config", "check"]);
        watched
    }

    fn write_policy(&self, file: &str, threshold: &str) {
        let [first, second] = &self.witnesses;
        let text = format!(
            "# The log, and who watches it.\nlog {}\nwitness auditor {} {}\nwitness regulator {} {}/\n\
             group both {threshold} auditor regulator\nquorum both\n",
            self.log, first.key, first.url, second.key, second.url
        );
        std::fs::write(self.tollgate.folder().join(file), text).unwrap();
    }

    fn policy(&self, threshold: &str) -> String {
        self.tollgate.folder().join(format!("{threshold}.policy")).to_str().unwrap().to_owned()
    }

    /// Kinds of the problems that `audit verify --policy` finds.
    fn problems(&self, threshold: &str) -> Vec<String> {
        let policy = self.policy(threshold);
        let output = self.tollgate.command().args(["--json", "audit", "verify", "--policy", &policy]).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let kinds: Vec<String> = found["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| problem["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(output.status.success(), kinds.is_empty(), "{found}");
        kinds
    }

    fn checkpoint(&self) -> String {
        std::fs::read_to_string(self.tollgate.data().join("lake/log/checkpoint")).unwrap_or_default()
    }

    fn is_cosigned_by(&self, place: usize) -> bool {
        self.checkpoint().contains(&format!("— {} ", self.witnesses[place].name))
    }

    /// A run of the server with some calls in it. A server that stops in order publishes what it has.
    fn run_with_calls(&mut self, count: usize) {
        self.tollgate.resume();
        let gateway = self.tollgate.gateway();
        for _ in 0..count {
            assert_eq!(gateway.chat("sandbox/small", "who watches the log?").status, 200);
        }
        self.tollgate.stop();
    }

    /// Why a witness did not cosign the newest checkpoint, as `/api/v1/integrity` tells it.
    fn problem_of(&self, place: usize) -> Option<String> {
        let status = self.tollgate.console().get("/api/v1/integrity").json();
        let witness = &status["witnesses"][place];
        assert_eq!(witness["name"], self.witnesses[place].name.as_str(), "{status}");
        witness["problem"].as_str().map(str::to_owned)
    }
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

#[test]
fn two_witnesses_cosign_and_one_that_is_away_is_missed_by_a_policy_that_needs_both() {
    let mut watched = Watched::start();
    watched.tollgate.resume();
    assert_eq!(watched.tollgate.gateway().chat("sandbox/small", "who watches the log?").status, 200);
    eventually("both cosign", CHECKPOINT, || (watched.is_cosigned_by(0) && watched.is_cosigned_by(1)).then_some(()));
    eventually("the console says so", CHECKPOINT, || {
        let status = watched.tollgate.console().get("/api/v1/integrity").json();
        status["witnesses"][1]["cosigned_at_us"].is_i64().then_some(())
    });
    let page = watched.tollgate.console().get("/integrity").text();
    assert!(page.contains("audit.example/w1") && page.contains("regulator.example/w2"), "{page}");
    watched.tollgate.stop();
    assert_eq!(watched.problems("all"), [""; 0]);

    watched.witnesses[1].kill();
    watched.run_with_calls(3);
    assert!(watched.is_cosigned_by(0) && !watched.is_cosigned_by(1), "{}", watched.checkpoint());
    assert_eq!(watched.problems("any"), [""; 0]);
    assert_eq!(watched.problems("all"), ["checkpoint-policy"]);
    prove_one(&watched);

    // Asked about the same checkpoint again when it is back, though nothing new happened.
    watched.tollgate.resume();
    let told = eventually("its absence is told", CHECKPOINT, || watched.problem_of(1));
    assert!(told.contains("cannot be reached"), "{told}");
    assert_eq!(watched.tollgate.console().get("/api/v1/integrity").json()["healthy"], true, "one is enough");
    watched.witnesses[1].resume();
    eventually("it cosigns", CHECKPOINT, || watched.is_cosigned_by(1).then_some(()));
    watched.tollgate.stop();
    assert_eq!(watched.problems("all"), [""; 0]);
    let verified = std::process::Command::new(Python::new().program("python3"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("verify/verify.py"))
        .args(["--policy", &watched.policy("all")])
        .args([watched.tollgate.data().join("lake"), PathBuf::from(&watched.log)])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// A proof of one call carries the cosignatures of the checkpoint it was made from.
fn prove_one(watched: &Watched) {
    let sql = ["--json", "sql", "select interaction_id from interactions limit 1"];
    let rows = watched.tollgate.run(&sql);
    let id = rows.split('"').find(|text| text.len() == 36).unwrap_or_else(|| panic!("no id in {rows}")).to_owned();
    let file = watched.tollgate.folder().join("one.tlog-proof");
    let file = file.to_str().unwrap();
    watched.tollgate.run(&["audit", "prove", &id, "--out", file]);
    watched.tollgate.run(&["audit", "check", file, "--policy", &watched.policy("any")]);
    let all = watched.policy("all");
    let refused = watched.tollgate.command().args(["audit", "check", file, "--policy", &all]).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("quorum") && said.contains("audit.example/w1"), "{said}");
}

#[test]
fn a_log_that_was_rolled_back_is_refused_by_the_witness_and_named() {
    let mut watched = Watched::start();
    watched.run_with_calls(2);
    assert!(watched.is_cosigned_by(0) && watched.is_cosigned_by(1), "{}", watched.checkpoint());
    // Everything of the log's side, as of now: bucket, keys, last checkpoint, log.
    let (data, older) = (watched.tollgate.data(), watched.tollgate.folder().join("older"));
    copy(&data, &older);
    for _ in 0..3 {
        watched.run_with_calls(2);
    }
    let seen = watched.witnesses[0].memory();
    // A witness that is killed remembers all the same.
    watched.witnesses[0].kill();
    watched.witnesses[0].resume();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&older, &data).unwrap();

    watched.run_with_calls(2);
    watched.tollgate.resume();
    let told = eventually("it is named", CHECKPOINT, || watched.problem_of(0));
    assert!(told.contains("rolled back"), "{told}");
    let status = watched.tollgate.console().get("/api/v1/integrity").json();
    assert_eq!(status["healthy"], false, "{status}");
    let problems = status["problems"].to_string();
    assert!(problems.contains("does not know this history") && problems.contains("quorum"), "{status}");
    watched.tollgate.stop();
    assert_eq!(watched.witnesses[0].memory(), seen, "what it saw is what it keeps");
    assert_eq!(watched.problems("any"), ["checkpoint-policy"]);

    // Grown beyond what the witness saw, it is another history.
    for _ in 0..5 {
        watched.run_with_calls(2);
    }
    watched.tollgate.resume();
    let told = eventually("it is named", CHECKPOINT, || watched.problem_of(0));
    assert!(told.contains("history was rewritten"), "{told}");
    watched.tollgate.stop();
    assert_eq!(watched.witnesses[0].memory(), seen);
    assert!(!watched.is_cosigned_by(0) && !watched.is_cosigned_by(1));
}

#[test]
fn garbage_is_refused_and_changes_nothing() {
    let mut watched = Watched::start();
    watched.run_with_calls(1);
    let seen = watched.witnesses[0].memory();
    let witness = Api::new(&watched.witnesses[0].url, "");
    let checkpoint = watched.checkpoint();
    let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let add = |body: &[u8]| witness.try_post_bytes("/add-checkpoint", body, &[]).unwrap();
    let foreign = checkpoint.replacen("tollgate.log/", "another.log/", 1);
    for (status, body) in [
        (400, Vec::new()),
        (400, b"garbage".to_vec()),
        (400, vec![0xff; 1_000]),
        (400, format!("old 0{size}\n\n{checkpoint}").into_bytes()),
        (400, format!("old {}\n\n{checkpoint}", size + 1).into_bytes()),
        (400, format!("old {size}\n{checkpoint}").into_bytes()),
        (404, format!("old {size}\n\n{foreign}").into_bytes()),
        (
            403,
            format!("old {size}\n\n{}", checkpoint.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1))
                .into_bytes(),
        ),
        (409, format!("old 0\n\n{checkpoint}").into_bytes()),
        (422, format!("old {size}\n{}\n\n{checkpoint}", checkpoint.lines().nth(2).unwrap()).into_bytes()),
        (413, vec![b'x'; 200_000]),
    ] {
        let answer = add(&body);
        assert_eq!(answer.status, status, "{:.60}: {}", String::from_utf8_lossy(&body), answer.text());
        if status == 409 {
            assert_eq!(
                (answer.header("content-type"), answer.text()),
                ("text/x.tlog.size".into(), format!("{size}\n"))
            );
        }
    }
    assert_eq!(witness.get("/add-checkpoint").status, 405);
    assert_eq!(witness.get("/").status, 404);
    assert_eq!(watched.witnesses[0].memory(), seen);
    let cosigned = add(format!("old {size}\n\n{checkpoint}").as_bytes());
    assert_eq!(cosigned.status, 200, "{}", cosigned.text());
    assert!(
        cosigned.text().starts_with("— audit.example/w1 ") && cosigned.text().ends_with("=\n"),
        "{}",
        cosigned.text()
    );
}
