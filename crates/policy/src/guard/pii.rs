//! Personal data with a form: addresses, cards, accounts, telephones, identity numbers. Names and street addresses have none
//! and are not found here: that needs a model (see [`super::injection::Classifier`] for where one would go).
//!
//! Bounds: an e-mail address is read up to 320 bytes, a URL up to 2048, every number up to 128 with the words around it.

use std::ops::Range;

use super::checksum::{digits, luhn, mod97};
use super::national::{NUMBERS, Number};
use super::{Detector, Finding, Score, context, floor_char, network, number, phone};

/// Longest e-mail address: 64 for its first part, 255 for the domain (RFC 5321 §4.5.3.1).
const MAX_EMAIL: usize = 320;
const MAX_LOCAL: usize = 64;
/// Longest URL that is read; what is longer is found up to here.
const MAX_URL: usize = 2_048;

/// Which kinds are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entities {
    email: bool,
    phone: bool,
    card: bool,
    iban: bool,
    ip: bool,
    mac: bool,
    uuid: bool,
    url: bool,
    purse: bool,
    numbers: Vec<&'static Number>,
}

impl Entities {
    /// Names of the kinds that are not numbers of a country, and of groups of kinds.
    const NAMES: [&'static str; 11] =
        ["email", "phone", "card", "iban", "ip", "mac", "uuid", "url", "crypto", "national", "all"];

    /// Every name, as rules write it behind `pii.`.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Entities::NAMES.into_iter().chain(NUMBERS.iter().map(|number| number.name))
    }

    /// Adds a kind; false if there is none of that name. `all` leaves out what names machines and pages rather than people
    /// (`uuid`, `url`).
    pub(crate) fn add(&mut self, name: &str) -> bool {
        let add_numbers = |numbers: &mut Vec<&'static Number>| *numbers = NUMBERS.iter().collect();
        match name {
            "email" => self.email = true,
            "phone" => self.phone = true,
            "card" => self.card = true,
            "iban" => self.iban = true,
            "ip" => self.ip = true,
            "mac" => self.mac = true,
            "uuid" => self.uuid = true,
            "url" => self.url = true,
            "crypto" => self.purse = true,
            "national" => add_numbers(&mut self.numbers),
            "all" => {
                let Entities { uuid, url, .. } = *self;
                *self = Entities {
                    email: true,
                    phone: true,
                    card: true,
                    iban: true,
                    ip: true,
                    mac: true,
                    uuid,
                    url,
                    purse: true,
                    numbers: Vec::new(),
                };
                add_numbers(&mut self.numbers);
            }
            name => {
                let Some(number) = NUMBERS.iter().find(|number| number.name == name) else { return false };
                if !self.numbers.iter().any(|known| known.name == name) {
                    self.numbers.push(number);
                }
            }
        }
        true
    }

    fn has_numbers(&self) -> bool {
        self.phone
            || self.card
            || self.iban
            || self.ip
            || self.mac
            || self.uuid
            || self.purse
            || !self.numbers.is_empty()
    }
}

/// Finds personal data of the chosen kinds, in one pass for all that are numbers.
#[derive(Debug)]
pub(crate) struct PiiDetector(pub(crate) Entities);

impl Detector for PiiDetector {
    fn find(&self, text: &str, from: usize, found: &mut Vec<Finding>) {
        let entities = &self.0;
        if entities.email {
            let first = from.saturating_sub(1);
            for at in memchr::memchr_iter(b'@', &text.as_bytes()[first..]).map(|at| first + at) {
                found.extend(email(text, at).map(|at| Finding::new("EMAIL", at, Score::percent(95))));
            }
        }
        if entities.url {
            let first = floor_char(text, from);
            for (at, _) in text[first..].match_indices("://").chain(text[first..].match_indices("www.")) {
                found.extend(url(text, first + at).map(|at| Finding::new("URL", at, Score::percent(90))));
            }
        }
        if entities.has_numbers() {
            number::tokens(text, from, |token| self.number(text, token, found));
        }
        found.retain(|finding| finding.at.start >= from);
    }

    fn undecided_from(&self, text: &str) -> usize {
        let numbers = if self.0.has_numbers() { number::undecided_from(text) } else { text.len() };
        let longest = match (self.0.url, self.0.email) {
            (true, _) => MAX_URL + 8,
            (false, true) => MAX_EMAIL,
            (false, false) => return numbers,
        };
        let tail = floor_char(text, text.len().saturating_sub(longest));
        let word = text[tail..].rfind(char::is_whitespace).map_or(tail, |at| tail + at);
        numbers.min(word)
    }
}

