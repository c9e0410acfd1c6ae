//! Section `access`: who may call what. A call that no rule allows is denied; a `deny` that matches wins.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_interaction::Operation;

use super::compile::{Compiler, model_pattern};
use super::source::WhenSource;
use super::{BundleError, ModelPattern};
use crate::condition::Conditions;
use crate::variable::Phase;

/// One rule, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessSource {
    id: Spanned<String>,
    when: Spanned<WhenSource>,
    #[serde(default)]
    allow: Option<AllowSource>,
    #[serde(default)]
    deny: Option<Spanned<String>>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "basis")]
    _basis: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowSource {
    #[serde(default)]
    models: Vec<Spanned<String>>,
    #[serde(default)]
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
        compiled.push(compile_rule(compiler, &rule.value)?);
    }
    Ok(compiled)
}

fn compile_rule(compiler: &mut Compiler<'_>, rule: &AccessSource) -> Result<AccessRule, BundleError> {
    let AccessSource { id, when, allow, deny, .. } = rule;
    let name = compiler.unique(id)?;
    let effect = match (allow, deny) {
        (Some(allow), None) => {
            let models = allow.models.iter().map(model_pattern).collect::<Result<_, _>>()?;
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
