//! Whether documents can be right, before they take the place of others: rows, signs, units, dates, conditions. It knows
//! no price; it knows what a mistake of a thousandfold looks like.

use std::collections::HashMap;
use std::fmt;

use tollgate_interaction::Usd;

use super::document::{CatalogDocument, ModelRow, PriceRow};
use super::rates::{Class, Rates};

/// Dollars per million tokens, or per thousand calls, above which a price is suspicious: per token or in cents by mistake.
const DEAREST: Usd = Usd::from_dollars(2_000);
/// Below which it is: per thousand tokens or per token by mistake. 0.0001 dollars.
const CHEAPEST: Usd = Usd::new(100_000_000);
/// So many times the output may be cheaper than the input.
const OUTPUT_SHARE: i128 = 10;

const SECONDS_PER_HOUR: i128 = 3_600;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It may be so; somebody should look.
    Suspicious,
    /// It cannot be so; the document must not be used.
    Wrong,
}

/// Something about a document that is or may be wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the file.
    pub file: String,
    /// Provider of the document.
    pub provider: String,
    /// The model, if it is about one.
    pub model: Option<String>,
    /// What it is, in words.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Suspicious => "suspicious",
            Severity::Wrong => "wrong",
        };
        if self.provider.is_empty() {
            // The file could not be read; what is wrong with it names it.
            return write!(f, "{severity}: {}", self.what);
        }
        let model = self.model.as_deref().map(|model| format!("/{model}")).unwrap_or_default();
        write!(f, "{severity}: {}: {}{model}: {}", self.file, self.provider, self.what)
    }
}

/// What is or may be wrong with `documents`, in their order.
#[must_use]
pub fn check(documents: &[CatalogDocument]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for document in documents {
        let (file, provider) = (&document.file, &document.provider);
        let mut notes = Notes { file, provider, model: None, findings: &mut findings };
        for name in std::iter::once(&document.provider).chain(&document.also_called) {
            if let Some(owner) = owners.insert(name, &document.provider) {
                notes.wrong(format!("the name `{name}` is also that of `{owner}`"));
            }
        }
        check_document(document, &mut notes);
    }
    findings
}

struct Notes<'a> {
    file: &'a str,
    provider: &'a str,
    model: Option<&'a str>,
    findings: &'a mut Vec<Finding>,
}

impl Notes<'_> {
    fn note(&mut self, severity: Severity, what: String) {
        let (provider, model) = (self.provider.to_owned(), self.model.map(str::to_owned));
        self.findings.push(Finding { severity, file: self.file.to_owned(), provider, model, what });
    }

    fn wrong(&mut self, what: String) {
        self.note(Severity::Wrong, what);
    }

    fn suspicious(&mut self, what: String) {
        self.note(Severity::Suspicious, what);
    }
}

fn check_document<'a>(document: &'a CatalogDocument, notes: &mut Notes<'a>) {
    if document.source.trim().is_empty() {
        notes.wrong("it names no source".to_owned());
    }
    let checked = PriceRow { from: document.checked.clone(), ..PriceRow::default() };
    if document.checked == "release" || checked.in_force_from_us().is_none() {
        notes.wrong(format!("`checked` is `{}`, which is no date", document.checked));
    }
    if document.models.is_empty() {
        notes.wrong("it has no models".to_owned());
    }
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for model in &document.models {
        notes.model = Some(&model.id);
        for name in std::iter::once(&model.id).chain(&model.aliases) {
            match owners.insert(name, &model.id) {
                Some(owner) if owner == model.id => notes.suspicious(format!("the name `{name}` is given twice")),
                Some(owner) => notes.wrong(format!("the name `{name}` is also that of `{owner}`")),
                None => {}
            }
        }
        check_model(document, model, notes);
        notes.model = None;
    }
}

