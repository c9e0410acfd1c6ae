//! The report as one page that needs nothing beside itself, and the instructions for checking the pack.

use askama::Template;
use tollgate_analytics::Reading;
use tollgate_analytics::report::AsOf;
use tollgate_interaction::schema;

use crate::completeness::Completeness;
use crate::error::EvidenceError;
use crate::figures::{self, Figures, Row};
use crate::pack::PackFile;
use crate::record_keeping::{RecordKeepingRequest, generator};

/// Width of the bar of the busiest day, in the units of the drawing.
const BAR_WIDTH: u64 = 420;
/// Days drawn; the table below the drawing has all of them.
const MAX_BARS: usize = 62;

/// A column as the log dictionary describes it.
pub(crate) struct DictionaryRow {
    pub(crate) name: &'static str,
    pub(crate) kind: String,
    pub(crate) nullable: bool,
    pub(crate) meaning: &'static str,
}

/// The log dictionary of the facts.
pub(crate) fn dictionary() -> Vec<DictionaryRow> {
    let row = |column: &schema::Column<schema::InteractionRow>| DictionaryRow {
        name: column.name,
        kind: kind(&column.data_type),
        nullable: column.nullable,
        meaning: column.meaning,
    };
    schema::INTERACTION_COLUMNS.iter().map(row).collect()
}

/// A type in words.
fn kind(data_type: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Utf8 => "text".to_owned(),
        DataType::Boolean => "yes or no".to_owned(),
        DataType::Int32 | DataType::Int64 => "whole number".to_owned(),
        DataType::Timestamp(..) => "time in UTC, microseconds".to_owned(),
        DataType::Date32 => "day".to_owned(),
        DataType::Decimal128(_, scale) => format!("exact amount, {scale} decimal places"),
        DataType::Binary => "bytes (hexadecimal in CSV)".to_owned(),
        DataType::List(element) => format!("list of {} (JSON in CSV)", kind(element.data_type())),
        DataType::Struct(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            format!("{{{}}}", names.join(", "))
        }
        DataType::Map(..) => "name and value pairs (JSON in CSV)".to_owned(),
        other => other.to_string(),
    }
}

/// One bar of the drawing.
struct Bar {
    label: String,
    rows: u64,
    y: usize,
    width: u64,
    bad_width: u64,
}

#[derive(Template)]
#[template(path = "record_keeping.html")]
struct ReportPage<'a> {
    request: &'a RecordKeepingRequest,
    from: String,
    to: String,
    generated_at: String,
    generator: String,
    as_of: AsOf,
    figures: &'a Figures,
    completeness: &'a Completeness,
    findings: &'a [String],
    files: &'a [PackFile],
    dictionary: Vec<DictionaryRow>,
    bars: Vec<Bar>,
    drawing_height: usize,
    in_force: Vec<Rule>,
}

/// An obligation and where the report answers it.
struct Rule {
    article: &'static str,
    demand: &'static str,
    applies_from: &'static str,
    in_force: bool,
    answer: &'static str,
}

/// The report as HTML.
pub(crate) fn page(
    request: &RecordKeepingRequest,
    reading: &Reading,
    figures: &Figures,
    completeness: &Completeness,
    findings: &[String],
    files: &[PackFile],
) -> Result<String, EvidenceError> {
    let bars = bars(&figures.by_day);
    let page = ReportPage {
        request,
        from: figures::time(request.from_us),
        to: figures::time(request.to_us),
        generated_at: figures::time(request.generated_at_us),
        generator: generator(),
        as_of: reading.as_of(),
        figures,
        completeness,
        findings,
        files,
        dictionary: dictionary(),
        drawing_height: bars.len() * 16 + 4,
        bars,
        in_force: rules(request.generated_at_us),
    };
    Ok(page.render()?)
}

impl ReportPage<'_> {
    /// A text of the request, or that there is none.
    fn stated<'t>(&self, text: &'t str) -> &'t str {
        if text.is_empty() { "not stated" } else { text }
    }

    /// A value of a table, or a dash.
    fn shown(&self, row: &Row, name: &str) -> String {
        let text = row.text(name);
        if text.is_empty() { "–".to_owned() } else { text }
    }

    /// Rows of an outcome.
    fn outcome(&self, name: &str) -> u64 {
        self.figures.totals.rows_by_outcome.get(name).copied().unwrap_or(0)
    }

    /// A share of all rows, in per cent with one decimal place, rounded down.
    fn share(&self, rows: u64) -> String {
        let total = self.figures.totals.rows;
        if total == 0 {
            return "–".to_owned();
        }
        let permille = rows.saturating_mul(1_000) / total;
        format!("{}.{} %", permille / 10, permille % 10)
    }
}

