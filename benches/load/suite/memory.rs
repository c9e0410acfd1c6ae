//! Budget: writer, compaction and verification stay within 512 MiB with a hundred payloads of 5 MB in flight at once.
//!
//! A process of its own does nothing but this: it records a hundred calls as opened, each with a request of 5 MB, before
//! it settles the first of them, each with an answer of 5 MB, as fast as the log takes them; flushes and commits them while
//! somebody looks at the hot tail; compacts the lake; reads and verifies all of it. The bodies are made one at a time and
//! handed to the log, so that what is measured is not what callers hold. The figure is the most that was ever resident,
//! as the kernel says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tollgate_flush::flusher::FlushSettings;
use tollgate_flush::hot::HotBuffer;
use tollgate_interaction::Payload;
use tollgate_lake::audit::{VerifySettings, verify};

use crate::dataset::{Call, DAY_BEGINS_US, Ordinary, Prose, Random};
use crate::report::{Budget, Report};
use crate::say;
use crate::server::own_memory;
use crate::stage::{self, Stage};
use crate::writer::{Folders, Writer, events, on_all_processors};

const BUDGET_MIB: f64 = 512.0;
const CALLS: u64 = 100;
const BODY_BYTES: usize = 5_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(200);
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
const LONG_AFTER_US: i64 = DAY_BEGINS_US + 3 * 86_400_000_000;

/// Starts the process and takes down what it says.
///
/// # Errors
/// If it fails.
pub(crate) fn run(stage: &Stage) -> anyhow::Result<Report> {
    let title = format!("{CALLS} calls in flight at once, {} MB each way", BODY_BYTES / 1_000_000);
    let mut report = Report::start("memory", title, vec!["after", "resident MiB", "peak MiB"]);
    say("memory: a process of its own");
    let mut command = stage::command(std::env::current_exe()?);
    let output = command.arg("--memory-of").arg(stage.folder("memory")?).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("it failed: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut peak_mib = f64::NAN;
    for line in said.lines() {
        let step: Value = serde_json::from_str(line).with_context(|| format!("it said `{line}`"))?;
        let mib = |name: &str| step[name].as_f64().unwrap_or(f64::NAN) / 1_048_576.0;
        peak_mib = mib("peak_bytes");
        let name = step["after"].as_str().with_context(|| format!("it said `{line}`"))?.to_owned();
        report.row(vec![name, format!("{:.0}", mib("resident_bytes")), format!("{peak_mib:.0}")], step);
    }
    report.budget(Budget::at_most("most resident memory in MiB".to_owned(), peak_mib, BUDGET_MIB));
    Ok(report)
}

/// What is measured.
///
/// # Errors
/// If a call is lost or the lake does not verify.
pub(crate) fn perform(folder: &Path) -> anyhow::Result<()> {
    let folders = Folders::in_folder(folder.to_owned());
    on_all_processors(async {
        let settings = FlushSettings { interval: FLUSH_INTERVAL, ..folders.flush_settings() };
        let writer = Writer::start(&folders, folders.open_log()?, settings).await?;
        let appender = writer.wal.appender();
        tell("the start")?;
        let prose = Prose::new(1);
        for call in Ordinary::new(17, CALLS) {
            let (opened, _) = events(with_body(call, &prose));
            appender.append_durable(&opened).await?;
        }
        // The flusher reads what was written within milliseconds of it, except what it has no room for.
        tokio::time::sleep(Duration::from_secs(2)).await;
        tell("every call was opened")?;
        let looking = looked_at(Arc::clone(&writer.hot));
        for call in Ordinary::new(17, CALLS) {
            let (_, settled) = events(with_body(call, &prose));
            appender.append_written(&settled)?;
        }
        tokio::select! {
            committed = writer.committed(CALLS) => committed?,
            () = looking => {}
        }
        tell("every call was committed")?;
        writer.stop().await?;
        let lake = folders.open_lake().await?;
        let mut report = lake.compact(LONG_AFTER_US, usize::MAX).await?;
        while report.commits > 0 {
            report = lake.compact(LONG_AFTER_US, usize::MAX).await?;
        }
        tell("compaction")?;
        drop(lake);
        let keys = vec![folders.public_key()?];
        let found = verify(folders.read_lake().await?, VerifySettings { keys, ..VerifySettings::default() }).await?;
        if !found.ok || found.payloads != CALLS {
            bail!("the lake does not verify: {found:?}");
        }
        tell("verification")
    })
}

/// The index of a search and the pages of a console turn the hot tail into Arrow as it grows.
async fn looked_at(hot: Arc<HotBuffer>) {
    loop {
        drop(hot.snapshot());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same call with the same large bodies, whenever it is made.
fn with_body(call: Call, prose: &Prose) -> Call {
    let mut random = Random::new(call.interaction.request_bytes);
    let mut text = || prose.text(&mut random, BODY_BYTES);
    let request = json!({"model": "openai/gpt-5", "messages": [{"role": "user", "content": text()}]}).to_string();
    let message = json!({"role": "assistant", "content": text()});
    let response = json!({"object": "chat.completion", "choices": [{"index": 0, "message": message}]}).to_string();
    let payload = |body: String| Payload { content_type: "application/json".into(), body: body.into() };
    Call { request: payload(request), response: payload(response), ..call }
}

fn tell(after: &str) -> anyhow::Result<()> {
    let memory = own_memory()?;
    println!("{}", json!({"after": after, "resident_bytes": memory.resident_bytes, "peak_bytes": memory.peak_bytes}));
    Ok(())
}
