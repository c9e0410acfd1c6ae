//! Fuzzing on the stable compiler: the targets of `fuzz/` are built with the instrumentation that libFuzzer reads, seeded
//! with the golden folder, and each runs for a while. What it finds is kept and named.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use fs_err as fs;

use crate::shell::{cargo, root, run, say, target};
use crate::tools;

/// Each target with the files of the golden folder that it starts from.
const TARGETS: &[(&str, &[&str])] = &[
    ("sse", STREAMS),
    ("event_stream", STREAMS),
    ("scan", BODIES),
    ("head", REQUESTS),
    ("request", REQUESTS),
    ("translate_request", REQUESTS),
    ("answer", ANSWERS),
    ("observe", STREAMS),
    ("translate_stream", STREAMS),
    ("usage_filter", STREAMS),
    ("transcript", EVERYTHING),
];
const REQUESTS: &[&str] = &["request.json"];
const ANSWERS: &[&str] = &["response.json"];
const STREAMS: &[&str] = &["response.sse", AMAZON_EVENTS];
const BODIES: &[&str] = &["request.json", "response.json"];
const EVERYTHING: &[&str] = &["request.json", "response.json", "response.sse", AMAZON_EVENTS];
/// The events of a binary stream, as JSON.
const AMAZON_EVENTS: &str = "response.events.json";

/// What cargo-fuzz asks of the compiler when no sanitizer is wanted; nothing of it needs a nightly one.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// The crates whose paths steer the search. Everything else is compiled as for the tests, so that it need not be compiled
/// again.
const INSTRUMENTED: &[&str] = &["tollgate_provider"];
/// Set where this program stands in for the compiler.
const WRAPS: &str = "TOLLGATE_XTASK_WRAPS_RUSTC";

/// An input that takes longer hangs.
const TIMEOUT_SECONDS: u32 = 10;
const MEMORY_LIMIT_MIB: u32 = 2_048;

/// Runs every target, or only `names`, for `seconds` each.
///
/// # Errors
/// If a target cannot be built, or one found something; the message names the input.
pub(crate) fn fuzz(names: &[String], seconds: u64) -> anyhow::Result<()> {
    if let Some(unknown) = names.iter().find(|name| TARGETS.iter().all(|(target, _)| target != name)) {
        let known: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
        bail!("there is no target `{unknown}`; there are {}", known.join(", "));
    }
    tools::install_for_fuzzing()?;
    let build = target().join("fuzz");
    fs::create_dir_all(&build)?;
    let wrapper = build.join("rustc-wrapper");
    fs::copy(this_program()?, &wrapper)?;
    run(cargo()
        .args(["build", "--bins", "--manifest-path"])
        .arg(root().join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(target())
        .env("RUSTC_WRAPPER", &wrapper)
        .env(WRAPS, "1"))?;
    let mut found = Vec::new();
    for (name, files) in TARGETS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|one| one == name)) {
        let folder = |kind: &str| build.join(kind).join(name);
        let (seeds, corpus, findings) = (folder("seeds"), folder("corpus"), folder("findings"));
        seed(&seeds, files)?;
        [&corpus, &findings].into_iter().try_for_each(fs::create_dir_all)?;
        let program = target().join("debug").join(name);
        let outcome = run(Command::new(program)
            .args([&corpus, &seeds])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={TIMEOUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MIB}"))
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .args(["-print_final_stats=1", "-print_funcs=0", "-verbosity=0"]));
        if let Err(error) = outcome {
            say(&format!("error: {error:#}"));
            found.push(format!("`{name}` (inputs in {})", findings.display()));
        }
    }
    if !found.is_empty() {
        bail!("fuzzing found something in {}", found.join(", "));
    }
    Ok(())
}

/// Whether cargo has started this program in place of the compiler, which its first argument is.
pub(crate) fn wraps_rustc() -> bool {
    std::env::var_os(WRAPS).is_some()
}

/// Runs the compiler, with the instrumentation where it is wanted.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn rustc() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let mut compiler = Command::new(arguments.next().context("cargo names the compiler first")?);
    let arguments: Vec<_> = arguments.collect();
    let mut names = arguments.iter().skip_while(|argument| *argument != "--crate-name").skip(1);
    if names.next().is_some_and(|name| INSTRUMENTED.iter().any(|wanted| name == wanted)) {
        compiler.args(INSTRUMENTATION);
    }
    let status = compiler.args(arguments).status().context("starting the compiler")?;
    anyhow::ensure!(status.success(), "the compiler ended with {status}");
    Ok(())
}

/// The program that runs. `cargo test` before this may have put another one in its place: the path then leads nowhere.
fn this_program() -> std::io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}

/// Copies golden files into `folder`, each behind the letter that says whose format it is.
fn seed(folder: &Path, files: &[&str]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for case in golden_cases()? {
        let dialect = case.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for file in files.iter().filter(|file| case.join(file).exists()) {
            let letter = if *file == AMAZON_EVENTS { "e" } else { dialect.get(..1).unwrap_or_default() };
            let content = [letter.as_bytes(), &fs::read(case.join(file))?].concat();
            fs::write(folder.join(format!("{dialect}-{name}-{file}")), content)?;
        }
    }
    Ok(())
}

fn golden_cases() -> anyhow::Result<Vec<PathBuf>> {
    let children = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter(|entry| entry.is_dir()).collect())
    };
    let dialects = children(&root().join("crates/provider/golden"))?;
    let cases = dialects.iter().map(|dialect| children(dialect)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(cases.concat())
}
