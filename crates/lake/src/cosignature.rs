//! Cosignatures, C2SP `tlog-cosignature` with Ed25519 (type 0x04): a witness's signed statement of when it saw which tree.
//! They stand below the log's own signature, as further signatures of the same note. ML-DSA is not spoken.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature as Ed25519, SignatureError, Signer as _, SigningKey, VerifyingKey};
use signed_note::{Note, Signature, Signer, Verifier};
use tollgate_flush::keys::{KeyKind, KeyPair};

/// First line of what is signed; keeps a cosignature from passing for a signature of anything else.
const HEADER: &str = "cosignature/v1";
/// Of the time in front of the signature.
const TIMESTAMP_BYTES: usize = 8;

/// Why a text is no key of a witness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessKeyError {
    /// It is no verifier key at all.
    #[error("`{key}` is not a witness's public key of the form `name+hash+base64`; `tollgate witness key` prints one")]
    Malformed {
        /// As given.
        key: String,
    },
    /// It is a key, but of something else than a witness.
    #[error(
        "`{key}` is a key of type 0x{kind:02x}; a witness that is understood here has one of type 0x04, an Ed25519 cosignature key"
    )]
    Kind {
        /// As given.
        key: String,
        /// Its type byte.
        kind: u8,
    },
}

/// What a witness signs with, at one moment.
#[derive(Clone)]
pub struct Cosigner {
    name: String,
    id: u32,
    key: SigningKey,
    timestamp_s: u64,
}

impl std::fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cosigner({}+{:08x})", self.name, self.id)
    }
}

impl Cosigner {
    /// Takes a key pair of [`KeyKind::Cosignature`].
    ///
    /// # Errors
    /// [`WitnessKeyError`] for one of another kind.
    pub fn new(pair: &KeyPair) -> Result<Cosigner, WitnessKeyError> {
        let verifier = CosignatureVerifier::new(&pair.public)?;
        // `PRIVATE+KEY+name+hash+base64`; base64 may have a `+`.
        let seed = pair.secret.splitn(5, '+').nth(4);
        let typed = seed.and_then(|seed| BASE64_STANDARD.decode(seed).ok());
        let seed: Option<[u8; 32]> = typed.and_then(|typed| typed.get(1..)?.try_into().ok());
        let seed = seed.ok_or_else(|| WitnessKeyError::Malformed { key: pair.public.clone() })?;
        let key = SigningKey::from_bytes(&seed);
        Ok(Cosigner { name: verifier.name, id: verifier.id, key, timestamp_s: 0 })
    }

    /// The same signer at this moment: seconds since 1970, UTC.
    #[must_use]
    pub fn at(&self, timestamp_s: u64) -> Cosigner {
        Cosigner { timestamp_s, ..self.clone() }
    }
}

impl Signer for Cosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let signature = self.key.try_sign(&statement(self.timestamp_s, text))?;
        Ok([&self.timestamp_s.to_be_bytes()[..], &signature.to_bytes()].concat())
    }
}

/// A witness's public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignatureVerifier {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl CosignatureVerifier {
    /// Reads a verifier key of type 0x04.
    ///
    /// # Errors
    /// [`WitnessKeyError`].
    pub fn new(vkey: &str) -> Result<CosignatureVerifier, WitnessKeyError> {
        let malformed = || WitnessKeyError::Malformed { key: vkey.to_owned() };
        // Name and hash have no `+`; base64 may.
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(hash), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let typed = BASE64_STANDARD.decode(encoded).map_err(|_| malformed())?;
        let id = signed_note::key_id(name, &typed);
        if !signed_note::is_key_name_valid(name) || hash != format!("{id:08x}") {
            return Err(malformed());
        }
        match typed.split_first() {
            Some((kind, key)) if *kind == KeyKind::Cosignature as u8 => {
                let key: &[u8; 32] = key.try_into().map_err(|_| malformed())?;
                let key = VerifyingKey::from_bytes(key).map_err(|_| malformed())?;
                Ok(CosignatureVerifier { name: name.to_owned(), id, key })
            }
            Some((kind, _)) => Err(WitnessKeyError::Kind { key: vkey.to_owned(), kind: *kind }),
            None => Err(malformed()),
        }
    }

    /// The bare Ed25519 key, by which two names of one key are found out.
    #[must_use]
    pub(crate) fn key_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Finds this witness's cosignature of a note: the signature, and when it was made, in seconds since 1970, UTC. One
    /// that does not verify is passed over: anybody can add a line.
    #[must_use]
    pub fn find<'a>(&self, text: &[u8], signatures: &'a [Signature]) -> Option<(&'a Signature, u64)> {
        let of_this_key = signatures.iter().filter(|found| found.name() == self.name && found.id() == self.id);
        let mut verified = of_this_key.filter(|found| self.verify(text, found.signature()));
        verified.find_map(|found| Some((found, timestamp_of(found.signature())?)))
    }
}

impl Verifier for CosignatureVerifier {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some(timestamp_s) = timestamp_of(signature) else { return false };
        let Ok(signature) = Ed25519::from_slice(&signature[TIMESTAMP_BYTES..]) else { return false };
        self.key.verify_strict(&statement(timestamp_s, text), &signature).is_ok()
    }
}

fn statement(timestamp_s: u64, text: &[u8]) -> Vec<u8> {
    [format!("{HEADER}\ntime {timestamp_s}\n").as_bytes(), text].concat()
}

/// `None` if there is no time, or one that the format does not allow.
fn timestamp_of(signature: &[u8]) -> Option<u64> {
    let timestamp_s = u64::from_be_bytes(*signature.first_chunk()?);
    i64::try_from(timestamp_s).is_ok().then_some(timestamp_s)
}

