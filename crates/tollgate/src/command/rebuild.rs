//! `tollgate rebuild`: makes what is derived from the log anew, from the lake alone, or checks that what there is equals
//! what that would give, to the byte. Writes nothing but the search index; the lake is only read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tollgate_analytics::{Analytics, AnalyticsSettings};
use tollgate_config::Config;
use tollgate_console::ledger::DerivedState;
use tollgate_lake::{Lake, Mode};
use tollgate_provider::transcript::of_call;
use tollgate_search::{IndexState, Search};

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::remote::{Remote, query_value};
use crate::terminal;
use crate::wire::open_store;

/// How long a running server gets to index and to commit what it has taken.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// What to make anew.
    #[arg(value_enum)]
    what: What,
    /// Only compares what there is, in the running server or on the disk, with what a rebuild gives. Exit code 1 if they
    /// differ.
    #[arg(long)]
    check: bool,
}

/// Something that is derived from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Both.
    All,
    /// Spend of every team, and how targets did: what budgets and routing go by.
    Signals,
    /// The search index.
    Search,
}

impl What {
    fn covers(self, part: What) -> bool {
        self == What::All || self == part
    }
}

/// Last sequence number, by `writer/epoch`.
type Position = BTreeMap<String, u64>;

/// What a comparison found.
#[derive(Debug, Serialize)]
struct Compared {
    equal: bool,
    /// Lines of the form that is compared.
    lines: usize,
    /// SHA-256 of what the lake gives.
    sha256: String,
    /// How far the rows compared go.
    watermarks: Position,
    /// The first line that differs.
    difference: Option<Difference>,
}

/// The first line that differs; `None` where one side has no such line.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    found: Option<String>,
    rebuilt: Option<String>,
}

/// What is compared with what.
#[derive(Debug, Serialize)]
struct Report {
    equal: bool,
    /// `null` if it was not asked for, or is not kept because no server runs.
    signals: Option<Compared>,
    search: Option<Compared>,
}

/// The lake, and what can be made of it.
struct Books {
    lake: Arc<Lake>,
    analytics: Arc<Analytics>,
}

/// Runs it.
///
/// # Errors
/// If a server runs on the directory and more than a comparison was asked for, if the lake or the index cannot be read, or
/// if a comparison found a difference.
pub(crate) async fn run(common: Common, args: RebuildArgs) -> anyhow::Result<()> {
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let running = data.running_server();
    if let (Some(server), false) = (&running, args.check) {
        bail!(
            "the server of process {} runs on `{}` and uses what would be rebuilt; stop it first, or add --check, which only \
             compares",
            server.process_id,
            common.data.display()
        );
    }
    let lake = Lake::open(open_store(&config, &data)?, Mode::ReadOnly).await;
    let lake = lake.context("opening the lake; is this the right --data or --config?")?;
    let books = Books { analytics: Analytics::new(Arc::clone(&lake), None, AnalyticsSettings::new(of_call))?, lake };
    if !args.check {
        return rebuild(&books, &data, &common, args.what).await;
    }
    let report = match Remote::find(None, &data)? {
        Some(server) => check_server(&books, &server, args.what).await?,
        None => check_disk(&books, &data, args.what).await?,
    };
    show(&report, &common, args.what)
}

async fn rebuild(books: &Books, data: &DataDir, common: &Common, what: What) -> anyhow::Result<()> {
    let mut rebuilt = DerivedState::default();
    if what.covers(What::Signals) {
        let now_us = chrono::Utc::now().timestamp_micros();
        rebuilt.signals = books.analytics.rebuilt_signals(now_us, None).await.context("folding the signals")?;
    }
    if what.covers(What::Search) {
        rebuilt.search = Some(rebuild_search(books, data).await?);
    }
    if common.json {
        terminal::line(&serde_json::to_string(&rebuilt)?);
        return Ok(());
    }
    if what.covers(What::Signals) {
        let lines = &rebuilt.signals.lines;
        terminal::line(&format!("signals  {} sums, sha256 {}", lines.len(), sha256(lines)));
        terminal::note("signals are kept in memory alone: every start of the server folds them like this");
    }
    if let Some(search) = &rebuilt.search {
        let days = search.lines.len();
        terminal::line(&format!("search   calls of {days} days, sha256 {}", sha256(&search.lines)));
    }
    Ok(())
}

