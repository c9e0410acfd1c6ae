//! An answer as it is kept, and the card that says whose it is. Both are CBOR behind a version and a checksum over the key and
//! the text: what was torn, damaged or put in another's place is not read as something else, but not at all.

use minicbor::{Decode, Encode};
use tollgate_interaction::{InteractionId, Usd};

use super::key::Key;

/// Of the form in which both are written; one of another is not read.
const VERSION: u8 = 1;
/// Of what stands before the text: version and checksum.
const HEAD_BYTES: usize = 5;

/// Whose answer it is, and how long it is good for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Card {
    #[n(0)]
    pub(super) tenant: String,
    #[n(1)]
    pub(super) team: String,
    /// Of the call that was answered.
    #[n(2)]
    pub(super) key_id: String,
    /// The end user of that call, by the keyed hash that stands in the log.
    #[n(3)]
    pub(super) user_ref: Option<String>,
    /// What was written as the model.
    #[n(4)]
    pub(super) model: String,
    /// Microseconds since 1970, UTC.
    #[n(5)]
    pub(super) kept_at_us: i64,
    #[n(6)]
    pub(super) expires_at_us: i64,
    /// The set of questions that this one is near to or not; `None` if it is found by the very same request only.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub(super) surroundings: Option<Vec<u8>>,
    /// What it takes in the store.
    #[n(8)]
    pub(super) footprint: u64,
    /// The call that was answered; `None` on cards that were written before it was noted.
    #[n(9)]
    pub(super) from: Option<InteractionId>,
}

/// An answer and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Entry {
    #[n(0)]
    pub(super) card: Card,
    #[n(1)]
    pub(super) content_type: String,
    /// As it was sent to the caller.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(super) body: Vec<u8>,
    #[n(3)]
    pub(super) is_stream: bool,
    /// The call that got it first.
    #[n(4)]
    pub(super) from: InteractionId,
    /// `provider/model`, as the route names it.
    #[n(5)]
    pub(super) target: String,
    #[n(6)]
    pub(super) model_served: Option<String>,
    #[n(7)]
    pub(super) finish_reasons: Vec<String>,
    /// What that call cost, as far as it is known.
    #[n(8)]
    pub(super) cost_usd: Option<Usd>,
}

/// What an answer of `bytes` bytes takes in the store: what is longer than half a page has pages of its own, of which there
/// are two to the power of something.
pub(super) fn footprint(bytes: usize) -> u64 {
    const PAGE: usize = 4_096;
    /// Card, names, and the tree above.
    const AROUND: usize = 768;
    let whole = bytes.saturating_add(AROUND);
    let taken = if whole > PAGE / 2 { whole.next_power_of_two().max(PAGE) } else { whole };
    taken as u64
}

/// The text of `value`, sealed.
pub(super) fn seal<T: Encode<()>>(key: &Key, value: &T) -> Option<Vec<u8>> {
    let mut sealed = vec![VERSION, 0, 0, 0, 0];
    minicbor::encode(value, &mut sealed).ok()?;
    let sum = checksum(key, sealed.get(HEAD_BYTES..)?);
    sealed.get_mut(1..HEAD_BYTES)?.copy_from_slice(&sum.to_le_bytes());
    Some(sealed)
}

/// What was sealed; `None` if it is damaged or not what `key` stands for.
pub(super) fn unseal<T: for<'b> Decode<'b, ()>>(key: &Key, sealed: &[u8]) -> Option<T> {
    let (head, text) = sealed.split_at_checked(HEAD_BYTES)?;
    let (version, sum) = head.split_first()?;
    let sum = u32::from_le_bytes(sum.try_into().ok()?);
    if *version != VERSION || sum != checksum(key, text) {
        return None;
    }
    minicbor::decode(text).ok()
}

fn checksum(key: &Key, text: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.bytes()), text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::key::Parts;
    use super::*;

    pub(in crate::cache) fn entry(tenant: &str, body: &[u8]) -> Entry {
        Entry {
            card: Card {
                tenant: tenant.to_owned(),
                team: "core".to_owned(),
                key_id: "k".to_owned(),
                user_ref: Some("u".to_owned()),
                model: "assistant".to_owned(),
                kept_at_us: 1,
                expires_at_us: i64::MAX,
                surroundings: None,
                footprint: footprint(body.len()),
                from: Some(InteractionId::new(1_795_000_000_000, &[4; 10])),
            },
            content_type: "application/json".to_owned(),
            body: body.to_vec(),
            is_stream: false,
            from: InteractionId::new(1_795_000_000_000, &[4; 10]),
            target: "up/small".to_owned(),
            model_served: Some("small".to_owned()),
            finish_reasons: vec!["stop".to_owned()],
            cost_usd: Some(Usd::new(37_500)),
        }
    }

    #[test]
    fn an_answer_comes_back_as_it_was_and_a_damaged_one_not_at_all() {
        let (key, other) = (Parts::of_tenant("a").key(), Parts::of_tenant("b").key());
        let mut kept = entry("acme", b"{\"answer\":42}");
        kept.card.surroundings = Some(other.bytes().to_vec());
        let sealed = seal(&key, &kept).unwrap();
        assert_eq!(unseal::<Entry>(&key, &sealed), Some(kept));
        assert_eq!(unseal::<Entry>(&other, &sealed), None, "in another's place");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(unseal::<Entry>(&key, &damaged), None, "byte {at}");
            assert_eq!(unseal::<Entry>(&key, &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn what_an_answer_takes_grows_with_it_and_is_never_less() {
        for bytes in [0, 1, 1_000, 2_000, 5_000, 70_000, 1_000_000] {
            let taken = footprint(bytes);
            assert!(taken > bytes as u64 && taken <= 2 * (bytes as u64 + 2_048), "{bytes}: {taken}");
        }
    }
}
