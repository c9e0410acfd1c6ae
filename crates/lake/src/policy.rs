//! Whose signatures make a checkpoint believable: a file in the format of C2SP `tlog-policy`, which lists logs and witnesses
//! and says how many of which witnesses must have cosigned. It is read as a whole; a line that is not understood is a
//! mistake, since a policy that is half applied protects less than its reader believes.

use std::collections::{HashMap, HashSet};

use signed_note::{Signature, StandardVerifier, Verifier};

use crate::cosignature::{CosignatureVerifier, WitnessKeyError, parts_of};

/// Witnesses, and logs, and groups, of one policy. More than the 32 that the specification recommends, and few enough that
/// their signatures fit into one note, of which at most 100 are read.
const MOST: usize = 64;
/// The quorum that asks for nothing.
const NONE: &[u8] = b"none";

/// Why a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PolicyError {
    /// From 1; the last line for what the whole file lacks.
    pub line: u64,
    /// What is wrong and what to do.
    pub message: String,
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<String>,
    witnesses: Vec<PolicyWitness>,
    quorum: Quorum,
}

/// A witness of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its public key, by whose name it is known outside the file.
    pub verifier: CosignatureVerifier,
    /// Where it is asked; a policy for readers has none.
    pub url: Option<String>,
}

/// What must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Quorum {
    Nobody,
    /// Place among the witnesses.
    Witness(usize),
    Group {
        threshold: usize,
        members: Vec<Quorum>,
    },
}

/// Who cosigned a checkpoint, as far as a policy knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// For every witness of the policy, in its order: when it cosigned, in seconds since 1970, UTC.
    pub at_s: Vec<Option<u64>>,
    /// Whether that is enough.
    pub quorum_is_met: bool,
}

impl Policy {
    /// Reads a policy. The file is octets: names need not be UTF-8.
    ///
    /// # Errors
    /// [`PolicyError`] with the line.
    pub fn parse(text: &[u8]) -> Result<Policy, PolicyError> {
        let mut reading = Reading::default();
        let mut number = 0;
        for line in text.split(|octet| *octet == b'\n') {
            number += 1;
            reading.line(line).map_err(|message| PolicyError { line: number, message })?;
        }
        let Some(quorum) = reading.quorum else {
            let message = "the policy has no `quorum` line; end it with `quorum NAME`, or `quorum none`".to_owned();
            return Err(PolicyError { line: number, message });
        };
        Ok(Policy { logs: reading.logs, witnesses: reading.witnesses, quorum })
    }

    /// Public keys of the logs that are accepted; empty if the policy leaves that to its reader.
    #[must_use]
    pub fn logs(&self) -> &[String] {
        &self.logs
    }

    /// The witnesses, in the order of the file.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Who cosigned this checkpoint, a signed note whose own signature is checked elsewhere.
    #[must_use]
    pub fn cosigned(&self, note: &[u8]) -> Cosigned {
        let (text, signatures) = parts_of(note).unwrap_or_default();
        let at_s: Vec<Option<u64>> = self
            .witnesses
            .iter()
            .map(|witness| witness.verifier.find(&text, &signatures).map(|(_, timestamp_s)| timestamp_s))
            .collect();
        let quorum_is_met = self.quorum.is_met(&at_s);
        Cosigned { at_s, quorum_is_met }
    }

    /// What is wrong with a checkpoint by this policy, if anything is. `known` are keys that are the log's by what its reader
    /// knows, such as the key notes of the log: a policy that names a key goes on to hold when the key is rotated.
    #[must_use]
    pub fn objection(&self, note: &[u8], known: &[String]) -> Option<String> {
        let is_accepted = |log: &String| known.contains(log) || is_signed_by(note, log);
        if !self.logs.is_empty() && !self.logs.iter().any(is_accepted) {
            return Some("it is signed by none of the policy's logs".to_owned());
        }
        self.shortfall(&self.cosigned(note))
    }

    /// Words a quorum that is not met.
    #[must_use]
    pub(crate) fn shortfall(&self, cosigned: &Cosigned) -> Option<String> {
        if cosigned.quorum_is_met {
            return None;
        }
        let with_time = self.witnesses.iter().zip(&cosigned.at_s);
        let names: Vec<String> = with_time
            .filter(|(_, at_s)| at_s.is_some())
            .map(|(witness, _)| format!("`{}`", witness.verifier.name()))
            .collect();
        let found = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        Some(format!("the quorum of witnesses is not met: it is cosigned by {found}"))
    }
}

