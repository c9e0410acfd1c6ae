//! Walks the syntax tree of a condition before it is ever evaluated: every name must be known and available where the
//! condition stands, every call must be to a function that is offered here, types must be able to fit, loops may not be
//! nested deeply. What the walk does not know it refuses.

use cel::Program;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::{ConditionError, Type};
use crate::suggestion;
use crate::variable::{self, Kind, Phase, Read, VARIABLES};

/// Loops (`all`, `exists`, …) inside loops.
const MAX_LOOP_DEPTH: usize = 2;
/// Nodes of the tree, macros expanded.
const MAX_NODES: usize = 400;
/// Levels of the tree: the interpreter recurses over it on whatever stack the request has.
const MAX_DEPTH: usize = 50;

/// Functions that conditions may call: name, whether it is called on a value, types of its arguments, type of its result.
/// `matches` is left out on purpose: the interpreter compiles the pattern at every call.
const FUNCTIONS: [(&str, bool, &[Type], Type); 7] = [
    ("startsWith", true, &[Type::String], Type::Bool),
    ("endsWith", true, &[Type::String], Type::Bool),
    ("contains", true, &[Type::String], Type::Bool),
    ("size", true, &[], Type::Int),
    ("size", false, &[Type::Any], Type::Int),
    ("int", false, &[Type::Any], Type::Int),
    ("string", false, &[Type::Any], Type::String),
];

struct Checker<'a> {
    program: &'a Program,
    phase: Phase,
    /// Values that `request.data_class` can have; empty if any.
    classes: &'a [String],
    /// Variables of the loops around, innermost last.
    locals: Vec<(String, Type)>,
    loop_depth: usize,
    nodes: usize,
    depth: usize,
    reads: Vec<Read>,
}

type Checked = Result<Type, ConditionError>;

/// Refuses a condition that names something unknown, cannot be of the types it is used with, or is not a truth value. Returns
/// all that its value depends on.
pub(super) fn check(program: &Program, phase: Phase, classes: &[String]) -> Result<Vec<Read>, ConditionError> {
    let (locals, reads) = (Vec::new(), Vec::new());
    let mut checker = Checker { program, phase, classes, locals, loop_depth: 0, nodes: 0, depth: 0, reads };
    let root = program.expression();
    let found = checker.expression(root)?;
    if !found.may_be(&Type::Bool) {
        return Err(checker.problem(root, format!("a condition is true or false; this is {found}")));
    }
    Ok(checker.reads)
}

