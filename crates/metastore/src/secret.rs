//! Secrets: made here, shown once, stored as SHA-256. Forty random characters cannot be guessed or searched through, so
//! a plain hash is enough and a slow one would only slow us down.

use tollgate_policy::control::{hash_key, hash_text};

use crate::error::MetastoreError;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62⁴⁰ is about 2²³⁸.
const SECRET_CHARS: usize = 40;
/// Ids need not be secret, only unlike each other.
const ID_CHARS: usize = 12;
/// How many random characters of a secret are kept to recognise it by.
const SHOWN_CHARS: usize = 4;

/// What a secret is for, seen from how it begins, so that one in the wrong place is recognised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Key,
    ApiToken,
    Login,
    Session,
    Csrf,
}

impl Purpose {
    const fn prefix(self) -> &'static str {
        match self {
            Purpose::Key => "tg-",
            Purpose::ApiToken => "tgt-",
            Purpose::Login => "tgl-",
            Purpose::Session => "tgs-",
            Purpose::Csrf => "tgc-",
        }
    }
}

pub(crate) fn new_secret(purpose: Purpose) -> Result<String, MetastoreError> {
    random_text(purpose.prefix(), SECRET_CHARS)
}

/// An id such as `key-1aB…`.
pub(crate) fn new_id(prefix: &str) -> Result<String, MetastoreError> {
    random_text(prefix, ID_CHARS)
}

/// What is stored of a secret.
pub(crate) fn hash(secret: &str) -> String {
    hash_text(&hash_key(secret))
}

/// How a secret begins: `tg-AbCd…`.
pub(crate) fn display(secret: &str) -> String {
    let prefix_end = secret.find('-').map_or(0, |dash| dash + 1);
    format!("{}…", secret.chars().take(prefix_end + SHOWN_CHARS).collect::<String>())
}

fn random_text(prefix: &str, chars: usize) -> Result<String, MetastoreError> {
    let mut text = prefix.to_owned();
    let mut bytes = [0_u8; 64];
    while text.len() < prefix.len() + chars {
        getrandom::fill(&mut bytes).map_err(|source| MetastoreError::Random { source })?;
        // 248 is the largest multiple of 62 that fits a byte; what is above would favour some characters.
        let even = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(even.take(prefix.len() + chars - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_random_and_says_what_it_is_for() {
        let (one, other) = (new_secret(Purpose::Key).unwrap(), new_secret(Purpose::Key).unwrap());
        assert!(one.starts_with("tg-") && one.len() == 43, "{one}");
        assert!(one[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one, other);
        assert_eq!(display(&one), format!("{}…", &one[..7]));
    }
}
