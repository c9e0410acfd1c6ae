//! The commitment of a record: a hash over its deterministic CBOR, so that storing the same facts in another file,
//! another order or another codec does not change it.

use sha2::{Digest, Sha256};

use crate::event::Growing;
use crate::interaction::Interaction;

/// Separates these hashes from every other use of SHA-256.
const DOMAIN: &[u8] = b"tollgate/record/v1";

/// SHA-256 over the domain separator and the record's CBOR. `scratch` is cleared and reused between calls.
#[must_use]
pub fn of_record(interaction: &Interaction, scratch: &mut Vec<u8>) -> [u8; 32] {
    scratch.clear();
    let written: Result<(), minicbor::encode::Error<std::convert::Infallible>> =
        minicbor::encode(interaction, Growing(scratch));
    debug_assert!(written.is_ok(), "encoding a record failed: {written:?}");
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(&*scratch);
    hash.finalize().into()
}
