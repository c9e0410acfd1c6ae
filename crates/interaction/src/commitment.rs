//! Commitments: hashes over the values of a row, not over the bytes of a file, so that storing the same row in another file,
//! another order or another codec does not change them. `docs/proof.md` specifies every byte; a verifier that shares no
//! code with this one is in `tests/verify`.
//!
//! What can be erased stands behind a salted hash of its own: the salt goes with it, the hash stays, and the record's
//! commitment still verifies.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, GenericListArray, Int32Array, Int64Array,
    MapArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use sha2::{Digest, Sha256};

use crate::event::Payload;
use crate::schema::{Part, Table};

/// Separates the hashes of records from every other use of SHA-256.
pub const RECORD_DOMAIN: &[u8] = b"tollgate/record/v1";
/// The same for personal fields.
pub const PERSONAL_DOMAIN: &[u8] = b"tollgate/personal/v1";
/// The same for content.
pub const PAYLOAD_DOMAIN: &[u8] = b"tollgate/payload/v1";

/// Bytes of one salt.
pub const SALT_BYTES: usize = 16;

/// A call's two salts: of its content, then of its personal fields.
pub type Salt = [u8; 2 * SALT_BYTES];

/// A SHA-256.
pub type Commitment = [u8; 32];

/// The salts of content and of personal fields.
#[must_use]
pub fn split(salt: &Salt) -> ([u8; SALT_BYTES], [u8; SALT_BYTES]) {
    let (mut payload, mut personal) = ([0; SALT_BYTES], [0; SALT_BYTES]);
    payload.copy_from_slice(&salt[..SALT_BYTES]);
    personal.copy_from_slice(&salt[SALT_BYTES..]);
    (payload, personal)
}

/// The commitment to what was said in one call.
#[must_use]
pub fn of_payload(salt: &[u8], request: &Payload, response: &Payload) -> Commitment {
    of_content(salt, [(&request.content_type, &request.body), (&response.content_type, &response.body)])
}

/// [`of_payload`] of (media type, body) of request and response.
#[must_use]
pub fn of_content(salt: &[u8], content: [(&str, &[u8]); 2]) -> Commitment {
    let mut hash = Sha256::new();
    hash.update(PAYLOAD_DOMAIN);
    hash.update(salt);
    // Bodies are megabytes: hashed where they are.
    in_parts(content, |part| hash.update(part));
    hash.finalize().into()
}

/// The canonical form of (media type, body) of request and response.
#[must_use]
pub fn content_cbor(content: [(&str, &[u8]); 2]) -> Vec<u8> {
    let mut all = Vec::new();
    in_parts(content, |part| all.extend_from_slice(part));
    all
}

fn in_parts(content: [(&str, &[u8]); 2], mut take: impl FnMut(&[u8])) {
    let mut head = Vec::with_capacity(64);
    cbor::head(&mut head, cbor::ARRAY, 4);
    for (content_type, body) in content {
        cbor::text(&mut head, content_type);
        cbor::head(&mut head, cbor::BYTES, body.len() as u64);
        take(&head);
        take(body);
        head.clear();
    }
}

