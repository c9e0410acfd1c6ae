//! Section `residency`: where calls may go. Each rule says of which calls it speaks and either what a target's places
//! must be within, or that such a target is left out.

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::compile::Compiler;
use super::source::{OneOrMore, WhenSource};
use super::{Bundle, BundleError, DataClass};
use crate::condition::Conditions;
use crate::residency::{Evidence, Layer, Place, contradiction};
use crate::variable::Phase;

/// One rule, as written.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResidencySource {
    #[schemars(with = "String")]
    id: Spanned<String>,
    #[schemars(with = "WhenSource")]
    when: Spanned<WhenSource>,
    #[serde(default)]
    #[schemars(with = "Option<RequireSource>")]
    require: Option<Spanned<RequireSource>>,
    #[serde(default)]
    evidence_at_least: Option<Evidence>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    exclude: Option<Spanned<String>>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "basis")]
    _basis: Vec<String>,
}

/// For each layer, the places within which it must lie; one is enough.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RequireSource {
    #[serde(default)]
    inference: Option<OneOrMore>,
    #[serde(default)]
    storage: Option<OneOrMore>,
    #[serde(default)]
    control_plane: Option<OneOrMore>,
    #[serde(default)]
    operator: Option<OneOrMore>,
}

/// Keeps calls that meet its conditions away from targets.
#[derive(Debug)]
pub(crate) struct ResidencyRule {
    pub(crate) id: String,
    pub(crate) when: Conditions,
    pub(crate) effect: ResidencyEffect,
    /// Where it stands.
    pub(crate) at: Location,
}

impl Bundle {
    /// The ids of the residency rules, in their order.
    pub fn residency_rules(&self) -> impl Iterator<Item = &str> {
        self.residency.iter().map(|rule| rule.id.as_str())
    }
}

/// What a residency rule does.
#[derive(Debug)]
pub(crate) enum ResidencyEffect {
    /// Leaves out targets that are not within these places, or not known well enough to be.
    Require { within: Vec<(Layer, Vec<Place>)>, evidence: Evidence },
    /// Leaves the target out, with the reason for the record.
    Exclude { message: String },
}

pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    rules: &[Spanned<ResidencySource>],
    classes: &[DataClass],
) -> Result<Vec<ResidencyRule>, BundleError> {
    let mut compiled = Vec::with_capacity(rules.len());
    for rule in rules {
        compiled.push(compile_rule(compiler, &rule.value)?);
    }
    match contradiction(&compiled, classes) {
        Some(contradiction) => Err(contradiction),
        None => Ok(compiled),
    }
}

fn compile_rule(compiler: &mut Compiler<'_>, rule: &ResidencySource) -> Result<ResidencyRule, BundleError> {
    let ResidencySource { id, when, require, evidence_at_least, exclude, .. } = rule;
    let name = compiler.unique(id)?;
    let effect = match (require, evidence_at_least, exclude) {
        (None, None, Some(message)) => ResidencyEffect::Exclude { message: message.value.clone() },
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let message = format!("rule `{name}` has both `require` and `exclude`; make it two rules");
            return Err(BundleError::new(id.referenced, message));
        }
        (None, None, None) => {
            let message = format!(
                "rule `{name}` does nothing; write `require: {{inference: eu}}`, or `exclude: \"why such a target is left out\"`"
            );
            return Err(BundleError::new(id.referenced, message));
        }
        (require, evidence, None) => ResidencyEffect::Require {
            within: require.as_ref().map(required).transpose()?.unwrap_or_default(),
            evidence: evidence.unwrap_or_default(),
        },
    };
    Ok(ResidencyRule { id: name, when: compiler.conditions(when, Phase::Residency)?, effect, at: id.referenced })
}

fn required(source: &Spanned<RequireSource>) -> Result<Vec<(Layer, Vec<Place>)>, BundleError> {
    let RequireSource { inference, storage, control_plane, operator } = &source.value;
    let written = [
        (Layer::Inference, inference),
        (Layer::Storage, storage),
        (Layer::ControlPlane, control_plane),
        (Layer::Operator, operator),
    ];
    let mut within = Vec::new();
    for (layer, names) in written {
        let Some(OneOrMore(names)) = names else { continue };
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            places
                .push(Place::parse(&name.value).map_err(|error| BundleError::new(name.referenced, error.to_string()))?);
        }
        within.push((layer, places));
    }
    if within.is_empty() {
        let message = "`require` names no layer; write `require: {inference: eu, storage: eu}`";
        return Err(BundleError::new(source.referenced, message));
    }
    Ok(within)
}
