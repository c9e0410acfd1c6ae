//! A result as people read it, a table with each budget below, and as it is kept, JSON with machine, commit and date.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde::Serialize;
use serde_json::{Value, json};

/// A load average above this, for each processor, means that somebody else is at work too.
const QUIET_LOAD: f64 = 0.25;

/// What a figure must reach.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Budget {
    claim: String,
    measured: f64,
    limit: f64,
    met: bool,
}

impl Budget {
    /// A figure that may not exceed its limit.
    pub(crate) fn at_most(claim: String, measured: f64, limit: f64) -> Budget {
        Budget { claim, measured, limit, met: measured <= limit }
    }

    /// A figure that may not stay below its limit.
    pub(crate) fn at_least(claim: String, measured: f64, limit: f64) -> Budget {
        Budget { claim, measured, limit, met: measured >= limit }
    }
}

/// The result of one suite.
pub(crate) struct Report {
    suite: &'static str,
    title: String,
    machine: Machine,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    results: Vec<Value>,
    budgets: Vec<Budget>,
    notes: Vec<String>,
}

impl Report {
    /// Starts a report; the machine's load is that of now, before anything is measured.
    pub(crate) fn start(suite: &'static str, title: String, header: Vec<&'static str>) -> Report {
        let machine = Machine::read();
        let mut notes = Vec::new();
        if machine.load_average > QUIET_LOAD * f64::from(machine.processors) {
            let load = machine.load_average;
            notes.push(format!("the machine was not quiet (load average {load}): do not conclude anything"));
        }
        if cfg!(debug_assertions) {
            notes.push("this is a debug build: do not conclude anything".to_owned());
        }
        Report { suite, title, machine, header, rows: Vec::new(), results: Vec::new(), budgets: Vec::new(), notes }
    }

    /// Adds a line of the table and what is kept of it.
    pub(crate) fn row(&mut self, cells: Vec<String>, kept: Value) {
        self.rows.push(cells);
        self.results.push(kept);
    }

    /// Adds a budget and whether it was met.
    pub(crate) fn budget(&mut self, budget: Budget) {
        self.budgets.push(budget);
    }

    /// Adds a remark.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Whether nothing was missed.
    pub(crate) fn budgets_met(&self) -> bool {
        self.budgets.iter().all(|budget| budget.met)
    }

    /// Writes `SUITE.json`; the one of the run before is replaced.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join(format!("{}.json", self.suite));
        let kept = json!({
            "suite": self.suite,
            "title": self.title,
            "measured_at": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "commit": commit(),
            "machine": self.machine,
            "results": self.results,
            "budgets": self.budgets,
            "notes": self.notes,
        });
        fs::write(&path, serde_json::to_vec_pretty(&kept)?)?;
        Ok(path)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.suite, self.title)?;
        writeln!(f, "{}\n", self.machine)?;
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.header[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let header: Vec<String> = self.header.iter().map(|&name| name.to_owned()).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "  {cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for budget in &self.budgets {
            let verdict = if budget.met { "met   " } else { "MISSED" };
            writeln!(f, "  {verdict}  {}: {} (budget {})", budget.claim, short(budget.measured), short(budget.limit))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }
}

/// A number with about three digits that matter.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 100.0 || magnitude.fract() <= f64::EPSILON => format!("{value:.0}"),
        magnitude if magnitude >= 10.0 => format!("{value:.1}"),
        magnitude if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Where a figure was taken.
#[derive(Clone, Debug, Serialize)]
struct Machine {
    processor: String,
    processors: u32,
    memory_bytes: u64,
    kernel: String,
    /// Over the minute before the measurement.
    load_average: f64,
}

impl Machine {
    /// What the system tells; what it does not tell is empty or zero.
    fn read() -> Machine {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let memory_kib = field(&file("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0u64);
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        Machine {
            processor: field(&file("/proc/cpuinfo"), "model name"),
            processors: u32::try_from(processors).unwrap_or(u32::MAX),
            memory_bytes: memory_kib * 1024,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: file("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory_gib = self.memory_bytes >> 30;
        let Machine { processor, processors, kernel, load_average, .. } = self;
        write!(f, "{processors} × {processor}, {memory_gib} GiB, Linux {kernel}, load average before: {load_average}")
    }
}

/// The commit of the work tree, marked if there are changes beside it; empty outside a repository.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changes = git(&["status", "--porcelain", "--untracked-files=no"]);
    git(&["rev-parse", "HEAD"]) + if changes.is_empty() { "" } else { " with changes" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_a_missed_budget_says_so() {
        let mut report = Report::start("throughput", "a test".to_owned(), vec!["peer", "calls/s"]);
        report.row(vec!["nginx".to_owned(), "27000".to_owned()], json!({}));
        report.budget(Budget::at_most("processor time beside nginx".to_owned(), 4.25, 4.0));
        assert!(!report.budgets_met());
        let text = report.to_string();
        assert!(text.contains("MISSED  processor time beside nginx: 4.25 (budget 4)"), "{text}");
        assert!(text.contains("  peer   calls/s\n  nginx    27000\n"), "{text}");
    }

    #[test]
    fn numbers_are_shown_with_three_digits_or_so() {
        let shown = [27_123.4, 17.25, 2.345, 0.0123, 4.0].map(short);
        assert_eq!(shown, ["27123", "17.2", "2.35", "0.0123", "4"]);
    }
}