impl Checker<'_> {
    fn problem(&self, at: &IdedExpr, message: impl Into<String>) -> ConditionError {
        // A selection is recorded at its dot and a call at its bracket: report where it begins.
        let mut start = at;
        loop {
            start = match &start.expr {
                Expr::Select(select) => &select.operand,
                Expr::Call(CallExpr { target: Some(target), .. }) => target,
                Expr::Call(call) if call.func_name.starts_with('_') && !call.args.is_empty() => &call.args[0],
                _ => break,
            };
        }
        let offset = self.program.source_info().offset_for(start.id).map(|(from, _)| from as usize);
        ConditionError { offset, message: message.into() }
    }

    fn expression(&mut self, expression: &IdedExpr) -> Checked {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.problem(expression, format!("the condition has more than {MAX_NODES} parts; split it")));
        }
        if self.depth == MAX_DEPTH {
            return Err(
                self.problem(expression, format!("the condition is nested more than {MAX_DEPTH} deep; split it"))
            );
        }
        self.depth += 1;
        let found = self.shape(expression);
        self.depth -= 1;
        found
    }

    fn shape(&mut self, expression: &IdedExpr) -> Checked {
        match &expression.expr {
            Expr::Literal(literal) => self.literal(expression, literal),
            Expr::Ident(_) => self.name(expression),
            Expr::Select(select) if select.test => self.presence(expression, select),
            Expr::Select(_) => self.name(expression),
            Expr::Call(call) => self.call(expression, call),
            Expr::Comprehension(comprehension) => self.comprehension(expression, comprehension),
            Expr::List(list) => {
                let mut element: Option<Type> = None;
                for item in &list.elements {
                    let found = self.expression(item)?;
                    element = Some(element.map_or(found.clone(), |known| known.or(found)));
                }
                Ok(Type::List(Box::new(element.unwrap_or(Type::Any))))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.problem(expression, "a condition cannot hold maps or structures"))
            }
        }
    }

    fn literal(&self, at: &IdedExpr, literal: &LiteralValue) -> Checked {
        match literal {
            LiteralValue::Boolean(_) => Ok(Type::Bool),
            LiteralValue::Int(_) => Ok(Type::Int),
            LiteralValue::Double(_) => Ok(Type::Double),
            LiteralValue::String(_) => Ok(Type::String),
            LiteralValue::Null => Ok(Type::Null),
            LiteralValue::UInt(_) => Err(self.problem(at, "write the number without `u`")),
            LiteralValue::Bytes(_) => Err(self.problem(at, "a condition cannot hold bytes; write a text")),
        }
    }

    /// A variable, or a key of a map: `request.metadata.env`.
    fn name(&mut self, at: &IdedExpr) -> Checked {
        let Some(segments) = segments(at) else {
            return Err(self.problem(at, "only a variable has fields"));
        };
        if let Some((_, kind)) = self.locals.iter().rev().find(|(local, _)| *local == segments[0]) {
            let fits = segments.len() == 1 || *kind == Type::Any;
            let kind = if segments.len() == 1 { kind.clone() } else { Type::Any };
            return if fits { Ok(kind) } else { Err(self.problem(at, format!("`{}` has no fields", segments[0]))) };
        }
        let full = segments.join(".");
        if let Some(known) = variable::find(&full) {
            return self.available(at, known, None);
        }
        let parent = segments[..segments.len() - 1].join(".");
        match variable::find(&parent) {
            Some(known) if known.kind == Kind::Map => {
                self.available(at, known, segments.last().map(|key| (*key).to_owned())).map(|_| Type::String)
            }
            Some(_) => Err(self.problem(at, format!("`{parent}` has no fields"))),
            None if variable::is_group(&full) => Err(self
                .problem(at, format!("`{full}` is a group of variables, not a value; {}", self.group_members(&full)))),
            None => Err(self.unknown_variable(at, &full)),
        }
    }

    /// Notes that a variable is read, or one key of it.
    fn available(&mut self, at: &IdedExpr, known: &'static variable::Variable, key: Option<String>) -> Checked {
        if !known.is_in(self.phase) {
            let has_it: Vec<&str> = known.phases.iter().map(|phase| phase.section()).collect();
            let message = format!(
                "the variable `{}` is not known in `{}`; it exists in `{}`",
                known.name,
                self.phase.section(),
                has_it.join("`, `")
            );
            return Err(self.problem(at, message));
        }
        self.reads.push(Read { variable: known, key });
        // Where `null` does not fit a call, evaluation fails and the call is denied.
        Ok(known.kind.as_type())
    }

    fn unknown_variable(&self, at: &IdedExpr, name: &str) -> ConditionError {
        let names = VARIABLES.iter().filter(|known| known.is_in(self.phase));
        let names: Vec<&str> = names.map(|known| known.name).collect();
        let mut advice = suggestion::phrase(name, names.iter().copied());
        if advice.is_empty() {
            advice = format!("; known in `{}`: {}", self.phase.section(), names.join(", "));
        }
        self.problem(at, format!("unknown variable `{name}`{advice}"))
    }

    fn group_members(&self, group: &str) -> String {
        let members = VARIABLES.iter().filter(|known| known.name.split('.').next() == Some(group));
        format!("name one, such as {}", members.map(|known| format!("`{}`", known.name)).collect::<Vec<_>>().join(", "))
    }

    /// `has(request.priority)`, `has(request.metadata.env)`.
    fn presence(&mut self, at: &IdedExpr, select: &SelectExpr) -> Checked {
        let parent = segments(&select.operand).map(|segments| segments.join(".")).unwrap_or_default();
        let full = format!("{parent}.{}", select.field);
        if let Some(map) = variable::find(&parent).filter(|known| known.kind == Kind::Map) {
            return self.available(at, map, Some(select.field.clone())).map(|_| Type::Bool);
        }
        match variable::find(&full) {
            Some(known) if known.optional => self.available(&select.operand, known, None).map(|_| Type::Bool),
            Some(_) => Err(self.problem(&select.operand, format!("`{full}` is always present; leave `has` out"))),
            None => Err(self.unknown_variable(&select.operand, &full)),
        }
    }

    fn call(&mut self, at: &IdedExpr, call: &CallExpr) -> Checked {
        let target = match &call.target {
            Some(target) => Some(self.expression(target)?),
            None => None,
        };
        self.possible(call)?;
        let mut arguments = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            arguments.push(self.expression(argument)?);
        }
        if is_question_of_presence(call, &arguments) {
            return Ok(Type::Bool);
        }
        if target.is_none()
            && let Some(result) = operator(&call.func_name, &arguments)
        {
            return result.map_err(|message| self.problem(at, message));
        }
        self.function(at, call, target.as_ref(), &arguments)
    }

    /// Refuses a comparison with something that the variable never is: `request.operation == "chatt"`.
    fn possible(&self, call: &CallExpr) -> Result<(), ConditionError> {
        let [left, right] = call.args.as_slice() else { return Ok(()) };
        match call.func_name.as_str() {
            operators::EQUALS | operators::NOT_EQUALS => {
                self.possible_value(left, right)?;
                self.possible_value(right, left)
            }
            operators::IN => match &right.expr {
                Expr::List(list) => list.elements.iter().try_for_each(|item| self.possible_value(left, item)),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn possible_value(&self, variable: &IdedExpr, literal: &IdedExpr) -> Result<(), ConditionError> {
        let Expr::Literal(LiteralValue::String(text)) = &literal.expr else { return Ok(()) };
        let Some(known) = segments(variable).and_then(|segments| variable::find(&segments.join("."))) else {
            return Ok(());
        };
        let mut values = (known.values)();
        if known.name == "request.data_class" {
            values.extend(self.classes.iter().map(String::as_str));
        }
        if values.is_empty() || values.contains(&text.inner()) {
            return Ok(());
        }
        let mut advice = suggestion::phrase(text.inner(), values.iter().copied());
        if advice.is_empty() {
            advice = format!("; it is one of `{}`", values.join("`, `"));
        }
        Err(self.problem(literal, format!("`{}` is never `{}`{advice}", known.name, text.inner())))
    }

    fn function(&self, at: &IdedExpr, call: &CallExpr, target: Option<&Type>, arguments: &[Type]) -> Checked {
        let name = call.func_name.as_str();
        if name == "matches" {
            return Err(self.problem(at, "`matches` is not offered; use `startsWith`, `endsWith`, `contains` or `in`"));
        }
        let mut same_name = FUNCTIONS.iter().filter(|(known, ..)| *known == name).peekable();
        if same_name.peek().is_none() {
            let known = FUNCTIONS.iter().map(|(known, ..)| *known).chain(["has", "all", "exists", "exists_one"]);
            let advice = suggestion::phrase(name, known);
            return Err(self.problem(at, format!("unknown function `{name}`{advice}")));
        }
        for (_, on_value, expected, result) in same_name {
            let arguments_fit = expected.len() == arguments.len()
                && expected.iter().zip(arguments).all(|(expected, found)| found.may_be(expected));
            if *on_value == target.is_some() && arguments_fit && target.is_none_or(|target| fits_target(name, target)) {
                return Ok(result.clone());
            }
        }
        Err(self.problem(at, format!("`{name}` cannot be called like this")))
    }

    /// What `all`, `exists`, `exists_one`, `map` and `filter` expand to.
    fn comprehension(&mut self, at: &IdedExpr, comprehension: &ComprehensionExpr) -> Checked {
        if self.loop_depth == MAX_LOOP_DEPTH {
            return Err(self.problem(at, format!("loops may be nested {MAX_LOOP_DEPTH} deep")));
        }
        let element = match self.expression(&comprehension.iter_range)? {
            Type::List(element) => *element,
            Type::Map => Type::String,
            Type::Any => Type::Any,
            other => {
                return Err(self.problem(&comprehension.iter_range, format!("a loop needs a list; this is {other}")));
            }
        };
        let accumulator = self.expression(&comprehension.accu_init)?;
        let outside = self.locals.len();
        self.loop_depth += 1;
        self.locals.push((comprehension.accu_var.clone(), accumulator));
        let result = {
            self.locals.push((comprehension.iter_var.clone(), element));
            if let Some(second) = &comprehension.iter_var2 {
                self.locals.push((second.clone(), Type::Any));
            }
            self.expression(&comprehension.loop_cond)?;
            self.expression(&comprehension.loop_step)?;
            self.expression(&comprehension.result)?
        };
        self.locals.truncate(outside);
        self.loop_depth -= 1;
        Ok(result)
    }
}

/// `request.priority == null`, of a variable that may be that.
fn is_question_of_presence(call: &CallExpr, types: &[Type]) -> bool {
    let may_be_null = |expression: &IdedExpr| {
        let known = segments(expression).and_then(|segments| variable::find(&segments.join(".")));
        known.is_some_and(|known| known.optional)
    };
    match (call.func_name.as_str(), call.args.as_slice(), types) {
        (operators::EQUALS | operators::NOT_EQUALS, [left, _], [_, Type::Null]) => may_be_null(left),
        (operators::EQUALS | operators::NOT_EQUALS, [_, right], [Type::Null, _]) => may_be_null(right),
        _ => false,
    }
}

fn fits_target(function: &str, target: &Type) -> bool {
    match function {
        "size" => matches!(target, Type::String | Type::List(_) | Type::Map | Type::Any),
        _ => target.may_be(&Type::String),
    }
}

/// The parts of a dotted name; `None` if it is anything else.
pub(super) fn segments(expression: &IdedExpr) -> Option<Vec<&str>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) if !select.test => {
            let mut segments = segments(&select.operand)?;
            segments.push(&select.field);
            Some(segments)
        }
        _ => None,
    }
}

