//! Conditions: CEL expressions over the table in [`crate::variable`], checked when the bundle loads (syntax, names,
//! types, size) and evaluated when a rule needs them. An expression that fails to evaluate is an error, not `false`.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use cel::common::types::CelBool;
use cel::{Context, Env, Program, Value};

use crate::bundle::Bundle;
use crate::facts::Facts;
use crate::residency::TargetFacts;
use crate::variable::{BudgetFacts, Phase, Read, Resolver};

mod check;
mod never;
mod partial;
mod recall;
mod syntax;
mod types;

pub(crate) use partial::Abstract;
pub use recall::Recall;
pub(crate) use types::Type;

/// Longest condition, in bytes: the interpreter has no limit on cost, so the text has one.
const MAX_BYTES: usize = 2_000;
/// Most brackets and `?`, counted before the parser sees the text, in strings too: see [`parse`].
const MAX_OPENINGS: usize = 40;

/// One or more expressions.
#[derive(Debug)]
pub(crate) struct Conditions {
    list: Vec<Condition>,
    /// Whether one is enough.
    any: bool,
}

#[derive(Debug)]
struct Condition {
    text: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// `true` or `false`, which need no interpreter.
    Constant(bool),
    Expression {
        program: Box<Program>,
        /// All that the value depends on.
        reads: Vec<Read>,
    },
}

/// What is wrong with an expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConditionError {
    /// In characters from the start of the expression, if it is known.
    pub(crate) offset: Option<usize>,
    pub(crate) message: String,
}

/// An expression that could not be evaluated.
#[derive(Debug, thiserror::Error)]
#[error("`{text}`: {message}")]
pub(crate) struct EvaluationError {
    text: String,
    message: String,
}

/// What conditions are compiled against, beside the table of variables.
#[derive(Clone, Copy)]
pub(crate) struct Grammar<'a> {
    /// Functions and operators.
    pub(crate) env: &'a Env,
    /// Values that `request.data_class` can have; empty if any.
    pub(crate) classes: &'a [String],
}

/// What one decision's conditions are evaluated against.
pub(crate) struct Scope<'a> {
    env: &'a Arc<Env>,
    resolver: Resolver<'a>,
    recall: Option<&'a RefCell<Recall>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn of_request(bundle: &'a Bundle, facts: &'a Facts<'a>) -> Self {
        Scope { env: &bundle.env, resolver: Resolver { facts, target: None, budget: None }, recall: None }
    }

    /// As before, and results are looked up where the same was evaluated before.
    pub(crate) fn recalling(self, recall: &'a RefCell<Recall>) -> Self {
        Scope { recall: Some(recall), ..self }
    }

    pub(crate) fn of_target(bundle: &'a Bundle, facts: &'a Facts<'a>, target: &'a TargetFacts<'a>) -> Self {
        let mut scope = Scope::of_request(bundle, facts);
        scope.resolver.target = Some(target);
        scope
    }

    pub(crate) fn of_budget(bundle: &'a Bundle, facts: &'a Facts<'a>, budget: BudgetFacts) -> Self {
        let mut scope = Scope::of_request(bundle, facts);
        scope.resolver.budget = Some(budget);
        scope
    }
}

impl Conditions {
    pub(crate) fn compile(
        texts: &[&str],
        any: bool,
        phase: Phase,
        grammar: &Grammar<'_>,
    ) -> Result<Self, (usize, ConditionError)> {
        let mut list = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            list.push(Condition::compile(text, phase, grammar).map_err(|error| (index, error))?);
        }
        Ok(Conditions { list, any })
    }

    /// Whether all of them hold, or one if that is enough. Stops at the first that settles it.
    pub(crate) fn hold(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        for condition in &self.list {
            if condition.holds(scope)? == self.any {
                return Ok(self.any);
            }
        }
        Ok(!self.any)
    }

    /// The conditions as they are written.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|condition| condition.text.as_str())
    }

    /// Whether one of them is enough.
    pub(crate) const fn is_any(&self) -> bool {
        self.any
    }
}

/// As a person would read it in a sentence.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.list.iter().enumerate() {
            let separator = if self.any { " or " } else { " and " };
            write!(f, "{}`{}`", if index == 0 { "" } else { separator }, condition.text)?;
        }
        Ok(())
    }
}

impl Condition {
    fn compile(text: &str, phase: Phase, grammar: &Grammar<'_>) -> Result<Self, ConditionError> {
        if text.len() > MAX_BYTES {
            let message = format!("the condition has {} bytes; the limit is {MAX_BYTES}", text.len());
            return Err(ConditionError { offset: None, message });
        }
        if text.trim().is_empty() {
            let message = "the condition is empty; write `true` if it shall always hold".to_owned();
            return Err(ConditionError { offset: None, message });
        }
        if text.bytes().filter(|byte| b"([{?".contains(byte)).count() > MAX_OPENINGS {
            let message = format!("the condition has more than {MAX_OPENINGS} brackets and `?`; split it");
            return Err(ConditionError { offset: None, message });
        }
        let program = parse(text, grammar.env)?;
        let reads = check::check(&program, phase, grammar.classes)?;
        let kind = match text.trim() {
            "true" => Kind::Constant(true),
            "false" => Kind::Constant(false),
            _ => Kind::Expression { program: Box::new(program), reads },
        };
        Ok(Condition { text: text.trim().to_owned(), kind })
    }

    fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        let (program, reads) = match &self.kind {
            Kind::Constant(value) => return Ok(*value),
            Kind::Expression { program, reads } => (program, reads),
        };
        match scope.recall {
            Some(recall) => recall.borrow_mut().holds(&self.text, reads, scope, || self.evaluate(program, scope)),
            None => self.evaluate(program, scope),
        }
    }

    fn evaluate(&self, program: &Program, scope: &Scope<'_>) -> Result<bool, EvaluationError> {
        let failed = |message| EvaluationError { text: self.text.clone(), message };
        let mut context = Context::with_env(Arc::clone(scope.env));
        context.set_variable_resolver(&scope.resolver);
        let value = Value::resolve_val(program.expression(), &context).map_err(|error| failed(error.to_string()))?;
        let Some(truth) = value.downcast_ref::<CelBool>() else {
            return Err(failed("the result is neither true nor false".to_owned()));
        };
        Ok(*truth.inner())
    }
}

/// Parses on a stack of its own. The parser recurses some twenty frames for each opening character, 150 kB in a debug
/// build: its own limit of 96 lets it overflow the 2 MiB that a thread usually has (seen at 14, cel 0.15.0, 2026-11-23).
fn parse(text: &str, env: &Env) -> Result<Program, ConditionError> {
    const STACK_BYTES: usize = 16 << 20;
    let compile = || env.compile(text).map_err(|errors| syntax_error(text, &errors));
    let parsed = std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, compile).ok()?.join().ok()
    });
    let failed = || ConditionError { offset: None, message: "the condition could not be parsed".to_owned() };
    parsed.ok_or_else(failed)?
}

/// The parser's first complaint, without the drawing around it.
fn syntax_error(text: &str, errors: &cel::ParseErrors) -> ConditionError {
    let Some(first) = errors.errors.first() else {
        return ConditionError { offset: None, message: "the condition cannot be read".to_owned() };
    };
    let single_line = !text.contains('\n');
    let offset = usize::try_from(first.pos.1 - 1).ok().filter(|_| single_line && first.pos.0 == 1);
    ConditionError { offset, message: format!("the condition cannot be read: {}", syntax::in_words(&first.msg)) }
}

#[cfg(test)]
mod tests;
