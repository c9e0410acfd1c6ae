//! Gives meaning to the shapes of [`super::source`]: conditions are compiled, names are checked, limits are made exact.

use std::collections::HashSet;
use std::sync::Arc;

use cel::Env;
use serde_saphyr::{Location, Spanned};

use super::source::{AccessSource, BundleSource, PreferSource, TestSource, WhenSource};
use super::vector::TestVector;
use super::{AccessRule, Bundle, BundleError, Effect, ModelPattern, hash_of};
use crate::allowance::Allowance;
use crate::condition::{ConditionError, Conditions};
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
    let compiler = Compiler { yaml, env: &env };
    let mut ids = HashSet::new();
    let mut access = Vec::with_capacity(source.access.len());
    for rule in &source.access {
        unique(&rule.value.id, &mut ids)?;
        access.push(compiler.access_rule(rule)?);
    }
    for id in source.budgets.iter().map(|budget| &budget.value.id) {
        unique(id, &mut ids)?;
    }
    for id in source.limits.iter().map(|limit| &limit.value.id) {
        unique(id, &mut ids)?;
    }
    let (tallies, allowances) = compiler.allowances(&source.budgets, &source.limits)?;
    let mut tests = Vec::with_capacity(source.tests.len());
    for test in source.tests {
        check_rule_name(&test.value, &ids)?;
        check_spent(&test.value, &allowances)?;
        tests.push(TestVector::compile(test)?);
    }
    let (name, version) = (source.bundle.name, source.bundle.version);
    Ok(Bundle { hash: hash_of(yaml), name, version, access, tallies, allowances, tests, env })
}

fn unique(id: &Spanned<String>, ids: &mut HashSet<String>) -> Result<(), BundleError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.value.is_empty() || id.value.len() > 100 || !id.value.bytes().all(allowed) {
        let message = format!("`{}` cannot be the id of a rule; use 1 to 100 letters, digits, `-`, `_`, `.`", id.value);
        return Err(BundleError::new(id.referenced, message));
    }
    if !ids.insert(id.value.clone()) {
        return Err(BundleError::new(id.referenced, format!("two rules have the id `{}`", id.value)));
    }
    Ok(())
}

fn check_rule_name(test: &TestSource, ids: &HashSet<String>) -> Result<(), BundleError> {
    let Some(rule) = test.expect.rule.as_ref().filter(|rule| !rule.value.starts_with("builtin/")) else {
        return Ok(());
    };
    if ids.contains(&rule.value) {
        return Ok(());
    }
    let advice = suggestion::phrase(&rule.value, ids.iter().map(String::as_str));
    Err(BundleError::new(rule.referenced, format!("no rule has the id `{}`{advice}", rule.value)))
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
            let advice = suggestion::phrase(word, ["cheapest"]);
            let message = format!("unknown preference `{word}`{advice}");
            Err(BundleError::new(source.referenced, format!("{message}; it is `cheapest` or `{{tag: NAME}}`")))
        }
    }
}

/// The budgets and limits whose figures a test gives must exist.
fn check_spent(test: &TestSource, allowances: &[Allowance]) -> Result<(), BundleError> {
    let known = || allowances.iter().map(|allowance| allowance.id.as_str());
    for (id, amount) in &test.given.spent {
        if !known().any(|known| known == id) {
            let advice = suggestion::phrase(id, known());
            return Err(BundleError::new(amount.referenced, format!("no budget or limit has the id `{id}`{advice}")));
        }
    }
    Ok(())
}

pub(super) struct Compiler<'a> {
    yaml: &'a str,
    env: &'a Env,
}

impl Compiler<'_> {
    fn access_rule(&self, rule: &Spanned<AccessSource>) -> Result<AccessRule, BundleError> {
        let AccessSource { id, when, allow, deny, .. } = &rule.value;
        let effect = match (allow, deny) {
            (Some(allow), None) => {
                let models = allow.models.iter().map(model_pattern).collect::<Result<_, _>>()?;
                Effect::Allow { models, operations: allow.operations.clone() }
            }
            (None, Some(deny)) => Effect::Deny { message: deny.value.clone() },
            (Some(_), Some(_)) => {
                let message = format!("rule `{}` has both `allow` and `deny`; make it two rules", id.value);
                return Err(BundleError::new(id.referenced, message));
            }
            (None, None) => {
                let message = format!(
                    "rule `{}` does nothing; write `allow: {{}}` for every model, or `deny: \"what to tell the caller\"`",
                    id.value
                );
                return Err(BundleError::new(id.referenced, message));
            }
        };
        Ok(AccessRule { id: id.value.clone(), when: self.conditions(when, Phase::Access)?, effect })
    }

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
        Conditions::compile(&texts, any, phase, self.env)
            .map_err(|(index, error)| self.place(list[index].0, list[index].1, error))
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

fn model_pattern(text: &Spanned<String>) -> Result<ModelPattern, BundleError> {
    ModelPattern::parse(&text.value).ok_or_else(|| {
        let message = format!("`{}` is not a model; write its name, or a prefix that ends in `*`", text.value);
        BundleError::new(text.referenced, message)
    })
}