/// The type an operator yields; `None` if `name` is not an operator.
fn operator(name: &str, arguments: &[Type]) -> Option<Result<Type, String>> {
    let result = match (name, arguments) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => truth(&[left, right]),
        (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [operand]) => truth(&[operand]),
        (operators::CONDITIONAL, [condition, yes, no]) => truth(&[condition]).map(|_| yes.clone().or(no.clone())),
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => comparable(left, right),
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [left, right]) => {
            ordered(left, right)
        }
        (operators::IN, [item, list]) => contained(item, list),
        (operators::ADD, [Type::String, Type::String]) => Ok(Type::String),
        (operators::ADD, [Type::List(left), Type::List(right)]) => {
            Ok(Type::List(Box::new((**left).clone().or((**right).clone()))))
        }
        (
            operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
            [left, right],
        ) => arithmetic(left, right),
        (operators::NEGATE, [operand]) if operand.is_number() => Ok(operand.clone()),
        (operators::INDEX, [Type::Map, key]) if key.may_be(&Type::String) => Ok(Type::String),
        (operators::INDEX, [Type::List(element), index]) if index.may_be(&Type::Int) => Ok((**element).clone()),
        (operators::INDEX, [of, by]) => Err(format!("{of} cannot be indexed by {by}")),
        _ => return None,
    };
    Some(result)
}

