//! The proof of one record, in one file that needs no bucket: C2SP `tlog-proof`, with the record and its way into its batch
//! in the `extra` line.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::Int64Type;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tlog_tiles::tlog::{self, Hash};
use tollgate_flush::batch_header::{BatchHeader, leaf_hash, path_of, root_of};
use tollgate_interaction::InteractionId;
use tollgate_interaction::batch::{PAYLOAD_COMMITMENT, PERSONAL_COMMITMENT, PERSONAL_SALT};
use tollgate_interaction::commitment::{Commitment, PAYLOAD_DOMAIN, PERSONAL_DOMAIN, RECORD_DOMAIN, Rows};
use tollgate_interaction::interaction::day_of;
use tollgate_interaction::schema::Table;

use super::headers::{self, VerifyKeyError};
use super::rows::PAYLOAD_COLUMNS;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::policy::Policy;
use crate::proof::{Signed, read_checkpoint};
use crate::snapshot::DataFile;
use crate::tree::{self, TileError};

/// First line of the file.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// What the proof shows beside the facts of the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disclosure {
    /// The personal fields and their salt.
    pub personal: bool,
    /// What was said, and its salt.
    pub payload: bool,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The key given is none.
    #[error(transparent)]
    Key(#[from] VerifyKeyError),
    /// There is no such call.
    #[error("the lake has no call `{id}`; a call is in the lake some seconds after its end")]
    NoSuchCall {
        /// As asked for.
        id: String,
    },
    /// It was recorded by a version without proofs.
    #[error("call `{id}` was recorded by a version before there were proofs")]
    Unproven {
        /// As asked for.
        id: String,
    },
    /// No checkpoint covers it yet.
    #[error("no checkpoint covers call `{id}` yet; one is published within 30 s of a commit, try again")]
    NotCovered {
        /// As asked for.
        id: String,
    },
    /// The log is damaged.
    #[error("the log cannot prove it: {0}; run `tollgate audit verify`")]
    Tile(#[source] TileError),
    /// The batch is damaged.
    #[error("the records of its batch are not those that were committed to; run `tollgate audit verify`")]
    Batch,
    /// A file is not a proof, or does not hold.
    #[error("the proof does not hold: {why}")]
    Invalid {
        /// What is wrong.
        why: String,
    },
}

/// The `extra` line.
#[derive(Serialize, Deserialize)]
struct Extra {
    header: String,
    /// Base64.
    record: String,
    index: u64,
    /// Base64, lowest first.
    path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    personal: Option<Opening>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Opening>,
}

/// What opens a commitment.
#[derive(Serialize, Deserialize)]
struct Opening {
    salt: String,
    cbor: String,
}

/// What a proof shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvenRecord {
    /// Writer, epoch and range of the batch.
    pub batch: String,
    /// When the batch was made, by its writer's clock. Microseconds since 1970, UTC.
    pub created_at_us: i64,
    /// Place of the batch in the log.
    pub entry: u64,
    /// Entries that the checkpoint covers.
    pub checkpoint_size: u64,
    /// Id of the call.
    pub interaction_id: String,
    /// The record's commitment, hexadecimal.
    pub commitment: String,
    /// Whether the proof discloses the personal fields. They are those that were committed to.
    pub personal: bool,
    /// Whether the proof discloses what was said. It is what was committed to.
    pub content: bool,
    /// Canonical CBOR of the record.
    #[serde(skip)]
    pub record: Vec<u8>,
}

/// Writes the proof of one call.
///
/// # Errors
/// [`ProveError`], by name.
pub fn prove(
    lake: Arc<Lake>,
    id: InteractionId,
    disclosure: Disclosure,
) -> BoxFuture<'static, Result<String, ProveError>> {
    async move {
        let found = find(&lake, id).await?;
        let note = read_checkpoint(lake.store()).await?.ok_or_else(|| ProveError::NotCovered { id: id.to_string() })?;
        let text = String::from_utf8_lossy(&note).into_owned();
        let size = text.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0);
        let (entry, header_note, header) = header_of(&lake, &found, size, id).await?;
        let commitments = commitments_of(&lake, &header).await?;
        let ordered: Vec<Commitment> = commitments.values().copied().collect();
        if root_of(&ordered) != header.root {
            return Err(ProveError::Batch);
        }
        let index = commitments.range(..found.seq).count();
        let path = path_of(&ordered, index).ok_or(ProveError::Batch)?;
        let payload = if disclosure.payload { payload_of(&lake, id).await? } else { None };
        let extra = Extra {
            header: header_note,
            record: BASE64_STANDARD.encode(&found.record),
            index: index as u64,
            path: path.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect(),
            personal: found.personal.filter(|_| disclosure.personal),
            payload,
        };
        let inclusion = tree::inclusion(lake.store(), size, entry).await?.map_err(ProveError::Tile)?;
        let extra = serde_json::to_vec(&extra).map_err(|error| ProveError::Invalid { why: error.to_string() })?;
        let mut proof = format!("{FORMAT}\nextra {}\nindex {entry}\n", BASE64_STANDARD.encode(extra));
        for hash in inclusion {
            proof.push_str(&format!("{hash}\n"));
        }
        proof.push('\n');
        proof.push_str(&text);
        Ok(proof)
    }
    .boxed()
}

