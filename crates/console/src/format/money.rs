//! Amounts of money. One formatter for all of them: as many digits as tell an amount from nothing, and where that rounds,
//! the exact amount beside it for whoever points at it.

use std::borrow::Borrow;
use std::fmt;

use askama::filters::HtmlSafe;
use tollgate_interaction::Usd;

use super::{UNKNOWN, grouped};

/// Units of [`Usd`] in one dollar.
const UNITS_PER_USD: i128 = 1_000_000_000_000;
/// Below a millionth of a dollar one digit tells enough: the zeros before it take the room.
const LEAST_OF_TWO: i128 = UNITS_PER_USD / 1_000_000;

/// Dollars with as many digits as the amount needs to be told from nothing: `$12,345.67`, `$1.23`, `$0.0123`, `$0.00042`,
/// `$0.00000002`.
#[must_use]
pub fn usd(amount: impl Borrow<Usd>) -> String {
    let amount = *amount.borrow();
    let units = amount.get().abs();
    let digits = match units {
        0 => decimal(units, 2),
        _ if units >= UNITS_PER_USD => decimal(units, 2),
        _ if units >= UNITS_PER_USD / 100 => decimal(units, 4),
        _ if units >= LEAST_OF_TWO => decimal(units, significant_places(units)),
        _ => decimal(units, 12 - units.checked_ilog10().unwrap_or(0).min(12)),
    };
    signed(amount, &digits)
}

/// Like [`usd`], with the exact amount behind it where it is rounded. For templates.
#[must_use]
pub fn dollars(amount: impl Borrow<Usd>) -> Dollars {
    let amount = *amount.borrow();
    Dollars { shown: usd(amount), amount: Some(amount) }
}

/// Like [`dollars`], or a dash.
#[must_use]
pub fn dollars_or_unknown(amount: impl Borrow<Option<Usd>>) -> Dollars {
    let amount = *amount.borrow();
    amount.map_or_else(|| Dollars { shown: UNKNOWN.to_owned(), amount: None }, dollars)
}

/// Dollars and cents, for columns that are added up by eye: `$1,234.50`. What is less than half a cent is shown as
/// [`usd`] does, since a sum of nothing is not what it is.
#[must_use]
pub fn dollars_and_cents(amount: impl Borrow<Usd>) -> Dollars {
    let amount = *amount.borrow();
    let units = amount.get().abs();
    if units != 0 && units < UNITS_PER_USD / 200 {
        return dollars(amount);
    }
    Dollars { shown: signed(amount, &decimal(units, 2)), amount: Some(amount) }
}

/// All digits of an amount: `$0.000000021`.
#[must_use]
pub fn exact(amount: impl Borrow<Usd>) -> String {
    let amount = *amount.borrow();
    signed(amount, amount.to_string().trim_start_matches('-'))
}

/// An amount as HTML: what is shown, and the exact amount as its title where the two differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dollars {
    shown: String,
    amount: Option<Usd>,
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.amount.map(exact);
        match exact {
            // Digits, points and signs only: nothing to escape.
            Some(exact) if value(&exact) != value(&self.shown) => {
                write!(f, r#"<span title="{exact}">{}</span>"#, self.shown)
            }
            _ => f.write_str(&self.shown),
        }
    }
}

impl HtmlSafe for Dollars {}

/// A written amount without what does not change it: commas, and zeros at the end.
fn value(written: &str) -> String {
    let digits = written.replace(',', "");
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits,
    }
}

fn signed(amount: Usd, digits: &str) -> String {
    let sign = if amount.get() < 0 { "−" } else { "" };
    format!("{sign}${digits}")
}

/// Places after the point that show the first two digits that are not zero, at most twelve.
fn significant_places(units: i128) -> u32 {
    let digits = units.checked_ilog10().unwrap_or(0);
    (12 - digits + 1).min(12)
}

/// `units` of 10⁻¹² as a decimal with `places` places, rounded half up, thousands separated.
fn decimal(units: i128, places: u32) -> String {
    let step = 10_i128.pow(12 - places);
    let rounded = (units + step / 2) / step;
    let one = 10_i128.pow(places);
    let whole = grouped(&(rounded / one).to_string());
    format!("{whole}.{:0width$}", rounded % one, width = places as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_keep_the_digits_that_tell_them_from_nothing() {
        for (text, shown) in [
            ("0", "$0.00"),
            ("12345.678", "$12,345.68"),
            ("0.0123", "$0.0123"),
            ("0.00042", "$0.00042"),
            ("0.0000012", "$0.0000012"),
            ("0.00000002", "$0.00000002"),
            ("0.0000000215", "$0.00000002"),
            ("0.000000999", "$0.0000010"),
            ("0.000000000001", "$0.000000000001"),
            ("-1.5", "−$1.50"),
            ("-0.000000456", "−$0.0000005"),
        ] {
            assert_eq!(usd(text.parse::<Usd>().unwrap()), shown);
        }
    }

    #[test]
    fn no_amount_is_so_long_that_it_runs_into_its_neighbour() {
        // A token of the cheapest list costs 10⁻⁸ dollars.
        for power in 4..7 {
            for leading in [1, 5, 37, 994, 999_999] {
                let shown = usd(Usd::new(leading * 10_i128.pow(power)));
                assert!(shown.chars().count() <= 11, "{shown}");
            }
        }
    }

    #[test]
    fn what_is_rounded_has_the_exact_amount_behind_it() {
        let html = |text: &str| dollars(text.parse::<Usd>().unwrap()).to_string();
        assert_eq!(html("1234.5"), "$1,234.50");
        assert_eq!(html("0.00042"), "$0.00042");
        assert_eq!(html("0.000421"), r#"<span title="$0.000421">$0.00042</span>"#);
        assert_eq!(html("0.00000002"), "$0.00000002");
        assert_eq!(dollars_or_unknown(None).to_string(), UNKNOWN);
    }

    #[test]
    fn a_column_of_cents_shows_less_than_a_cent_and_not_nothing() {
        let html = |text: &str| dollars_and_cents(text.parse::<Usd>().unwrap()).to_string();
        assert_eq!(html("0"), "$0.00");
        assert_eq!(html("0.0123"), r#"<span title="$0.0123">$0.01</span>"#);
        assert_eq!(html("0.0042"), "$0.0042");
        assert_eq!(html("-3"), "−$3.00");
    }
}
