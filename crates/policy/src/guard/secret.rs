//! Secrets: keys and tokens by the shapes that their issuers gave them so that they can be found, private keys in PEM,
//! passwords in URLs, and texts that look random behind a word such as `password =`.
//!
//! Bounds: a token is read up to 8 KiB, a private key up to 16 KiB; what goes on behind that is found up to there.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

use super::{Detector, Entity, Finding, Score, floor_char};

/// Longest token. Servers refuse headers with more.
const MAX_TOKEN: usize = 8 * 1024;
/// Longest private key: RSA with 16384 bits has 12 700 characters.
const MAX_PEM: usize = 16 * 1024;
/// Longest word between `-----BEGIN` and `-----`.
const MAX_LABEL: usize = 48;

/// How one issuer's tokens go on behind their beginning.
struct Shape {
    entity: &'static str,
    start: &'static str,
    /// Characters behind the beginning, at least.
    least: usize,
    /// At most; zero for any number.
    most: usize,
    rest: Rest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Capitals and digits.
    Capitals,
    /// Letters, digits, `_`, `-`.
    Word,
    /// The same and `.`.
    Dotted,
    /// Hexadecimal digits.
    Hex,
    /// Base64 and its URL-safe form.
    Base64,
}

impl Rest {
    fn holds(self, byte: u8) -> bool {
        match self {
            Rest::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Rest::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Rest::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Rest::Hex => byte.is_ascii_hexdigit(),
            Rest::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'='),
        }
    }
}

const fn shape(entity: &'static str, start: &'static str, (least, most): (usize, usize), rest: Rest) -> Shape {
    Shape { entity, start, least, most, rest }
}

/// What issuers publish about their tokens (their secret-scanning pages, 2026-11). Order does not matter: the longest
/// beginning wins.
static SHAPES: [Shape; 51] = [
    shape("AWS_KEY", "AKIA", (16, 16), Rest::Capitals),
    shape("AWS_KEY", "ASIA", (16, 16), Rest::Capitals),
    shape("AWS_KEY", "ABIA", (16, 16), Rest::Capitals),
    shape("AWS_KEY", "ACCA", (16, 16), Rest::Capitals),
    shape("AWS_BEDROCK_KEY", "ABSK", (80, 0), Rest::Base64),
    shape("GOOGLE_KEY", "AIza", (35, 35), Rest::Word),
    shape("GOOGLE_TOKEN", "ya29.", (20, 0), Rest::Dotted),
    shape("GOOGLE_SECRET", "GOCSPX-", (20, 0), Rest::Word),
    shape("GITHUB_TOKEN", "ghp_", (36, 0), Rest::Word),
    shape("GITHUB_TOKEN", "gho_", (36, 0), Rest::Word),
    shape("GITHUB_TOKEN", "ghu_", (36, 0), Rest::Word),
    shape("GITHUB_TOKEN", "ghs_", (36, 0), Rest::Word),
    shape("GITHUB_TOKEN", "ghr_", (36, 0), Rest::Word),
    shape("GITHUB_TOKEN", "github_pat_", (40, 0), Rest::Word),
    shape("GITLAB_TOKEN", "glpat-", (20, 0), Rest::Word),
    shape("SLACK_TOKEN", "xoxb-", (20, 0), Rest::Word),
    shape("SLACK_TOKEN", "xoxp-", (20, 0), Rest::Word),
    shape("SLACK_TOKEN", "xoxa-", (20, 0), Rest::Word),
    shape("SLACK_TOKEN", "xoxr-", (20, 0), Rest::Word),
    shape("SLACK_TOKEN", "xoxs-", (20, 0), Rest::Word),
    shape("SLACK_TOKEN", "xapp-", (20, 0), Rest::Word),
    shape("SLACK_WEBHOOK", "hooks.slack.com/services/", (20, 0), Rest::Base64),
    shape("OPENAI_KEY", "sk-", (32, 0), Rest::Word),
    shape("OPENAI_KEY", "sk-proj-", (20, 0), Rest::Word),
    shape("OPENAI_KEY", "sk-svcacct-", (20, 0), Rest::Word),
    shape("OPENROUTER_KEY", "sk-or-v1-", (32, 0), Rest::Word),
    shape("ANTHROPIC_KEY", "sk-ant-", (20, 0), Rest::Word),
    shape("TOLLGATE_KEY", "tg-", (32, 0), Rest::Word),
    shape("STRIPE_KEY", "sk_live_", (20, 0), Rest::Word),
    shape("STRIPE_KEY", "rk_live_", (20, 0), Rest::Word),
    shape("STRIPE_KEY", "sk_test_", (20, 0), Rest::Word),
    shape("STRIPE_SECRET", "whsec_", (24, 0), Rest::Base64),
    shape("HUGGINGFACE_TOKEN", "hf_", (30, 0), Rest::Word),
    shape("REPLICATE_TOKEN", "r8_", (30, 0), Rest::Word),
    shape("GROQ_KEY", "gsk_", (40, 0), Rest::Word),
    shape("XAI_KEY", "xai-", (40, 0), Rest::Word),
    shape("PERPLEXITY_KEY", "pplx-", (40, 0), Rest::Word),
    shape("NPM_TOKEN", "npm_", (36, 0), Rest::Word),
    shape("PYPI_TOKEN", "pypi-AgE", (40, 0), Rest::Word),
    shape("DOCKER_TOKEN", "dckr_pat_", (20, 0), Rest::Word),
    shape("SENDGRID_KEY", "SG.", (40, 0), Rest::Dotted),
    shape("DIGITALOCEAN_TOKEN", "dop_v1_", (64, 64), Rest::Hex),
    shape("SHOPIFY_TOKEN", "shpat_", (32, 32), Rest::Hex),
    shape("SHOPIFY_SECRET", "shpss_", (32, 32), Rest::Hex),
    shape("DATABRICKS_TOKEN", "dapi", (32, 34), Rest::Hex),
    shape("VAULT_TOKEN", "hvs.", (24, 0), Rest::Word),
    shape("LINEAR_KEY", "lin_api_", (30, 0), Rest::Word),
    shape("NOTION_TOKEN", "ntn_", (40, 0), Rest::Word),
    shape("AZURE_STORAGE_KEY", "AccountKey=", (80, 0), Rest::Base64),
    shape("AGE_KEY", "AGE-SECRET-KEY-1", (50, 0), Rest::Capitals),
    shape("JWT", "eyJ", (40, 0), Rest::Dotted),
];