impl PiiDetector {
    /// All that may begin with or at `token`.
    fn number(&self, text: &str, token: Range<usize>, found: &mut Vec<Finding>) {
        let (entities, bytes, start) = (&self.0, text.as_bytes(), token.start);
        let before = |back: usize| start.checked_sub(back).map(|at| bytes[at]);
        if entities.card {
            found.extend(card(text, start).map(|(at, score)| Finding::new("CARD", at, score)));
        }
        if entities.iban && token.len() >= 4 {
            found.extend(iban(text, start).map(|(at, score)| Finding::new("IBAN", at, score)));
        }
        if entities.phone && bytes[start].is_ascii_digit() {
            let start = match (before(1), before(2)) {
                (Some(b'('), Some(b'+')) => start - 2,
                (Some(b'+' | b'('), _) => start - 1,
                _ => start,
            };
            found.extend(phone::phone(text, start).map(|(at, score)| Finding::new("PHONE", at, score)));
        }
        if entities.ip && token.len() <= 3 && bytes.get(token.end) == Some(&b'.') {
            found.extend(network::ipv4(text, start).map(|(at, score)| Finding::new("IP", at, score)));
        }
        let touches = |sign: u8| before(1) == Some(sign) || bytes.get(token.end) == Some(&sign);
        if (entities.ip || entities.mac) && (touches(b':') || touches(b'-')) {
            let run = hex_run(bytes, start, |byte| matches!(byte, b':' | b'-'));
            if entities.mac {
                found.extend(network::mac(text, run).map(|(at, score)| Finding::new("MAC", at, score)));
            }
            if entities.ip {
                found.extend(network::ipv6(text, run).map(|(at, score)| Finding::new("IP", at, score)));
            }
        }
        if entities.uuid && touches(b'-') {
            let run = hex_run(bytes, start, |byte| byte == b'-');
            found.extend(network::uuid(text, run).map(|(at, score)| Finding::new("UUID", at, score)));
        }
        if entities.purse && token.len() >= 14 {
            found.extend(network::purse(text, &token).map(|(at, score)| Finding::new("CRYPTO", at, score)));
        }
        if entities.numbers.is_empty() {
            return;
        }
        self.national(text, start, found);
        // `AB 12 34 56 C`: the letters are a token of their own.
        if matches!(before(1), Some(b' ' | b'-' | b'.')) {
            let letters = bytes[..start - 1].iter().rev().take(7).take_while(|byte| byte.is_ascii_uppercase()).count();
            if (1..=6).contains(&letters) {
                self.national(text, start - 1 - letters, found);
            }
        }
    }

    fn national(&self, text: &str, start: usize, found: &mut Vec<Finding>) {
        for number in &self.0.numbers {
            for shape in number.shapes {
                let Some(compact) = number::shaped(text.as_bytes(), start, shape) else { continue };
                let at = start..compact.end;
                if !number::is_isolated(text, &at) || !(number.check)(compact.bytes()) {
                    continue;
                }
                let score = number.score(&compact, context::is_near(text, &at, number.words));
                found.push(Finding::new(number.entity, at, score));
                break;
            }
        }
    }
}

/// Where the run of hexadecimal digits and separators begins that holds `start`; at most 45 bytes before it.
fn hex_run(bytes: &[u8], start: usize, is_separator: fn(u8) -> bool) -> usize {
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || is_separator(**byte);
    start - bytes[..start].iter().rev().take(45).take_while(is_part).count()
}

/// The e-mail address around the `@` at `at`.
fn email(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let is_local =
        |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | 0x80..);
    let local = bytes[..at].iter().rev().take(MAX_LOCAL).take_while(is_local).count();
    let mut start = at - local;
    while start < at && !text.is_char_boundary(start) {
        start += 1;
    }
    // Quotation marks and dashes of other alphabets do not begin it, nor do signs.
    if start < at && super::escape_before(bytes, start + 1) {
        start += 1;
    }
    let begins = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '+');
    start += text[start..at].find(begins).unwrap_or(at - start);
    if start == at || bytes[at - 1] == b'.' {
        return None;
    }
    let is_domain = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | 0x80..);
    let length = bytes[at + 1..].iter().take(MAX_EMAIL - MAX_LOCAL - 1).take_while(is_domain).count();
    let domain = text[at + 1..floor_char(text, at + 1 + length)].trim_end_matches(['.', '-']);
    // Quotation marks and dashes of other alphabets end it.
    let ends = |letter: char| !letter.is_alphanumeric() && !matches!(letter, '.' | '-');
    let domain = domain.split(ends).next().unwrap_or_default().trim_end_matches(['.', '-']);
    let (name, top) = domain.rsplit_once('.')?;
    let is_top = top.chars().count() >= 2 && (top.starts_with("xn--") || top.chars().all(char::is_alphabetic));
    let is_name = !name.is_empty() && name.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    (is_top && is_name).then(|| start..at + 1 + domain.len())
}

