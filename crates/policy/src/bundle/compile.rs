//! Gives meaning to a bundle, section by section: conditions are compiled, names are checked, limits are made exact.

use std::collections::HashSet;
use std::sync::Arc;

use cel::Env;
use serde_saphyr::{Location, Spanned};

use super::source::{BundleSource, PreferSource, WhenSource};
use super::vector::{self, TestVector};
use super::{
    Bundle, BundleError, Mention, ModelPattern, access, data_classes, guardrails, hash_of, limits, residency, review,
    routes,
};
use crate::condition::{ConditionError, Conditions, Grammar};
use crate::decide::Prefer;
use crate::suggestion;
use crate::variable::Phase;

pub(super) fn compile(yaml: &str, source: BundleSource, env: Arc<Env>) -> Result<Bundle, BundleError> {
    if source.access.is_empty() {
        return Err(BundleError::new(
            source.api_version.referenced,
            "the bundle has no `access` rule, which would deny every call; add one such as \
             `access: [{id: known-keys, when: \"true\", allow: {}}]`",
        ));
    }
    let mut compiler = Compiler {
        yaml,
        env: &env,
        ids: HashSet::new(),
        classes: Vec::new(),
        remarks: Vec::new(),
        mentions: Vec::new(),
    };
    // The classes come first: conditions further down are checked against them.
    let data_classes = data_classes::compile(&mut compiler, &source.data_classes)?;
    let access = access::compile(&mut compiler, &source.access)?;
    let residency = residency::compile(&mut compiler, &source.residency, &data_classes)?;
    let guardrails = guardrails::compile(&mut compiler, &source.guardrails)?;
    let (tallies, allowances) = limits::compile(&mut compiler, &source.budgets, &source.limits)?;
    let (routes, experiments) = routes::compile(&mut compiler, &source.routes, &source.experiments)?;
    let mut tests = Vec::with_capacity(source.tests.len());
    let denying = vector::codes::Denying { access: &access, allowances: &allowances, classes: &data_classes };
    for test in source.tests {
        vector::codes::check(&test.value, &denying, &mut compiler.remarks)?;
        vector::check_rule_name(&test.value, &compiler.ids)?;
        vector::check_spent(&test.value, &allowances)?;
        tests.push(TestVector::compile(test)?);
    }
    let review_by = source.bundle.review_by.as_ref().map(review::compile).transpose()?;
    let Compiler { remarks, mentions, .. } = compiler;
    let (name, version) = (source.bundle.name, source.bundle.version);
    Ok(Bundle {
        hash: hash_of(yaml),
        name,
        version,
        review_by,
        remarks,
        mentions,
        data_classes,
        access,
        residency,
        guardrails,
        tallies,
        allowances,
        routes,
        experiments,
        tests,
        asks_guards: yaml.contains("guard."),
        env,
    })
}

/// An id: of a rule, of a class, of whatever a bundle names.
pub(super) fn check_id(id: &Spanned<String>) -> Result<(), BundleError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.value.is_empty() || id.value.len() > 100 || !id.value.bytes().all(allowed) {
        let message = format!("`{}` cannot be the id of a rule; use 1 to 100 letters, digits, `-`, `_`, `.`", id.value);
        return Err(BundleError::new(id.referenced, message));
    }
    Ok(())
}

