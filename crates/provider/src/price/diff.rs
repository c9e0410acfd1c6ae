//! What an update of the catalogue changes, and whether it may take place unasked. It judges size, not truth.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_interaction::Usd;

use super::document::{CatalogDocument, PriceRow};
use super::rates::{Class, Rates};

/// Share of the rows that an update may lose, in percent.
const MAX_LOST_PERCENT: usize = 10;
/// So many times a price may rise or fall.
const MAX_FACTOR: i128 = 10;

/// A price that is another afterwards.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The newest row of its conditions: `provider/model?tier=flex`, with ` above 200000` for a price by length.
    pub row: String,
    /// As the catalogue calls it: `input`, `cache_read`.
    pub class: &'static str,
    /// Before; `None` if the row had no price of this class.
    pub old: Option<Usd>,
    /// Afterwards; `None` if the row has none.
    pub new: Option<Usd>,
}

impl Change {
    /// Whether it is more than tenfold, up or down; from or to zero is.
    #[must_use]
    pub fn is_drastic(&self) -> bool {
        let (Some(old), Some(new)) = (self.old, self.new) else { return false };
        let (less, more) = (old.min(new).get(), old.max(new).get());
        less.saturating_mul(MAX_FACTOR) < more
    }

    /// New over old, less one, in hundredths of a percent, rounded towards zero: 2500 is a quarter more. `None` without
    /// both, or from zero.
    #[must_use]
    pub fn basis_points(&self) -> Option<i128> {
        const WHOLE: i128 = 10_000;
        let (old, new) = (self.old?.get(), self.new?.get());
        (old != 0).then(|| (new - old).saturating_mul(WHOLE) / old)
    }
}

/// What an update changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Diff {
    /// Models that are new: `provider/model`.
    pub added: Vec<String>,
    /// Models that are gone.
    pub removed: Vec<String>,
    /// Prices in force last, of models that stay.
    pub changed: Vec<Change>,
    /// Price rows before.
    pub rows_before: usize,
    /// Price rows that are gone, of models that stay or go.
    pub rows_lost: usize,
    /// Price rows afterwards.
    pub rows_after: usize,
}

/// Whether an update may take place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Accept,
    /// Only if somebody insists, having read the reasons.
    Refuse(Vec<String>),
}

impl Diff {
    /// Refuses what loses more than a tenth of the rows or changes a price more than tenfold.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut reasons = Vec::new();
        if self.rows_lost * 100 > self.rows_before * MAX_LOST_PERCENT {
            reasons.push(format!("{} of {} price rows would be lost", self.rows_lost, self.rows_before));
        }
        for Change { row, class, old, new } in self.changed.iter().filter(|change| change.is_drastic()) {
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            reasons.push(format!("`{class}` of `{row}` would go from {old} to {new}"));
        }
        if reasons.is_empty() { Verdict::Accept } else { Verdict::Refuse(reasons) }
    }
}

/// What `new` in place of `old` changes.
#[must_use]
pub fn diff(old: &[CatalogDocument], new: &[CatalogDocument]) -> Diff {
    let (before, after) = (Inventory::of(old), Inventory::of(new));
    let mut changed = Vec::new();
    for (row, old) in &before.newest {
        let Some(new) = after.newest.get(row) else { continue };
        changes(row, &old.rates, &new.rates, &mut changed);
        for tier in &old.above {
            let Some(same) = new.above.iter().find(|other| other.input_tokens == tier.input_tokens) else { continue };
            changes(&format!("{row} above {}", tier.input_tokens), &tier.rates, &same.rates, &mut changed);
        }
    }
    let gone = |from: &BTreeSet<String>, to: &BTreeSet<String>| from.difference(to).cloned().collect();
    Diff {
        added: gone(&after.models, &before.models),
        removed: gone(&before.models, &after.models),
        changed,
        rows_before: before.rows.len(),
        rows_lost: before.rows.difference(&after.rows).count(),
        rows_after: after.rows.len(),
    }
}

fn changes(row: &str, old: &Rates, new: &Rates, changed: &mut Vec<Change>) {
    for class in Class::ALL {
        let (old, new) = (old.get(class), new.get(class));
        if old != new {
            changed.push(Change { row: row.to_owned(), class: class.name(), old, new });
        }
    }
}

#[derive(Default)]
struct Inventory<'a> {
    models: BTreeSet<String>,
    /// With date and conditions.
    rows: BTreeSet<String>,
    /// Of each model and conditions, the row in force last.
    newest: BTreeMap<String, &'a PriceRow>,
}

impl<'a> Inventory<'a> {
    fn of(documents: &'a [CatalogDocument]) -> Inventory<'a> {
        let mut inventory = Inventory::default();
        for document in documents {
            for model in &document.models {
                let name = format!("{}/{}", document.provider, model.id);
                for row in &model.prices {
                    inventory.rows.insert(format!("{name}@{}{}", row.from, row.conditions()));
                    let newest = inventory.newest.entry(format!("{name}{}", row.conditions())).or_insert(row);
                    if newest.in_force_from_us() <= row.in_force_from_us() {
                        *newest = row;
                    }
                }
                inventory.models.insert(name);
            }
        }
        inventory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(models: &[(&str, &str)]) -> CatalogDocument {
        let mut text = "provider: p\nsource: s\nchecked: 2026-11-01\nmodels:\n".to_owned();
        for (id, input) in models {
            text += &format!("  - {{id: {id}, prices: [{{from: release, input: \"{input}\"}}]}}\n");
        }
        CatalogDocument::from_yaml("mine", &text).unwrap()
    }

    #[test]
    fn additions_removals_and_changes_are_told_apart() {
        let old = document(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let new = document(&[("b", "2"), ("c", "1"), ("d", "1")]);
        let diff = diff(&[old], &[new]);
        assert_eq!((diff.added, diff.removed), (vec!["p/d".to_owned()], vec!["p/a".to_owned()]));
        let (old, new) = (Some(Usd::from_dollars(1)), Some(Usd::from_dollars(2)));
        assert_eq!(diff.changed, [Change { row: "p/b".to_owned(), class: "input", old, new }]);
        assert_eq!(diff.changed[0].basis_points(), Some(10_000));
        assert_eq!((diff.rows_before, diff.rows_lost, diff.rows_after), (3, 1, 3));
    }

    #[test]
    fn an_update_that_loses_a_tenth_passes_and_one_that_loses_more_does_not() {
        let names: Vec<String> = (0..10).map(|number| format!("m{number}")).collect();
        let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let verdict = |kept: usize| diff(&[document(&all)], &[document(&all[..kept])]).verdict();
        assert_eq!(verdict(9), Verdict::Accept);
        assert_eq!(verdict(8), Verdict::Refuse(vec!["2 of 10 price rows would be lost".to_owned()]));
    }

    #[test]
    fn a_price_may_change_tenfold_and_no_more() {
        let verdict = |old, new| diff(&[document(&[("a", old)])], &[document(&[("a", new)])]).verdict();
        assert_eq!(verdict("1", "10"), Verdict::Accept);
        assert_eq!(verdict("10", "1"), Verdict::Accept);
        assert!(matches!(verdict("1", "10.01"), Verdict::Refuse(_)));
        assert!(matches!(verdict("3", "0.000003"), Verdict::Refuse(_)));
        assert!(matches!(verdict("3", "0"), Verdict::Refuse(_)));
    }
}
