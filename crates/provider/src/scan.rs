//! Walks JSON text (RFC 8259) once, in place, without building anything: the reader says which fields it wants and
//! steps over the rest, which is still checked to the last byte. It is here because the request path needs byte
//! positions to splice at and to report, and neither a tree nor a copy of a 400 KB prompt. It does not check UTF-8:
//! callers that must, do so once for the whole text.

mod tree;

use std::borrow::Cow;
use std::ops::Range;

pub(crate) use tree::Tree;

/// Containers may nest this deep, as in serde_json.
const MAX_DEPTH: u32 = 128;

/// Where and why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanError {
    /// Byte offset of the first byte that cannot be right.
    pub(crate) offset: usize,
    /// What was expected or found, for a person.
    pub(crate) reason: &'static str,
}

/// The kind of the value that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

/// A string as it stands between its quotes, escapes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Whether the string, once its escapes are resolved, is `name`.
    #[inline]
    pub(crate) fn is(&self, name: &str) -> bool {
        if self.escaped { self.decode() == name } else { self.raw == name.as_bytes() }
    }

    /// The string's own text; borrowed if it holds no escape.
    pub(crate) fn decode(&self) -> Cow<'a, str> {
        if !self.escaped {
            return String::from_utf8_lossy(self.raw);
        }
        let quoted = [b"\"", self.raw, b"\""].concat();
        // A lone surrogate is legal JSON text but no string: it stays readable as it was written.
        match serde_json::from_slice::<String>(&quoted) {
            Ok(text) => Cow::Owned(text),
            Err(_) => String::from_utf8_lossy(self.raw),
        }
    }

    /// Characters of the string; an escape counts as one.
    #[inline]
    pub(crate) fn count_chars(&self) -> u64 {
        let starts = self.raw.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u64;
        if self.escaped { starts.saturating_sub(escape_surplus(self.raw)) } else { starts }
    }

    /// Whether there is nothing between the quotes.
    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }
}

/// How many bytes of `raw` belong to escapes beyond the one character each stands for.
fn escape_surplus(raw: &[u8]) -> u64 {
    let mut surplus = 0;
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let length = if rest.get(at + 1) == Some(&b'u') { 6 } else { 2 };
        surplus += length as u64 - 1;
        rest = rest.get(at + length..).unwrap_or_default();
    }
    surplus
}

/// A position in JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// Starts before the first value of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0, depth: 0 }
    }

    /// Offset of the next byte to be read.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    fn fault<T>(&self, reason: &'static str) -> Result<T, ScanError> {
        let reason = if self.at >= self.bytes.len() { "the text ends too early" } else { reason };
        Err(ScanError { offset: self.at.min(self.bytes.len()), reason })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over white space and says what comes next.
    #[inline]
    pub(crate) fn kind(&mut self) -> Result<Kind, ScanError> {
        self.space();
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            _ => self.fault("expected a value"),
        }
    }

    /// Calls `each` for every field of the object that comes next. `each` must read exactly one value.
    #[inline]
    pub(crate) fn fields<E: From<ScanError>>(
        &mut self,
        mut each: impl FnMut(Text<'a>, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'{', "expected an object")?;
        if self.leaves_at_once(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            let key = self.text()?;
            self.space();
            self.expect(b':', "expected `:` after the name of a field")?;
            each(key, self)?;
            if !self.continues(b'}', "expected `,` or `}` after a field")? {
                return Ok(());
            }
        }
    }

    /// Calls `each` for every item of the array that comes next. `each` must read exactly one value.
    #[inline]
    pub(crate) fn items<E: From<ScanError>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'[', "expected an array")?;
        if self.leaves_at_once(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.continues(b']', "expected `,` or `]` after an item")? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn enter(&mut self, open: u8, reason: &'static str) -> Result<(), ScanError> {
        self.space();
        self.expect(open, reason)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.at -= 1;
            return self.fault("objects and arrays nest deeper than 128 levels");
        }
        Ok(())
    }

    #[inline]
    fn leaves_at_once(&mut self, close: u8) -> bool {
        self.space();
        let leaves = self.peek() == Some(close);
        if leaves {
            self.at += 1;
            self.depth -= 1;
        }
        leaves
    }

    /// After an element: true at a comma, false at the closing bracket.
    #[inline]
    fn continues(&mut self, close: u8, reason: &'static str) -> Result<bool, ScanError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => self.fault(reason),
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8, reason: &'static str) -> Result<(), ScanError> {
        if self.peek() != Some(byte) {
            return self.fault(reason);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads the string that comes next.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text<'a>, ScanError> {
        self.space();
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_prefix(&self.bytes[self.at.min(self.bytes.len())..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.fault("a control character in a string must be written as an escape"),
            }
        }
        let raw = &self.bytes[start..self.at];
        self.at += 1;
        Ok(Text { raw, escaped })
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.fault("`\\u` must be followed by four hexadecimal digits");
                    }
                    self.at += 1;
                }
            }
            _ => return self.fault("unknown escape in a string"),
        }
        Ok(())
    }

    /// Reads the string that comes next, or steps over whatever else stands there.
    #[inline]
    pub(crate) fn text_or_skip(&mut self) -> Result<Option<Text<'a>>, ScanError> {
        if self.kind()? == Kind::Text { self.text().map(Some) } else { self.skip().map(|_| None) }
    }

    /// Steps over whatever comes next and returns it as it stands.
    pub(crate) fn raw(&mut self) -> Result<Option<&'a str>, ScanError> {
        let value = self.skip()?;
        Ok(std::str::from_utf8(&self.bytes[value]).ok())
    }

    /// Reads a non-negative whole number, or steps over whatever else stands there.
    #[inline]
    pub(crate) fn count_or_skip(&mut self) -> Result<Option<u64>, ScanError> {
        let value = self.skip()?;
        Ok(whole_number(&self.bytes[value]))
    }

    /// Reads `true` or `false`, or steps over whatever else stands there.
    pub(crate) fn bool_or_skip(&mut self) -> Result<Option<bool>, ScanError> {
        let value = self.skip()?;
        Ok(match &self.bytes[value] {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        })
    }

    /// Steps over one value, checking it, and says where it stands.
    #[inline]
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, ScanError> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::Text => drop(self.text()?),
            Kind::Number => self.number()?,
            Kind::Bool if self.peek() == Some(b't') => self.word(b"true")?,
            Kind::Bool => self.word(b"false")?,
            Kind::Null => self.word(b"null")?,
            Kind::Object => self.skip_object()?,
            Kind::Array => self.skip_array()?,
        }
        Ok(start..self.at)
    }

    fn skip_object(&mut self) -> Result<(), ScanError> {
        self.fields(|_, cursor| cursor.skip().map(drop))
    }

    fn skip_array(&mut self) -> Result<(), ScanError> {
        self.items(|cursor| cursor.skip().map(drop))
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), ScanError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(ScanError { offset: self.at, reason: "expected `true`, `false` or `null`" });
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), ScanError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.fault("expected a digit"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ScanError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.fault("expected a digit");
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// Checks that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), ScanError> {
        self.space();
        if self.at < self.bytes.len() {
            return Err(ScanError { offset: self.at, reason: "the text goes on after the value" });
        }
        Ok(())
    }
}

