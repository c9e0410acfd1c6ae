//! The contract of detectors, at every chunk size: a stream is redacted as its text is, and nothing of what is blocked goes
//! out.

use std::sync::Arc;

use proptest::prelude::*;

use super::redact::Vault;
use super::rule::{GuardRule, Session};
use super::stream::Channel;
use crate::bundle::load;
use crate::control::Principal;
use crate::residency::{Places, TargetFacts};
use crate::{Bundle, Facts};
use tollgate_interaction::GuardPhase;
use tollgate_interaction::{Dialect, Operation};

fn bundle(run: &str, action: &str) -> Bundle {
    load(&format!(
        "apiVersion: tollgate/v1\nbundle: {{name: t}}\naccess: [{{id: a, when: \"true\", allow: {{}}}}]\n\
         guardrails: [{{id: g, phase: output, run: [{run}], on_hit: {{action: {action}}}}}]\n"
    ))
    .unwrap()
}

fn rules(bundle: &Bundle) -> Vec<Arc<GuardRule>> {
    let principal = Principal::default();
    let facts = Facts::new(&principal, Operation::Chat, Dialect::Openai, "m", 0);
    let places = Places::default();
    let target = TargetFacts { provider: "p", model: "m", tags: &[], places: &places, self_hosted: false };
    bundle.guardrails(GuardPhase::Output, &facts, &[target]).unwrap()
}

/// `text` in pieces of `size` characters, and what came out.
fn streamed(rules: &[Arc<GuardRule>], text: &str, size: usize) -> (String, Session) {
    let (mut session, mut vault) = (Session::new(rules.to_vec(), || 0), Vault::default());
    let mut channel = Channel::new(&session);
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::new();
    for piece in letters.chunks(size) {
        out.push_str(&channel.push(&mut session, &mut vault, &piece.iter().collect::<String>()));
    }
    out.push_str(&channel.finish(&mut session, &mut vault));
    (out, session)
}

const EVERYTHING: &str =
    r"pii, pii.url, pii.uuid, secrets, {keywords: [project blue, öl, cat]}, {regex: '\bX-\d{3,6}\b'}";

const PIECES: [&str; 44] = [
    "ada@example.org",
    "ada.lovelace+notes@mail.example.co.uk.",
    "jürgen@müller.de",
    "4111 1111 1111 1111",
    "3782-822463-10005",
    "DE89 3704 0044 0532 0130 00",
    "gb82west12345698765432",
    "call me at (212) 555-0123 x42",
    "+41 (0)44 668 18 00",
    "Tel. 07700 900 123",
    "730 064 218 is my mobile number",
    "536-90-4399",
    "AB 12 34 56 C",
    "NHS 943 476 5919",
    "DE136695976",
    "131052-308T",
    "10.1.2.3",
    "2001:db8::ff00:42:8329",
    "00:1B:44:11:3A:B7",
    "123e4567-e89b-12d3-a456-426614174000",
    "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "https://example.org/path?query=1#part.",
    "www.example.org,",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "sk-ant-api03-a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc def\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA",
    "-----BEGIN CERTIFICATE-----",
    "password = \"hV9x2kQ7pL0zT4\"",
    "postgres://app:s3cret-pw@db/x",
    "Project Blue",
    "ÖL",
    "concatenate the cat",
    "X-12345",
    "2026-11-26",
    "1,234,567.89 and 42 %",
    "a plain word",
    "„Ja“, sagte sie – größer als 12 µm.",
    "@ ( + - :// eyJ sk- AKIA",
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "日本語のテキスト 123",
];

const JOINTS: [&str; 9] = [" ", "\n", ", ", "", ". ", ": ", "-", " (", "\t"];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        2 => "[a-z]{1,12}( [a-z]{1,9}){0,20}",
        1 => "[0-9A-Za-z@.+()/: -]{1,40}",
        1 => ".{0,12}",
    ];
    let joined = (piece, proptest::sample::select(&JOINTS[..])).prop_map(|(piece, joint)| piece + joint);
    proptest::collection::vec(joined, 1..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_redacted_as_its_text_is(text in text(), size in 1usize..=64) {
        let bundle = bundle(EVERYTHING, "redact");
        let rules = rules(&bundle);
        let mut session = Session::new(rules.clone(), || 0);
        let whole = session.inspect(&text, &mut Vault::default()).unwrap_or_else(|| text.clone());
        let (out, streamed) = streamed(&rules, &text, size);
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(streamed.pii_counts(), session.pii_counts());
        prop_assert_eq!(streamed.verdicts(), session.verdicts());
    }

    #[test]
    fn nothing_of_what_is_blocked_goes_out(before in "[a-z]{1,9}( [a-z]{1,9}){0,30}", piece in 0usize..36, size in 1usize..=64) {
        let bundle = bundle(EVERYTHING, "block");
        let rules = rules(&bundle);
        let blocked = PIECES[piece];
        let text = format!("{before} {blocked}\n and more words behind it, that nobody reads");
        let mut session = Session::new(rules.clone(), || 0);
        session.inspect(&text, &mut Vault::default());
        let (out, streamed) = streamed(&rules, &text, size);
        prop_assert_eq!(streamed.blocked_by().is_some(), session.blocked_by().is_some());
        prop_assert!(text.starts_with(&out));
        if session.blocked_by().is_some() {
            let mut hits = Vec::new();
            session.find(&text, 0, &mut hits);
            let first = hits.iter().map(|hit| hit.finding.at.start).min().unwrap();
            prop_assert_eq!(out.len(), first, "{}", out);
        }
    }
}

#[test]
fn every_piece_at_every_chunk_size() {
    let bundle = bundle(EVERYTHING, "redact");
    let rules = rules(&bundle);
    let text = PIECES.join(" and then, for a change, ");
    let whole = Session::new(rules.clone(), || 0).inspect(&text, &mut Vault::default()).unwrap();
    for size in 1..=64 {
        assert_eq!(streamed(&rules, &text, size).0, whole, "pieces of {size}");
    }
    for gone in ["ada@", "4111", "DE89", "555-0123", "AKIA", "MIIE", "s3cret", "X-12345", "536-90", "123e4567"] {
        assert!(!whole.contains(gone), "`{gone}` is still in {whole}");
    }
}

#[test]
fn prose_is_held_back_by_two_words_at_most() {
    let bundle = bundle("pii, secrets", "redact");
    let rules = rules(&bundle);
    let (mut session, mut vault) = (Session::new(rules, || 0), Vault::default());
    let mut channel = Channel::new(&session);
    let text = "Every word of this sentence goes out as soon as the second one behind it has come. ";
    let (mut longest, mut come, mut gone) = (0, 0, 0);
    for word in text.split_inclusive(' ') {
        come += word.len();
        gone += channel.push(&mut session, &mut vault, word).len();
        longest = longest.max(come - gone);
    }
    assert!(longest <= 20, "{longest} bytes were held back");
}
