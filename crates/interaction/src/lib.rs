//! The record of one AI call, and nothing else: identifiers, token usage, money, outcome, and the versioned Arrow
//! schema they are written in. This crate does no I/O, reads no clock and draws no randomness: every time and every
//! identifier comes in as a parameter.

pub mod attempt;
pub mod batch;
pub mod commitment;
pub mod event;
pub mod governance;
pub mod governed;
pub mod id;
pub mod interaction;
pub mod money;
pub mod outcome;
pub mod schema;
pub mod semconv;
pub mod share;
pub mod usage;

pub use attempt::{Attempt, Candidate, Reason};
pub use event::{Event, EventKind, Opened, Payload, Settled};
pub use governance::{AccessEvent, ControlEvent, Feedback, GapEvent, Governance, PriceCorrection};
pub use governed::{BudgetReading, GuardVerdict, LimitReading, TargetReading};
pub use id::{EventId, InteractionId, WriterId};
pub use interaction::Interaction;
pub use money::Usd;
pub use outcome::{
    CacheKind, CostSource, Decision, Dialect, GuardAction, GuardOutcome, GuardPhase, Operation, Outcome, Source,
    UsageSource,
};
pub use share::{Score, Share};
pub use usage::Usage;
