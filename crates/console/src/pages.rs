//! The pages. Each module holds one page: the struct its template renders, how it is made from a report, and the
//! handler. A template decides nothing beyond what to leave out; figures are worded in [`crate::format`].

pub mod budgets;
pub mod call;
pub mod costs;
pub mod experiments;
pub mod integrity;
pub mod interaction;
pub mod interactions;
pub mod keys;
pub mod login;
pub mod models;
pub mod overview;
pub mod people;
pub mod person;
pub mod policies;
pub mod problem;
pub mod reports;
pub mod search;
pub mod setup;
pub mod sql;

/// A figure with its name, for the strip at the top of a page.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    /// What it is.
    pub label: &'static str,
    /// The figure.
    pub value: String,
    /// A second figure beside it, smaller.
    pub second: String,
    /// All digits of the figure, for those who ask.
    pub exact: String,
    /// How it moved.
    pub delta: Option<crate::format::Delta>,
    /// A remark.
    pub note: String,
    /// A sparkline, as SVG.
    pub spark: String,
}
