//! Makes the header of a batch from the records in it.

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use signed_note::{NoteError, Signer};
use tollgate_interaction::batch::RECORD_COMMITMENT;
use tollgate_interaction::commitment::Commitment;
use tollgate_interaction::schema::Table;

use crate::batch_header::{self, BatchHeader};
use crate::flusher::Shared;
use crate::keys::KeyError;
use crate::plan::{LastBatch, Plan};

/// Why a batch has no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("its header cannot be signed")]
    Key(#[from] KeyError),
    #[error("its header cannot be signed")]
    Note(#[from] NoteError),
    #[error("the column `{column}` of table `{table}` is not what it must be; this is a defect of Tollgate, report it")]
    Column { column: &'static str, table: &'static str },
}

/// The signed header of the plan's batch; `None` if it has no records. A header that an earlier attempt made is kept as
/// long as it tells of the same records: that attempt may have put it.
pub(crate) fn header(
    shared: &Shared,
    plan: &Plan,
    last: Option<&LastBatch>,
    of_tables: &[(Table, Vec<RecordBatch>)],
    created_at_us: i64,
) -> Result<Option<String>, SealError> {
    let mut records: Vec<(i64, Commitment)> = Vec::new();
    let mut times: Option<(i64, i64)> = None;
    for (table, batches) in of_tables.iter().filter(|(table, _)| Table::RECORDS.contains(table)) {
        for batch in batches {
            read(*table, batch, &mut records, &mut times)?;
        }
    }
    let Some((min_time_us, max_time_us)) = times else { return Ok(None) };
    // Each table is in the order of the log; together they have to be put into it.
    records.sort_unstable_by_key(|(seq, _)| *seq);
    let commitments: Vec<Commitment> = records.into_iter().map(|(_, commitment)| commitment).collect();
    let root = batch_header::root_of(&commitments);
    if let Some(entry) = &plan.header
        && let Ok(made) = BatchHeader::read(entry.as_bytes())
        && (made.root, made.last_seq) == (root, plan.last_seq)
    {
        return Ok(Some(entry.clone()));
    }
    let previous = last.and_then(|last| BASE64_STANDARD.decode(&last.leaf).ok()?.try_into().ok());
    // A range whose events a loss of power took had no records and no batch: its numbers belong to the next one.
    let first_seq = last.filter(|last| last.epoch == plan.epoch).map_or(1, |last| last.last_seq + 1);
    let keys = &shared.keys;
    let header = BatchHeader {
        writer: shared.wal.writer().clone(),
        epoch: plan.epoch,
        first_seq,
        last_seq: plan.last_seq,
        rows: commitments.len() as u64,
        min_time_us,
        max_time_us,
        created_at_us,
        root,
        previous,
        key: keys.current.public.clone(),
    };
    let signer = keys.current.signer()?;
    let former = keys.former.as_ref().filter(|former| last.is_some_and(|last| last.key == former.public));
    let former = former.map(|former| former.signer()).transpose()?;
    let mut signers: Vec<&dyn Signer> = vec![&signer];
    signers.extend(former.as_ref().map(|former| former as &dyn Signer));
    Ok(Some(header.sign(&signers)?))
}

fn read(
    table: Table,
    batch: &RecordBatch,
    records: &mut Vec<(i64, Commitment)>,
    times: &mut Option<(i64, i64)>,
) -> Result<(), SealError> {
    let odd = |column| SealError::Column { column, table: table.folder() };
    let column = |name: &'static str| batch.column_by_name(name).ok_or(odd(name));
    let seqs = column("seq")?.as_primitive_opt::<Int64Type>().ok_or(odd("seq"))?;
    let commitments = column(RECORD_COMMITMENT)?.as_binary_opt::<i32>().ok_or(odd(RECORD_COMMITMENT))?;
    let time_column = table.time_column();
    let of_rows = column(time_column)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or(odd(time_column))?;
    for row in 0..batch.num_rows() {
        let commitment = commitments.value(row).try_into().map_err(|_| odd(RECORD_COMMITMENT))?;
        records.push((seqs.value(row), commitment));
        let time = of_rows.value(row);
        *times = Some(times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
    }
    Ok(())
}