/// A length of time such as `60s`, `5m`, `1h`, `1d`, in seconds.
pub(super) fn seconds(text: &Spanned<String>) -> Result<u64, BundleError> {
    let digits = text.value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_s = match &text.value[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds = unit_s.and_then(|unit_s| digits.parse::<u64>().ok()?.checked_mul(unit_s));
    seconds.ok_or_else(|| {
        let message = format!("`{}` is not a length of time; write it as `90s`, `5m`, `1h` or `1d`", text.value);
        BundleError::new(text.referenced, message)
    })
}

/// The preference; `None` for the word `none`.
pub(super) fn preference(source: &Spanned<PreferSource>) -> Result<Option<Prefer>, BundleError> {
    match &source.value {
        PreferSource::Tag(tag) => Ok(Some(Prefer::Tag(tag.clone()))),
        PreferSource::Word(word) if word == "cheapest" => Ok(Some(Prefer::Cheapest)),
        PreferSource::Word(word) if word == "none" => Ok(None),
        PreferSource::Word(word) => {
            let advice = suggestion::phrase_or(word, ["cheapest"], "it is `cheapest` or `{tag: NAME}`");
            Err(BundleError::new(source.referenced, format!("unknown preference `{word}`{advice}")))
        }
    }
}

/// What the sections of one bundle share while they are compiled.
pub(super) struct Compiler<'a> {
    yaml: &'a str,
    env: &'a Env,
    /// Ids of rules so far, in whatever section.
    pub(super) ids: HashSet<String>,
    /// Names of the data classes; empty if the bundle has none.
    pub(super) classes: Vec<String>,
    /// What is allowed and hardly meant.
    pub(super) remarks: Vec<BundleError>,
    /// Models that rules name.
    pub(super) mentions: Vec<Mention>,
}

impl Compiler<'_> {
    /// The id of a rule, which no other rule has.
    pub(super) fn unique(&mut self, id: &Spanned<String>) -> Result<String, BundleError> {
        check_id(id)?;
        if !self.ids.insert(id.value.clone()) {
            return Err(BundleError::new(id.referenced, format!("two rules have the id `{}`", id.value)));
        }
        Ok(id.value.clone())
    }

    /// Conditions that may use the variables of `phase`.
    pub(super) fn conditions(&self, when: &Spanned<WhenSource>, phase: Phase) -> Result<Conditions, BundleError> {
        let (list, any): (Vec<(&str, Location)>, bool) = match &when.value {
            WhenSource::One(text) => (vec![(text, when.referenced)], false),
            WhenSource::All(list) => (located(list), false),
            WhenSource::Any(list) => (located(list), true),
        };
        if list.is_empty() {
            let message = "a list of conditions may not be empty; write `\"true\"` if the rule shall always apply";
            return Err(BundleError::new(when.referenced, message));
        }
        let texts: Vec<&str> = list.iter().map(|(text, _)| *text).collect();
        let grammar = Grammar { env: self.env, classes: &self.classes };
        let compiled = Conditions::compile(&texts, any, phase, &grammar)
            .map_err(|(index, error)| self.place(list[index].0, list[index].1, error))?;
        // `deny_unless: "false"` denies always, which a budget may want.
        let may_be_false = matches!(phase, Phase::Budget | Phase::Limit);
        match compiled.never_hold().filter(|_| !may_be_false) {
            Some(why) => Err(BundleError::new(
                when.referenced,
                format!("the rule can never match: {why}; correct it, or remove the rule"),
            )),
            None => Ok(compiled),
        }
    }

    /// Turns a place within a condition into a place within the bundle, where the condition stands on one line as it is.
    fn place(&self, text: &str, location: Location, error: ConditionError) -> BundleError {
        let mut placed = BundleError::new(location, error.message);
        let line = usize::try_from(placed.line - 1).ok().and_then(|index| self.yaml.lines().nth(index));
        let before = usize::try_from(placed.column - 1).unwrap_or_default();
        let rest: String = line.unwrap_or_default().chars().skip(before).collect();
        let quote = u64::from(rest.starts_with(['\'', '"']));
        let verbatim = rest.chars().skip(usize::from(quote == 1)).collect::<String>().starts_with(text);
        if let Some(offset) = error.offset.filter(|_| verbatim) {
            placed.column += quote + offset as u64;
        }
        placed
    }
}

fn located(list: &[Spanned<String>]) -> Vec<(&str, Location)> {
    list.iter().map(|condition| (condition.value.as_str(), condition.referenced)).collect()
}

/// A model's name, or the beginning of one.
pub(super) fn model_pattern(text: &Spanned<String>) -> Result<ModelPattern, BundleError> {
    ModelPattern::parse(&text.value).ok_or_else(|| {
        let message = format!("`{}` is not a model; write its name, or a prefix that ends in `*`", text.value);
        BundleError::new(text.referenced, message)
    })
}
