//! The columns that came with version 4. Each is NULL where there is nothing to say, so that a record of an earlier version
//! has the commitment it always had.

use arrow::array::StringBuilder;

use super::{
    Arc, ArrayRef, BooleanArray, Column, DataType, Fields, Int64Array, InteractionId, InteractionRow, ListArray,
    NullBuffer, OffsetBuffer, StringArray, StructArray, TimestampMicrosecondArray, column, dollars, element,
    millionths, schema, signed, texts,
};
use crate::governed::{BudgetReading, GuardVerdict, LimitReading, TargetReading};
use crate::interaction::Interaction;
use crate::share::Share;

/// A column of shares.
macro_rules! share {
    ($name:literal, $meaning:literal, |$call:ident| $value:expr) => {
        column($name, schema::shares(), true, $meaning, |rows: &[InteractionRow]| {
            shares(rows.iter().map(|(_, $call, _)| $value))
        })
    };
}
/// A column of lists of structs, NULL where the list is empty.
macro_rules! structs {
    ($name:literal, $meaning:literal, $fields:expr, |$call:ident| $items:expr, $build:expr) => {
        column($name, schema::list_of(DataType::Struct($fields)), true, $meaning, |rows| {
            lists_or_null(rows, |$call| &$items, $fields, $build)
        })
    };
}

pub(super) fn columns() -> Vec<Column<InteractionRow>> {
    vec![
        text_or_null!("experiment", "Experiment that the call took part in", |call| call.experiment.as_deref()),
        text_or_null!("arm", "Its arm in that experiment", |call| call.arm.as_deref()),
        share!("propensity", "How likely its arm, or the target it fell on, was to be chosen", |call| call.propensity),
        structs!(
            "guards",
            "What guards said: {guard, rule, phase, verdict, action, matches, duration_us, detail}",
            schema::guard_fields(),
            |call| call.guards,
            guards
        ),
        structs!(
            "pii_counts",
            "Personal data found, by kind: {entity, count}",
            schema::pii_count_fields(),
            |call| call.pii_counts,
            pii_counts
        ),
        text_or_null!("cache_kind", "How it was answered without a provider: exact, semantic", |call| call
            .cache_kind
            .map(crate::outcome::CacheKind::as_str)),
        share!("cache_similarity", "How near the request was to the one answered before", |call| call.cache_similarity),
        column("cached_from", DataType::Utf8, true, "The call whose answer was given again", |rows| {
            ids(rows, |call| call.cached_from)
        }),
        column("cost_saved_usd", schema::dollars(), true, "What it would have cost without the cache", |rows| {
            dollars(rows.iter().map(|(_, call, _): &InteractionRow| call.cost_saved_usd))
        }),
        column("shadow_of", DataType::Utf8, true, "The call that this one is a shadow of", |rows| {
            ids(rows, |call| call.shadow_of)
        }),
        text_or_null!("data_class", "Class of the data in the request", |call| call.data_class.as_deref()),
        text_or_null!("region_evidence", "How well its region is known: declared, contract, header", |call| call
            .region_evidence
            .as_deref()),
        column("capabilities", schema::list_of(DataType::Utf8), true, "What the request needs of a target", |rows| {
            let is_any = NullBuffer::from_iter(rows.iter().map(|(_, call, _)| !call.capabilities.is_empty()));
            texts(rows, |call| &call.capabilities, Some(is_any))
        }),
        count_or_null!("estimated_input_tokens", "Tokens of the request before anybody counted them", |call| call
            .estimated_input_tokens),
        structs!(
            "budget_readings",
            "What the decision's budgets stood at: {budget, scope, spent_usd, reserved_usd, age_s}",
            schema::budget_reading_fields(),
            |call| call.budget_readings,
            budget_readings
        ),
        share!("route_draw", "Number that a random choice of route went by", |call| call.route_draw),
        structs!(
            "limit_readings",
            "What the decision's limits stood at: {limit, scope, unit, used, age_s}",
            schema::limit_reading_fields(),
            |call| call.limit_readings,
            limit_readings
        ),
        structs!(
            "target_readings",
            "What the route's targets stood at: {provider, model, health, weight, stands_by, load_us, p50_ms, \
             estimate_usd, quality_lower}",
            schema::target_reading_fields(),
            |call| call.target_readings,
            target_readings
        ),
        column("decided_at", schema::timestamp(), true, "When policy was asked (UTC)", |rows| {
            let times = rows.iter().map(|(_, call, _): &InteractionRow| call.decided_at_us);
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }),
        count_or_null!("estimated_output_tokens", "Tokens the answer was taken to have at most", |call| call
            .estimated_output_tokens),
        column("estimated_cost_usd", schema::dollars(), true, "What it was taken to cost at most", |rows| {
            dollars(rows.iter().map(|(_, call, _): &InteractionRow| call.estimated_cost_usd))
        }),
    ]
}