struct FoundRecord {
    writer: String,
    epoch: u64,
    seq: u64,
    record: Vec<u8>,
    personal: Option<Opening>,
}

fn files_of_days(lake: &Lake, table: Table, days: std::ops::RangeInclusive<i32>) -> Vec<Arc<DataFile>> {
    let snapshot = lake.snapshot();
    snapshot.files(table).files.iter().filter(|file| days.contains(&file.day)).cloned().collect()
}

async fn find(lake: &Lake, id: InteractionId) -> Result<FoundRecord, ProveError> {
    let started_us = i64::try_from(id.unix_ms()).unwrap_or(i64::MAX).saturating_mul(1_000);
    let day = day_of(started_us);
    let wanted = id.to_string();
    // The id's clock and the record's are read a moment apart.
    for file in files_of_days(lake, Table::Interactions, day - 1..=day + 1) {
        let mut batches = lake.read_columns(&file, None).await?;
        while let Some(batch) = batches.try_next().await? {
            let column = |name: &str| batch.column_by_name(name);
            let Some(ids) = column("interaction_id").and_then(|ids| ids.as_string_opt::<i32>()) else { continue };
            let Some(row) = ids.iter().position(|id| id == Some(wanted.as_str())) else { continue };
            let rows = Rows::new(Table::Interactions, column)
                .map_err(|error| ProveError::Invalid { why: error.to_string() })?;
            let text = |name| column(name).and_then(|array| array.as_string_opt::<i32>()).map(|array| array.value(row));
            let number = |name| {
                let array = column(name).and_then(|array| array.as_primitive_opt::<Int64Type>());
                array.map_or(0, |array| array.value(row).cast_unsigned())
            };
            let salts: Option<&BinaryArray> = column(PERSONAL_SALT).and_then(|salts| salts.as_binary_opt());
            let salt = salts.filter(|salts| salts.is_valid(row)).map(|salts| salts.value(row));
            let mut personal = Vec::new();
            let has_personal = rows.write_personal(row, &mut personal);
            let mut record = Vec::new();
            rows.write_record(row, &mut record);
            return Ok(FoundRecord {
                writer: text("writer").unwrap_or_default().to_owned(),
                epoch: number("epoch"),
                seq: number("seq"),
                record,
                personal: salt.filter(|_| has_personal).map(|salt| Opening {
                    salt: BASE64_STANDARD.encode(salt),
                    cbor: BASE64_STANDARD.encode(&personal),
                }),
            });
        }
    }
    Err(ProveError::NoSuchCall { id: wanted })
}

async fn header_of(
    lake: &Lake,
    found: &FoundRecord,
    size: u64,
    id: InteractionId,
) -> Result<(u64, String, BatchHeader), ProveError> {
    let mut place = 0;
    for bundle in tree::read_entries(lake.store(), size).await? {
        for entry in bundle.map_err(ProveError::Tile)? {
            if let Ok(header) = BatchHeader::read(&entry)
                && (header.writer.as_str(), header.epoch) == (found.writer.as_str(), found.epoch)
                && (header.first_seq..=header.last_seq).contains(&found.seq)
            {
                return Ok((place, String::from_utf8_lossy(&entry).into_owned(), header));
            }
            place += 1;
        }
    }
    let later = lake.committed_entries(size).await?;
    let is_later = later.iter().any(|(_, entry)| {
        BatchHeader::read(entry.as_bytes()).is_ok_and(|header| {
            (header.writer.as_str(), header.epoch) == (found.writer.as_str(), found.epoch)
                && (header.first_seq..=header.last_seq).contains(&found.seq)
        })
    });
    let id = id.to_string();
    Err(if is_later { ProveError::NotCovered { id } } else { ProveError::Unproven { id } })
}

