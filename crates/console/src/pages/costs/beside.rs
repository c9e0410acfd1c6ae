//! What stands beside the sums on `/costs`: calls without a known cost and why that is, the providers' own figures
//! against the catalogue's, and what was corrected since it was recorded.

use tollgate_analytics::report::{Corrections, Costs, ReconciliationRow, UnpricedRow};
use tollgate_interaction::Usd;

use crate::format::{self, UNKNOWN};
use crate::range::{Range, parameter};
use crate::unpriced::{Explainer, Why};

/// Calls that share what a price is looked up by.
#[derive(Debug)]
pub(super) struct Unpriced {
    pub(super) name: String,
    /// Region and tier; empty if there is nothing to say.
    pub(super) note: String,
    pub(super) href: String,
    /// Why the newest of them has no cost; `None` if it cannot be read any more.
    pub(super) why: Option<Why>,
    /// Dashes where nobody counted.
    pub(super) input_tokens: String,
    pub(super) output_tokens: String,
    pub(super) row: UnpricedRow,
}

pub(super) fn unpriced(report: &Costs, range: Range, explainer: Explainer<'_>) -> Vec<Unpriced> {
    report.unpriced.iter().map(|row| line(row, range, explainer)).collect()
}

fn line(row: &UnpricedRow, range: Range, explainer: Explainer<'_>) -> Unpriced {
    let tokens = |count: u64| if row.uncounted > 0 { UNKNOWN.to_owned() } else { format::count(count) };
    let mut notes: Vec<String> = Vec::new();
    notes.extend(row.region.as_ref().map(|region| format!("region {region}")));
    notes.extend(row.service_tier.as_ref().map(|tier| format!("tier {tier}")));
    Unpriced {
        name: format!("{}/{}", row.provider, row.model),
        note: notes.join(", "),
        href: format!(
            "{}{}{}",
            all_unpriced(range),
            parameter("provider", &row.provider),
            parameter("model", &row.model)
        ),
        input_tokens: tokens(row.input_tokens),
        output_tokens: tokens(row.output_tokens),
        why: row.newest.as_ref().map(|call| explainer.why(call)),
        row: row.clone(),
    }
}

/// The list of all calls without a known cost.
pub(super) fn all_unpriced(range: Range) -> String {
    format!("/interactions?range={}{}", range.as_str(), parameter("cost", "unknown"))
}

/// A provider's own figure against the catalogue's.
#[derive(Debug)]
pub(super) struct Reconciled {
    /// Theirs less ours, with its sign and all its places.
    pub(super) difference: String,
    pub(super) agrees: bool,
    pub(super) row: ReconciliationRow,
}

pub(super) fn reconciled(report: &Costs) -> Vec<Reconciled> {
    report
        .reconciliation
        .iter()
        .map(|row| Reconciled {
            difference: signed(row.provider_usd - row.catalog_usd),
            agrees: row.provider_usd == row.catalog_usd,
            row: row.clone(),
        })
        .collect()
}

/// One sentence on what was corrected; `None` if nothing was.
pub(super) fn corrected(corrections: &Corrections) -> Option<String> {
    if corrections.calls == 0 {
        return None;
    }
    let since = match corrections.priced_since {
        0 => String::new(),
        calls => format!(", {} of them recorded without a cost", format::count(calls)),
    };
    let verb = if corrections.calls == 1 { "counts" } else { "count" };
    Some(format!(
        "{}{since} {verb} with a corrected cost: {} in all, where {} was recorded.",
        format::counted(corrections.calls, "call"),
        format::usd(corrections.corrected_usd),
        format::usd(corrections.recorded_usd),
    ))
}

fn signed(amount: Usd) -> String {
    if amount > Usd::ZERO { format!("+{amount}") } else { amount.to_string() }
}

#[cfg(test)]
mod tests {
    use tollgate_analytics::report::RecordedCall;

    use super::*;

    #[test]
    fn a_line_says_why_and_leads_to_its_calls() {
        let newest = Some(RecordedCall { provider: "mine".to_owned(), ..crate::sample::recorded() });
        let row = UnpricedRow {
            provider: "mine".to_owned(),
            model: "a b".to_owned(),
            service_tier: Some("flex".to_owned()),
            newest,
            ..UnpricedRow::default()
        };
        let explainer = Explainer { prices: &crate::tests::MadeUpPrices, program: "tollgate --config my.yaml" };
        let line = line(&row, Range::Week, explainer);
        let why = line.why.unwrap();
        assert_eq!((why.label, why.sentence.as_str()), ("Price unknown", "no price for model `m` at `mine`"));
        let command = "tollgate --config my.yaml prices explain m --provider mine --tier flex";
        assert_eq!(why.command.as_deref(), Some(command));
        assert_eq!(line.note, "tier flex");
        assert!(
            line.href.starts_with("/interactions?range=7d&cost=unknown&provider=mine&model=a%20b"),
            "{}",
            line.href
        );
    }

    #[test]
    fn what_was_corrected_is_told_in_one_sentence_or_not_at_all() {
        assert_eq!(corrected(&Corrections::default()), None);
        let corrections = Corrections {
            calls: 3,
            priced_since: 1,
            recorded_usd: Usd::from_dollars(2),
            corrected_usd: Usd::from_dollars(5),
        };
        let sentence = corrected(&corrections).unwrap();
        assert!(sentence.starts_with("3 calls, 1 of them recorded without a cost count with"), "{sentence}");
        assert!(sentence.contains("$5.00 in all, where $2.00 was recorded"), "{sentence}");
    }
}
