//! Rows for the tests of this crate.

use std::ops::RangeInclusive;

use arrow::datatypes::DataType;
use tollgate_interaction::batch::Seal;
use tollgate_interaction::schema::InteractionRow;
use tollgate_interaction::{EventId, Interaction, schema};

/// 2026-11-23 10:00 UTC.
pub(crate) const STARTED_AT_US: i64 = 1_795_428_000_000_000;

pub(crate) fn interaction(number: u64) -> Interaction {
    tollgate_testkit::samples::interaction(number, STARTED_AT_US + i64::try_from(number).unwrap())
}

pub(crate) fn event_id(epoch: u64, seq: u64) -> EventId {
    EventId { writer: "gw".parse().unwrap(), epoch, seq }
}

pub(crate) fn facts(seqs: RangeInclusive<u64>) -> Vec<InteractionRow> {
    let seal = Seal { payload_commitment: [3; 32], personal_salt: [4; 16] };
    seqs.map(|seq| (event_id(1, seq), interaction(seq), seal)).collect()
}

/// Whether the column of the facts has an Arrow type whose name starts like this.
pub(crate) fn is_kind(column: &str, kind: &str) -> bool {
    let schema = schema::interactions();
    let data_type: Option<DataType> = schema.field_with_name(column).ok().map(|field| field.data_type().clone());
    data_type.is_some_and(|data_type| format!("{data_type:?}").starts_with(kind))
}
