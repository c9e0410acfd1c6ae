//! Conditions that no call can ever meet: constants that are false, and demands that contradict each other, such as two
//! values for one variable or an hour past 23. What is not found here may still never match; what is found never does.

use std::collections::BTreeMap;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::check::segments;
use super::partial::Abstract;
use super::{Conditions, Kind};

/// What a conjunction demands of one variable.
#[derive(Clone, Debug)]
struct Demand {
    /// The texts it may still be; `None` for any.
    texts: Option<Vec<String>>,
    /// Texts it may not be.
    not: Vec<String>,
    /// Numbers it may be, both ends included.
    from: i64,
    to: i64,
}

/// Numbers that a variable can be at all.
fn bounds(variable: &str) -> (i64, i64) {
    match variable {
        "request.hour" => (0, 23),
        "request.weekday" => (1, 7),
        "request.day" => (1, 31),
        "request.estimated_input_tokens" | "guard.pii_count" => (0, i64::MAX),
        _ => (i64::MIN, i64::MAX),
    }
}

impl Conditions {
    /// Whether every call meets them, as far as that can be told.
    pub(crate) fn always_hold(&self) -> bool {
        self.settled_by(&|_| Abstract::Unknown) == Some(true)
    }

    /// Why no call can meet them; `None` if one might.
    pub(crate) fn never_hold(&self) -> Option<String> {
        if self.settled_by(&|_| Abstract::Unknown) == Some(false) {
            return Some(format!("{self} is false for every call"));
        }
        let mut expressions = self.list.iter().filter_map(|condition| match &condition.kind {
            Kind::Expression { program, .. } => Some(program.expression()),
            Kind::Constant(_) => None,
        });
        if !self.any {
            let mut demands = BTreeMap::new();
            return expressions.find_map(|expression| gather(expression, &mut demands));
        }
        // One that might hold is enough.
        if self.list.iter().any(|condition| matches!(condition.kind, Kind::Constant(true))) {
            return None;
        }
        let reasons: Vec<Option<String>> =
            expressions.map(|expression| gather(expression, &mut BTreeMap::new())).collect();
        if reasons.iter().all(Option::is_some) { reasons.into_iter().flatten().next() } else { None }
    }
}

/// Adds what an expression demands; says what is impossible about it together with what was demanded before.
fn gather(expression: &IdedExpr, demands: &mut BTreeMap<String, Demand>) -> Option<String> {
    let Expr::Call(call) = &expression.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::LOGICAL_AND, [left, right]) => gather(left, demands).or_else(|| gather(right, demands)),
        (operators::LOGICAL_OR, [left, right]) => {
            let alone = |side| gather(side, &mut demands.clone());
            alone(left).and_then(|reason| alone(right).map(|_| reason))
        }
        (operators::EQUALS, [left, right]) => {
            compare(left, right, demands, Demand::is).or_else(|| compare(right, left, demands, Demand::is))
        }
        (operators::NOT_EQUALS, [left, right]) => {
            compare(left, right, demands, Demand::is_not).or_else(|| compare(right, left, demands, Demand::is_not))
        }
        (operators::IN, [left, right]) => among(left, right, demands),
        (operators::LESS, [left, right]) => {
            compare(left, right, demands, Demand::below).or_else(|| compare(right, left, demands, Demand::above))
        }
        (operators::LESS_EQUALS, [left, right]) => {
            compare(left, right, demands, Demand::at_most).or_else(|| compare(right, left, demands, Demand::at_least))
        }
        (operators::GREATER, [left, right]) => {
            compare(left, right, demands, Demand::above).or_else(|| compare(right, left, demands, Demand::below))
        }
        (operators::GREATER_EQUALS, [left, right]) => {
            compare(left, right, demands, Demand::at_least).or_else(|| compare(right, left, demands, Demand::at_most))
        }
        _ => None,
    }
}

/// A literal that a variable is compared with.
enum Literal<'a> {
    Text(&'a str),
    Int(i64),
}

fn literal(expression: &IdedExpr) -> Option<Literal<'_>> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(Literal::Text(text.inner())),
        Expr::Literal(LiteralValue::Int(number)) => Some(Literal::Int(*number.inner())),
        _ => None,
    }
}

