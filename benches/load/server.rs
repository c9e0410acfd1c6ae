//! A server under measurement: a child process, alone in a process group, so that its workers and threads are found,
//! counted and ended with it. It is ended by the id of that group and when dropped, also on an error: nothing that a
//! benchmark started outlives it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fs_err as fs;

use crate::call::Target;

/// Length of the tick in which `/proc` counts processor time: `USER_HZ` is 100 on every Linux we know.
const TICK: Duration = Duration::from_millis(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// For a server that is dropped instead of stopped.
const DROP_PATIENCE: Duration = Duration::from_secs(1);
/// Of a log that is shown in an error.
const SHOWN_BYTES: usize = 2_000;

/// A running child process and its workers.
pub(crate) struct Server {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Server {
    /// Starts it; what it prints goes to files in `folder`.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn start(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<Server> {
        let (output, errors) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        command.process_group(0).stdin(Stdio::null());
        command.stdout(std::fs::File::create(&output)?).stderr(std::fs::File::create(&errors)?);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Server { name: name.to_owned(), child, output, errors })
    }

    /// Waits until a call is answered; returns how many were, which is one.
    ///
    /// # Errors
    /// If it ends or does not answer within `patience`; the end of what it printed is in the message.
    pub(crate) async fn answers(&mut self, target: &Target, patience: Duration) -> anyhow::Result<u64> {
        let started = Instant::now();
        loop {
            self.still_runs()?;
            match target.probe().await {
                Ok(()) => return Ok(1),
                Err(error) if started.elapsed() > patience => {
                    return Err(error.context(format!("`{}` does not answer\n{}", self.name, self.last_words())));
                }
                Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Waits for the first line on its standard output.
    ///
    /// # Errors
    /// If it ends or prints nothing within `patience`.
    pub(crate) async fn first_line(&mut self, patience: Duration) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            if let Some((line, _)) = fs::read_to_string(&self.output)?.split_once('\n') {
                return Ok(line.to_owned());
            }
            self.still_runs()?;
            if started.elapsed() > patience {
                bail!("`{}` has not said where it listens\n{}", self.name, self.last_words());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Processor time of all its processes and threads so far, in the program and in the kernel.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn cpu(&mut self) -> anyhow::Result<Duration> {
        self.still_runs()?;
        Ok(self.processes()?.iter().map(|process| process.cpu).sum())
    }

    /// Memory of all its processes, in bytes: resident now, and at most so far.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn memory(&mut self) -> anyhow::Result<Memory> {
        self.still_runs()?;
        let mut memory = Memory::default();
        for process in self.processes()? {
            let Ok(status) = fs::read_to_string(format!("/proc/{}/status", process.id)) else { continue };
            memory.resident_bytes += status_bytes(&status, "VmRSS:");
            memory.anonymous_bytes += status_bytes(&status, "RssAnon:");
            memory.peak_bytes += status_bytes(&status, "VmHWM:");
        }
        Ok(memory)
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// If it does not within `patience`, or ends with an error.
    pub(crate) async fn stop(mut self, patience: Duration) -> anyhow::Result<()> {
        self.still_runs()?;
        signal("TERM", self.child.id())?;
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                // Ended by the signal itself is in order too: not every peer has a handler.
                if status.code().is_some_and(|code| code != 0 && code != 128 + 15) {
                    bail!("`{}` ended with {status}\n{}", self.name, self.last_words());
                }
                return Ok(());
            }
            if started.elapsed() > patience {
                bail!("`{}` does not end\n{}", self.name, self.last_words());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn still_runs(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("`{}` ended with {status}\n{}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    fn processes(&self) -> anyhow::Result<Vec<Process>> {
        let group = self.child.id();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process may end between the listing and the reading.
            let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
            if let Some(process) = Process::parse(id, &stat).filter(|process| process.group == group) {
                found.push(process);
            }
        }
        Ok(found)
    }

    fn last_words(&self) -> String {
        let read = |path: &Path| fs::read(path).unwrap_or_default();
        let mut said = read(&self.output);
        said.extend(read(&self.errors));
        String::from_utf8_lossy(&said[said.len().saturating_sub(SHOWN_BYTES)..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that a parent can wait for its workers. Workers may outlive it all the same, so the group is
        // ended even if it has. A group of which nobody is left cannot be signalled, which is what is wanted.
        drop(signal("TERM", self.child.id()));
        let started = Instant::now();
        while started.elapsed() < DROP_PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(POLL_INTERVAL);
        }
        drop(signal("KILL", self.child.id()));
        drop(self.child.wait());
    }
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident_bytes: u64,
    /// Of those, what no file backs.
    pub(crate) anonymous_bytes: u64,
    /// At most since the start.
    pub(crate) peak_bytes: u64,
}

/// Processor time of this process and all its threads so far.
///
/// # Errors
/// If the system does not say.
pub(crate) fn own_cpu() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Process::parse(0, &stat).map(|process| process.cpu).context("`/proc/self/stat` is not as expected")
}

/// Memory of this process.
///
/// # Errors
/// If the system does not say.
pub(crate) fn own_memory() -> anyhow::Result<Memory> {
    let status = fs::read_to_string("/proc/self/status")?;
    let anonymous_bytes = status_bytes(&status, "RssAnon:");
    Ok(Memory {
        anonymous_bytes,
        resident_bytes: status_bytes(&status, "VmRSS:"),
        peak_bytes: status_bytes(&status, "VmHWM:"),
    })
}

/// What `/proc/ID/stat` says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    group: u32,
    cpu: Duration,
}

impl Process {
    /// The name in the second field may hold spaces and parentheses; counting starts behind it.
    fn parse(id: u32, stat: &str) -> Option<Process> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let group = fields.get(2)?.parse().ok()?;
        // utime, stime, and the same of children that have ended and were waited for.
        let ticks: Option<u32> = fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u32>().ok()).sum();
        Some(Process { id, group, cpu: TICK * ticks? })
    }
}

fn status_bytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Signals every process of a group, through the shell's own `kill`: the system call itself would be unsafe code.
fn signal(name: &str, group: u32) -> anyhow::Result<()> {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} -{group}")])
        .stderr(Stdio::null())
        .status()
        .context("starting `sh` to send a signal")?;
    if !status.success() {
        bail!("process group {group} cannot be signalled");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let stat = "42 (a) b (c) S 1 40 40 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 5 0 99 1 1";
        let expected = Process { id: 42, group: 40, cpu: Duration::from_millis(1240) };
        assert_eq!(Process::parse(42, stat), Some(expected));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(status_bytes("VmPeak:\t 9 kB\nVmRSS:\t   1024 kB\n", "VmRSS:"), 1 << 20);
    }

    #[tokio::test]
    async fn a_server_and_its_children_are_counted_and_ended_together() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 60 & echo $!; wait";
        let mut server = Server::start("sleeper", Command::new("sh").args(["-c", script]), folder.path()).unwrap();
        let child = server.first_line(Duration::from_secs(10)).await.unwrap();
        assert_eq!(server.processes().unwrap().len(), 2);
        assert!(server.memory().unwrap().resident_bytes > 0);
        drop(server);
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }

    #[tokio::test]
    async fn a_server_that_ends_is_reported_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo port is taken >&2; exit 3";
        let mut server = Server::start("failing", Command::new("sh").args(["-c", script]), folder.path()).unwrap();
        let error = server.first_line(Duration::from_secs(10)).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("port is taken"), "{error}");
    }
}
