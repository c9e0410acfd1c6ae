//! Telephone numbers. A number is judged by how it is written (a country code, brackets, the groups a country writes), by
//! whether it could be one there (`phonenumber`, a port of libphonenumber with its metadata), and by the words around it:
//! ten digits alone may be anything, ten digits after `call me at` are a telephone.
//!
//! Whether a number is *assigned* is not asked: made-up numbers of the right form are redacted as well.

use std::ops::Range;

use phonenumber::country::Id;

use super::context::{is_before, is_near};
use super::{Score, floor_char};

/// Digits of a number with its country code, and of the shortest that is looked at.
const MAX_DIGITS: usize = 15;
const MIN_DIGITS: usize = 6;
/// Longest text of a number: its digits, separators and an extension.
const MAX_BYTES: usize = 40;

/// Words that announce a telephone, in the languages that the metadata's default regions speak.
const WORDS: [&str; 40] = [
    "phone",
    "call",
    "cell",
    "mobil",
    "tel",
    "fax",
    "dial",
    "whatsapp",
    "text me",
    "sms",
    "ring",
    "reach",
    "contact",
    "hotline",
    "voicemail",
    "callback",
    "answering",
    "messages to",
    "message on",
    "number is",
    "office",
    "desk",
    "landline",
    "extension",
    "ext.",
    "handy",
    "rufnummer",
    "anruf",
    "telefon",
    "t\u{e9}l",
    "appel",
    "portable",
    "m\u{f3}vil",
    "llam",
    "chiam",
    "cellulare",
    "bellen",
    "nummer",
    "registered",
    "home",
];

/// Words that announce another kind of number.
const OTHERS: [&str; 22] = [
    "account", "acct", "order", "invoice", "ticket", "case", "ref", "id", "license", "licence", "zip", "postcode",
    "routing", "policy", "serial", "isbn", "tracking", "passport", "ssn", "version", "card", "iban",
];

/// Where a number may be from, if it does not say it: the regions whose national forms are known here by default.
pub(super) const REGIONS: [Id; 24] = [
    Id::US,
    Id::GB,
    Id::DE,
    Id::FR,
    Id::IT,
    Id::ES,
    Id::NL,
    Id::BE,
    Id::CH,
    Id::AT,
    Id::SE,
    Id::DK,
    Id::FI,
    Id::NO,
    Id::PL,
    Id::CZ,
    Id::PT,
    Id::IE,
    Id::IN,
    Id::BR,
    Id::AU,
    Id::ZA,
    Id::SI,
    Id::HU,
];

/// A telephone number that begins at `start`, its `+` or bracket included.
pub(super) fn phone(text: &str, start: usize) -> Option<(Range<usize>, Score)> {
    let written = Written::read(text, start)?;
    let at = start..written.end;
    if super::word_before(text, start) || super::word_at(text, at.end) || is_part_of_more(text, &at) {
        return None;
    }
    let mut score = written.score(&text[at.clone()])?;
    if is_near(text, &at, &WORDS) {
        score = score.raised_by(Score::percent(40));
    }
    if is_before(text, start, 20, &OTHERS) {
        score = score.lowered_by(Score::percent(40));
    }
    Some((at, score))
}

/// Whether digits go on beside it, so that it is a part of a date, a version or a sum.
fn is_part_of_more(text: &str, at: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let joins = |byte: u8| matches!(byte, b'.' | b'-' | b'/' | b':' | b',' | b'_' | b'+' | b'=' | b'%');
    let before = at.start.checked_sub(1).map(|place| bytes[place]);
    let before_that = at.start.checked_sub(2).map(|place| bytes[place]);
    let follows = bytes.get(at.end).copied();
    let follows_that = bytes.get(at.end + 1).copied();
    let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
    (before.is_some_and(joins) && is_digit(before_that))
        || before.is_some_and(|byte| matches!(byte, b'$' | b'#' | b'_' | b'='))
        || (follows.is_some_and(joins) && is_digit(follows_that))
        || follows.is_some_and(|byte| matches!(byte, b'%' | b'_'))
}

