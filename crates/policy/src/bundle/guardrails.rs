//! The section `guardrails`: what is looked for in the texts of a call, and what is done about it. Its shapes, their
//! compilation, and the part of test vectors that concerns texts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};
use tollgate_interaction::Usd;

use super::compile::Compiler;
use super::decimal::Part;
use super::source::WhenSource;
use super::vector::source::{ExpectSource, GivenSource};
use super::{Bundle, BundleError};
use crate::condition::{EvaluationError, Scope};
use crate::facts::Facts;
use crate::guard::injection::{self, Heuristic};
use crate::guard::redact::Vault;
use crate::guard::rule::{Adviser, GuardRule, Item, OnError, Service, Session, Work};
use crate::guard::{
    Entities, Keywords, Languages, OutputSchema, Pattern, PatternError, PiiDetector, Score, SecretDetector, Topics,
};
use crate::residency::TargetFacts;
use crate::suggestion;
use crate::variable::Phase;
use tollgate_interaction::{GuardAction, GuardPhase};

/// How long a service may take if its rule does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest it may be given: the caller waits meanwhile.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);

/// A guardrail as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardrailSource {
    id: Spanned<String>,
    phase: PhaseSource,
    #[serde(default)]
    when: Option<Spanned<WhenSource>>,
    run: Spanned<Vec<Spanned<RunSource>>>,
    on_hit: Spanned<HitSource>,
    #[serde(default)]
    on_error: OnErrorSource,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "basis")]
    _basis: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhaseSource {
    Input,
    Output,
    ToolResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ActionSource {
    /// In test vectors: nothing was found.
    None,
    Flag,
    Redact,
    Block,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnErrorSource {
    #[default]
    Block,
    Allow,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HitSource {
    action: ActionSource,
    #[serde(default)]
    reversible: bool,
    #[serde(default)]
    score_at_least: Option<Spanned<Part>>,
}

/// One entry of `run`: a word such as `pii.iban`, or a mapping with one key.
#[derive(Debug)]
enum RunSource {
    Word(String),
    Keywords(KeywordsSource),
    Regex(RegexSource),
    JsonSchema(serde_json::Value),
    Language(LanguageSource),
    Topic(TopicSource),
    Http(HttpSource),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeywordsSource {
    words: Spanned<Vec<String>>,
    /// What placeholders and counts call them.
    #[serde(default)]
    name: Option<Spanned<String>>,
    #[serde(default = "yes")]
    whole_words: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegexSource {
    pattern: Spanned<String>,
    #[serde(default)]
    name: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguageSource {
    allow: Spanned<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicSource {
    name: String,
    words: Spanned<Vec<String>>,
    #[serde(default = "one")]
    at_least: usize,
}

fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSource {
    url: Spanned<String>,
    #[serde(default)]
    timeout: Option<Spanned<String>>,
    /// `None` for what the rule says.
    #[serde(default)]
    on_error: Option<OnErrorSource>,
}

const RUN_KEYS: &[&str] = &["keywords", "regex", "json_schema", "language", "topic", "http"];

impl<'de> Deserialize<'de> for RunSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = RunSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "the name of a guard such as `pii.email`, or a mapping such as `{keywords: {words: [...]}}`",
                )
            }
            fn visit_str<E>(self, word: &str) -> Result<RunSource, E> {
                Ok(RunSource::Word(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RunSource, A::Error> {
                let Some(key) = map.next_key::<String>()? else {
                    return Err(A::Error::custom("an entry of `run` may not be empty"));
                };
                let entry = match key.as_str() {
                    "keywords" => RunSource::Keywords(map.next_value::<WordsOr<KeywordsSource>>()?.into_keywords()),
                    "regex" => RunSource::Regex(map.next_value::<WordsOr<RegexSource>>()?.into_regex()?),
                    "json_schema" => RunSource::JsonSchema(map.next_value()?),
                    "language" => RunSource::Language(map.next_value()?),
                    "topic" => RunSource::Topic(map.next_value()?),
                    "http" => RunSource::Http(map.next_value()?),
                    _ => return Err(A::Error::unknown_field(&key, RUN_KEYS)),
                };
                match map.next_key::<String>()? {
                    None => Ok(entry),
                    Some(second) => Err(A::Error::custom(format!(
                        "an entry of `run` has one key; make `{key}` and `{second}` two entries"
                    ))),
                }
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

/// A list of words, a single one, or the long form.
#[derive(Debug)]
enum WordsOr<T> {
    Words(Spanned<Vec<String>>),
    One(Spanned<String>),
    Long(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WordsOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = WordsOr<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of texts, or a mapping")
            }
            fn visit_str<E>(self, word: &str) -> Result<WordsOr<T>, E> {
                Ok(WordsOr::One(unplaced(word.to_owned())))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<WordsOr<T>, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(WordsOr::Words(unplaced(words)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WordsOr<T>, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(WordsOr::Long)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

/// A value whose place is that of the entry it stands in.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned { value, referenced: Location::UNKNOWN, defined: Location::UNKNOWN }
}

impl WordsOr<KeywordsSource> {
    fn into_keywords(self) -> KeywordsSource {
        let of = |words| KeywordsSource { words, name: None, whole_words: true };
        match self {
            WordsOr::Words(words) => of(words),
            WordsOr::One(word) => of(unplaced(vec![word.value])),
            WordsOr::Long(long) => long,
        }
    }
}

impl WordsOr<RegexSource> {
    fn into_regex<E: serde::de::Error>(self) -> Result<RegexSource, E> {
        match self {
            WordsOr::One(pattern) => Ok(RegexSource { pattern, name: None }),
            WordsOr::Long(long) => Ok(long),
            WordsOr::Words(_) => Err(E::custom("`regex` is one expression; make each an entry of its own")),
        }
    }
}

/// Gives meaning to the section.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    section: &[Spanned<GuardrailSource>],
) -> Result<Vec<Arc<GuardRule>>, BundleError> {
    section.iter().map(|rule| compile_rule(compiler, &rule.value).map(Arc::new)).collect()
}

fn compile_rule(compiler: &mut Compiler<'_>, source: &GuardrailSource) -> Result<GuardRule, BundleError> {
    let (id, hit) = (&source.id, &source.on_hit.value);
    compiler.unique(id)?;
    let always = unplaced(WhenSource::One("true".to_owned()));
    // An output's guardrail knows the target that answers; what the answer says is not known while it streams.
    let when = compiler.conditions(source.when.as_ref().unwrap_or(&always), Phase::Guardrail)?;
    if source.run.value.is_empty() {
        let message = format!("guardrail `{}` runs nothing; write `run: [pii.email]` or the like", id.value);
        return Err(BundleError::new(source.run.referenced, message));
    }
    let phase = GuardPhase::from(source.phase);
    let action = match hit.action {
        ActionSource::Flag => GuardAction::Flag,
        ActionSource::Redact => GuardAction::Redact,
        ActionSource::Block => GuardAction::Block,
        ActionSource::None => {
            let message = format!("guardrail `{}` does nothing on a hit; write `flag`, `redact` or `block`", id.value);
            return Err(BundleError::new(source.on_hit.referenced, message));
        }
    };
    if hit.reversible && (action != GuardAction::Redact || phase == GuardPhase::Output) {
        let message =
            "only what is redacted in `input` or in `tool_result` can come back in the answer; remove `reversible`";
        return Err(BundleError::new(source.on_hit.referenced, message));
    }
    let on_error = OnError::from(source.on_error);
    let mut rule = GuardRule {
        id: id.value.clone(),
        phase,
        when,
        items: Vec::new(),
        services: Vec::new(),
        action,
        reversible: hit.reversible,
        threshold: hit.score_at_least.as_ref().map_or(Ok(Score::DEFAULT_THRESHOLD), score)?,
        on_error,
    };
    let mut kinds = Entities::default();
    let mut has_kinds = false;
    for entry in &source.run.value {
        has_kinds |= add_entry(&mut rule, &mut kinds, entry, on_error)?;
    }
    if has_kinds {
        rule.items.insert(0, Item { name: "pii".to_owned(), work: Work::Find(Box::new(PiiDetector(kinds))) });
    }
    Ok(rule)
}

/// Adds one entry of `run`; true if it is a kind of personal data, all of which make one item.
fn add_entry(
    rule: &mut GuardRule,
    kinds: &mut Entities,
    entry: &Spanned<RunSource>,
    on_error: OnError,
) -> Result<bool, BundleError> {
    let wrong = |message: String| BundleError::new(entry.referenced, message);
    let item = |name: &str, work: Work| Item { name: name.to_owned(), work };
    let of_pattern = |error: PatternError| wrong(error.0);
    let added = match &entry.value {
        RunSource::Word(word) => match word.strip_prefix("pii").map(|kind| kind.strip_prefix('.').unwrap_or("all")) {
            Some(kind) if word.len() == 3 || word.starts_with("pii.") => {
                if !kinds.add(kind) {
                    let advice = suggestion::phrase(kind, Entities::names());
                    return Err(wrong(format!("unknown kind of personal data `{kind}`{advice}")));
                }
                return Ok(true);
            }
            _ => match word.as_str() {
                "secrets" => item("secrets", Work::Find(Box::new(SecretDetector))),
                "injection.heuristic" => item("injection.heuristic", Work::Judge(Box::new(Heuristic))),
                "injection.onnx" | "injection.onnx?" => match injection::installed() {
                    Some(classifier) => {
                        refuse_redaction(rule, "injection.onnx", entry)?;
                        let timeout = classifier.patience();
                        rule.services.push(Service { adviser: Adviser::Classifier(classifier), timeout, on_error });
                        return Ok(false);
                    }
                    None if word.ends_with('?') => return Ok(false),
                    None => {
                        return Err(wrong(
                            "no classifier is installed, so `injection.onnx` cannot be enforced; name one under `classifier` \
                             in the configuration, or write `injection.onnx?` if it may be left out, or `injection.heuristic`"
                                .to_owned(),
                        ));
                    }
                },
                word => {
                    let known = ["secrets", "injection.heuristic", "injection.onnx", "pii"].into_iter();
                    let advice = suggestion::phrase(word, known.chain(RUN_KEYS.iter().copied()));
                    return Err(wrong(format!("unknown guard `{word}`{advice}")));
                }
            },
        },
        RunSource::Keywords(source) => {
            let words: Vec<&str> = source.words.value.iter().map(String::as_str).collect();
            if words.is_empty() {
                return Err(wrong("the list of keywords is empty".to_owned()));
            }
            let keywords = Keywords::new(entity(&source.name, "KEYWORD", entry)?, &words, source.whole_words);
            item("keywords", Work::Find(Box::new(keywords.map_err(of_pattern)?)))
        }
        RunSource::Regex(source) => {
            let pattern = Pattern::new(entity(&source.name, "PATTERN", entry)?, &source.pattern.value);
            item("regex", Work::Find(Box::new(pattern.map_err(of_pattern)?)))
        }
        RunSource::JsonSchema(schema) => {
            if rule.phase != GuardPhase::Output {
                return Err(wrong(
                    "`json_schema` judges answers; it belongs in a guardrail with `phase: output`".to_owned(),
                ));
            }
            item("json_schema", Work::Judge(Box::new(OutputSchema::new(schema).map_err(of_pattern)?)))
        }
        RunSource::Language(source) => {
            let codes: Vec<&str> = source.allow.value.iter().map(|code| code.value.as_str()).collect();
            let languages = Languages::new(&codes).map_err(|code| {
                let place = source.allow.value.iter().find(|known| known.value == code);
                let advice = suggestion::phrase_or(code, Languages::codes(), "write a code such as `de`");
                let message = format!("`{code}` is not a language that can be told{advice}");
                BundleError::new(place.map_or(entry.referenced, |place| place.referenced), message)
            })?;
            if codes.is_empty() {
                return Err(wrong("no language is allowed, so nothing would pass; write `allow: [en]`".to_owned()));
            }
            item("language", Work::Judge(Box::new(languages)))
        }
        RunSource::Topic(source) => {
            let words: Vec<&str> = source.words.value.iter().map(String::as_str).collect();
            let topics = Topics::new(&source.name, &words, source.at_least).map_err(of_pattern)?;
            item("topic", Work::Judge(Box::new(topics)))
        }
        RunSource::Http(source) => {
            refuse_redaction(rule, "http", entry)?;
            rule.services.push(service(source, on_error, entry)?);
            return Ok(false);
        }
    };
    if matches!(added.work, Work::Judge(_)) {
        refuse_redaction(rule, &added.name, entry)?;
    }
    rule.items.push(added);
    Ok(false)
}

fn refuse_redaction(rule: &GuardRule, name: &str, entry: &Spanned<RunSource>) -> Result<(), BundleError> {
    if rule.action != GuardAction::Redact {
        return Ok(());
    }
    let message = format!("`{name}` judges a text as a whole and finds nothing to redact; use `flag` or `block`");
    Err(BundleError::new(entry.referenced, message))
}

fn service(source: &HttpSource, on_error: OnError, entry: &Spanned<RunSource>) -> Result<Service, BundleError> {
    let url = &source.url;
    let rest = url.value.strip_prefix("http://").or_else(|| url.value.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace)) {
        let place = if url.referenced == Location::UNKNOWN { entry.referenced } else { url.referenced };
        let message = format!("`{}` is not an address; write it as `http://127.0.0.1:9000/check`", url.value);
        return Err(BundleError::new(place, message));
    }
    let timeout = source.timeout.as_ref().map_or(Ok(DEFAULT_TIMEOUT), duration)?;
    let adviser = Adviser::Http { url: url.value.clone() };
    Ok(Service { adviser, timeout, on_error: source.on_error.map_or(on_error, OnError::from) })
}

/// `500ms` or `2s`.
fn duration(text: &Spanned<String>) -> Result<Duration, BundleError> {
    let read = match text.value.strip_suffix("ms") {
        Some(digits) => digits.parse().ok().map(Duration::from_millis),
        None => text.value.strip_suffix('s').and_then(|digits| digits.parse().ok()).map(Duration::from_secs),
    };
    read.filter(|wait| !wait.is_zero() && *wait <= MAX_TIMEOUT).ok_or_else(|| {
        let message = format!("`{}` is not a time to wait; write `1ms` to `30s`, such as `500ms`", text.value);
        BundleError::new(text.referenced, message)
    })
}

/// A share such as `0.80`.
fn score(text: &Spanned<Part>) -> Result<Score, BundleError> {
    let Part(share) = text.value;
    if share <= Usd::ZERO || share > Usd::from_dollars(1) {
        let message = format!("`score_at_least: {}` is not above 0 and at most 1", share);
        return Err(BundleError::new(text.referenced, message));
    }
    const UNITS_PER_MILLIONTH: i128 = 1_000_000;
    Ok(Score::millionths(u32::try_from(share.get() / UNITS_PER_MILLIONTH).unwrap_or(1_000_000)))
}

/// The name of a bundle's own pattern, as it stands in placeholders.
fn entity(
    name: &Option<Spanned<String>>,
    default: &'static str,
    entry: &Spanned<RunSource>,
) -> Result<crate::guard::Entity, BundleError> {
    let Some(name) = name else { return Ok(default.into()) };
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_name = (1..=32).contains(&name.value.len()) && name.value.bytes().all(fits);
    if !is_name || !name.value.starts_with(|letter: char| letter.is_ascii_uppercase()) {
        let place = if name.referenced == Location::UNKNOWN { entry.referenced } else { name.referenced };
        let message = format!("`{}` cannot stand in a placeholder; use 1 to 32 capitals, digits and `_`", name.value);
        return Err(BundleError::new(place, message));
    }
    Ok(name.value.clone().into())
}

impl From<PhaseSource> for GuardPhase {
    fn from(source: PhaseSource) -> Self {
        match source {
            PhaseSource::Input => GuardPhase::Input,
            PhaseSource::Output => GuardPhase::Output,
            PhaseSource::ToolResult => GuardPhase::ToolResult,
        }
    }
}

impl From<OnErrorSource> for OnError {
    fn from(source: OnErrorSource) -> Self {
        match source {
            OnErrorSource::Block => OnError::Block,
            OnErrorSource::Allow => OnError::Allow,
        }
    }
}

impl From<ActionSource> for GuardAction {
    fn from(source: ActionSource) -> Self {
        match source {
            ActionSource::None => GuardAction::None,
            ActionSource::Flag => GuardAction::Flag,
            ActionSource::Redact => GuardAction::Redact,
            ActionSource::Block => GuardAction::Block,
        }
    }
}

/// A guardrail whose condition could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardFailure {
    /// The rule.
    pub rule: String,
    /// What failed.
    pub message: String,
}

impl Bundle {
    /// Whether there is any guardrail of `phase`, so that texts need not be looked for if there is none.
    #[must_use]
    pub fn has_guardrails(&self, phase: GuardPhase) -> bool {
        self.guardrails.iter().any(|rule| rule.phase == phase)
    }

    /// Whether a guardrail asks a service.
    #[must_use]
    pub fn asks_guard_services(&self) -> bool {
        self.guardrails.iter().any(|rule| !rule.services.is_empty())
    }

    /// Whether the guardrail of this id asks a service; false if there is none.
    #[must_use]
    pub fn asks_guard_service(&self, id: &str) -> bool {
        self.guardrails.iter().any(|rule| rule.id == id && !rule.services.is_empty())
    }

    /// The guardrails of `phase` that apply to a call which may go to any of `targets`: those whose condition holds for one of
    /// them, since the text is the same for all.
    ///
    /// # Errors
    /// [`GuardFailure`] if a condition cannot be evaluated and its rule does not let such calls pass.
    pub fn guardrails(
        &self,
        phase: GuardPhase,
        facts: &Facts<'_>,
        targets: &[TargetFacts<'_>],
    ) -> Result<Vec<Arc<GuardRule>>, GuardFailure> {
        let mut applying = Vec::new();
        for rule in self.guardrails.iter().filter(|rule| rule.phase == phase) {
            match (self.applies(rule, facts, targets), rule.on_error) {
                (Ok(true), _) => applying.push(Arc::clone(rule)),
                (Ok(false), _) | (Err(_), OnError::Allow) => {}
                (Err(error), OnError::Block) => {
                    let message = format!("a condition of guardrail `{}` could not be evaluated: {error}", rule.id);
                    return Err(GuardFailure { rule: rule.id.clone(), message });
                }
            }
        }
        Ok(applying)
    }

    fn applies(
        &self,
        rule: &GuardRule,
        facts: &Facts<'_>,
        targets: &[TargetFacts<'_>],
    ) -> Result<bool, EvaluationError> {
        for target in targets {
            if rule.when.hold(&Scope::of_target(self, facts, target))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a test vector expects of a text.
#[derive(Debug)]
pub(super) struct TextExpectation {
    text: String,
    phase: PhaseSource,
    guard: Option<String>,
    action: Option<ActionSource>,
    redacted: Option<String>,
}

impl TextExpectation {
    /// Reads it out of a test, if the test has a text.
    pub(super) fn of(given: &GivenSource, expect: &ExpectSource, at: Location) -> Result<Option<Self>, BundleError> {
        let expects = expect.guard.is_some() || expect.action.is_some() || expect.redacted.is_some();
        let Some(text) = &given.text else {
            let message = "`guard`, `action` and `redacted` are about a text; write it as `given: {text: \"...\"}`";
            return if expects { Err(BundleError::new(at, message)) } else { Ok(None) };
        };
        if !expects {
            let message = "the test has a text and expects nothing of it; write `guard`, `action` or `redacted`";
            return Err(BundleError::new(at, message));
        }
        Ok(Some(TextExpectation {
            text: text.clone(),
            phase: given.phase.unwrap_or(PhaseSource::Input),
            guard: expect.guard.clone(),
            action: expect.action,
            redacted: expect.redacted.clone(),
        }))
    }

    /// What was different; `None` if nothing was. Services are not asked.
    pub(super) fn difference(&self, bundle: &Bundle, facts: &Facts<'_>, target: &TargetFacts<'_>) -> Option<String> {
        let rules = match bundle.guardrails(self.phase.into(), facts, std::slice::from_ref(target)) {
            Ok(rules) => rules,
            Err(failure) => return Some(failure.message),
        };
        let (mut session, mut vault) = (Session::new(rules, || 0), Vault::default());
        let redacted = session.inspect(&self.text, &mut vault);
        let verdicts = session.verdicts();
        let hits: Vec<_> = verdicts.iter().filter(|verdict| verdict.matches > 0).collect();
        let told = || {
            let told = hits.iter().map(|hit| format!("`{}` of `{}`: {:?}", hit.guard, hit.rule, hit.action));
            if hits.is_empty() { "nothing was found".to_owned() } else { told.collect::<Vec<_>>().join(", ") }
        };
        let named = |hit: &&&tollgate_interaction::GuardVerdict| {
            self.guard.as_ref().is_none_or(|guard| *guard == hit.rule || *guard == hit.guard)
        };
        let strongest = hits.iter().filter(named).map(|hit| hit.action).max_by_key(|action| strength(*action));
        if self.guard.is_some() && strongest.is_none() && self.action != Some(ActionSource::None) {
            return Some(format!("guard `{}` found nothing; {}", self.guard.as_deref().unwrap_or_default(), told()));
        }
        let expected = self.action.map(GuardAction::from);
        if expected.is_some_and(|expected| expected != strongest.unwrap_or(GuardAction::None)) {
            return Some(format!("expected the action {:?}; {}", expected.unwrap_or(GuardAction::None), told()));
        }
        let shown = redacted.as_deref().unwrap_or(&self.text);
        self.redacted.as_ref().filter(|expected| *expected != shown).map(|_| format!("the text became `{shown}`"))
    }
}

fn strength(action: GuardAction) -> u8 {
    match action {
        GuardAction::None => 0,
        GuardAction::Flag => 1,
        GuardAction::Redact => 2,
        GuardAction::Block => 3,
    }
}

#[cfg(test)]
mod tests;