/// The URL around `at`, where `://` stands, or `www.`.
fn url(text: &str, at: usize) -> Option<Range<usize>> {
    let scheme = text[..at].bytes().rev().take(6).take_while(u8::is_ascii_alphabetic).count();
    let start = at - scheme;
    if text[at..].starts_with("www.") {
        let follows_scheme = text[..at].ends_with("://");
        return (!follows_scheme && !super::word_before(text, at)).then(|| run_of_url(text, at));
    }
    let is_known = matches!(text[start..at].to_ascii_lowercase().as_str(), "http" | "https" | "ftp" | "ws" | "wss");
    let range = run_of_url(text, start);
    (is_known && range.end > at + 3).then_some(range)
}

fn run_of_url(text: &str, start: usize) -> Range<usize> {
    let limit = floor_char(text, start + MAX_URL);
    let ends =
        |letter: char| letter.is_whitespace() || matches!(letter, '"' | '<' | '>' | '`' | '{' | '}' | '|' | '\\');
    let length = text[start..limit].find(ends).unwrap_or(limit - start);
    let written = text[start..start + length].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']);
    start..start + written.len()
}

/// A payment card that begins at `start`: digits in groups, a known issuer, the issuer's length, and Luhn.
fn card(text: &str, start: usize) -> Option<(Range<usize>, Score)> {
    const MOST: usize = 19;
    let bytes = text.as_bytes();
    let read = number::grouped(bytes, start, MOST);
    let all = digits(read.bytes());
    let lengths = issuer_lengths(&all)?;
    for length in lengths.iter().rev().filter(|length| **length <= all.len()) {
        if !luhn(&all[..*length]) || all[..*length].windows(2).all(|pair| pair[0] == pair[1]) {
            continue;
        }
        let part = number::grouped(bytes, start, *length);
        let at = start..part.end;
        let goes_on = bytes.get(at.end).is_some_and(u8::is_ascii_digit);
        if !goes_on && number::is_isolated(text, &at) {
            return Some((at, Score::CERTAIN));
        }
    }
    None
}

/// Lengths of the cards of whoever issues numbers that begin like this, ascending.
/// Source: ISO/IEC 7812 issuer ranges as the networks publish them (2026-11).
fn issuer_lengths(digits: &[u8]) -> Option<&'static [usize]> {
    if digits.len() < 12 {
        return None;
    }
    let start = |length: usize| digits[..length].iter().fold(0u32, |value, digit| value * 10 + u32::from(*digit));
    Some(match (start(2), start(3), start(4)) {
        (40..=49, _, _) => &[13, 16, 19],
        (34 | 37, _, _) => &[15],
        (51..=55, _, _) | (_, _, 2221..=2720 | 2200..=2204) => &[16],
        (_, 300..=305, _) | (36 | 38 | 39, _, _) => &[14, 16, 19],
        // JCB's own begin at 3528; numbers made for tests do not keep to it.
        (35, _, _) => &[16, 17, 18, 19],
        (65, _, _) | (_, 644..=649, _) | (_, _, 6011) | (62 | 81, _, _) => &[16, 17, 18, 19],
        (_, _, 2131 | 1800) => &[15],
        (_, _, 604) => &[12, 13, 14, 15, 16],
        (50 | 56..=58 | 60 | 61 | 63 | 66..=69, _, _) => &[12, 13, 14, 15, 16, 17, 18, 19],
        _ => return None,
    })
}

/// Lengths of IBANs by country. Source: the IBAN registry of ISO 13616, release 99 (2026).
const IBAN_LENGTHS: [(&[u8; 2], u8); 82] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TN", 24),
    (b"TR", 26),
];

/// Those at the end of the alphabet.
const MORE_IBAN_LENGTHS: [(&[u8; 2], u8); 5] = [(b"TL", 23), (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20)];