/// Whether the log of this key signed, and the checkpoint is its own.
fn is_signed_by(note: &[u8], log: &str) -> bool {
    let Ok(verifier) = StandardVerifier::new(log) else { return false };
    let Some((text, signatures)) = parts_of(note) else { return false };
    let of_this_key = |found: &&Signature| found.name() == verifier.name() && found.id() == verifier.key_id();
    let is_own = text.split(|octet| *octet == b'\n').next() == Some(verifier.name().as_bytes());
    is_own && signatures.iter().filter(of_this_key).any(|found| verifier.verify(&text, found.signature()))
}

impl Quorum {
    fn is_met(&self, cosigned_at_s: &[Option<u64>]) -> bool {
        match self {
            Quorum::Nobody => true,
            Quorum::Witness(place) => cosigned_at_s.get(*place).is_some_and(Option::is_some),
            Quorum::Group { threshold, members } => {
                members.iter().filter(|member| member.is_met(cosigned_at_s)).count() >= *threshold
            }
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    logs: Vec<String>,
    log_keys: HashSet<Vec<u8>>,
    witnesses: Vec<PolicyWitness>,
    groups: usize,
    /// Witnesses and groups share their names.
    named: HashMap<Vec<u8>, Quorum>,
    /// Names that are members of a group: each may be once, so that no witness counts twice.
    grouped: HashSet<Vec<u8>>,
    quorum: Option<Quorum>,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if let Some(octet) = line.iter().find(|octet| octet.is_ascii_control() && **octet != b'\t') {
            return Err(format!("it holds the control character 0x{octet:02x}; end lines with a newline alone"));
        }
        let mut words = line.split(|octet| matches!(octet, b' ' | b'\t')).filter(|word| !word.is_empty());
        let Some(keyword) = words.next().filter(|word| !word.starts_with(b"#")) else { return Ok(()) };
        let words: Vec<&[u8]> = words.collect();
        match (keyword, words.as_slice()) {
            (b"log", [key] | [key, _]) => self.log(key),
            (b"witness", [name, key]) => self.witness(name, key, None),
            (b"witness", [name, key, url]) => self.witness(name, key, Some(url)),
            (b"group", [name, threshold, members @ ..]) if !members.is_empty() => self.group(name, threshold, members),
            (b"quorum", [name]) => self.quorum(name),
            (b"log", _) => Err("write `log VKEY [URL]`".to_owned()),
            (b"witness", _) => Err("write `witness NAME VKEY [URL]`".to_owned()),
            (b"group", _) => Err("write `group NAME all|any|NUMBER MEMBER…`".to_owned()),
            (b"quorum", _) => Err("write `quorum NAME`, or `quorum none`".to_owned()),
            (other, _) => {
                let other = text(other);
                Err(format!("`{other}` is not known; a line begins with `log`, `witness`, `group`, `quorum` or `#`"))
            }
        }
    }

    fn log(&mut self, key: &[u8]) -> Result<(), String> {
        let vkey = text(key);
        if StandardVerifier::new(&vkey).is_err() {
            return Err(format!(
                "`{vkey}` is not a log's public key of the form `name+hash+base64` with an Ed25519 key of type 0x01; \
                 `tollgate audit key` prints one"
            ));
        }
        // Everything after the hash; the type is the same for all.
        let bare = vkey.splitn(3, '+').nth(2).unwrap_or_default().as_bytes().to_vec();
        if !self.log_keys.insert(bare) {
            return Err("this log's key is there already".to_owned());
        }
        self.logs.push(vkey);
        room(self.logs.len(), "logs")
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&[u8]>) -> Result<(), String> {
        let verifier = CosignatureVerifier::new(&text(key)).map_err(|error: WitnessKeyError| error.to_string())?;
        let is_same = |known: &PolicyWitness| known.verifier.key_bytes() == verifier.key_bytes();
        if self.witnesses.iter().any(is_same) {
            return Err("this witness's key is there already, maybe by another name".to_owned());
        }
        let place = self.witnesses.len();
        self.name(name, Quorum::Witness(place))?;
        self.witnesses.push(PolicyWitness { verifier, url: url.map(text) });
        room(self.witnesses.len(), "witnesses")
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), String> {
        let threshold = match threshold {
            b"any" => 1,
            b"all" => members.len(),
            number if number.iter().all(u8::is_ascii_digit) => text(number).parse().unwrap_or(usize::MAX),
            other => return Err(format!("`{}` is not `all`, `any` or a number", text(other))),
        };
        if !(1..=members.len()).contains(&threshold) {
            let most = members.len();
            return Err(format!("{threshold} of {most} cannot be; the number is from 1 to {most}"));
        }
        let mut found = Vec::with_capacity(members.len());
        for member in members {
            let Some(known) = self.named.get(*member) else {
                return Err(format!("`{}` is not defined above this line", text(member)));
            };
            if !self.grouped.insert(member.to_vec()) {
                return Err(format!("`{}` is a member of a group already; each may be one once", text(member)));
            }
            found.push(known.clone());
        }
        self.name(name, Quorum::Group { threshold, members: found })?;
        self.groups += 1;
        room(self.groups, "groups")
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is a `quorum` line already".to_owned());
        }
        let found = if name == NONE { Some(&Quorum::Nobody) } else { self.named.get(name) };
        let found = found.ok_or_else(|| format!("`{}` is not defined above this line", text(name)))?;
        self.quorum = Some(found.clone());
        Ok(())
    }

