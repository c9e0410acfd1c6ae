//! Section `access`: who may call what. A call that no rule allows is denied; a `deny` that matches wins.

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use tollgate_interaction::Operation;

use super::compile::{Compiler, model_pattern};
use super::schema::OperationName;
use super::source::WhenSource;
use super::{BundleError, ModelPattern, Naming};
use crate::condition::Conditions;
use crate::variable::Phase;

/// One rule, as written.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessSource {
    #[schemars(with = "String")]
    id: Spanned<String>,
    #[schemars(with = "WhenSource")]
    when: Spanned<WhenSource>,
    #[serde(default)]
    allow: Option<AllowSource>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    deny: Option<Spanned<String>>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "basis")]
    _basis: Vec<String>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct AllowSource {
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    models: Vec<Spanned<String>>,
    #[serde(default)]
    #[schemars(with = "Vec<OperationName>")]
    operations: Vec<Operation>,
}

/// Allows or denies calls that meet its conditions.
#[derive(Debug)]
pub(crate) struct AccessRule {
    pub(crate) id: String,
    pub(crate) when: Conditions,
    pub(crate) effect: Effect,
}

/// What an access rule does.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Empty lists stand for everything.
    Allow { models: Vec<ModelPattern>, operations: Vec<Operation> },
    /// With the text shown to the caller.
    Deny { message: String },
}

pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    rules: &[Spanned<AccessSource>],
) -> Result<Vec<AccessRule>, BundleError> {
    let mut compiled = Vec::with_capacity(rules.len());
    for rule in rules {
        let next = compile_rule(compiler, &rule.value)?;
        overruled(compiler, &compiled, &next, rule.value.id.referenced)?;
        compiled.push(next);
    }
    Ok(compiled)
}

/// Refuses a rule that no call will ever feel because of the rules before it, and remarks on one that changes nothing.
fn overruled(
    compiler: &mut Compiler<'_>,
    before: &[AccessRule],
    rule: &AccessRule,
    at: Location,
) -> Result<(), BundleError> {
    let id = &rule.id;
    if matches!(rule.effect, Effect::Deny { .. }) && rule.when.always_hold() {
        let message = format!("rule `{id}` denies every call; say which calls it speaks of, or remove it");
        return Err(BundleError::new(at, message));
    }
    for other in before {
        let same = other.when.to_string() == rule.when.to_string();
        let (allow, deny) = match (&other.effect, &rule.effect) {
            (Effect::Allow { .. }, Effect::Deny { .. }) => (&other.id, id),
            (Effect::Deny { .. }, Effect::Allow { .. }) => (id, &other.id),
            (Effect::Allow { models, operations }, Effect::Allow { .. }) => {
                if models.is_empty() && operations.is_empty() && (other.when.always_hold() || same) {
                    let message = format!("rule `{id}` changes nothing: rule `{}` allows all that it would", other.id);
                    compiler.remarks.push(BundleError::new(at, message));
                }
                continue;
            }
            (Effect::Deny { .. }, Effect::Deny { .. }) => continue,
        };
        if same {
            let message = format!(
                "rule `{allow}` can never allow a call: rule `{deny}` denies under the same conditions; remove one of them"
            );
            return Err(BundleError::new(at, message));
        }
    }
    Ok(())
}

fn compile_rule(compiler: &mut Compiler<'_>, rule: &AccessSource) -> Result<AccessRule, BundleError> {
    let AccessSource { id, when, allow, deny, .. } = rule;
    let name = compiler.unique(id)?;
    let effect = match (allow, deny) {
        (Some(allow), None) => {
            let models = allow.models.iter().map(model_pattern).collect::<Result<_, _>>()?;
            for model in &allow.models {
                compiler.mention(Naming::Allowed, &name, model);
            }
            Effect::Allow { models, operations: allow.operations.clone() }
        }
        (None, Some(deny)) => Effect::Deny { message: deny.value.clone() },
        (Some(_), Some(_)) => {
            let message = format!("rule `{name}` has both `allow` and `deny`; make it two rules");
            return Err(BundleError::new(id.referenced, message));
        }
        (None, None) => {
            let message = format!(
                "rule `{name}` does nothing; write `allow: {{}}` for every model, or `deny: \"what to tell the caller\"`"
            );
            return Err(BundleError::new(id.referenced, message));
        }
    };
    Ok(AccessRule { id: name, when: compiler.conditions(when, Phase::Access)?, effect })
}