/// The columns of a batch of one table, ready to be read row by row.
pub struct Rows<'a> {
    table: Table,
    record: Vec<(u8, Values<'a>)>,
    personal: Vec<(u8, Values<'a>)>,
}

/// A column whose values have no canonical form: it is not of this table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the column `{column}` of table `{table}` has the type {data_type}, which is not the table's")]
pub struct UnknownColumnError {
    /// Name of the column.
    pub column: &'static str,
    /// Name of the table.
    pub table: &'static str,
    /// Its type.
    pub data_type: DataType,
}

impl<'a> Rows<'a> {
    /// Reads the columns that `column` gives by name; one that it does not give is NULL on every row.
    ///
    /// # Errors
    /// [`UnknownColumnError`] if a column is not of the table's type.
    pub fn new(table: Table, column: impl Fn(&str) -> Option<&'a ArrayRef>) -> Result<Rows<'a>, UnknownColumnError> {
        let (mut record, mut personal) = (Vec::new(), Vec::new());
        for (id, name, part) in table.fields() {
            let into = match part {
                Part::Record => &mut record,
                Part::Personal => &mut personal,
                Part::Outside => continue,
            };
            let Some(values) = column(name) else { continue };
            let unknown =
                || UnknownColumnError { column: name, table: table.folder(), data_type: values.data_type().clone() };
            into.push((id, Values::of(values.as_ref()).ok_or_else(unknown)?));
        }
        Ok(Rows { table, record, personal })
    }

    /// The canonical form of the record in `row`, written to `out`.
    pub fn write_record(&self, row: usize, out: &mut Vec<u8>) {
        let present = self.record.iter().filter(|(_, values)| !values.is_null(row)).count();
        cbor::head(out, cbor::MAP, present as u64 + 1);
        cbor::unsigned(out, 0);
        cbor::text(out, self.table.folder());
        write_fields(&self.record, row, out, Values::is_null);
    }

    /// The canonical form of the personal fields in `row`; false if there are none.
    pub fn write_personal(&self, row: usize, out: &mut Vec<u8>) -> bool {
        let present = self.personal.iter().filter(|(_, values)| !values.is_empty(row)).count();
        if present > 0 {
            cbor::head(out, cbor::MAP, present as u64);
            write_fields(&self.personal, row, out, Values::is_empty);
        }
        present > 0
    }

    /// The commitment of the record in `row`; `scratch` is reused between calls.
    pub fn record(&self, row: usize, scratch: &mut Vec<u8>) -> Commitment {
        scratch.clear();
        scratch.extend_from_slice(RECORD_DOMAIN);
        self.write_record(row, scratch);
        Sha256::digest(&*scratch).into()
    }

    /// The commitment of the personal fields in `row`; `None` if there are none.
    pub fn personal(&self, row: usize, salt: &[u8], scratch: &mut Vec<u8>) -> Option<Commitment> {
        scratch.clear();
        scratch.extend_from_slice(PERSONAL_DOMAIN);
        scratch.extend_from_slice(salt);
        self.write_personal(row, scratch).then(|| Sha256::digest(&*scratch).into())
    }
}

fn write_fields<'a>(
    fields: &[(u8, Values<'a>)],
    row: usize,
    out: &mut Vec<u8>,
    left_out: fn(&Values<'a>, usize) -> bool,
) {
    for (id, values) in fields {
        if !left_out(values, row) {
            cbor::unsigned(out, u64::from(*id));
            values.write(row, out);
        }
    }
}

/// A column by its type, so that reading a value costs no cast.
enum Values<'a> {
    Text(&'a StringArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Time(&'a TimestampMicrosecondArray),
    Decimal(&'a Decimal128Array),
    Flag(&'a BooleanArray),
    Bytes(&'a BinaryArray),
    List(&'a GenericListArray<i32>, Box<Values<'a>>),
    Struct(&'a dyn Array, Vec<Values<'a>>),
    Map(&'a MapArray, &'a StringArray, &'a StringArray),
}

impl<'a> Values<'a> {
    fn of(array: &'a dyn Array) -> Option<Values<'a>> {
        Some(match array.data_type() {
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::Time(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Decimal128(..) => Values::Decimal(array.as_primitive::<Decimal128Type>()),
            DataType::Boolean => Values::Flag(array.as_boolean()),
            DataType::Binary => Values::Bytes(array.as_binary()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list, Box::new(Values::of(list.values().as_ref())?))
            }
            DataType::Struct(_) => {
                let columns = array.as_struct().columns().iter();
                Values::Struct(array, columns.map(|column| Values::of(column.as_ref())).collect::<Option<_>>()?)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                Values::Map(map, map.keys().as_string_opt()?, map.values().as_string_opt()?)
            }
            _ => return None,
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Values::Text(array) => array.is_null(row),
            Values::Int32(array) => array.is_null(row),
            Values::Int64(array) => array.is_null(row),
            Values::Time(array) => array.is_null(row),
            Values::Decimal(array) => array.is_null(row),
            Values::Flag(array) => array.is_null(row),
            Values::Bytes(array) => array.is_null(row),
            Values::List(array, _) => array.is_null(row),
            Values::Struct(array, _) => array.is_null(row),
            Values::Map(array, ..) => array.is_null(row),
        }
    }

    fn is_empty(&self, row: usize) -> bool {
        let empty_map = matches!(self, Values::Map(array, ..) if array.value_length(row) == 0);
        self.is_null(row) || empty_map
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.push(cbor::NULL);
            return;
        }
        match self {
            Values::Text(array) => cbor::text(out, array.value(row)),
            Values::Int32(array) => cbor::integer(out, array.value(row).into()),
            Values::Int64(array) => cbor::integer(out, array.value(row).into()),
            Values::Time(array) => cbor::integer(out, array.value(row).into()),
            Values::Decimal(array) => cbor::integer(out, array.value(row)),
            Values::Flag(array) => out.push(if array.value(row) { cbor::TRUE } else { cbor::FALSE }),
            Values::Bytes(array) => cbor::bytes(out, array.value(row)),
            Values::List(array, items) => {
                let (from, to) = (place(array.value_offsets(), row), place(array.value_offsets(), row + 1));
                cbor::head(out, cbor::ARRAY, (to - from) as u64);
                (from..to).for_each(|item| items.write(item, out));
            }
            Values::Struct(_, fields) => {
                cbor::head(out, cbor::ARRAY, fields.len() as u64);
                fields.iter().for_each(|field| field.write(row, out));
            }
            Values::Map(array, keys, values) => {
                let (from, to) = (place(array.value_offsets(), row), place(array.value_offsets(), row + 1));
                let mut entries: Vec<usize> = (from..to).collect();
                entries.sort_by_key(|entry| keys.value(*entry));
                cbor::head(out, cbor::ARRAY, entries.len() as u64);
                for entry in entries {
                    cbor::head(out, cbor::ARRAY, 2);
                    cbor::text(out, keys.value(entry));
                    if values.is_null(entry) {
                        out.push(cbor::NULL);
                    } else {
                        cbor::text(out, values.value(entry));
                    }
                }
            }
        }
    }
}

/// Offsets of Arrow are never negative.
fn place(offsets: &[i32], at: usize) -> usize {
    usize::try_from(offsets[at]).unwrap_or(0)
}

/// The little of CBOR that is needed, in its deterministic form: every head at its shortest.
mod cbor {
    pub(super) const BYTES: u8 = 2;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const FALSE: u8 = 0xf4;
    pub(super) const TRUE: u8 = 0xf5;
    pub(super) const NULL: u8 = 0xf6;
    const TEXT: u8 = 3;
    const POSITIVE_BIGNUM: u8 = 0xc2;
    const NEGATIVE_BIGNUM: u8 = 0xc3;

    pub(super) fn head(out: &mut Vec<u8>, major: u8, value: u64) {
        let major = major << 5;
        let bytes = value.to_be_bytes();
        match value {
            0..=23 => out.push(major | bytes[7]),
            24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
            0x100..=0xffff => out.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
            0x1_0000..=0xffff_ffff => {
                out.push(major | 26);
                out.extend_from_slice(&bytes[4..]);
            }
            _ => {
                out.push(major | 27);
                out.extend_from_slice(&bytes);
            }
        }
    }

    pub(super) fn unsigned(out: &mut Vec<u8>, value: u64) {
        head(out, 0, value);
    }

    pub(super) fn integer(out: &mut Vec<u8>, value: i128) {
        let (major, tag, magnitude) = if value < 0 {
            (1, NEGATIVE_BIGNUM, !value.cast_unsigned())
        } else {
            (0, POSITIVE_BIGNUM, value.cast_unsigned())
        };
        match u64::try_from(magnitude) {
            Ok(magnitude) => head(out, major, magnitude),
            Err(_) => {
                out.push(tag);
                let all = magnitude.to_be_bytes();
                let zeros = all.iter().take_while(|byte| **byte == 0).count();
                bytes(out, &all[zeros..]);
            }
        }
    }

    pub(super) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
        head(out, BYTES, value.len() as u64);
        out.extend_from_slice(value);
    }

    pub(super) fn text(out: &mut Vec<u8>, value: &str) {
        head(out, TEXT, value.len() as u64);
        out.extend_from_slice(value.as_bytes());
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// The examples of RFC 8949, appendix A.
        #[test]
        fn numbers_are_written_at_their_shortest() {
            let written = |value| {
                let mut out = Vec::new();
                integer(&mut out, value);
                out
            };
            assert_eq!(written(0), [0x00]);
            assert_eq!(written(23), [0x17]);
            assert_eq!(written(24), [0x18, 0x18]);
            assert_eq!(written(1000), [0x19, 0x03, 0xe8]);
            assert_eq!(written(1_000_000), [0x1a, 0x00, 0x0f, 0x42, 0x40]);
            assert_eq!(written(u64::MAX.into()), [0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
            assert_eq!(written(i128::from(u64::MAX) + 1), [0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(written(-1), [0x20]);
            assert_eq!(written(-1000), [0x39, 0x03, 0xe7]);
            assert_eq!(written(-i128::from(u64::MAX) - 2), [0xc3, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
}