/// The text of a note and all its signatures, verified or not; `None` if it is no note.
#[must_use]
pub fn parts_of(note: &[u8]) -> Option<(Vec<u8>, Vec<Signature>)> {
    let text = Note::from_bytes(note).ok()?.text().to_vec();
    // The note has been found well-formed: one signature a line, after the text and an empty line.
    let lines = note.get(text.len() + 1..)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let signatures = lines.map(Signature::from_bytes).collect::<Result<Vec<_>, _>>().ok()?;
    Some((text, signatures))
}

#[cfg(test)]
mod tests {
    use signed_note::{StandardVerifier, VerifierList};
    use tollgate_flush::keys::KeySource;

    use super::*;

    // Made with Python's `cryptography` from the seed 00 01 … 1f and the rules of the specification.
    const PUBLIC: &str = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    const SECRET: &str = "PRIVATE+KEY+witness.example/w1+e75f6532+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    const TIMESTAMP_S: u64 = 1_679_315_147;
    const LINE: &str = "— witness.example/w1 519lMgAAAABkGFDLBuRDazBLVac2NE+Y+IjbjQOcXLfF9CSDZVUIoS83rE1nFZsVE8YiWV6Ngr7lV8H6bdoBQGP/l73euDMQ9k+bBQ==\n";
    // The example of tlog-cosignature, whose key is not published: only its layout can be checked.
    const SPECIFIED: &str = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";

    fn pair() -> KeyPair {
        let given = KeySource::Given { origin: "test".into(), text: SECRET.into() };
        given.load_as(KeyKind::Cosignature, None, || panic!("given")).unwrap().current
    }

    fn cosigned() -> Vec<u8> {
        let mut note = Note::new(TEXT.as_bytes(), &[]).unwrap();
        note.add_sigs(&[&Cosigner::new(&pair()).unwrap().at(TIMESTAMP_S)]).unwrap();
        note.to_bytes()
    }

    #[test]
    fn a_cosignature_is_the_one_that_another_implementation_makes() {
        assert_eq!(pair().public, PUBLIC);
        assert_eq!(String::from_utf8(cosigned()).unwrap(), format!("{TEXT}\n{LINE}"));
    }

    #[test]
    fn a_cosignature_verifies_and_tells_its_time() {
        let verifier = CosignatureVerifier::new(PUBLIC).unwrap();
        let (text, signatures) = parts_of(&cosigned()).unwrap();
        assert_eq!(verifier.find(&text, &signatures).unwrap().1, TIMESTAMP_S);
        let note = Note::from_bytes(&cosigned()).unwrap();
        assert!(note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok());
    }

    #[test]
    fn a_cosignature_of_another_text_or_time_does_not_verify() {
        let verifier = CosignatureVerifier::new(PUBLIC).unwrap();
        let (text, signatures) = parts_of(&cosigned()).unwrap();
        let signature = signatures[0].signature();
        assert!(verifier.verify(&text, signature));
        assert!(!verifier.verify(&text[1..], signature));
        for at in 0..signature.len() {
            let mut changed = signature.to_vec();
            changed[at] ^= 1;
            assert!(!verifier.verify(&text, &changed), "byte {at}");
        }
        assert!(!verifier.verify(&text, &signature[..71]) && !verifier.verify(&text, &[]));
    }

    #[test]
    fn a_line_that_does_not_verify_does_not_hide_one_that_does() {
        let verifier = CosignatureVerifier::new(PUBLIC).unwrap();
        let (text, signatures) = parts_of(&cosigned()).unwrap();
        let mut forged = signatures[0].signature().to_vec();
        forged[20] ^= 1;
        let forged = Signature::new("witness.example/w1".into(), signatures[0].id(), forged).unwrap();
        assert!(verifier.find(&text, std::slice::from_ref(&forged)).is_none());
        assert!(verifier.find(&text, &[forged, signatures[0].clone()]).is_some());
    }

    #[test]
    fn a_time_after_the_last_that_the_format_allows_is_refused() {
        let verifier = CosignatureVerifier::new(PUBLIC).unwrap();
        let sign = |timestamp_s| Cosigner::new(&pair()).unwrap().at(timestamp_s).sign(TEXT.as_bytes()).unwrap();
        assert!(verifier.verify(TEXT.as_bytes(), &sign(i64::MAX as u64)));
        assert!(!verifier.verify(TEXT.as_bytes(), &sign(i64::MAX as u64 + 1)));
    }

    #[test]
    fn the_specifications_example_has_the_layout_that_is_read_here() {
        let signature = Signature::from_bytes(SPECIFIED.as_bytes()).unwrap();
        assert_eq!(signature.id(), 0x8d66_cf3f);
        assert_eq!(signature.signature().len(), TIMESTAMP_BYTES + 64);
        assert_eq!(timestamp_of(signature.signature()), Some(TIMESTAMP_S));
    }

    #[test]
    fn keys_of_logs_and_of_witnesses_are_not_mixed_up() {
        let log = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(CosignatureVerifier::new(log), Err(WitnessKeyError::Kind { key: log.into(), kind: 1 }));
        assert!(StandardVerifier::new(PUBLIC).is_err());
        for broken in ["", "a+b", &PUBLIC[..60], &PUBLIC.replace("e75f", "e75e"), &PUBLIC.replace("w1", "w 1")] {
            assert!(CosignatureVerifier::new(broken).is_err(), "{broken}");
        }
    }
}