/// Throws the index away, fills it from the lake, and reads it back.
async fn rebuild_search(books: &Books, data: &DataDir) -> anyhow::Result<IndexState> {
    let search = Search::open(data.join("search"), of_call).context("opening the search index")?;
    search.clear().context("throwing the search index away")?;
    search.catch_up(None, Arc::clone(&books.lake)).await.context("filling the search index from the lake")?;
    let found = state_of(&search, None).await?.context("the search index is not complete")?;
    let expected = Search::state_of_lake(Arc::clone(&books.lake), of_call, None, None).await?;
    if let Some(difference) = first_difference(&found.lines, &expected.lines) {
        bail!("the index that was just built differs from the lake: {difference}; this is a defect, please report it");
    }
    Ok(found)
}

/// Reads every document, on a thread that may take its time.
async fn state_of(search: &Arc<Search>, day: Option<String>) -> anyhow::Result<Option<IndexState>> {
    let search = Arc::clone(search);
    Ok(tokio::task::spawn_blocking(move || search.state(day.as_deref())).await??)
}

async fn check_server(books: &Books, server: &Remote, what: What) -> anyhow::Result<Report> {
    let live = settled(server, what).await?;
    let signals = if what.covers(What::Signals) {
        let found = live.signals;
        books.analytics.follow_budgets(&found.tallies.clone().into());
        books.await_rows(&found.watermarks).await?;
        let rebuilt = books.analytics.rebuilt_signals(found.taken_at_us, Some(found.watermarks.clone())).await?;
        Some(Compared::new(found.watermarks, &found.lines, &rebuilt.lines))
    } else {
        None
    };
    let search = match live.search.filter(|_| what.covers(What::Search)) {
        Some(found) => {
            let mut compared = books.compare_search(&found, None).await?;
            if let Some(day) = compared.difference.as_ref().and_then(Difference::day) {
                // Which of that day's calls: asked anew, and compared at the place the index has come to by now.
                let path = format!("/api/v1/derived?day={}", query_value(&day));
                let of_day: DerivedState = serde_json::from_slice(&server.get(&path, "application/json").await?)?;
                if let Some(found) = of_day.search {
                    let of_day = books.compare_search(&found, Some(day)).await?;
                    compared.difference = of_day.difference.or(compared.difference);
                }
            }
            Some(compared)
        }
        None => None,
    };
    Ok(Report::new(signals, search))
}