fn ids(rows: &[InteractionRow], id_of: fn(&Interaction) -> Option<InteractionId>) -> ArrayRef {
    let mut ids = StringBuilder::with_capacity(rows.len(), 0);
    for (_, call, _) in rows {
        let mut buffer = [0; 36];
        ids.append_option(id_of(call).map(|id| id.write_into(&mut buffer)));
    }
    Arc::new(ids.finish())
}

fn shares(shares: impl Iterator<Item = Option<Share>>) -> ArrayRef {
    millionths(shares.map(|share| share.map(|share| share.get().into())))
}

/// A list column: the items of all rows go to `build` at once.
fn lists_or_null<Item>(
    rows: &[InteractionRow],
    items_of: fn(&Interaction) -> &Vec<Item>,
    fields: Fields,
    build: fn(&[&Item]) -> Vec<ArrayRef>,
) -> ArrayRef {
    let lengths = || rows.iter().map(|(_, call, _)| items_of(call).len());
    let items: Vec<&Item> = rows.iter().flat_map(|(_, call, _)| items_of(call)).collect();
    let structs = StructArray::new(fields.clone(), build(&items), None);
    let is_any = NullBuffer::from_iter(lengths().map(|length| length > 0));
    let offsets = OffsetBuffer::from_lengths(lengths());
    Arc::new(ListArray::new(element(DataType::Struct(fields)), offsets, Arc::new(structs), Some(is_any)))
}

/// A column of texts from the items of a list.
fn texts_of<'a, Item>(items: &[&'a Item], text_of: fn(&'a Item) -> &'a str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(items.iter().map(|item| text_of(item))))
}

fn counts_of<Item>(items: &[&Item], count_of: fn(&Item) -> u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(items.iter().map(|item| signed(count_of(item)))))
}

fn guards(items: &[&GuardVerdict]) -> Vec<ArrayRef> {
    vec![
        texts_of(items, |guard| &guard.guard),
        texts_of(items, |guard| &guard.rule),
        texts_of(items, |guard| guard.phase.as_str()),
        texts_of(items, |guard| guard.verdict.as_str()),
        texts_of(items, |guard| guard.action.as_str()),
        counts_of(items, |guard| guard.matches.into()),
        counts_of(items, |guard| guard.duration_us),
        Arc::new(items.iter().map(|guard| guard.detail.as_deref()).collect::<StringArray>()),
    ]
}

fn pii_counts(items: &[&(String, u32)]) -> Vec<ArrayRef> {
    vec![texts_of(items, |(entity, _)| entity), counts_of(items, |(_, count)| (*count).into())]
}

fn budget_readings(items: &[&BudgetReading]) -> Vec<ArrayRef> {
    vec![
        texts_of(items, |reading| &reading.budget),
        texts_of(items, |reading| &reading.scope),
        dollars(items.iter().map(|reading| Some(reading.spent_usd))),
        dollars(items.iter().map(|reading| Some(reading.reserved_usd))),
        Arc::new(items.iter().map(|reading| reading.age_s.map(signed)).collect::<Int64Array>()),
    ]
}

fn limit_readings(items: &[&LimitReading]) -> Vec<ArrayRef> {
    vec![
        texts_of(items, |reading| &reading.limit),
        texts_of(items, |reading| &reading.scope),
        texts_of(items, |reading| &reading.unit),
        counts_of(items, |reading| reading.used),
        Arc::new(items.iter().map(|reading| reading.age_s.map(signed)).collect::<Int64Array>()),
    ]
}

