//! Tasks of the project, the same on a laptop and in CI: `cargo xtask test` installs what the tests need and runs
//! them all. It changes nothing outside the target directory except that it installs Debian packages when it may.

mod fuzz;
mod services;
mod shell;
mod tools;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use crate::shell::{cargo, root, run};

/// Benchmarks of one function, with Criterion; all others are suites of the load generator.
const CRITERION_BENCHES: &[&str] = &["translate", "sse", "pricing", "policy", "canonical", "guardrails"];
/// Enough to notice what the next change breaks; a search takes `cargo xtask fuzz --seconds 600`.
const FUZZ_SECONDS_IN_CI: u64 = 5;

/// What can be asked for.
#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the project")]
enum Task {
    /// Installs what the tests need and runs them all.
    Test {
        /// Passed to `cargo test`, such as the name of a test.
        filter: Vec<String>,
    },
    /// Formatting, lints, documentation, dependency rules and all tests.
    Ci,
    /// Browser tests alone, against a server that this task starts.
    Web,
    /// Benchmarks: installs the peers and prints each figure beside its budget.
    Bench {
        /// Names of the benchmarks; all of them if none is given.
        names: Vec<String>,
    },
    /// What guardrails find of what they should, on public texts that are installed or generated when it runs; prints
    /// precision and recall beside what others reach.
    BenchGuardrails {
        /// Succeeds even if a figure is missed.
        #[arg(long)]
        report_only: bool,
    },
    /// Feeds changed golden files to what reads requests and answers, and looks for what breaks it.
    Fuzz {
        /// Names of the targets; all of them if none is given.
        names: Vec<String>,
        /// How long each runs.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Prints the JSON Schema of the configuration file.
    Schema,
}

fn main() -> ExitCode {
    let outcome = if fuzz::wraps_rustc() { fuzz::rustc() } else { perform(&Task::parse()) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: &Task) -> anyhow::Result<()> {
    match task {
        Task::Test { filter } => test(filter),
        Task::Ci => ci(),
        Task::Web => test(&["--package".to_owned(), "tollgate-tests".to_owned(), "browser".to_owned()]),
        Task::Bench { names } => bench(names),
        Task::BenchGuardrails { report_only } => bench_guardrails(*report_only),
        Task::Fuzz { names, seconds } => fuzz::fuzz(names, *seconds),
        Task::Schema => run(cargo().args(["run", "--quiet", "--", "config", "schema"])),
    }
}

fn test(filter: &[String]) -> anyhow::Result<()> {
    let tools = tools::install_for_tests().context("installing what the tests need")?;
    // The end-to-end tests start the real binaries, so those are built first, with the same features.
    run(cargo().args(["build", "--workspace", "--bins"]))?;
    let services = services::Services::start(&tools)?;
    run(services.export(tools.export(cargo().args(["test", "--workspace", "--no-fail-fast"]).args(filter))))
}

fn ci() -> anyhow::Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))?;
    // The advisory database cannot be reached without a network; `cargo deny check` on a developer's machine reads it.
    run(tools::install_cargo_deny()?.args(["--offline", "check", "bans", "licenses", "sources"]).current_dir(root()))?;
    test(&[])?;
    fuzz::fuzz(&[], FUZZ_SECONDS_IN_CI)
}

fn bench_guardrails(report_only: bool) -> anyhow::Result<()> {
    let python = tools::install_for_guardrails().context("installing the texts")?;
    let texts = shell::target().join("bench/guardrails.jsonl");
    fs_err::create_dir_all(shell::target().join("bench"))?;
    let script = root().join("benches/dataset/guardrails.py");
    run(std::process::Command::new(python.join("bin/python")).arg(script).arg(&texts))?;
    let program = ["run", "--release", "--package", "tollgate-criterion", "--", "accuracy", "--texts"];
    run(cargo().args(program).arg(&texts).args(report_only.then_some("--report-only")))
}

fn bench(names: &[String]) -> anyhow::Result<()> {
    let named = |one: &str| names.iter().any(|name| name == one);
    let has_names = names.iter().any(|name| !name.starts_with('-'));
    let criterion: Vec<&str> = CRITERION_BENCHES.iter().copied().filter(|one| !has_names || named(one)).collect();
    let others: Vec<&String> = names.iter().filter(|name| !CRITERION_BENCHES.contains(&name.as_str())).collect();
    if !has_names || others.iter().any(|name| !name.starts_with('-')) {
        let tools = tools::install_for_benches().context("installing the peers")?;
        // As users build them: the all-in-one as `cargo run --release` does, the sidecar with no features but its own.
        run(cargo().args(["build", "--release"]))?;
        run(cargo().args(["build", "--release", "--package", "tollgate-sidecar"]))?;
        run(tools.export(cargo().args(["run", "--release", "--package", "tollgate-benches", "--"]).args(&others)))?;
    }
    if !criterion.is_empty() {
        let flags = names.iter().filter(|name| name.as_str() == "--report-only");
        let program = ["run", "--release", "--package", "tollgate-criterion", "--"];
        run(cargo().args(program).args(criterion).args(flags))?;
    }
    Ok(())
}
