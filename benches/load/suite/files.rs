//! Budget: after compaction, an agent's conversation of 50 turns costs at most 1/8, and a million ordinary calls cost at
//! most 1/3, of the bytes of one gzipped line of JSON for each call.
//!
//! The line has all facts and both bodies, the bodies as the JSON they are and not as text within it, and nothing of what
//! makes our rows provable: neither commitments nor salts. It is gzipped by itself, as a log does that keeps an object
//! or a message for each call. Ours is every live Parquet file of `interactions` and `payloads`, proof included. The
//! conversation is measured alone, and as twenty of them among single calls of others: there it is charged with the
//! whole lake less what the single calls cost in a lake of their own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use arrow::json::LineDelimitedWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::json;
use tollgate_interaction::batch::{
    self, PAYLOAD_COMMITMENT, PERSONAL_COMMITMENT, PERSONAL_SALT, RECORD_COMMITMENT, Seal,
};
use tollgate_interaction::schema::{DAY, InteractionRow, Table};
use tollgate_interaction::{EventId, WriterId};
use tollgate_lake::LakeSnapshot;

use crate::dataset::{Call, Conversation, DAY_BEGINS_US, Ordinary, Prose, Random};
use crate::report::{Budget, Report, short};
use crate::stage::Stage;
use crate::writer::{Folders, make_lake, on_all_processors};
use crate::{Settings, say};

const CONVERSATION_BUDGET: f64 = 1.0 / 8.0;
const ORDINARY_BUDGET: f64 = 1.0 / 3.0;
const ORDINARY_CALLS: u64 = 1_000_000;
const TURNS: usize = 50;
const CONVERSATIONS: u64 = 20;
/// Single calls among the conversations.
const SINGLE_CALLS: u64 = 1_000;
/// A conversation begins every five minutes, a new one before the last has ended.
const CONVERSATION_EVERY_US: i64 = 300_000_000;
/// Lines that are gzipped, at most: more of them cost minutes and do not move the mean.
const MOST_LINES: u64 = 50_000;
/// When every window of the day is closed.
const LONG_AFTER_US: i64 = DAY_BEGINS_US + 3 * 86_400_000_000;
/// Columns without which a log keeps the same facts, but not provable ones.
const PROOF: [&str; 5] = [RECORD_COMMITMENT, PERSONAL_COMMITMENT, PAYLOAD_COMMITMENT, PERSONAL_SALT, DAY];
/// Bytes of text that a general compressor is tried on.
const TEXT_BYTES: usize = 8 << 20;

/// What one set of calls came to.
struct Measured {
    name: &'static str,
    calls: u64,
    body_bytes: u64,
    gzip_bytes: u64,
    before: Sizes,
    after: Sizes,
    /// Of the compacted files: bytes by table and column.
    columns: BTreeMap<(&'static str, String), u64>,
}

/// The live files of both tables.
#[derive(Clone, Copy)]
struct Sizes {
    files: usize,
    bytes: u64,
}

impl Sizes {
    fn of(snapshot: &LakeSnapshot) -> Sizes {
        let (facts, payloads) = (&snapshot.interactions, &snapshot.payloads);
        Sizes { files: facts.files.len() + payloads.files.len(), bytes: facts.size_bytes() + payloads.size_bytes() }
    }
}

/// Makes the lakes, compacts them and compares.
///
/// # Errors
/// If a lake cannot be made or read.
pub(crate) fn run(settings: &Settings, stage: &Stage) -> anyhow::Result<Report> {
    let calls = settings.calls.unwrap_or(ORDINARY_CALLS);
    let title = format!("{CONVERSATIONS} conversations of {TURNS} turns, {calls} ordinary calls, after compaction");
    let header = vec![
        "calls",
        "number",
        "bodies B/call",
        "gzip B/call",
        "flushed B/call",
        "files",
        "compacted B/call",
        "files",
        "of gzip",
    ];
    let mut report = Report::start("files", title, header);
    let prose = Prose::new(1);
    let alone = measure(stage, "one conversation", conversation(&prose, 0).collect::<Vec<_>>(), 5)?;
    let single = measure(stage, "single calls", Ordinary::new(7, SINGLE_CALLS), 40)?;
    let among = measure(stage, "20 conversations among single calls", interleaved(&prose), 40)?;
    let ordinary = measure(stage, "ordinary calls", Ordinary::new(3, calls), 5_000.min(calls / 4).max(1))?;
    let questions = Ordinary::questions(5, (calls / 10).max(1));
    let questions = measure(stage, "questions alone", questions, 5_000.min(calls / 40).max(1))?;
    for measured in [&alone, &single, &among, &ordinary, &questions] {
        show(&mut report, measured);
    }
    let claim = |what: &str| format!("bytes after compaction / gzipped lines, {what}");
    let ratio = |ours: u64, theirs: u64| ours as f64 / theirs as f64;
    report.budget(Budget::at_most(
        claim("one conversation"),
        ratio(alone.after.bytes, alone.gzip_bytes),
        CONVERSATION_BUDGET,
    ));
    let ours = among.after.bytes.saturating_sub(single.after.bytes);
    let theirs = among.gzip_bytes - single.gzip_bytes;
    report.budget(Budget::at_most(claim("a conversation among others"), ratio(ours, theirs), CONVERSATION_BUDGET));
    report.budget(Budget::at_most(
        claim("ordinary calls"),
        ratio(ordinary.after.bytes, ordinary.gzip_bytes),
        ORDINARY_BUDGET,
    ));
    note_columns(&mut report, &among);
    note_columns(&mut report, &ordinary);
    report.note(format!(
        "questions alone, of which none says what another said and no budget speaks: {:.4} of their gzipped lines",
        ratio(questions.after.bytes, questions.gzip_bytes)
    ));
    note_text(&mut report)?;
    Ok(report)
}

fn conversation(prose: &Prose, number: u64) -> Conversation<'_> {
    let starts_after_us = 8 * 3_600_000_000 + CONVERSATION_EVERY_US * number.cast_signed();
    // Two applications: conversations of one begin alike.
    Conversation::new(prose, 100 + number, 20 + number % 2, starts_after_us, TURNS)
}