/// An IBAN that begins at `start`, in groups or not, in capitals or not.
fn iban(text: &str, start: usize) -> Option<(Range<usize>, Score)> {
    let bytes = text.as_bytes();
    let head = bytes.get(start..start + 4)?;
    if !head[..2].iter().all(u8::is_ascii_alphabetic) || !head[2..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let country = [head[0].to_ascii_uppercase(), head[1].to_ascii_uppercase()];
    let known = IBAN_LENGTHS.iter().chain(&MORE_IBAN_LENGTHS).find(|(code, _)| **code == country)?;
    let length = usize::from(known.1);
    let (mut compact, mut at) = (Vec::with_capacity(length), start);
    while compact.len() < length {
        match bytes.get(at)? {
            byte if byte.is_ascii_alphanumeric() => compact.push(byte.to_ascii_uppercase()),
            b' ' | b'-' if bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {}
            _ => return None,
        }
        at += 1;
    }
    let range = start..at;
    let stands_alone = !super::word_before(text, start) && !super::word_at(text, at);
    (stands_alone && mod97(&compact)).then_some((range, Score::CERTAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kinds: &[&str], text: &str) -> Vec<(String, String)> {
        let mut entities = Entities::default();
        kinds.iter().for_each(|kind| assert!(entities.add(kind), "{kind}"));
        let mut found = Vec::new();
        PiiDetector(entities).find(text, 0, &mut found);
        found.retain(|finding| finding.score >= Score::DEFAULT_THRESHOLD);
        found.into_iter().map(|finding| (finding.entity.into_owned(), text[finding.at].to_owned())).collect()
    }

    fn one(kind: &str, text: &str) -> Option<String> {
        found(&[kind], text).into_iter().next().map(|(_, written)| written)
    }

    #[test]
    fn addresses_end_where_they_should() {
        for (text, expected) in [
            ("Mail <ada@example.org>.", Some("ada@example.org")),
            ("mail=o'neil+tag@mail.example.co.uk, please", Some("o'neil+tag@mail.example.co.uk")),
            ("Grüße an jürgen@müller.de!", Some("jürgen@müller.de")),
            ("„ada@example.org“", Some("ada@example.org")),
            ("@handle and a@b and 3 @ 5.50", None),
            ("a@b.c1", None),
        ] {
            assert_eq!(one("email", text).as_deref(), expected, "{text}");
        }
        assert_eq!(one("url", "see https://example.org/a?b=c).").as_deref(), Some("https://example.org/a?b=c"));
        assert_eq!(one("url", "see www.example.org, or").as_deref(), Some("www.example.org"));
    }

    #[test]
    fn cards_need_an_issuer_a_length_and_a_check_digit() {
        for (text, expected) in [
            ("card 4111 1111 1111 1111 12/27", Some("4111 1111 1111 1111")),
            ("3782-822463-10005", Some("3782-822463-10005")),
            ("5555555555554444.", Some("5555555555554444")),
            ("4111111111111112", None),
            ("9111111111111111", None),
            ("x4111111111111111", None),
            ("0000000000000000", None),
        ] {
            assert_eq!(one("card", text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn accounts_need_the_length_of_their_country_and_a_check() {
        for (text, expected) in [
            ("to DE89 3704 0044 0532 0130 00 today", Some("DE89 3704 0044 0532 0130 00")),
            ("gb82west12345698765432", Some("gb82west12345698765432")),
            ("DE89370400440532013001", None),
            ("DE8937040044053201300", None),
        ] {
            assert_eq!(one("iban", text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn weak_numbers_need_a_word() {
        assert_eq!(one("uk_nhs", "943 476 5919"), None);
        assert_eq!(one("uk_nhs", "NHS number 943 476 5919").as_deref(), Some("943 476 5919"));
        assert_eq!(one("uk_nino", "My number is AB 12 34 56 C.").as_deref(), Some("AB 12 34 56 C"));
        assert_eq!(one("ip", "host abcd:ef01::1").as_deref(), Some("abcd:ef01::1"));
        assert_eq!(one("mac", "AA:BB:CC:DD:EE:0F").as_deref(), Some("AA:BB:CC:DD:EE:0F"));
    }

    #[test]
    fn every_kind_has_a_name_and_all_is_all_of_them() {
        let mut entities = Entities::default();
        assert!(Entities::names().all(|name| entities.add(name)));
        assert!(!entities.add("emali"));
        assert_eq!(entities.numbers.len(), NUMBERS.len());
    }
}