fn truth(operands: &[&Type]) -> Result<Type, String> {
    match operands.iter().find(|operand| !operand.may_be(&Type::Bool)) {
        Some(wrong) => Err(format!("`&&`, `||`, `!` and `?` need true or false; this is {wrong}")),
        None => Ok(Type::Bool),
    }
}

fn comparable(left: &Type, right: &Type) -> Result<Type, String> {
    if left.may_be(right) {
        return Ok(Type::Bool);
    }
    Err(format!("{left} never equals {right}"))
}

fn ordered(left: &Type, right: &Type) -> Result<Type, String> {
    let ordered = |kind: &Type| matches!(kind, Type::Int | Type::Double | Type::String | Type::Any);
    if ordered(left) && ordered(right) && left.may_be(right) {
        return Ok(Type::Bool);
    }
    Err(format!("{left} and {right} have no order"))
}

fn contained(item: &Type, list: &Type) -> Result<Type, String> {
    match list {
        Type::List(element) if item.may_be(element) => Ok(Type::Bool),
        Type::Map if item.may_be(&Type::String) => Ok(Type::Bool),
        Type::Any => Ok(Type::Bool),
        Type::List(element) => Err(format!("the list never holds {item}: its items are {element}")),
        other => Err(format!("`in` needs a list or a map on its right; this is {other}")),
    }
}

// CEL does not mix whole and decimal numbers in arithmetic, only in comparisons.
fn arithmetic(left: &Type, right: &Type) -> Result<Type, String> {
    if left.is_number() && right.is_number() && (left == right || *left == Type::Any || *right == Type::Any) {
        return Ok(if *left == Type::Any { right.clone() } else { left.clone() });
    }
    Err(format!("cannot calculate with {left} and {right}"))
}
