//! Budget: stripped release binaries of at most 25 MB (sidecar) and 150 MB (all-in-one); idle, at most 25 MiB and
//! 120 MiB of resident memory.
//!
//! Idle is ten seconds after the first call was answered, with nothing in the log but that call. A megabyte has
//! 1,000,000 bytes, a mebibyte 2²⁰.

use std::time::Duration;

use fs_err as fs;
use serde_json::json;

use crate::peer::Peer;
use crate::report::{Budget, Report, short};
use crate::stage::Stage;
use crate::{Settings, say};

const IDLE: Duration = Duration::from_secs(10);
const MEGABYTE: f64 = 1e6;
const MEBIBYTE: f64 = 1_048_576.0;

/// A program of ours and what it may take.
struct Limits {
    peer: Peer,
    program: &'static str,
    size_mb: f64,
    idle_mib: f64,
}

const LIMITS: [Limits; 2] = [
    Limits { peer: Peer::Sidecar, program: "tollgate-sidecar", size_mb: 25.0, idle_mib: 25.0 },
    Limits { peer: Peer::Tollgate, program: "tollgate", size_mb: 150.0, idle_mib: 120.0 },
];

/// Measures files and idle processes.
///
/// # Errors
/// If a program is missing or does not start.
pub(crate) async fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let title = format!("binaries as built here, memory {IDLE:?} after the first call");
    let header = vec!["program", "size MB", "idle MiB", "peak MiB", "idle CPU ms/s"];
    let mut report = Report::start("footprint", title, header);
    for limits in LIMITS.into_iter().filter(|limits| settings.measures(limits.peer)) {
        say(&format!("footprint: {}", limits.program));
        let size_bytes = fs::metadata(stage.program(limits.program)?)?.len();
        let mut running = limits.peer.start(stage).await?;
        let Some(server) = running.server.as_mut() else { continue };
        let before = server.cpu()?;
        tokio::time::sleep(IDLE).await;
        let memory = server.memory()?;
        let idle_cpu_ms_per_s = (server.cpu()? - before).as_secs_f64() * 1e3 / IDLE.as_secs_f64();
        let (size_mb, idle_mib) = (size_bytes as f64 / MEGABYTE, memory.resident_bytes as f64 / MEBIBYTE);
        let peak_mib = memory.peak_bytes as f64 / MEBIBYTE;
        let figures = [size_mb, idle_mib, peak_mib, idle_cpu_ms_per_s].map(short);
        report.row(
            std::iter::once(limits.program.to_owned()).chain(figures).collect(),
            json!({
                "program": limits.program,
                "size_bytes": size_bytes,
                "idle_resident_bytes": memory.resident_bytes,
                "peak_resident_bytes": memory.peak_bytes,
                "idle_cpu_ms_per_s": idle_cpu_ms_per_s,
            }),
        );
        report.budget(Budget::at_most(format!("size of {} in MB", limits.program), size_mb, limits.size_mb));
        report.budget(Budget::at_most(format!("idle memory of {} in MiB", limits.program), idle_mib, limits.idle_mib));
    }
    Ok(report)
}