/// What the server has derived, once its index holds everything that the log had when it was first asked: the index is
/// some seconds behind by design, and an index that holds nothing would be as right as one that holds everything.
async fn settled(server: &Remote, what: What) -> anyhow::Result<DerivedState> {
    let begun = Instant::now();
    let mut wanted: Option<Position> = None;
    loop {
        let answer = server.get("/api/v1/derived", "application/json").await?;
        let live: DerivedState =
            serde_json::from_slice(&answer).context("the server's answer is of another version")?;
        let wanted = wanted.get_or_insert_with(|| live.signals.watermarks.clone());
        let holds_it = live.search.as_ref().is_some_and(|search| missing(&search.watermarks, wanted).is_none());
        if holds_it || !what.covers(What::Search) {
            return Ok(live);
        }
        if begun.elapsed() > SETTLE_WITHIN {
            bail!(
                "the server's search index has not caught up with the log within {SETTLE_WITHIN:?}; its log says why"
            );
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn check_disk(books: &Books, data: &DataDir, what: What) -> anyhow::Result<Report> {
    if what.covers(What::Signals) {
        terminal::note("no server runs, so there are no signals to compare: every start folds them from the lake");
    }
    if !what.covers(What::Search) {
        return Ok(Report::new(None, None));
    }
    let dir = data.join("search");
    let search = Search::open_existing(&dir, of_call).with_context(|| {
        format!("there is no search index of this version in `{}`; `tollgate rebuild search` makes one", dir.display())
    })?;
    let Some(found) = state_of(&search, None).await? else {
        bail!(
            "the search index was left in the middle of catching up; the next start of the server goes on, or `tollgate rebuild search`"
        );
    };
    let in_lake = books.position();
    if let Some((place, seq)) = missing(&in_lake, &found.watermarks) {
        bail!(
            "the search index holds rows of `{place}` up to {seq}, the lake only up to {}: the others are in the write-ahead log. \
             Start the server, which hands them over, and check then",
            in_lake.get(&place).copied().unwrap_or(0)
        );
    }
    let everything = IndexState { watermarks: in_lake, lines: found.lines };
    let mut compared = books.compare_search(&everything, None).await?;
    if let Some(day) = compared.difference.as_ref().and_then(Difference::day)
        && let Some(found) = state_of(&search, Some(day.clone())).await?
    {
        let of_day = IndexState { watermarks: everything.watermarks, lines: found.lines };
        let of_day = books.compare_search(&of_day, Some(day)).await?;
        compared.difference = of_day.difference.or(compared.difference);
    }
    Ok(Report::new(None, Some(compared)))
}

impl Books {
    /// How far the lake's rows go.
    fn position(&self) -> Position {
        let snapshot = self.lake.snapshot();
        snapshot.watermarks.iter().map(|((writer, epoch), seq)| (format!("{writer}/{epoch}"), *seq)).collect()
    }

    /// Waits until the lake has these rows, too: the server holds some in memory until they are handed over.
    async fn await_rows(&self, wanted: &Position) -> anyhow::Result<()> {
        let begun = Instant::now();
        while let Some((place, seq)) = missing(&self.position(), wanted) {
            if begun.elapsed() > SETTLE_WITHIN {
                bail!(
                    "row {seq} of `{place}` has not reached the lake within {SETTLE_WITHIN:?}; `/integrity` says why"
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
            self.lake.refresh().await?;
        }
        Ok(())
    }

    async fn compare_search(&self, found: &IndexState, day: Option<String>) -> anyhow::Result<Compared> {
        self.await_rows(&found.watermarks).await?;
        let up_to = Some(found.watermarks.clone());
        let rebuilt = Search::state_of_lake(Arc::clone(&self.lake), of_call, up_to, day).await?;
        Ok(Compared::new(rebuilt.watermarks, &found.lines, &rebuilt.lines))
    }
}

impl Report {
    fn new(signals: Option<Compared>, search: Option<Compared>) -> Report {
        let equal = [&signals, &search].into_iter().flatten().all(|compared| compared.equal);
        Report { equal, signals, search }
    }
}

impl Compared {
    fn new(watermarks: Position, found: &[String], rebuilt: &[String]) -> Compared {
        let difference = first_difference(found, rebuilt);
        Compared { equal: difference.is_none(), lines: rebuilt.len(), sha256: sha256(rebuilt), watermarks, difference }
    }
}

impl Difference {
    /// The UTC day of a line about the calls of one.
    fn day(&self) -> Option<String> {
        let line = self.found.as_ref().or(self.rebuilt.as_ref())?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line.get(1)?.as_str()?.to_owned())
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "there is {}, a rebuild gives {}", side(&self.found), side(&self.rebuilt))
    }
}

fn show(report: &Report, common: &Common, what: What) -> anyhow::Result<()> {
    if common.json {
        terminal::line(&serde_json::to_string(report)?);
    }
    for (name, part, compared) in
        [("signals", What::Signals, &report.signals), ("search", What::Search, &report.search)]
    {
        let Some(compared) = compared.as_ref().filter(|_| what.covers(part)) else { continue };
        if !common.json {
            let verdict = if compared.equal { "equal" } else { "different" };
            terminal::line(&format!("{name:<8} {verdict}, {} lines, sha256 {}", compared.lines, compared.sha256));
        }
        if let Some(difference) = &compared.difference {
            bail!("{name}: {difference}");
        }
    }
    Ok(())
}

/// What `has` lacks of what `wants` covers: the first place and how far it should go.
fn missing(has: &Position, wants: &Position) -> Option<(String, u64)> {
    let lacks = |(place, seq): &(&String, &u64)| has.get(*place).copied().unwrap_or(0) < **seq;
    wants.iter().find(lacks).map(|(place, seq)| (place.clone(), *seq))
}

/// The first line, in order, that only one of two sorted lists has; if both lists have another line there, both.
fn first_difference(found: &[String], rebuilt: &[String]) -> Option<Difference> {
    let at = (0..found.len().max(rebuilt.len())).find(|at| found.get(*at) != rebuilt.get(*at))?;
    Some(Difference { found: found.get(at).cloned(), rebuilt: rebuilt.get(at).cloned() })
}

fn sha256(lines: &[String]) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn the_first_difference_names_both_sides() {
        assert_eq!(first_difference(&lines(&["a", "b"]), &lines(&["a", "b"])), None);
        let one = first_difference(&lines(&["a", "b"]), &lines(&["a", "c", "d"])).unwrap();
        assert_eq!(one.to_string(), "there is b, a rebuild gives c");
        let more = first_difference(&lines(&["a"]), &lines(&["a", "c"])).unwrap();
        assert_eq!(more.to_string(), "there is nothing, a rebuild gives c");
    }

    #[test]
    fn a_position_lacks_what_is_behind_or_absent() {
        let has = Position::from([("a/1".to_owned(), 5)]);
        assert_eq!(missing(&has, &Position::from([("a/1".to_owned(), 5)])), None);
        assert_eq!(missing(&has, &Position::from([("a/2".to_owned(), 1)])), Some(("a/2".to_owned(), 1)));
        assert_eq!(missing(&has, &Position::from([("a/1".to_owned(), 6)])), Some(("a/1".to_owned(), 6)));
    }
}
