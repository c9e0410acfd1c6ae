//! What can be said of a condition before a call is there: evaluated with some variables known and all others not. What is
//! not certain is [`Abstract::Unknown`], never a guess.

use cel::Program;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::check::segments;
use super::{Condition, Conditions, Kind};

/// A value, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Abstract {
    Bool(bool),
    Int(i64),
    Text(String),
    Null,
    List(Vec<Abstract>),
    Unknown,
}

impl Abstract {
    pub(crate) fn text(text: &str) -> Abstract {
        Abstract::Text(text.to_owned())
    }

    pub(crate) fn optional(text: Option<&str>) -> Abstract {
        text.map_or(Abstract::Null, Abstract::text)
    }
}

/// What is known of a variable, by its full name.
pub(crate) type Known<'a> = &'a dyn Fn(&str) -> Abstract;

impl Conditions {
    /// Whether they hold or not, if what is known settles that.
    pub(crate) fn settled_by(&self, known: Known<'_>) -> Option<bool> {
        let mut all_settled = true;
        for condition in &self.list {
            match condition.settled_by(known) {
                Some(truth) if truth == self.any => return Some(self.any),
                Some(_) => {}
                None => all_settled = false,
            }
        }
        all_settled.then_some(!self.any)
    }
}

impl Condition {
    fn settled_by(&self, known: Known<'_>) -> Option<bool> {
        match &self.kind {
            Kind::Constant(truth) => Some(*truth),
            Kind::Expression { program, .. } => settle(program, known),
        }
    }
}

fn settle(program: &Program, known: Known<'_>) -> Option<bool> {
    match value(program.expression(), known) {
        Abstract::Bool(truth) => Some(truth),
        _ => None,
    }
}