/// A number as it is written.
struct Written {
    /// Digits per group.
    groups: Vec<usize>,
    /// What separates the groups.
    separators: Vec<u8>,
    digits: String,
    has_plus: bool,
    has_brackets: bool,
    has_extension: bool,
    end: usize,
}

impl Written {
    fn read(text: &str, start: usize) -> Option<Written> {
        let bytes = text.as_bytes();
        let limit = floor_char(text, start + MAX_BYTES);
        let mut number = Written {
            groups: vec![0],
            separators: Vec::new(),
            digits: String::new(),
            has_plus: bytes[start] == b'+',
            has_brackets: false,
            has_extension: false,
            end: start,
        };
        let (mut at, mut is_open) = (start + usize::from(number.has_plus), false);
        while at < limit {
            match bytes[at] {
                digit @ b'0'..=b'9' => {
                    number.digits.push(char::from(digit));
                    if let Some(group) = number.groups.last_mut() {
                        *group += 1;
                    }
                    at += 1;
                    if !is_open {
                        number.end = at;
                    }
                }
                b'(' if !is_open && !number.has_brackets && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                    (is_open, number.has_brackets) = (true, true);
                    number.begin_group(b'(');
                    at += 1;
                }
                b')' if is_open => {
                    is_open = false;
                    at += 1;
                    number.end = at;
                    number.begin_group(b')');
                }
                separator @ (b' ' | b'-' | b'.') if at > start && number.digits.len() < MAX_DIGITS => {
                    let next = bytes.get(at + 1).copied();
                    let opens = next == Some(b'(') && !number.has_brackets;
                    if !(next.is_some_and(|next| next.is_ascii_digit()) || opens) {
                        break;
                    }
                    number.begin_group(separator);
                    at += 1;
                }
                _ => break,
            }
            if number.digits.len() > MAX_DIGITS + 2 {
                return None;
            }
        }
        number.groups.retain(|group| *group > 0);
        if is_open || number.digits.len() < MIN_DIGITS || number.digits.len() > MAX_DIGITS + 2 {
            return None;
        }
        number.read_extension(bytes);
        Some(number)
    }

    fn begin_group(&mut self, separator: u8) {
        if self.groups.last().is_some_and(|group| *group > 0) {
            self.groups.push(0);
        }
        self.separators.push(separator);
    }

    /// `x123`, ` ext. 123`.
    fn read_extension(&mut self, bytes: &[u8]) {
        let rest = bytes.get(self.end..(self.end + 14).min(bytes.len())).unwrap_or_default();
        let words: [&[u8]; 6] = [b"x", b" x", b" ext. ", b" ext ", b" ext", b"ext."];
        for word in words {
            let Some(digits) = rest.strip_prefix(word) else { continue };
            let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if (1..=6).contains(&length) {
                self.has_extension = true;
                self.end += word.len() + length;
                return;
            }
        }
    }

    /// How sure it is by its form alone; `None` for forms that no telephone has.
    fn score(&self, written: &str) -> Option<Score> {
        let count = self.digits.len();
        if self.digits.bytes().all(|digit| digit == self.digits.as_bytes()[0]) || self.is_date() {
            return None;
        }
        if self.has_plus {
            let is_possible = phonenumber::parse(None, written).is_ok();
            return (is_possible && (8..=MAX_DIGITS + 1).contains(&count)).then_some(Score::percent(90));
        }
        let kinds = self.separators.iter().filter(|separator| !matches!(separator, b'(' | b')')).collect::<Vec<_>>();
        let is_uniform = kinds.windows(2).all(|pair| pair[0] == pair[1]);
        let percent = match (self.groups.as_slice(), self.has_brackets) {
            // North America: 212-555-0123, (212) 555-0123, 1-212-555-0123, 001-212-555-0123.
            ([3, 3, 4], true) => 85,
            ([3, 3, 4], false) if is_uniform => 75,
            ([1 | 3, 3, 3, 4], _) if matches!(self.digits.as_bytes(), [b'1', ..] | [b'0', b'0', b'1', ..]) => 85,
            ([3, 7], false) if kinds.first() == Some(&&b'-') => 45,
            (_, true) if (8..=13).contains(&count) => self.national().max(50),
            ([_], false) => self.bare(),
            _ if !is_uniform && self.groups.len() > 2 => 0,
            ([5, 4] | [4, 4, 4, 4] | [3, 2, 4], false) => 0,
            _ if (8..=13).contains(&count) => self.national(),
            ([3, 4] | [2, 2, 2] | [3, 3], false) => 15,
            _ => 0,
        };
        let extension = if self.has_extension { 30 } else { 0 };
        (percent > 0).then(|| Score::percent(percent + extension))
    }

    /// Digits without a space: only words can say what they are.
    fn bare(&self) -> u32 {
        match (self.digits.len(), self.digits.as_bytes()) {
            (11..=14, [b'0', b'0', b'1'..=b'9', ..]) => 30,
            (9..=12, [b'0', b'1'..=b'9', ..]) => 35,
            (11, [b'1', b'2'..=b'9', ..]) | (10, _) => 25,
            (8..=12, _) => 15,
            _ => 0,
        }
    }

    /// Groups as some country writes them.
    fn national(&self) -> u32 {
        let begins_with_zero = self.digits.starts_with('0');
        let is_known = REGIONS.iter().any(|region| {
            phonenumber::parse(Some(*region), &self.digits).is_ok_and(|number| phonenumber::is_valid(&number))
        });
        match (begins_with_zero, is_known) {
            (true, true) => 60,
            (true, false) => 35,
            (false, true) => 30,
            (false, false) => 20,
        }
    }

    /// `2026-11-26`, `26.11.2026`.
    fn is_date(&self) -> bool {
        let number = |from: usize, length: usize| self.digits[from..from + length].parse::<u32>().unwrap_or(u32::MAX);
        let is_year = |year: u32| (1900..=2100).contains(&year);
        match self.groups.as_slice() {
            [4, 2, 2] => is_year(number(0, 4)) && number(4, 2) <= 12 && number(6, 2) <= 31,
            [2, 2, 4] => is_year(number(4, 4)) && (number(0, 2) <= 12 || number(2, 2) <= 12),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(&str, Score)> {
        let start = text.find(|byte: char| byte.is_ascii_digit() || byte == '+' || byte == '(').unwrap();
        phone(text, start).map(|(at, score)| (&text[at], score)).filter(|(_, score)| *score >= Score::DEFAULT_THRESHOLD)
    }

    #[test]
    fn numbers_are_found_as_people_write_them() {
        for (text, expected) in [
            ("+1-212-555-0123x42 please", "+1-212-555-0123x42"),
            ("(212)555-0123", "(212)555-0123"),
            ("212.555.0123", "212.555.0123"),
            ("001-212-555-0123", "001-212-555-0123"),
            ("+41 (0)44 668 18 00.", "+41 (0)44 668 18 00"),
            ("+447700900123", "+447700900123"),
            ("07700 900 123", "07700 900 123"),
            ("call me on 2125550123?", "2125550123"),
            ("Telefon 0171 2345678", "0171 2345678"),
            ("phone: 730 064 218", "730 064 218"),
            ("(07700)553419", "(07700)553419"),
        ] {
            assert_eq!(found(text).map(|(written, _)| written), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_not_telephones() {
        for text in [
            "2026-11-26",
            "26.11.2026",
            "order 2125550123",
            "1,000,000,000",
            "12345-6789",
            "192.168.100.200",
            "the sum of 2125550123",
            "1111111111",
            "v 10.20.3000",
            "4111 1111 1111 1111",
            "$2125550123",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