const PEM_START: &[u8] = b"-----BEGIN ";

/// Words behind which a random text is a secret.
const WORDS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "accesskey",
    "private_key",
    "client_secret",
    "credential",
];

static ANNOUNCED: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(WORDS).ok()
});

/// Finds secrets in texts.
#[derive(Debug, Default)]
pub(crate) struct SecretDetector;

impl Detector for SecretDetector {
    fn find(&self, text: &str, from: usize, found: &mut Vec<Finding>) {
        let bytes = text.as_bytes();
        known(bytes, from, |entity, at| found.push(Finding::new(entity, at, Score::CERTAIN)));
        let near = floor_char(text, from.saturating_sub(super::LEFT_CONTEXT));
        if let Some(announced) = &*ANNOUNCED {
            for word in announced.find_iter(&bytes[near..]) {
                found.extend(announced_value(bytes, near + word.end()));
            }
        }
        for at in memchr::memmem::find_iter(&bytes[near..], b"://") {
            found.extend(password_in_url(bytes, near + at + 3));
        }
        found.retain(|finding| finding.at.start >= from);
    }

    fn undecided_from(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        // A token, or what may become one, is a run without white space; a sign of PEM waits for its end.
        let tail = text.len().saturating_sub(MAX_TOKEN + 64);
        let run = bytes[tail..].iter().rposition(|byte| !is_in_run(*byte)).map_or(tail, |at| tail + at + 1);
        let tail = text.len().saturating_sub(MAX_PEM + 64);
        let begun = memchr::memmem::find_iter(&bytes[tail..], PEM_START)
            .map(|at| tail + at)
            .find(|at| bytes.len() < at + MAX_PEM && matches!(pem(bytes, *at), Pem::Begun | Pem::Open));
        floor_char(text, run.min(begun.unwrap_or(text.len())))
    }
}

/// Whether a byte can stand within a token, a URL, or the signs around a key.
fn is_in_run(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'(' | b')' | b',' | b';')
}

/// Secrets of known shape, which never reach the log whatever a bundle says (invariant 9 of the design).
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownSecrets;

impl KnownSecrets {
    /// Places of known secrets in a body, which may be JSON, a stream of events or anything else, in order and apart.
    #[must_use]
    pub fn find(self, body: &[u8]) -> Vec<(Entity, Range<usize>)> {
        let mut found: Vec<(Entity, Range<usize>)> = Vec::new();
        known(body, 0, |entity, at| found.push((entity.into(), at)));
        found.sort_by_key(|(_, at)| at.start);
        let mut end = 0;
        found.retain(|(_, at)| {
            let is_free = at.start >= end;
            if is_free {
                end = at.end;
            }
            is_free
        });
        found
    }