fn bars(days: &[Row]) -> Vec<Bar> {
    let shown = &days[days.len().saturating_sub(MAX_BARS)..];
    let most = shown.iter().map(|day| day.count("rows")).max().unwrap_or(0).max(1);
    let bar = |(place, day): (usize, &Row)| {
        let (rows, bad) = (day.count("rows"), day.count("denied") + day.count("failed"));
        Bar {
            label: day.text("day"),
            rows,
            y: place * 16 + 2,
            width: rows * BAR_WIDTH / most,
            bad_width: bad * BAR_WIDTH / most,
        }
    };
    shown.iter().enumerate().map(bar).collect()
}

/// What Regulation (EU) 2024/1689, as amended in 2026, asks of a log. The dates are those for systems of Annex III:
/// before them the report shows the same, without an obligation.
fn rules(now_us: i64) -> Vec<Rule> {
    /// 2027-12-02T00:00:00Z.
    const ANNEX_III_US: i64 = 1_827_705_600_000_000;
    const FROM: &str = "2 December 2027 (Annex III)";
    let rule = |article, demand, answer| Rule {
        article,
        demand,
        applies_from: FROM,
        in_force: now_us >= ANNEX_III_US,
        answer,
    };
    vec![
        rule("12(1)", "events are recorded automatically over the lifetime of the system", "sections 3 and 4"),
        rule("12(2)(a)", "situations of risk and substantial changes can be told from the log", "sections 6 and 8"),
        rule("12(2)(b)", "the log serves monitoring after the system is on the market", "sections 5 and 6"),
        rule("12(2)(c)", "the deployer can monitor the operation", "sections 5 and 6"),
        rule("13(3)(f)", "the log can be collected, stored and interpreted", "annex A"),
        rule("19(1)", "logs are kept at least six months", "section 9"),
        rule("26(6)", "the deployer keeps the logs under its control at least six months", "section 9"),
    ]
}

/// The instructions that go with the pack.
pub(crate) fn verify(request: &RecordKeepingRequest, figures: &Figures) -> String {
    let totals = &figures.totals;
    let (from, to) = (figures::time(request.from_us), figures::time(request.to_us));
    format!(
        "# How to check this pack\n\n\
         You need no software of ours: a shell, and DuckDB or anything else that reads Parquet or CSV.\n\n\
         ## 1. Nothing was changed since the pack was made\n\n\
         ```\nsha256sum -c SHA256SUMS\n```\n\n\
         Every line must end in `OK`. `SHA256SUMS` lists every file but itself. To know that it was not replaced too,\n\
         compare its own hash with the one you were given by another route than this pack:\n\n\
         ```\nsha256sum SHA256SUMS\n```\n\n\
         ## 2. The totals follow from the records\n\n\
         In the folder of the pack:\n\n\
         ```\nduckdb -c \"CREATE VIEW interactions AS SELECT * FROM 'data/interactions.parquet'\" \\\n       \
         -c \"SELECT count(*), sum(cost_usd), sum(input_tokens), sum(output_tokens) FROM interactions\"\n```\n\n\
         This must give {} records, {} USD, {} input tokens and {} output tokens, as in `manifest.json` under\n\
         `control_totals`. The other figures of the report come from the statements in `queries/`.\n\n\
         ## 3. Nothing is missing from the log\n\n\
         `manifest.json` has, under `completeness`, for each day the records that the catalogue of the log lists and the\n\
         records that were found by reading, and for each writer the sequence numbers that its files cover. A hole in\n\
         them is a file that was lost or removed. `findings` is empty if there is none.\n\n\
         ## 4. What the columns mean\n\n\
         `dictionary/interactions.csv`, also annex A of `report.html`.\n\n\
         `data/interactions.csv` holds texts exactly as callers sent them. Import it as text; a spreadsheet that opens it\n\
         directly may take a text that begins with `=` for a formula.\n\n\
         ## What this pack cannot show\n\n\
         - A call that did not go through the gateway is not in its log.\n\
         - The hashes show that the files are those that were handed out. They do not show who made them: the pack is not\n  \
           signed.\n\
         - The pack covers {from} to {to} (end not included) as the log stood when it was made. Records that other\n  \
           machines had not delivered by then are not in it.\n\
         - What was said in the calls is not part of the pack. It can be shown call by call on request.\n\
         - Where a model was run is what the configuration says of its provider; the log cannot observe it.\n",
        totals.rows, totals.cost_usd, totals.input_tokens, totals.output_tokens,
    )
}