fn value(expression: &IdedExpr, known: Known<'_>) -> Abstract {
    match &expression.expr {
        Expr::Literal(literal) => of_literal(literal),
        Expr::Select(select) if select.test => {
            let Some(mut path) = segments(&select.operand) else { return Abstract::Unknown };
            path.push(&select.field);
            match known(&path.join(".")) {
                Abstract::Unknown => Abstract::Unknown,
                found => Abstract::Bool(found != Abstract::Null),
            }
        }
        Expr::Ident(_) | Expr::Select(_) => {
            segments(expression).map_or(Abstract::Unknown, |path| known(&path.join(".")))
        }
        Expr::List(list) => Abstract::List(list.elements.iter().map(|item| value(item, known)).collect()),
        Expr::Call(call) => of_call(call, known),
        Expr::Comprehension(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Abstract::Unknown,
    }
}

fn of_literal(literal: &LiteralValue) -> Abstract {
    match literal {
        LiteralValue::Boolean(truth) => Abstract::Bool(*truth.inner()),
        LiteralValue::Int(number) => Abstract::Int(*number.inner()),
        LiteralValue::String(text) => Abstract::text(text.inner()),
        LiteralValue::Null => Abstract::Null,
        LiteralValue::Double(_) | LiteralValue::UInt(_) | LiteralValue::Bytes(_) => Abstract::Unknown,
    }
}

fn of_call(call: &CallExpr, known: Known<'_>) -> Abstract {
    let target = call.target.as_deref().map(|target| value(target, known));
    let arguments: Vec<Abstract> = call.args.iter().map(|argument| value(argument, known)).collect();
    if let Some(target) = target {
        return of_method(&call.func_name, &target, &arguments);
    }
    match (call.func_name.as_str(), arguments.as_slice()) {
        // As in CEL, one side that settles it outweighs an error on the other.
        (operators::LOGICAL_AND, [left, right]) => junction(left, right, false),
        (operators::LOGICAL_OR, [left, right]) => junction(left, right, true),
        (operators::LOGICAL_NOT, [Abstract::Bool(truth)]) => Abstract::Bool(!truth),
        (operators::CONDITIONAL, [Abstract::Bool(truth), yes, no]) => if *truth { yes } else { no }.clone(),
        (operators::EQUALS, [left, right]) => truth(equal(left, right)),
        (operators::NOT_EQUALS, [left, right]) => truth(equal(left, right).map(|equal| !equal)),
        (operators::IN, [item, Abstract::List(list)]) => contained(item, list),
        (operators::LESS, [left, right]) => ordered(left, right, std::cmp::Ordering::is_lt),
        (operators::LESS_EQUALS, [left, right]) => ordered(left, right, std::cmp::Ordering::is_le),
        (operators::GREATER, [left, right]) => ordered(left, right, std::cmp::Ordering::is_gt),
        (operators::GREATER_EQUALS, [left, right]) => ordered(left, right, std::cmp::Ordering::is_ge),
        ("size", [Abstract::List(list)]) => length(list.len()),
        _ => Abstract::Unknown,
    }
}

fn of_method(name: &str, target: &Abstract, arguments: &[Abstract]) -> Abstract {
    match (name, target, arguments) {
        ("startsWith", Abstract::Text(text), [Abstract::Text(part)]) => Abstract::Bool(text.starts_with(part)),
        ("endsWith", Abstract::Text(text), [Abstract::Text(part)]) => Abstract::Bool(text.ends_with(part)),
        ("contains", Abstract::Text(text), [Abstract::Text(part)]) => Abstract::Bool(text.contains(part)),
        ("size", Abstract::List(list), []) => length(list.len()),
        _ => Abstract::Unknown,
    }
}

/// `&&` where `settling` is false, `||` where it is true.
fn junction(left: &Abstract, right: &Abstract, settling: bool) -> Abstract {
    match (left, right) {
        (Abstract::Bool(truth), _) if *truth == settling => Abstract::Bool(settling),
        (_, Abstract::Bool(truth)) if *truth == settling => Abstract::Bool(settling),
        (Abstract::Bool(_), Abstract::Bool(_)) => Abstract::Bool(!settling),
        _ => Abstract::Unknown,
    }
}

fn truth(known: Option<bool>) -> Abstract {
    known.map_or(Abstract::Unknown, Abstract::Bool)
}

fn length(length: usize) -> Abstract {
    i64::try_from(length).map_or(Abstract::Unknown, Abstract::Int)
}

fn equal(left: &Abstract, right: &Abstract) -> Option<bool> {
    match (left, right) {
        (Abstract::Unknown, _) | (_, Abstract::Unknown) => None,
        (Abstract::List(mine), Abstract::List(theirs)) if mine.len() == theirs.len() => {
            let pairs: Vec<Option<bool>> = mine.iter().zip(theirs).map(|(mine, theirs)| equal(mine, theirs)).collect();
            if pairs.contains(&Some(false)) { Some(false) } else { pairs.iter().all(Option::is_some).then_some(true) }
        }
        (left, right) => Some(left == right),
    }
}

fn contained(item: &Abstract, list: &[Abstract]) -> Abstract {
    let found: Vec<Option<bool>> = list.iter().map(|other| equal(item, other)).collect();
    if found.contains(&Some(true)) {
        return Abstract::Bool(true);
    }
    if found.contains(&None) { Abstract::Unknown } else { Abstract::Bool(false) }
}

fn ordered(left: &Abstract, right: &Abstract, fits: impl Fn(std::cmp::Ordering) -> bool) -> Abstract {
    match (left, right) {
        (Abstract::Int(left), Abstract::Int(right)) => Abstract::Bool(fits(left.cmp(right))),
        (Abstract::Text(left), Abstract::Text(right)) => Abstract::Bool(fits(left.cmp(right))),
        _ => Abstract::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grammar;
    use super::*;
    use crate::bundle;
    use crate::variable::Phase;

    fn settled(text: &str) -> Option<bool> {
        let bundle = bundle::builtin_default().unwrap();
        let grammar = Grammar { env: &bundle.env, classes: &[] };
        let conditions =
            Conditions::compile(&[text], false, Phase::Residency, &grammar).unwrap_or_else(|(_, error)| {
                panic!("{text}: {}", error.message);
            });
        conditions.settled_by(&|name| match name {
            "request.data_class" => Abstract::text("personal"),
            "request.region" => Abstract::Null,
            "target.tags" => Abstract::List(vec![Abstract::text("eu"), Abstract::text("small")]),
            "target.self_hosted" => Abstract::Bool(false),
            "request.hour" => Abstract::Int(9),
            _ => Abstract::Unknown,
        })
    }

    #[test]
    fn what_is_known_settles_what_it_can_and_nothing_else() {
        for (text, expected) in [
            ("request.data_class in ['personal', 'special']", Some(true)),
            ("request.data_class == 'public'", Some(false)),
            ("request.data_class == 'public' || principal.team == 'hr'", None),
            ("request.data_class == 'personal' || principal.team == 'hr'", Some(true)),
            ("principal.team == 'hr' || request.data_class == 'personal'", Some(true)),
            ("principal.team == 'hr' && target.self_hosted", Some(false)),
            ("!target.self_hosted && request.hour < 10 && 'eu' in target.tags", Some(true)),
            ("has(request.region)", Some(false)),
            ("has(request.priority)", None),
            ("request.region == null && request.data_class.startsWith('pers')", Some(true)),
            ("target.self_hosted ? principal.team == 'a' : request.hour >= 9", Some(true)),
            ("size(target.tags) == 2 && !('large' in target.tags)", Some(true)),
            ("['a', principal.team].exists(team, team == 'a')", None),
            ("principal.team in ['a', principal.key_id]", None),
            ("1 < 2", Some(true)),
            ("guard.pii_count > 0", None),
        ] {
            assert_eq!(settled(text), expected, "{text}");
        }
    }

    #[test]
    fn an_error_on_one_side_does_not_hide_the_other() {
        // `null > 0` fails when it is evaluated: that is not settled, and does not unsettle what is.
        assert_eq!(settled("request.region > 'a'"), None);
        assert_eq!(settled("request.region > 'a' && target.self_hosted"), Some(false));
    }
}