/// The commitments of a batch's records by number, recomputed from their values.
async fn commitments_of(lake: &Lake, header: &BatchHeader) -> Result<BTreeMap<u64, Commitment>, ProveError> {
    let days = day_of(header.min_time_us)..=day_of(header.max_time_us);
    let mut commitments = BTreeMap::new();
    let mut scratch = Vec::new();
    for table in Table::RECORDS {
        for file in files_of_days(lake, table, days.clone()) {
            let overlaps = file.range.as_ref().is_none_or(|range| {
                range.writer == header.writer && range.epoch == header.epoch && range.last_seq == header.last_seq
            });
            if !overlaps {
                continue;
            }
            let mut batches = lake.read_columns(&file, None).await?;
            while let Some(batch) = batches.try_next().await? {
                let column = |name: &str| batch.column_by_name(name);
                let odd = |name: &str| ProveError::Invalid { why: format!("`{}` has no column `{name}`", file.path) };
                let writers =
                    column("writer").and_then(|array| array.as_string_opt::<i32>()).ok_or_else(|| odd("writer"))?;
                let numbers = |name: &'static str| {
                    column(name).and_then(|array| array.as_primitive_opt::<Int64Type>()).ok_or_else(|| odd(name))
                };
                let (epochs, seqs) = (numbers("epoch")?, numbers("seq")?);
                let rows = Rows::new(table, column).map_err(|error| ProveError::Invalid { why: error.to_string() })?;
                for row in 0..batch.num_rows() {
                    let seq = seqs.value(row).cast_unsigned();
                    let is_in_batch = writers.value(row) == header.writer.as_str()
                        && epochs.value(row).cast_unsigned() == header.epoch
                        && (header.first_seq..=header.last_seq).contains(&seq);
                    if is_in_batch {
                        commitments.insert(seq, rows.record(row, &mut scratch));
                    }
                }
            }
        }
    }
    Ok(commitments)
}

async fn payload_of(lake: &Lake, id: InteractionId) -> Result<Option<Opening>, ProveError> {
    let started_us = i64::try_from(id.unix_ms()).unwrap_or(i64::MAX).saturating_mul(1_000);
    let day = day_of(started_us);
    let wanted = id.to_string();
    for file in files_of_days(lake, Table::Payloads, day - 1..=day + 1) {
        let mut batches = lake.read_columns(&file, Some(&PAYLOAD_COLUMNS)).await?;
        while let Some(batch) = batches.try_next().await? {
            let text = |name: &str| batch.column_by_name(name).and_then(|array| array.as_string_opt::<i32>());
            let binary = |name: &str| batch.column_by_name(name).and_then(|array| array.as_binary_opt::<i32>());
            let Some(row) =
                text("interaction_id").and_then(|ids| ids.iter().position(|id| id == Some(wanted.as_str())))
            else {
                continue;
            };
            let (Some(request_type), Some(request), Some(response_type), Some(response), Some(salt)) = (
                text("request_content_type"),
                binary("request_body"),
                text("response_content_type"),
                binary("response_body"),
                binary(tollgate_interaction::batch::PAYLOAD_SALT),
            ) else {
                continue;
            };
            let cbor = tollgate_interaction::commitment::content_cbor([
                (request_type.value(row), request.value(row)),
                (response_type.value(row), response.value(row)),
            ]);
            return Ok(salt.is_valid(row).then(|| Opening {
                salt: BASE64_STANDARD.encode(salt.value(row)),
                cbor: BASE64_STANDARD.encode(cbor),
            }));
        }
    }
    Ok(None)
}

/// Whether there is an opening. One that does not open the commitment in the record's `column` is an error.
fn opens(opening: Option<&Opening>, domain: &[u8], column: &str, record: &[u8]) -> Result<bool, &'static str> {
    let Some(opening) = opening else { return Ok(false) };
    let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| "cannot be read: an opening is base64");
    let (salt, cbor) = (decode(&opening.salt)?, decode(&opening.cbor)?);
    let opened: Commitment = Sha256::new().chain_update(domain).chain_update(salt).chain_update(cbor).finalize().into();
    let committed = value_of(column, record).and_then(|value| minicbor::Decoder::new(value).bytes().ok());
    match committed.is_some_and(|committed| committed == opened) {
        true => Ok(true),
        false => Err("differ from what its record committed to"),
    }
}