fn check_model(document: &CatalogDocument, model: &ModelRow, notes: &mut Notes<'_>) {
    if model.prices.is_empty() {
        notes.wrong("it has no prices".to_owned());
    }
    for (index, row) in model.prices.iter().enumerate() {
        let name = format!("from {}{}", row.from, row.conditions());
        check_row(document, row, &name, notes);
        let mut limits = row.above.iter().map(|tier| tier.input_tokens);
        if !limits.clone().zip(limits.by_ref().skip(1)).all(|(lower, upper)| lower < upper) {
            notes.wrong(format!("{name}: the tiers `above` are not in ascending order"));
        }
        let all = std::iter::once(&row.rates).chain(row.above.iter().map(|tier| &tier.rates));
        for rates in all {
            check_rates(rates, model.free, &name, notes);
        }
        for later in &model.prices[index + 1..] {
            check_pair(row, later, &name, notes);
        }
        let is_covered =
            |other: &PriceRow| other.hours_utc.is_none() && is_same_list(other, row) && other.from == row.from;
        if row.hours_utc.is_some() && !model.prices.iter().any(is_covered) {
            notes.wrong(format!("{name}: no row holds for the rest of the day"));
        }
    }
}

fn check_row(document: &CatalogDocument, row: &PriceRow, name: &str, notes: &mut Notes<'_>) {
    if row.in_force_from_us().is_none() {
        notes.wrong(format!("{name}: `from` is neither `release` nor a date"));
    }
    if row.hours().is_err() {
        notes.wrong(format!("{name}: `hours_utc` is no part of a day"));
    }
    if row.source.as_ref().is_some_and(|source| source.trim().is_empty()) {
        notes.wrong(format!("{name}: it names no source"));
    }
    let is_short = |source: &&String| !source.contains([':', ' ', '.']) && !document.sources.contains_key(*source);
    if let Some(source) = row.source.as_ref().filter(is_short) {
        notes.suspicious(format!("{name}: `{source}` is not among the `sources`"));
    }
    if row.rates.iter().next().is_none() {
        notes.wrong(format!("{name}: it has no rates"));
    }
}

fn check_rates(rates: &Rates, is_free: bool, name: &str, notes: &mut Notes<'_>) {
    for (class, rate) in rates.iter() {
        // An hour of sound costs about what a million tokens do.
        let rate = if class == Class::AudioSecond { Usd::new(rate.get() * SECONDS_PER_HOUR) } else { rate };
        let class = class.name();
        if rate > DEAREST {
            notes.suspicious(format!("{name}: `{class}` is {rate}, as if it were for one token or in cents"));
        } else if rate > Usd::ZERO && rate < CHEAPEST {
            notes.suspicious(format!("{name}: `{class}` is {rate}, as if it were for a thousand tokens or for one"));
        }
    }
    let rate = |class| rates.get(class);
    let is_zero = |class| rate(class).is_none_or(|rate| rate == Usd::ZERO);
    if !is_free && is_zero(Class::Input) && is_zero(Class::Output) && rates.iter().all(|(_, rate)| rate == Usd::ZERO) {
        notes.wrong(format!("{name}: everything costs nothing; write `free: true` if that is meant"));
    }
    let Some(input) = rate(Class::Input) else { return };
    if rate(Class::CacheRead).is_some_and(|read| read > input) {
        notes.suspicious(format!("{name}: reading from the cache is dearer than reading"));
    }
    if rate(Class::Output).is_some_and(|output| output.get() * OUTPUT_SHARE < input.get()) {
        notes.suspicious(format!("{name}: output is far cheaper than input"));
    }
}

/// Whether both rows are of one price list, which a later date supersedes as a whole.
fn is_same_list(one: &PriceRow, other: &PriceRow) -> bool {
    one.service_tier == other.service_tier && one.region == other.region
}

