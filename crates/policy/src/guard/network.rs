//! Addresses of machines: IPv4, IPv6, MAC, UUID; and of purses (Bitcoin, Ethereum).

use std::net::Ipv6Addr;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::Score;

/// An IPv4 address that begins at `start`; a version number or a section with four parts has a word before it.
pub(super) fn ipv4(text: &str, start: usize) -> Option<(Range<usize>, Score)> {
    let bytes = text.as_bytes();
    let mut at = start;
    for part in 0..4 {
        if part > 0 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let length = bytes[at..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let digits = &bytes[at..at + length];
        let value = digits.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
        if length == 0 || length > 3 || value > 255 || (length > 1 && digits[0] == b'0') {
            return None;
        }
        at += length;
    }
    let range = start..at;
    let is_version = super::context::is_before(text, start, 12, &["version", "release", "v.", "section"]);
    let is_unset = &text[range.clone()] == "0.0.0.0";
    let score = if is_version || is_unset { Score::percent(20) } else { Score::percent(85) };
    super::number::is_isolated(text, &range).then_some((range, score))
}

/// Longest IPv6 address as text.
const MAX_IPV6: usize = 45;

/// An IPv6 address whose first group begins at `start`.
pub(super) fn ipv6(text: &str, start: usize) -> Option<(Range<usize>, Score)> {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = bytes[start..].iter().take(MAX_IPV6 + 1).take_while(|byte| is_part(byte)).count();
    let candidate = text[start..start + length].trim_end_matches(['.', ':']);
    let is_double =
        text[start..start + length].starts_with(candidate) && text[start + candidate.len()..].starts_with("::");
    let candidate = if is_double { &text[start..start + candidate.len() + 2] } else { candidate };
    let groups = candidate.split(':').filter(|group| !group.is_empty()).count();
    if length > MAX_IPV6 || groups < 3 || candidate.parse::<Ipv6Addr>().is_err() {
        return None;
    }
    let range = start..start + candidate.len();
    let stands_alone = !super::word_before(text, range.start) && !super::word_at(text, range.end);
    stands_alone.then_some((range, Score::percent(90)))
}

/// A MAC address: six pairs with colons or hyphens.
pub(super) fn mac(text: &str, start: usize) -> Option<(Range<usize>, Score)> {
    let bytes = text.as_bytes().get(start..start + 17)?;
    let separator = bytes[2];
    let is_right = |(place, byte): (usize, &u8)| match place % 3 {
        2 => *byte == separator,
        _ => byte.is_ascii_hexdigit(),
    };
    let fits = matches!(separator, b':' | b'-') && bytes.iter().enumerate().all(is_right);
    let range = start..start + 17;
    let goes_on = text.as_bytes().get(range.end) == Some(&separator);
    (fits && !goes_on && !super::word_before(text, start) && !super::word_at(text, range.end))
        .then_some((range, Score::percent(90)))
}

/// A UUID.
pub(super) fn uuid(text: &str, start: usize) -> Option<(Range<usize>, Score)> {
    let bytes = text.as_bytes().get(start..start + 36)?;
    let is_right = |(place, byte): (usize, &u8)| match place {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let range = start..start + 36;
    (bytes.iter().enumerate().all(is_right) && !super::word_before(text, start) && !super::word_at(text, range.end))
        .then_some((range, Score::percent(90)))
}

/// A purse: Bitcoin in base58 with its checksum or in bech32 with its own, Ethereum in hexadecimal.
pub(super) fn purse(text: &str, token: &Range<usize>) -> Option<(Range<usize>, Score)> {
    let word = text.get(token.clone())?;
    if super::word_before(text, token.start) || super::word_at(text, token.end) {
        return None;
    }
    let is_purse = match word.len() {
        26..=35 if word.starts_with(['1', '3']) => is_base58check(word),
        42 if word.starts_with("0x") => word[2..].bytes().all(|byte| byte.is_ascii_hexdigit()),
        14..=74 if word.starts_with("bc1") => is_bech32(word),
        _ => false,
    };
    let score = if word.starts_with("0x") { Score::percent(70) } else { Score::CERTAIN };
    is_purse.then(|| (token.clone(), score))
}

fn is_base58check(word: &str) -> bool {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut number = [0u8; 25];
    for byte in word.bytes() {
        let Some(value) = ALPHABET.iter().position(|known| *known == byte) else { return false };
        let mut carry = value as u32;
        for place in number.iter_mut().rev() {
            carry += u32::from(*place) * 58;
            *place = (carry & 0xFF) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return false;
        }
    }
    let (body, check) = number.split_at(21);
    Sha256::digest(Sha256::digest(body))[..4] == *check
}

fn is_bech32(word: &str) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let mut check = 1u32;
    let mut add = |value: u32| {
        let top = check >> 25;
        check = (check & 0x1ff_ffff) << 5 ^ value;
        for (bit, factor) in GENERATOR.iter().enumerate() {
            if top >> bit & 1 == 1 {
                check ^= factor;
            }
        }
    };
    // The human-readable part `bc`, expanded.
    [3, 3, 0, 2, 3].into_iter().for_each(&mut add);
    for byte in word.bytes().skip(3) {
        let Some(value) = ALPHABET.iter().position(|known| *known == byte) else { return false };
        add(value as u32);
    }
    // 1 for version 0, the other for later ones (BIP 350).
    matches!(check, 1 | 0x2bc8_30a3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(found: Option<(Range<usize>, Score)>, text: &str) -> Option<&str> {
        found.map(|(at, _)| &text[at])
    }

    #[test]
    fn machines_are_found_by_their_addresses_and_by_nothing_else() {
        for (text, start, expected) in [
            ("from 10.0.0.1.", 5, Some("10.0.0.1")),
            ("256.1.1.1", 0, None),
            ("1.2.3", 0, None),
            ("1.2.3.4.5", 0, None),
        ] {
            assert_eq!(at(ipv4(text, start), text), expected, "{text}");
        }
        for (text, expected) in [
            ("2001:db8::1, and", Some("2001:db8::1")),
            ("87c5:f526:11c:4544:7fb3:3be6:f6bf:2f72.", Some("87c5:f526:11c:4544:7fb3:3be6:f6bf:2f72")),
            ("2001:db8:0:1::", Some("2001:db8:0:1::")),
            ("12:34:56", None),
        ] {
            assert_eq!(at(ipv6(text, 0), text), expected, "{text}");
        }
        assert_eq!(at(mac("00:1B:44:11:3A:B7", 0), "00:1B:44:11:3A:B7"), Some("00:1B:44:11:3A:B7"));
        assert_eq!(mac("00:1B:44-11:3A:B7", 0), None);
        assert!(uuid("123e4567-e89b-12d3-a456-426614174000", 0).is_some());
    }

    #[test]
    fn purses_are_told_by_their_checksums() {
        let is_purse = |word: &str| purse(word, &(0..word.len())).is_some();
        assert!(is_purse("1BoatSLRHtKNngkdXEeobR76b53LETtpyT"));
        assert!(!is_purse("1BoatSLRHtKNngkdXEeobR76b53LETtpyU"));
        assert!(is_purse("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"));
        assert!(!is_purse("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"));
        assert!(is_purse("0x52908400098527886E0F7030069857D2E4169EE7"));
    }
}
