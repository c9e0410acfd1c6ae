//! What stands beside the sums on `/costs`: calls without a known price and how to find out why, the providers' own figures
//! against the catalogue's, and what was corrected since it was recorded.

use tollgate_analytics::report::{Corrections, Costs, ReconciliationRow, UnpricedRow};
use tollgate_interaction::Usd;

use crate::format;
use crate::range::{Range, parameter};

/// Calls that share what a price is looked up by.
#[derive(Debug)]
pub(super) struct Unpriced {
    pub(super) name: String,
    /// Region, tier, and calls whose tokens are not known; empty if there is nothing to say.
    pub(super) note: String,
    pub(super) href: String,
    /// The command that says why there is no price.
    pub(super) command: String,
    pub(super) row: UnpricedRow,
}

pub(super) fn unpriced(report: &Costs, range: Range) -> Vec<Unpriced> {
    report.unpriced.iter().map(|row| line(row, range)).collect()
}

fn line(row: &UnpricedRow, range: Range) -> Unpriced {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(row.region.as_ref().map(|region| format!("region {region}")));
    notes.extend(row.service_tier.as_ref().map(|tier| format!("tier {tier}")));
    if row.uncounted > 0 {
        notes.push(format!("{} without a token count", format::count(row.uncounted)));
    }
    let mut command = format!("tollgate prices explain {} --provider {}", word(&row.model), word(&row.provider));
    for (option, value) in [("--region", &row.region), ("--tier", &row.service_tier)] {
        if let Some(value) = value {
            command.push_str(&format!(" {option} {}", word(value)));
        }
    }
    Unpriced {
        name: format!("{}/{}", row.provider, row.model),
        note: notes.join(", "),
        href: format!(
            "{}{}{}",
            all_unpriced(range),
            parameter("provider", &row.provider),
            parameter("model", &row.model)
        ),
        command,
        row: row.clone(),
    }
}

/// The list of all calls without a known cost.
pub(super) fn all_unpriced(range: Range) -> String {
    format!("/interactions?range={}{}", range.as_str(), parameter("cost", "unknown"))
}

/// A word of a command line, in quotes where a shell would read more into it.
fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@+=".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
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
    use super::*;

    #[test]
    fn the_command_can_be_pasted_whatever_a_model_is_called() {
        let row = UnpricedRow {
            provider: "mine".to_owned(),
            model: "a b'; rm".to_owned(),
            service_tier: Some("flex".to_owned()),
            uncounted: 2,
            ..UnpricedRow::default()
        };
        let line = line(&row, Range::Week);
        assert_eq!(line.command, r"tollgate prices explain 'a b'\''; rm' --provider mine --tier flex");
        assert_eq!(line.note, "tier flex, 2 without a token count");
        assert!(line.href.starts_with("/interactions?range=7d&cost=unknown&provider=mine&model="), "{}", line.href);
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