fn interleaved(prose: &Prose) -> Vec<Call> {
    let mut calls: Vec<Call> = (0..CONVERSATIONS).flat_map(|number| conversation(prose, number)).collect();
    calls.extend(Ordinary::new(7, SINGLE_CALLS));
    calls.sort_by_key(|call| call.interaction.started_at_us);
    calls
}

fn measure<Calls>(stage: &Stage, name: &'static str, calls: Calls, rows_at_once: u64) -> anyhow::Result<Measured>
where
    Calls: IntoIterator<Item = Call>,
    Calls::IntoIter: Send,
{
    say(&format!("files: {name}"));
    let folder = stage.folder("files")?;
    let folders = Folders::in_folder(folder.clone());
    let mut lines = Lines::default();
    let calls = calls.into_iter().inspect(|call| lines.look_at(call));
    let (number, before, after, columns) = on_all_processors(async {
        let number = make_lake(&folders, calls, rows_at_once).await?;
        let lake = folders.open_lake().await?;
        let before = Sizes::of(&lake.snapshot());
        while lake.compact(LONG_AFTER_US, usize::MAX).await?.commits > 0 {}
        let snapshot = lake.snapshot();
        let columns = columns(&folders.lake(), &snapshot)?;
        anyhow::Ok((number, before, Sizes::of(&snapshot), columns))
    })?;
    let (body_bytes, gzip_bytes) = lines.finish(number)?;
    fs_err::remove_dir_all(folder)?;
    Ok(Measured { name, calls: number, body_bytes, gzip_bytes, before, after, columns })
}

/// Compressed bytes of each column in the live files, as their footers say; what is no column is the footers themselves.
fn columns(lake: &Path, snapshot: &LakeSnapshot) -> anyhow::Result<BTreeMap<(&'static str, String), u64>> {
    let mut bytes: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    for table in [Table::Interactions, Table::Payloads] {
        for file in &snapshot.files(table).files {
            let reader = SerializedFileReader::new(fs_err::File::open(lake.join(&file.path))?.into_parts().0)?;
            let mut in_columns = 0;
            for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
                let size = u64::try_from(column.compressed_size())?;
                let path = column.column_path().string().replace(".list.element", "[]").replace(".key_value", "");
                *bytes.entry((table.folder(), path)).or_default() += size;
                in_columns += size;
            }
            *bytes.entry((table.folder(), "(footer, indexes, filters)".to_owned())).or_default() +=
                file.size_bytes - in_columns;
        }
    }
    Ok(bytes)
}

/// Calls as gzipped lines of JSON. Of many calls a part stands for all.
#[derive(Default)]
struct Lines {
    seen: u64,
    body_bytes: u64,
    gzipped: u64,
    gzip_bytes: u64,
    waiting: Vec<(InteractionRow, [bytes::Bytes; 2])>,
    failure: Option<anyhow::Error>,
}

impl Lines {
    const AT_ONCE: usize = 512;
    /// Beyond [`MOST_LINES`], every one in so many.
    const THINNED: u64 = 20;

    fn look_at(&mut self, call: &Call) {
        self.seen += 1;
        self.body_bytes += (call.request.body.len() + call.response.body.len()) as u64;
        if self.seen > MOST_LINES && !self.seen.is_multiple_of(Lines::THINNED) {
            return;
        }
        let Ok(writer) = "gateway-1".parse::<WriterId>() else { return };
        let id = EventId { writer, epoch: 1, seq: 2 * self.seen };
        let seal = Seal { payload_commitment: [0; 32], personal_salt: [0; 16] };
        let bodies = [call.request.body.clone(), call.response.body.clone()];
        self.waiting.push(((id, call.interaction.clone(), seal), bodies));
        if self.waiting.len() >= Lines::AT_ONCE
            && let Err(error) = self.gzip_waiting()
        {
            self.failure.get_or_insert(error);
        }
    }