    fn name(&mut self, name: &[u8], what: Quorum) -> Result<(), String> {
        if name == NONE {
            return Err("`none` cannot be defined; it stands for no quorum".to_owned());
        }
        match self.named.insert(name.to_vec(), what) {
            Some(_) => Err(format!("`{}` is defined already", text(name))),
            None => Ok(()),
        }
    }
}

fn room(count: usize, of: &str) -> Result<(), String> {
    if count > MOST { Err(format!("there are more than {MOST} {of}, which are not supported")) } else { Ok(()) }
}

/// Keys and URLs are ASCII; a name is shown as well as it can be.
fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[cfg(test)]
mod tests {
    use signed_note::{Note, Signer};
    use tollgate_flush::keys::{KeyKind, KeyPair, generate, generate_as};

    use super::*;
    use crate::cosignature::Cosigner;

    const TEXT: &str = "tollgate.log/a\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn witnesses(count: usize) -> Vec<KeyPair> {
        (0..count).map(|number| generate_as(KeyKind::Cosignature, &format!("w/{number}")).unwrap()).collect()
    }

    fn lines(keys: &[KeyPair]) -> String {
        let line = |(number, key): (usize, &KeyPair)| format!("witness W{number} {}\n", key.public);
        keys.iter().enumerate().map(line).collect()
    }

    fn note(log: &KeyPair, cosigners: &[&KeyPair]) -> Vec<u8> {
        let mut note = Note::new(TEXT.as_bytes(), &[]).unwrap();
        note.add_sigs(&[&log.signer().unwrap() as &dyn Signer]).unwrap();
        for key in cosigners {
            note.add_sigs(&[&Cosigner::new(key).unwrap().at(1_700_000_000) as &dyn Signer]).unwrap();
        }
        note.to_bytes()
    }

    fn refused(text: &str) -> PolicyError {
        Policy::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn two_of_three_and_one_of_two_is_what_the_specifications_example_asks_for() {
        let (log, keys) = (generate("tollgate.log/a").unwrap(), witnesses(5));
        let text = format!(
            "# who\n\nlog {} https://log.example\n{}group X 2 W0 W1 W2\n\tgroup  Y any W3 W4 \ngroup XY all X Y\nquorum XY\n",
            log.public,
            lines(&keys)
        );
        let policy = Policy::parse(text.as_bytes()).unwrap();
        assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 5));
        for chosen in 0_u32..32 {
            let cosigners: Vec<&KeyPair> =
                keys.iter().enumerate().filter(|(place, _)| chosen & (1 << place) != 0).map(|(_, key)| key).collect();
            let met = (chosen & 0b00111).count_ones() >= 2 && chosen & 0b11000 != 0;
            let cosigned = policy.cosigned(&note(&log, &cosigners));
            assert_eq!(cosigned.quorum_is_met, met, "{chosen:05b}");
            assert_eq!(cosigned.at_s.iter().flatten().count(), cosigners.len());
        }
        let objection = policy.objection(&note(&log, &[&keys[1]]), &[]).unwrap();
        assert!(objection.ends_with("cosigned by `w/1`"), "{objection}");
    }

    #[test]
    fn a_single_witness_or_nobody_may_be_the_quorum() {
        let (log, keys) = (generate("tollgate.log/a").unwrap(), witnesses(1));
        let one = Policy::parse(format!("{}quorum W0", lines(&keys)).as_bytes()).unwrap();
        assert!(one.objection(&note(&log, &[]), &[]).is_some());
        assert_eq!(one.objection(&note(&log, &[&keys[0]]), &[]), None);
        let nobody = Policy::parse(b"quorum none\n").unwrap();
        assert_eq!(nobody.objection(&note(&log, &[]), &[]), None);
    }

    #[test]
    fn a_checkpoint_of_a_log_that_is_not_listed_is_refused() {
        let (log, other) = (generate("tollgate.log/a").unwrap(), generate("tollgate.log/a").unwrap());
        let policy = Policy::parse(format!("log {}\nquorum none\n", log.public).as_bytes()).unwrap();
        assert_eq!(policy.objection(&note(&log, &[]), &[]), None);
        assert!(policy.objection(&note(&other, &[]), std::slice::from_ref(&other.public)).is_some());
        assert_eq!(policy.objection(&note(&other, &[]), std::slice::from_ref(&log.public)), None, "rotated");
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let (log, keys) = (generate("tollgate.log/a").unwrap().public, witnesses(2));
        let two = lines(&keys);
        for (text, line, said) in [
            (String::new(), 1, "no `quorum` line"),
            (format!("{two}\n"), 4, "no `quorum` line"),
            ("quorum none\nquorum none\n".to_owned(), 2, "already"),
            (format!("{two}quorum W2\n"), 3, "`W2` is not defined"),
            (format!("quorum W0\n{two}"), 1, "`W0` is not defined"),
            (format!("{two}group none any W0\n"), 3, "`none`"),
            (format!("{two}group W1 any W0\n"), 3, "`W1` is defined already"),
            (format!("{two}group G 3 W0 W1\n"), 3, "3 of 2"),
            (format!("{two}group G 0 W0 W1\n"), 3, "0 of 2"),
            (format!("{two}group G +1 W0 W1\n"), 3, "`+1`"),
            (format!("{two}group G any\n"), 3, "group NAME"),
            (format!("{two}group G any W0 W0\n"), 3, "a member of a group already"),
            (format!("{two}group G any W0\ngroup H all W0 W1\n"), 4, "a member of a group already"),
            (format!("{two}group G any G\n"), 3, "`G` is not defined"),
            (format!("{two}group G any none\n"), 3, "`none` is not defined"),
            (format!("{two}witness W2 {}\n", keys[0].public), 3, "key is there already"),
            (format!("log {log}\n# again\nlog {log}\n"), 3, "key is there already"),
            (format!("log {}\n", keys[0].public), 1, "not a log's public key"),
            (format!("witness W {log}\n"), 1, "type 0x01"),
            ("witness W\n".to_owned(), 1, "witness NAME"),
            ("sigsum x\n".to_owned(), 1, "`sigsum` is not known"),
            ("# a\nquorum none\r\n".to_owned(), 2, "0x0d"),
        ] {
            let error = refused(&text);
            assert!(error.line == line && error.message.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_octets() {
        let keys = witnesses(2);
        let mut text = format!("witness \u{212a} {}\nwitness K {}\ngroup G all K ", keys[0].public, keys[1].public);
        text.push('\u{212a}');
        assert!(Policy::parse(format!("{text}\nquorum G").as_bytes()).is_ok(), "a Kelvin sign is not a K");
        let latin = [b"witness \xff ".as_slice(), keys[0].public.as_bytes(), b"\nquorum \xff\n"].concat();
        assert!(Policy::parse(&latin).is_ok());
    }
}