/// The number written in `digits`, if that is all there is and it fits.
fn whole_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// Length of the longest prefix without a quote, a backslash or a control character: eight bytes at a time.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut length = 0;
    for chunk in bytes.chunks_exact(8) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let quote = zero_byte(word ^ (ONES * b'"' as u64));
        let backslash = zero_byte(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = quote | backslash | control;
        if found != 0 {
            // Borrows only make false hits above a true one, so the lowest is exact.
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = bytes[length..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F));
    rest.map_or(bytes.len(), |at| length + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8]) -> Result<(), ScanError> {
        let mut cursor = Cursor::new(text);
        cursor.skip()?;
        cursor.end()
    }

    #[test]
    fn what_serde_accepts_is_accepted_and_nothing_else() {
        let texts: &[&str] = &[
            "{}",
            "[]",
            " [ ] ",
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-1.5e+10",
            "1E9",
            "\"\"",
            "\"a\\u00e9\\n\"",
            "{\"a\":[1,2,{\"b\":null}]}",
            "{\"a\":1,\"a\":2}",
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{,}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "+1",
            "nul",
            "tru",
            "falsey",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "1 2",
            "[1 2]",
            "{\"a\" 1}",
            "'a'",
            "[[[[]]]]",
            "\"long enough for a word\\\" and more\"",
            "\"12345678",
            "\"1234567\u{1}\"",
            "NaN",
        ];
        for text in texts {
            let serde_accepts = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            assert_eq!(check(text.as_bytes()).is_ok(), serde_accepts, "`{text}`");
        }
    }

    #[test]
    fn every_cut_of_a_document_is_refused_and_never_beyond_its_end() {
        let text =
            br#"{"model":"m","messages":[{"role":"user","content":"a\u00e9 \"b\" \\"}],"n":-1.5e3,"x":[true,null]}"#;
        assert_eq!(check(text), Ok(()));
        for length in 0..text.len() {
            let error = check(&text[..length]).unwrap_err();
            assert!(error.offset <= length, "at {length}: {error:?}");
        }
    }

    #[test]
    fn every_changed_byte_is_judged_as_serde_judges_it() {
        let text = br#"{"model":"m","a":["\u00e9\\",{"b":-1.5e3}],"c":[true,false,null,{}]}"#;
        for at in 0..text.len() {
            for byte in [0, b'"', b'\\', b'{', b'}', b'[', b']', b',', b':', b'0', b'e', b' ', b'x', b'.', b'-'] {
                let mut changed = text.to_vec();
                changed[at] = byte;
                let serde_accepts = serde_json::from_slice::<serde_json::Value>(&changed).is_ok();
                // Lone surrogates are the one thing serde refuses that JSON's grammar does not; none can arise here.
                assert_eq!(check(&changed).is_ok(), serde_accepts, "{}", String::from_utf8_lossy(&changed));
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(check(deep.as_bytes()).unwrap_err().reason.contains("128"));
        assert_eq!(check(format!("{}{}", "[".repeat(128), "]".repeat(128)).as_bytes()), Ok(()));
    }

    #[test]
    fn a_plain_prefix_ends_at_the_first_special_byte_wherever_it_stands() {
        for special in [b'"', b'\\', 0, 0x1F] {
            for at in 0..40 {
                let mut bytes = vec![b'!'; 40];
                bytes[at] = special;
                assert_eq!(plain_prefix(&bytes), at);
            }
        }
        assert_eq!(plain_prefix("äöü€😀 und mehr \u{7f}".as_bytes()), "äöü€😀 und mehr \u{7f}".len());
    }

    #[test]
    fn characters_are_counted_with_escapes_as_one() {
        let count = |text: &str| Cursor::new(text.as_bytes()).text().unwrap().count_chars();
        assert_eq!(count(r#""abc""#), 3);
        assert_eq!(count(r#""a\n\u00e9\\""#), 4);
        assert_eq!(count("\"€😀\""), 2);
    }
}