    /// The body with the name of each secret in its place, and how many there were; `None` if there are none.
    #[must_use]
    pub fn redact(self, body: &[u8]) -> Option<(Vec<u8>, usize)> {
        let found = self.find(body);
        if found.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(body.len());
        let mut copied = 0;
        for (entity, at) in &found {
            out.extend_from_slice(&body[copied..at.start]);
            out.extend_from_slice(format!("<{entity}>").as_bytes());
            copied = at.end;
        }
        out.extend_from_slice(&body[copied..]);
        Some((out, found.len()))
    }
}

/// How every secret of known shape begins: those of [`SHAPES`] in their order, then a private key's.
#[expect(clippy::expect_used, reason = "the beginnings are constants, and every test that finds a secret builds this")]
static BEGINNINGS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let beginnings = SHAPES.iter().map(|shape| shape.start.as_bytes()).chain([PEM_START]);
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(AhoCorasickKind::DFA))
        .build(beginnings)
        .expect("constant beginnings")
});

fn known(bytes: &[u8], from: usize, mut each: impl FnMut(&'static str, Range<usize>)) {
    let mut at = from;
    while let Some(beginning) = BEGINNINGS.find(Input::new(bytes).span(at..bytes.len())) {
        let start = beginning.start();
        match SHAPES.get(beginning.pattern().as_usize()) {
            Some(shape) => {
                if let Some(end) = shape.end(bytes, start) {
                    each(shape.entity, start..end);
                }
            }
            None => match pem(bytes, start) {
                Pem::Key(end) => each("PRIVATE_KEY", start..end),
                // Cut off or not, what has come of a key is one.
                Pem::Open => each("PRIVATE_KEY", start..bytes.len()),
                Pem::Begun | Pem::Other => {}
            },
        }
        // What begins one token may hold the beginning of another.
        at = start + 1;
    }
}

impl Shape {
    fn end(&self, bytes: &[u8], at: usize) -> Option<usize> {
        if goes_on_before(bytes, at) {
            return None;
        }
        let body = at + self.start.len();
        let limit = bytes.len().min(at + MAX_TOKEN);
        let run = bytes[body..limit].iter().take_while(|byte| self.rest.holds(**byte)).count();
        let mut end = body + run;
        // A full stop behind a token ends the sentence.
        while self.rest == Rest::Dotted && end > body && bytes[end - 1] == b'.' {
            end -= 1;
        }
        let length = end - body;
        if length < self.least || (self.most > 0 && length > self.most) {
            return None;
        }
        let written = &bytes[body..end];
        let is_real = match self.entity {
            "JWT" => written.iter().filter(|byte| **byte == b'.').count() == 2 && has(written, b".eyJ"),
            "OPENAI_KEY" | "TOLLGATE_KEY" | "NOTION_TOKEN" => written.iter().any(u8::is_ascii_digit),
            _ => true,
        };
        is_real.then_some(end)
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

/// Whether a word goes on into `at`. An escaped line break of JSON ends in a letter and is none.
fn goes_on_before(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| bytes[at]) else { return false };
    (before.is_ascii_alphanumeric() || before == b'_') && !super::escape_before(bytes, at)
}

#[derive(PartialEq, Eq)]
enum Pem {
    /// No private key.
    Other,
    /// What is begun may still become one.
    Begun,
    /// One without its end, which may still come.
    Open,
    /// Up to here.
    Key(usize),
}

/// What `-----BEGIN ` at `at` begins. Line breaks may be escaped, as they are in JSON.
fn pem(bytes: &[u8], at: usize) -> Pem {
    let label_at = at + PEM_START.len();
    let label = &bytes[label_at..bytes.len().min(label_at + MAX_LABEL)];
    let Some(length) = memchr::memmem::find(label, b"-----") else {
        return if label.len() < MAX_LABEL { Pem::Begun } else { Pem::Other };
    };
    if !has(&label[..length], b"PRIVATE KEY") {
        return Pem::Other;
    }
    let limit = bytes.len().min(at + MAX_PEM);
    let open = if bytes.len() < at + MAX_PEM { Pem::Open } else { Pem::Key(limit) };
    let body_at = (label_at + length + 5).min(limit);
    let Some(end) = memchr::memmem::find(&bytes[body_at..limit], b"-----END ") else { return open };
    let end = body_at + end + b"-----END ".len();
    let closing = &bytes[end..limit.min(end + MAX_LABEL)];
    match memchr::memmem::find(closing, b"-----") {
        Some(length) => Pem::Key(end + length + 5),
        None if closing.len() < MAX_LABEL => open,
        None => Pem::Key(end),
    }
}

/// A random text behind one of [`WORDS`]: `password = "…"`, `token: …`.
fn announced_value(bytes: &[u8], word_end: usize) -> Option<Finding> {
    const LEAST: usize = 12;
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut at = word_end + bytes[word_end..].iter().take(24).take_while(is_name).count();
    let gap = bytes[at..]
        .iter()
        .take(12)
        .take_while(|byte| matches!(byte, b' ' | b'"' | b'\'' | b':' | b'=' | b'>' | b'\\'))
        .count();
    if !bytes[at..at + gap].iter().any(|byte| matches!(byte, b':' | b'=')) {
        return None;
    }
    at += gap;
    let limit = bytes.len().min(at + 512);
    let is_value = |byte: &&u8| is_in_run(**byte) && !matches!(byte, b'\'' | b'\\' | b'{' | b'}' | b'&');
    let length = bytes[at..limit].iter().take_while(is_value).count();
    let value = &bytes[at..at + length];
    let mixed = value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic);
    (length >= LEAST
        && mixed
        && !has(value, b"://")
        && entropy_percent(value) >= 320
        && std::str::from_utf8(value).is_ok())
    .then(|| Finding::new("SECRET", at..at + length, Score::percent(80)))
}

/// Shannon's entropy in hundredths of a bit per character.
fn entropy_percent(value: &[u8]) -> u32 {
    let mut counts = [0u32; 256];
    value.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = value.len() as f64;
    let share = |count: &u32| f64::from(*count) / length;
    let bits: f64 = counts.iter().filter(|count| **count > 0).map(|count| -share(count) * share(count).log2()).sum();
    (bits * 100.0) as u32
}

/// The password in `scheme://user:password@host`.
fn password_in_url(bytes: &[u8], at: usize) -> Option<Finding> {
    // What is before the password must lie within the left context.
    const MAX_USER: usize = 100;
    let run = bytes[at..].iter().take(300).take_while(|byte| is_in_run(**byte) && **byte != b'/').count();
    let authority = &bytes[at..at + run];
    let end = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', &authority[..end])?;
    let is_there = (1..=MAX_USER).contains(&colon) && end > colon + 3;
    is_there.then(|| Finding::new("PASSWORD_IN_URL", at + colon + 1..at + end, Score::percent(90)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, &str)> {
        let mut found = Vec::new();
        SecretDetector.find(text, 0, &mut found);
        found.into_iter().map(|finding| (finding.entity.into_owned(), &text[finding.at])).collect()
    }

    fn entities(text: &str) -> Vec<String> {
        found(text).into_iter().map(|(entity, _)| entity).collect()
    }

    #[test]
    fn keys_are_known_by_how_they_begin() {
        let random = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";
        for (text, entity) in [
            ("use AKIAIOSFODNN7EXAMPLE now".to_owned(), "AWS_KEY"),
            (format!("ghp_{}", &random[..36]), "GITHUB_TOKEN"),
            (format!("key sk-ant-api03-{random}."), "ANTHROPIC_KEY"),
            (format!("sk-proj-{random}"), "OPENAI_KEY"),
            (format!("xoxb-1234-{random}"), "SLACK_TOKEN"),
            (format!("AIza{}", &random[..35]), "GOOGLE_KEY"),
            (format!("{{\\\"k\\\":\\\"\\nhf_{random}\\\"}}"), "HUGGINGFACE_TOKEN"),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U."
                    .to_owned(),
                "JWT",
            ),
        ] {
            assert_eq!(entities(&text), [entity], "{text}");
        }
        assert_eq!(entities("a risk-averse desk-bound sk-learn user, eyJust, SG.1"), [""; 0]);
    }

    #[test]
    fn a_private_key_is_found_whole_and_a_public_one_is_none() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----";
        assert_eq!(found(&format!("x {key} y")), [("PRIVATE_KEY".to_owned(), key)]);
        assert_eq!(entities("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"), [""; 0]);
    }

    #[test]
    fn random_texts_are_secrets_only_where_they_are_announced() {
        assert_eq!(entities("password = \"hV9x2kQ7pL0zT4\""), ["SECRET"]);
        assert_eq!(entities("DB_PASSWORD: hV9x2kQ7pL0zT4"), ["SECRET"]);
        assert_eq!(entities("the password is long and the value hV9x2kQ7pL0zT4 is a checksum"), [""; 0]);
        assert_eq!(entities("token: aaaaaaaaaaaaaaa1"), [""; 0]);
        assert_eq!(found("postgres://app:s3cret-pw@db/x"), [("PASSWORD_IN_URL".to_owned(), "s3cret-pw")]);
    }

    #[test]
    fn a_body_is_logged_without_its_known_secrets() {
        let body = br#"{"content":"first\nAKIAIOSFODNN7EXAMPLE, then"}"#;
        let (redacted, count) = KnownSecrets.redact(body).unwrap();
        assert_eq!((redacted.as_slice(), count), (&br#"{"content":"first\n<AWS_KEY>, then"}"#[..], 1));
        assert_eq!(KnownSecrets.redact(b"{}"), None);
    }
}
