//! Signing keys: of a writer, for its batches, and of the log, for its checkpoints. A key is made at the first start and
//! kept in a file that only its owner may read, or it comes from the environment and is never written anywhere.
//!
//! The file has the key that signs in its first line and, after a rotation, the one before it in the second: a new key
//! counts only when the former one has signed it too.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use signed_note::StandardSigner;

use crate::store::durable_local;

/// What a key signs: the type byte of C2SP `signed-note`, which is part of the key's hash, so that no key of one kind
/// passes for one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Notes: batches, checkpoints, key notes.
    Note = 1,
    /// Timestamped cosignatures (`tlog-cosignature`): what a witness signs.
    Cosignature = 4,
}

/// Who may read a key: its owner.
const PRIVATE: u32 = 0o600;

/// A key pair as `signed-note` writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// `PRIVATE+KEY+name+hash+base64`.
    pub secret: String,
    /// `name+hash+base64`: what a verifier needs.
    pub public: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

/// The keys of one signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Signs.
    pub current: KeyPair,
    /// Signed before, and must hand over to the current one where that has not been done.
    pub former: Option<KeyPair>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the key file `{path}` cannot be read or written; check the disk and that the file belongs to this user")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read the file.
    #[error("the key file `{path}` may be read by others (mode {mode:o}); run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is given is no key.
    #[error(
        "`{origin}` does not hold a signing key of this kind, of the form `PRIVATE+KEY+name+hash+base64`; restore it"
    )]
    Malformed {
        /// File or variable.
        origin: String,
    },
    /// The key has another name than its signer.
    #[error("the key in `{origin}` is named `{found}`, not `{wanted}`; use the key that belongs here")]
    OtherName {
        /// File or variable.
        origin: String,
        /// Name of the key.
        found: String,
        /// Name of the signer.
        wanted: String,
    },
    /// A key that is kept elsewhere.
    #[error("the key comes from `{origin}`, not from a file: rotate it there, with the former key in its second line")]
    NotInAFile {
        /// The variable.
        origin: String,
    },
    /// There is no key to be rotated.
    #[error("there is no key file `{path}` yet; it is made when the server first starts")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("no key could be drawn; check that the system provides `getrandom`")]
    Random(#[from] getrandom::Error),
}

/// Draws a key pair.
///
/// # Errors
/// [`KeyError::Random`].
pub fn generate(name: &str) -> Result<KeyPair, KeyError> {
    generate_as(KeyKind::Note, name)
}

/// Draws a key pair of this kind.
///
/// # Errors
/// [`KeyError::Random`].
pub fn generate_as(kind: KeyKind, name: &str) -> Result<KeyPair, KeyError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let key = SigningKey::from_bytes(&seed);
    Ok(pair(kind, name, &key))
}

fn pair(kind: KeyKind, name: &str, key: &SigningKey) -> KeyPair {
    let typed = |bytes: [u8; 32]| [&[kind as u8], bytes.as_slice()].concat();
    let public = typed(key.verifying_key().to_bytes());
    let id = signed_note::key_id(name, &public);
    KeyPair {
        secret: format!("PRIVATE+KEY+{name}+{id:08x}+{}", BASE64_STANDARD.encode(typed(key.to_bytes()))),
        public: format!("{name}+{id:08x}+{}", BASE64_STANDARD.encode(public)),
    }
}

impl KeyPair {
    /// Reads a secret key and derives the public one.
    fn read(kind: KeyKind, secret: &str, origin: &str) -> Result<KeyPair, KeyError> {
        let malformed = || KeyError::Malformed { origin: origin.to_owned() };
        // Name and hash have no `+`; base64 may.
        let mut parts = secret.splitn(5, '+').skip(2);
        let (Some(name), Some(_), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let typed = BASE64_STANDARD.decode(encoded).map_err(|_| malformed())?;
        let seed: [u8; 32] = typed.get(1..).and_then(|seed| seed.try_into().ok()).ok_or_else(malformed)?;
        let read = pair(kind, name, &SigningKey::from_bytes(&seed));
        // Prefix, kind and hash are checked by writing the key anew.
        if !signed_note::is_key_name_valid(name) || read.secret != secret {
            return Err(malformed());
        }
        Ok(read)
    }

    /// Signs notes. The key was checked when it was read.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] never for a pair that this module made.
    pub fn signer(&self) -> Result<StandardSigner, KeyError> {
        StandardSigner::new(&self.secret).map_err(|_| KeyError::Malformed { origin: self.public.clone() })
    }

    /// Name of the signer.
    #[must_use]
    pub fn name(&self) -> &str {
        self.public.split('+').next().unwrap_or_default()
    }
}

/// Where the keys of one signer are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// In a file, made if it is missing.
    File(PathBuf),
    /// Given, such as by an environment variable: current first, former after it, one a line.
    Given {
        /// What to call it in messages.
        origin: String,
        /// The keys.
        text: String,
    },
}

impl KeySource {
    /// The variable if it is set, else the file.
    #[must_use]
    pub fn variable_or_file(variable: &str, file: PathBuf) -> KeySource {
        match std::env::var(variable) {
            Ok(text) if !text.trim().is_empty() => KeySource::Given { origin: variable.to_owned(), text },
            _ => KeySource::File(file),
        }
    }

    /// Reads the keys; makes one, named `name`, if there is no file. `name` is `None` if any name will do.
    ///
    /// # Errors
    /// [`KeyError`], by name. A key file that is there and unusable is never replaced.
    pub fn load(&self, name: Option<&str>, make: impl FnOnce() -> Result<KeyPair, KeyError>) -> Result<Keys, KeyError> {
        self.load_as(KeyKind::Note, name, make)
    }