fn target_readings(items: &[&TargetReading]) -> Vec<ArrayRef> {
    vec![
        texts_of(items, |reading| &reading.provider),
        texts_of(items, |reading| &reading.model),
        texts_of(items, |reading| &reading.health),
        counts_of(items, |reading| reading.weight.into()),
        Arc::new(items.iter().map(|reading| Some(reading.stands_by)).collect::<BooleanArray>()),
        Arc::new(items.iter().map(|reading| reading.load_us.map(signed)).collect::<Int64Array>()),
        Arc::new(items.iter().map(|reading| reading.p50_ms.map(signed)).collect::<Int64Array>()),
        dollars(items.iter().map(|reading| reading.estimate_usd)),
        shares(items.iter().map(|reading| reading.quality_lower)),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Decimal128Type, Int64Type};

    use super::{InteractionId, InteractionRow, columns};
    use crate::batch::interactions;
    use crate::governed::{BudgetReading, GuardVerdict, LimitReading, TargetReading};
    use crate::interaction::Interaction;
    use crate::money::Usd;
    use crate::outcome::{CacheKind, GuardAction, GuardOutcome, GuardPhase};
    use crate::share::Share;

    /// A record that has every field of version 4.
    pub(in crate::batch) fn row(seq: u64) -> InteractionRow {
        let mut row = super::super::tests::row(seq);
        let call = &mut row.1;
        call.experiment = Some("cheaper".into());
        call.arm = Some("treatment".into());
        call.propensity = Some(Share::new(500_000));
        call.guards = vec![GuardVerdict {
            guard: "pii.iban".into(),
            rule: "pii-out".into(),
            phase: GuardPhase::Input,
            verdict: GuardOutcome::Hit,
            action: GuardAction::Redact,
            matches: 2,
            duration_us: 15,
            detail: None,
        }];
        call.pii_counts = vec![("iban".into(), 2)];
        call.cache_kind = Some(CacheKind::Semantic);
        call.cache_similarity = Some(Share::new(970_000));
        call.cached_from = Some(InteractionId::new(1_795_000_000_000, &[4; 10]));
        call.cost_saved_usd = Some(Usd::new(37_500));
        call.shadow_of = Some(InteractionId::new(1_795_000_000_001, &[5; 10]));
        call.data_class = Some("personal".into());
        call.region_evidence = Some("contract".into());
        call.capabilities = vec!["tools".into(), "stream".into()];
        call.estimated_input_tokens = Some(12);
        call.budget_readings = vec![BudgetReading {
            budget: "b-kyc".into(),
            scope: "team=kyc".into(),
            spent_usd: Usd::from_dollars(81),
            reserved_usd: Usd::new(1),
            age_s: Some(3),
        }];
        call.route_draw = Some(Share::new(123_456));
        call.limit_readings = vec![LimitReading {
            limit: "calls".into(),
            scope: "team=kyc".into(),
            unit: "calls".into(),
            used: 9,
            age_s: None,
        }];
        call.target_readings = vec![TargetReading {
            provider: "sandbox".into(),
            model: "small".into(),
            health: "ready".into(),
            weight: 3,
            stands_by: false,
            load_us: Some(900),
            p50_ms: Some(1),
            estimate_usd: Some(Usd::new(2)),
            quality_lower: Some(Share::new(920_000)),
        }];
        call.decided_at_us = Some(1_795_000_000_000_040);
        call.estimated_output_tokens = Some(1_000);
        call.estimated_cost_usd = Some(Usd::new(9));
        row
    }

    #[test]
    fn what_governance_found_out_stands_in_its_columns() {
        let batch = interactions(&[super::super::tests::row(1), row(2)]).unwrap();
        for column in columns() {
            let values = batch.column_by_name(column.name).unwrap();
            assert!(values.is_null(0), "{} is NULL of a call without it", column.name);
            assert!(values.is_valid(1), "{}", column.name);
        }
        let propensity = batch.column_by_name("propensity").unwrap();
        assert_eq!(propensity.as_primitive::<Decimal128Type>().value(1), 500_000);
        let guards = batch.column_by_name("guards").unwrap().as_list::<i32>().value(1);
        assert_eq!(guards.as_struct().column_by_name("matches").unwrap().as_primitive::<Int64Type>().value(0), 2);
    }

    #[test]
    fn every_field_of_version_4_reads_back_from_its_cbor() {
        let record = row(1).1;
        let bytes = minicbor::to_vec(&record).unwrap();
        assert_eq!(minicbor::decode::<Interaction>(&bytes).unwrap(), record);
    }

    /// What a log of version 3 holds ends before the fields of version 4.
    #[test]
    fn a_record_of_version_3_is_one_in_which_governance_found_out_nothing() {
        let record = super::super::tests::row(1).1;
        let whole = minicbor::to_vec(&record).unwrap();
        let mut decoder = minicbor::Decoder::new(&whole);
        let fields = decoder.map().unwrap().unwrap();
        let (mut kept, mut body) = (0, Vec::new());
        for _ in 0..fields {
            let from = decoder.position();
            let key = decoder.u32().unwrap();
            decoder.skip().unwrap();
            if key < 47 {
                kept += 1;
                body.extend_from_slice(&whole[from..decoder.position()]);
            }
        }
        let mut of_version_3 = Vec::new();
        minicbor::Encoder::new(&mut of_version_3).map(kept).unwrap();
        of_version_3.extend_from_slice(&body);
        assert!(kept < fields, "version 4 writes its lists");
        assert_eq!(minicbor::decode::<Interaction>(&of_version_3).unwrap(), record);
    }
}