    fn gzip_waiting(&mut self) -> anyhow::Result<()> {
        let (rows, bodies): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        let facts = batch::interactions(&rows)?;
        let kept: Vec<usize> = (0..facts.num_columns())
            .filter(|at| !PROOF.contains(&facts.schema_ref().field(*at).name().as_str()))
            .collect();
        let mut text = Vec::new();
        LineDelimitedWriter::new(&mut text).write(&facts.project(&kept)?)?;
        for (line, [request, response]) in text.split(|byte| *byte == b'\n').zip(&bodies) {
            let facts = line.strip_suffix(b"}").context("a line of JSON is no object")?;
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            for part in [facts, b",\"request\":", request, b",\"response\":", response, b"}\n"] {
                gzip.write_all(part)?;
            }
            self.gzipped += 1;
            self.gzip_bytes += gzip.finish()?.len() as u64;
        }
        Ok(())
    }

    /// Bytes of all bodies, and of all lines.
    fn finish(mut self, calls: u64) -> anyhow::Result<(u64, u64)> {
        self.gzip_waiting()?;
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let gzip_bytes = self.gzip_bytes as f64 / self.gzipped.max(1) as f64 * calls as f64;
        Ok((self.body_bytes, gzip_bytes as u64))
    }
}

fn show(report: &mut Report, measured: &Measured) {
    let Measured { name, calls, body_bytes, gzip_bytes, before, after, columns } = measured;
    let per_call = |bytes: u64| short(bytes as f64 / *calls as f64);
    report.row(
        vec![
            (*name).to_owned(),
            calls.to_string(),
            per_call(*body_bytes),
            per_call(*gzip_bytes),
            per_call(before.bytes),
            before.files.to_string(),
            per_call(after.bytes),
            after.files.to_string(),
            format!("1/{}", short(*gzip_bytes as f64 / after.bytes as f64)),
        ],
        json!({
            "calls": name,
            "number": calls,
            "body_bytes": body_bytes,
            "gzip_bytes": gzip_bytes,
            "flushed": {"files": before.files, "bytes": before.bytes},
            "compacted": {"files": after.files, "bytes": after.bytes},
            "columns": columns.iter().map(|((table, column), bytes)| json!({"table": table, "column": column, "bytes": bytes}))
                .collect::<Vec<_>>(),
        }),
    );
}

/// The columns that matter, largest first.
fn note_columns(report: &mut Report, measured: &Measured) {
    let mut columns: Vec<_> = measured.columns.iter().collect();
    columns.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    for table in [Table::Interactions, Table::Payloads] {
        let of_table = columns.iter().filter(|((name, _), _)| *name == table.folder());
        let shown = of_table.map(|((_, column), bytes)| (column, **bytes as f64 / measured.calls as f64));
        let shown: Vec<String> =
            shown.filter(|(_, bytes)| *bytes >= 0.05).map(|(column, bytes)| format!("{column} {bytes:.1}")).collect();
        report.note(format!("{}, bytes per call of {}: {}", measured.name, table.folder(), shown.join(", ")));
    }
}

/// How the text compresses, so that nobody has to believe that it is like English.
fn note_text(report: &mut Report) -> anyhow::Result<()> {
    let prose = Prose::new(1);
    let mut random = Random::new(2);
    let mut texts = Vec::new();
    while texts.iter().map(String::len).sum::<usize>() < TEXT_BYTES {
        texts.push(prose.text(&mut random, 1_200));
    }
    let (ours_each, ours_all) = compressed(&texts)?;
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = ["README.md", "ARCHITECTURE.md", "docs/proof.md", "benches/README.md"];
    let english: String = pages.iter().filter_map(|page| fs_err::read_to_string(written.join(page)).ok()).collect();
    let pieces: Vec<String> =
        english.as_bytes().chunks(1_200).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
    let (english_each, _) = compressed(&pieces)?;
    report.note(format!(
        "the made text, in pieces of 1,200 bytes: gzip makes each 1/{ours_each:.2}, and 8 MiB of them together 1/{ours_all:.2}; pieces of \
         the prose of this repository 1/{english_each:.2}"
    ));
    Ok(())
}

/// How many times smaller gzip makes texts, each alone and all together.
fn compressed(texts: &[String]) -> anyhow::Result<(f64, f64)> {
    let gzip = |text: &[u8]| -> anyhow::Result<usize> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text)?;
        Ok(gzip.finish()?.len())
    };
    let bytes = texts.iter().map(String::len).sum::<usize>() as f64;
    let each = texts.iter().map(|text| gzip(text.as_bytes())).sum::<anyhow::Result<usize>>()?;
    let all = gzip(texts.concat().as_bytes())?;
    Ok((bytes / each as f64, bytes / all as f64))
}