    /// As [`KeySource::load`], for keys of this kind.
    ///
    /// # Errors
    /// As [`KeySource::load`]; a key of another kind is [`KeyError::Malformed`].
    pub fn load_as(
        &self,
        kind: KeyKind,
        name: Option<&str>,
        make: impl FnOnce() -> Result<KeyPair, KeyError>,
    ) -> Result<Keys, KeyError> {
        let keys = match self {
            KeySource::Given { origin, text } => parse(kind, text, origin)?,
            KeySource::File(path) => match read_private(path)? {
                Some(text) => parse(kind, &text, &path.display().to_string())?,
                None => {
                    let keys = Keys { current: make()?, former: None };
                    write_private(path, &keys)?;
                    keys
                }
            },
        };
        match name {
            Some(wanted) if keys.current.name() != wanted => Err(KeyError::OtherName {
                origin: self.origin(),
                found: keys.current.name().to_owned(),
                wanted: wanted.to_owned(),
            }),
            _ => Ok(keys),
        }
    }

    /// Reads the keys and makes none.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] if there is no file.
    pub fn read(&self) -> Result<Keys, KeyError> {
        let path = match self {
            KeySource::File(path) => path.clone(),
            KeySource::Given { .. } => PathBuf::new(),
        };
        self.load(None, || Err(KeyError::NoKey { path }))
    }

    /// Makes a new key of the same name the current one. Only keys in a file can be rotated here.
    ///
    /// # Errors
    /// [`KeyError`]; the file is the old one or the new one, never half of it.
    pub fn rotate(&self) -> Result<Keys, KeyError> {
        let KeySource::File(path) = self else { return Err(KeyError::NotInAFile { origin: self.origin() }) };
        let text = read_private(path)?.ok_or_else(|| KeyError::NoKey { path: path.clone() })?;
        let keys = parse(KeyKind::Note, &text, &path.display().to_string())?;
        let rotated = Keys { current: generate(keys.current.name())?, former: Some(keys.current) };
        write_private(path, &rotated)?;
        Ok(rotated)
    }

    fn origin(&self) -> String {
        match self {
            KeySource::File(path) => path.display().to_string(),
            KeySource::Given { origin, .. } => origin.clone(),
        }
    }
}

fn parse(kind: KeyKind, text: &str, origin: &str) -> Result<Keys, KeyError> {
    let mut lines = text.split_whitespace();
    let first = lines.next().ok_or_else(|| KeyError::Malformed { origin: origin.to_owned() })?;
    let former = lines.next().map(|line| KeyPair::read(kind, line, origin)).transpose()?;
    Ok(Keys { current: KeyPair::read(kind, first, origin)?, former })
}

fn read_private(path: &Path) -> Result<Option<String>, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    fs::read_to_string(path).map(Some).map_err(failed)
}

/// Writes a temporary file that was never readable by others, and renames it into place.
fn write_private(path: &Path, keys: &Keys) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    durable_local::create_folder_durably(folder).map_err(failed)?;
    let temporary = path.with_extension("new");
    let mut text = format!("{}\n", keys.current.secret);
    if let Some(former) = &keys.former {
        text.push_str(&former.secret);
        text.push('\n');
    }
    let write = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(PRIVATE);
        let mut file = options.open(&temporary)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        durable_local::sync_folder(folder)
    };
    write().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn source(folder: &tempfile::TempDir) -> KeySource {
        KeySource::File(folder.path().join("keys/writer.key"))
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let made = source(&folder).load(Some("gw"), || generate("gw")).unwrap();
        let again = source(&folder).load(Some("gw"), || panic!("a second key")).unwrap();
        assert_eq!(made, again);
        let path = folder.path().join("keys/writer.key");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(source(&folder).load(None, || generate("gw")), Err(KeyError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn a_damaged_key_is_named_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let made = source(&folder).load(Some("gw"), || generate("gw")).unwrap();
        let path = folder.path().join("keys/writer.key");
        std::fs::write(&path, &made.current.secret[..30]).unwrap();
        assert!(matches!(source(&folder).load(None, || generate("gw")), Err(KeyError::Malformed { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap().len(), 30);
    }

    #[test]
    fn a_rotated_key_keeps_its_name_and_the_former_key_to_hand_over_with() {
        let folder = tempfile::tempdir().unwrap();
        let made = source(&folder).load(Some("gw"), || generate("gw")).unwrap();
        let rotated = source(&folder).rotate().unwrap();
        assert_eq!(rotated.former.as_ref(), Some(&made.current));
        assert_ne!(rotated.current.public, made.current.public);
        assert_eq!(source(&folder).load(Some("gw"), || generate("gw")).unwrap(), rotated);
    }

    #[test]
    fn a_given_key_must_be_of_the_signers_name() {
        let given = KeySource::Given { origin: "TOLLGATE_WRITER_KEY".into(), text: generate("a").unwrap().secret };
        assert!(matches!(given.load(Some("b"), || generate("b")), Err(KeyError::OtherName { .. })));
        for _ in 0..50 {
            let key = generate("a").unwrap();
            assert_eq!(KeyPair::read(KeyKind::Note, &key.secret, "test").unwrap(), key, "whatever its base64 contains");
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let witness = generate_as(KeyKind::Cosignature, "w").unwrap();
        assert!(KeyPair::read(KeyKind::Cosignature, &witness.secret, "test").is_ok());
        assert!(KeyPair::read(KeyKind::Note, &witness.secret, "test").is_err());
        let note = generate("w").unwrap();
        assert!(KeyPair::read(KeyKind::Cosignature, &note.secret, "test").is_err());
    }
}