fn check_pair(row: &PriceRow, later: &PriceRow, name: &str, notes: &mut Notes<'_>) {
    if !is_same_list(row, later) {
        return;
    }
    if later.in_force_from_us() < row.in_force_from_us() {
        notes.wrong(format!("{name}: the row from {} comes after it", later.from));
    }
    if later.from != row.from {
        return;
    }
    let overlap = match (row.hours(), later.hours()) {
        (Ok(None), Ok(None)) => true,
        (Ok(Some(one)), Ok(Some(other))) => one.overlap(other),
        _ => false,
    };
    if overlap {
        notes.wrong(format!("{name}: another row has the same conditions"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(rows: &str) -> Vec<String> {
        let text = format!("provider: p\nsource: s\nchecked: 2026-11-01\nmodels:\n  - id: m\n    prices:\n{rows}");
        let document = CatalogDocument::from_yaml("mine", &text).unwrap();
        check(&[document]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_document_has_no_findings() {
        let rows = concat!(
            "      - {from: release, input: \"1\", output: \"2\", cache_read: \"0.1\"}\n",
            "      - {from: release, hours_utc: \"16:30-00:30\", input: \"0.5\", output: \"1\"}\n",
            "      - {from: 2026-01-01, input: \"2\", output: \"4\", above: [{input_tokens: 200000, input: \"4\", output: \"8\"}]}\n",
            "      - {from: release, service_tier: flex, input: \"0.5\", output: \"1\"}\n",
        );
        assert_eq!(findings(rows), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_named() {
        for (rows, expected) in [
            ("      - {from: release, input: \"2500\", output: \"9000\"}\n", "as if it were for one token"),
            ("      - {from: release, input: \"0.000003\", output: \"1\"}\n", "as if it were for a thousand tokens"),
            ("      - {from: release, input: \"0\", output: \"0\"}\n", "everything costs nothing"),
            ("      - {from: release, input: \"1\", output: \"2\", cache_read: \"3\"}\n", "dearer than reading"),
            ("      - {from: release, input: \"100\", output: \"2\"}\n", "output is far cheaper"),
            ("      - {from: 2026-02-30, input: \"1\", output: \"2\"}\n", "neither `release` nor a date"),
            ("      - {from: release, hours_utc: \"16:30\", input: \"1\", output: \"2\"}\n", "no part of a day"),
            (
                "      - {from: release, hours_utc: \"16:30-17:30\", input: \"1\", output: \"2\"}\n",
                "the rest of the day",
            ),
            ("      - {from: release, source: s9, input: \"1\", output: \"2\"}\n", "not among the `sources`"),
            ("      - {from: release}\n", "it has no rates"),
            (
                "      - {from: 2026-02-01, input: \"1\"}\n      - {from: 2026-01-01, input: \"1\"}\n",
                "the row from 2026-01-01 comes after it",
            ),
            (
                "      - {from: release, region: eu, input: \"1\"}\n      - {from: release, region: eu, input: \"2\"}\n",
                "another row has the same conditions",
            ),
            (
                "      - {from: release, input: \"1\", above: [{input_tokens: 9, input: \"1\"}, {input_tokens: 9, input: \"1\"}]}\n",
                "not in ascending order",
            ),
        ] {
            let found = findings(rows);
            assert!(found.iter().any(|finding| finding.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_name_of_two_models_or_two_providers_is_wrong() {
        let text = |provider: &str| {
            format!(
                "provider: {provider}\nalso_called: [twin]\nsource: s\nchecked: 2026-11-01\nmodels:\n  - {{id: a, aliases: [b], prices: [{{from: release, input: \"1\"}}]}}\n  - {{id: b, prices: [{{from: release, input: \"1\"}}]}}\n"
            )
        };
        let documents = ["p", "q"].map(|name| CatalogDocument::from_yaml(name, &text(name)).unwrap());
        let found: Vec<String> = check(&documents).iter().map(ToString::to_string).collect();
        assert!(found.contains(&"wrong: p: p/b: the name `b` is also that of `a`".to_owned()), "{found:?}");
        assert!(found.contains(&"wrong: q: q: the name `twin` is also that of `p`".to_owned()), "{found:?}");
    }
}