/// The CBOR of a column's value in a call's record.
fn value_of<'a>(column: &str, record: &'a [u8]) -> Option<&'a [u8]> {
    let (wanted, ..) = Table::Interactions.fields().find(|(_, name, _)| *name == column)?;
    let mut decoder = minicbor::Decoder::new(record);
    for _ in 0..decoder.map().ok()?? {
        let id = decoder.u64().ok()?;
        let from = decoder.position();
        decoder.skip().ok()?;
        if id == u64::from(wanted) {
            return record.get(from..decoder.position());
        }
    }
    None
}

/// Checks a proof against the log's public keys, which have one name, and a policy, without a bucket: the record, and what
/// the proof discloses beside it.
///
/// # Errors
/// [`ProveError::Invalid`] says what does not hold.
pub fn check_proof(proof: &str, keys: &[String], policy: Option<&Policy>) -> Result<ProvenRecord, ProveError> {
    let invalid = |why: &str| ProveError::Invalid { why: why.to_owned() };
    let name = headers::name_of(keys.first().map_or("", String::as_str))?;
    let (lines, checkpoint) =
        proof.split_once("\n\n").ok_or_else(|| invalid("the file is no tlog-proof: it has no checkpoint"))?;
    let mut lines = lines.lines();
    if lines.next() != Some(FORMAT) {
        return Err(invalid("its first line is not that of a tlog-proof"));
    }
    let extra =
        lines.next().and_then(|line| line.strip_prefix("extra ")).and_then(|text| BASE64_STANDARD.decode(text).ok());
    let extra: Extra = extra
        .and_then(|extra| serde_json::from_slice(&extra).ok())
        .ok_or_else(|| invalid("its `extra` line does not hold a record"))?;
    let entry: u64 = lines
        .next()
        .and_then(|line| line.strip_prefix("index ")?.parse().ok())
        .ok_or_else(|| invalid("it has no index"))?;
    let inclusion =
        lines.map(Hash::parse_hash).collect::<Result<Vec<_>, _>>().map_err(|_| invalid("a hash is malformed"))?;
    let checkpoint = Bytes::copy_from_slice(checkpoint.as_bytes());
    let signed = Signed::read(checkpoint, &name, keys).map_err(|why| ProveError::Invalid { why })?;
    if let Some(objection) = policy.and_then(|policy| policy.objection(&signed.note, keys)) {
        return Err(ProveError::Invalid { why: format!("its checkpoint: {objection}") });
    }
    let root = Hash::parse_hash(&signed.root).map_err(|_| invalid("the checkpoint's root is malformed"))?;
    let leaf = Hash(leaf_hash(extra.header.as_bytes()));
    tlog::check_record(&inclusion, signed.size, root, entry, leaf)
        .map_err(|_| invalid("the batch is not in the log of that checkpoint"))?;
    let header =
        BatchHeader::read(extra.header.as_bytes()).map_err(|error| ProveError::Invalid { why: error.to_string() })?;
    let record = BASE64_STANDARD.decode(&extra.record).map_err(|_| invalid("the record is not base64"))?;
    let commitment: Commitment = Sha256::new().chain_update(RECORD_DOMAIN).chain_update(&record).finalize().into();
    let path = extra.path.iter().map(|hash| Hash::parse_hash(hash)).collect::<Result<Vec<_>, _>>();
    let path = path.map_err(|_| invalid("a hash of the record's path is malformed"))?;
    let leaf = Hash(leaf_hash(&commitment));
    tlog::check_record(&path, header.rows, Hash(header.root), extra.index, leaf)
        .map_err(|_| invalid("the record is not in its batch"))?;
    let personal = opens(extra.personal.as_ref(), PERSONAL_DOMAIN, PERSONAL_COMMITMENT, &record)
        .map_err(|why| ProveError::Invalid { why: format!("its personal fields {why}") })?;
    let content = opens(extra.payload.as_ref(), PAYLOAD_DOMAIN, PAYLOAD_COMMITMENT, &record)
        .map_err(|why| ProveError::Invalid { why: format!("its contents {why}") })?;
    let id = value_of("interaction_id", &record).and_then(|value| minicbor::decode::<String>(value).ok());
    let BatchHeader { writer, epoch, first_seq, last_seq, created_at_us, .. } = header;
    Ok(ProvenRecord {
        interaction_id: id.ok_or_else(|| invalid("its record is that of no call"))?,
        personal,
        content,
        batch: format!("{writer}/{epoch}/{first_seq}-{last_seq}"),
        created_at_us,
        entry,
        checkpoint_size: signed.size,
        commitment: commitment.iter().map(|byte| format!("{byte:02x}")).collect(),
        record,
    })
}
