//! Parses policy bundles and decides, purely, what a call may do and why. A decision is a function of the bundle and
//! of the [`facts::Facts`] of one call: this crate opens no file, asks no clock and holds no counter. What it cannot
//! decide it denies, with the reason; a bundle that it does not fully understand it refuses to load.

mod allowance;
mod budget;
pub mod bundle;
pub mod cache;
mod condition;
pub mod control;
pub mod decide;
pub mod facts;
pub mod forecast;
pub mod guard;
pub mod key;
pub mod ledger;
mod rate;
pub mod residency;
pub mod route;
pub mod scope;
pub mod signals;
pub mod suggestion;
mod variable;
pub mod window;

pub use allowance::{AllowanceKind, AllowanceView, Recorded, StepView};
pub use bundle::Bundle;
pub use condition::Recall;
pub use decide::{Prefer, Verdict, decide, decide_recalling};
pub use facts::Facts;