fn compare(
    variable: &IdedExpr,
    with: &IdedExpr,
    demands: &mut BTreeMap<String, Demand>,
    narrow: impl Fn(&mut Demand, &Literal<'_>),
) -> Option<String> {
    let (name, literal) = (segments(variable)?.join("."), literal(with)?);
    let demand = demands.entry(name.clone()).or_insert_with(|| Demand::of(&name));
    narrow(demand, &literal);
    demand.impossible(&name)
}

fn among(variable: &IdedExpr, list: &IdedExpr, demands: &mut BTreeMap<String, Demand>) -> Option<String> {
    let Expr::List(list) = &list.expr else { return None };
    let name = segments(variable)?.join(".");
    let mut texts = Vec::with_capacity(list.elements.len());
    for item in &list.elements {
        let Some(Literal::Text(text)) = literal(item) else { return None };
        texts.push(text.to_owned());
    }
    let demand = demands.entry(name.clone()).or_insert_with(|| Demand::of(&name));
    demand.keep(texts);
    demand.impossible(&name)
}

impl Demand {
    fn of(variable: &str) -> Demand {
        let (from, to) = bounds(variable);
        Demand { texts: None, not: Vec::new(), from, to }
    }

    fn keep(&mut self, texts: Vec<String>) {
        self.texts = Some(match self.texts.take() {
            None => texts,
            Some(known) => known.into_iter().filter(|text| texts.contains(text)).collect(),
        });
    }

    fn is(&mut self, literal: &Literal<'_>) {
        match literal {
            Literal::Text(text) => self.keep(vec![(*text).to_owned()]),
            Literal::Int(number) => (self.from, self.to) = (self.from.max(*number), self.to.min(*number)),
        }
    }

    fn is_not(&mut self, literal: &Literal<'_>) {
        if let Literal::Text(text) = literal {
            self.not.push((*text).to_owned());
        }
    }

    fn below(&mut self, literal: &Literal<'_>) {
        if let Literal::Int(number) = literal {
            self.to = self.to.min(number.saturating_sub(1));
        }
    }

    fn at_most(&mut self, literal: &Literal<'_>) {
        if let Literal::Int(number) = literal {
            self.to = self.to.min(*number);
        }
    }

    fn above(&mut self, literal: &Literal<'_>) {
        if let Literal::Int(number) = literal {
            self.from = self.from.max(number.saturating_add(1));
        }
    }

    fn at_least(&mut self, literal: &Literal<'_>) {
        if let Literal::Int(number) = literal {
            self.from = self.from.max(*number);
        }
    }

    fn impossible(&self, variable: &str) -> Option<String> {
        if self.from > self.to {
            let (from, to) = bounds(variable);
            let range = if (from, to) == (i64::MIN, i64::MAX) || to == i64::MAX {
                String::new()
            } else {
                format!("; it goes from {from} to {to}")
            };
            return Some(format!("no `{variable}` meets all that is asked of it{range}"));
        }
        let texts = self.texts.as_ref()?;
        let is_left = texts.iter().any(|text| !self.not.contains(text));
        (!is_left).then(|| format!("`{variable}` cannot be everything that is asked of it at once"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grammar;
    use super::*;
    use crate::bundle;
    use crate::variable::Phase;

    fn never(texts: &[&str], any: bool) -> Option<String> {
        let bundle = bundle::builtin_default().unwrap();
        let grammar = Grammar { env: &bundle.env, classes: &[] };
        Conditions::compile(texts, any, Phase::Access, &grammar).unwrap().never_hold()
    }

    #[test]
    fn a_contradiction_is_found_across_a_list_and_within_a_condition() {
        for (texts, any) in [
            (&["false"][..], false),
            (&["1 > 2"], false),
            (&["principal.team == 'a'", "principal.team == 'b'"], false),
            (&["principal.team in ['a', 'b'] && 'c' == principal.team"], false),
            (&["principal.team == 'a' && principal.team != 'a'"], false),
            (&["request.hour > 23"], false),
            (&["request.weekday < 1"], false),
            (&["request.hour >= 18 && request.hour < 7"], false),
            (&["principal.team == 'a'", "(principal.team == 'b' || principal.team == 'c') && request.stream"], false),
            (&["request.hour > 23", "false"], true),
        ] {
            assert!(never(texts, any).is_some(), "{texts:?}");
        }
    }

    #[test]
    fn what_some_call_meets_is_left_alone() {
        for (texts, any) in [
            (&["true"][..], false),
            (&["principal.team == 'a'", "request.model == 'b'"], false),
            (&["principal.team == 'a'", "principal.team == 'b'"], true),
            (&["principal.team == 'a' || principal.team == 'b'", "principal.team == 'b'"], false),
            (&["request.hour >= 22 || request.hour < 7"], false),
            (&["!(request.hour > 23)"], false),
            (&["request.metadata.env == 'prod' && request.metadata.app == 'x'"], false),
            (&["request.hour > 23", "request.stream"], true),
            (&["principal.team != 'a'", "principal.team != 'b'"], false),
        ] {
            assert_eq!(never(texts, any), None, "{texts:?}");
        }
    }

    #[test]
    fn the_reason_names_the_variable_and_its_range() {
        let reason = never(&["request.hour > 23"], false).unwrap();
        assert_eq!(reason, "no `request.hour` meets all that is asked of it; it goes from 0 to 23");
    }
}
