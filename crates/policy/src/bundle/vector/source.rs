//! Test vectors as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_interaction::{Decision, Dialect, Operation, Usd};

use crate::bundle::guardrails::{ActionSource, PhaseSource};
use crate::bundle::source::PreferSource;
use crate::residency::Evidence;

/// A test vector.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bundle) struct TestSource {
    #[serde(default)]
    pub(in crate::bundle) name: Option<String>,
    #[serde(default)]
    pub(in crate::bundle) given: GivenSource,
    pub(in crate::bundle) expect: Spanned<ExpectSource>,
}

/// What a test assumes; whatever it does not say has the value given in [`super`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bundle) struct GivenSource {
    #[serde(default, rename = "principal.key_id")]
    pub(in crate::bundle) key_id: Option<String>,
    #[serde(default, rename = "principal.tenant")]
    pub(in crate::bundle) tenant: Option<String>,
    #[serde(default, rename = "principal.project")]
    pub(in crate::bundle) project: Option<String>,
    #[serde(default, rename = "principal.team")]
    pub(in crate::bundle) team: Option<String>,
    #[serde(default, rename = "principal.user")]
    pub(in crate::bundle) user: Option<String>,
    #[serde(default, rename = "principal.role")]
    pub(in crate::bundle) role: Option<String>,
    #[serde(default, rename = "principal.scopes")]
    pub(in crate::bundle) scopes: Vec<String>,
    #[serde(default, rename = "principal.tags")]
    pub(in crate::bundle) tags: BTreeMap<String, String>,
    #[serde(default, rename = "request.operation")]
    pub(in crate::bundle) operation: Option<Operation>,
    #[serde(default, rename = "request.dialect")]
    pub(in crate::bundle) dialect: Option<Dialect>,
    #[serde(default, rename = "request.model")]
    pub(in crate::bundle) model: Option<String>,
    #[serde(default, rename = "request.stream")]
    pub(in crate::bundle) stream: bool,
    #[serde(default, rename = "request.priority")]
    pub(in crate::bundle) priority: Option<String>,
    #[serde(default, rename = "request.metadata")]
    pub(in crate::bundle) metadata: BTreeMap<String, String>,
    #[serde(default, rename = "request.user")]
    pub(in crate::bundle) request_user: Option<String>,
    #[serde(default, rename = "request.conversation")]
    pub(in crate::bundle) conversation: Option<String>,
    /// Instead of the class that the bundle finds.
    #[serde(default, rename = "request.data_class")]
    pub(in crate::bundle) data_class: Option<String>,
    #[serde(default, rename = "request.estimated_input_tokens")]
    pub(in crate::bundle) estimated_input_tokens: Option<u64>,
    #[serde(default, rename = "request.capabilities")]
    pub(in crate::bundle) capabilities: Vec<String>,
    #[serde(default, rename = "guard.pii_counts")]
    pub(in crate::bundle) pii_counts: Option<BTreeMap<String, u32>>,
    #[serde(default, rename = "target.provider")]
    pub(in crate::bundle) target_provider: Option<String>,
    #[serde(default, rename = "target.model")]
    pub(in crate::bundle) target_model: Option<String>,
    #[serde(default, rename = "target.tags")]
    pub(in crate::bundle) target_tags: Vec<String>,
    #[serde(default, rename = "target.inference_region")]
    pub(in crate::bundle) inference: Option<Spanned<String>>,
    #[serde(default, rename = "target.storage_region")]
    pub(in crate::bundle) storage: Option<Spanned<String>>,
    #[serde(default, rename = "target.control_plane_region")]
    pub(in crate::bundle) control_plane: Option<Spanned<String>>,
    #[serde(default, rename = "target.operator_jurisdiction")]
    pub(in crate::bundle) operator: Option<Spanned<String>>,
    #[serde(default, rename = "target.evidence")]
    pub(in crate::bundle) evidence: Evidence,
    #[serde(default, rename = "target.self_hosted")]
    pub(in crate::bundle) self_hosted: bool,
    /// What the books say, by the id of a budget or limit: dollars, tokens or calls.
    #[serde(default)]
    pub(in crate::bundle) spent: BTreeMap<String, Spanned<Usd>>,
    /// What the call itself is likely to use up.
    #[serde(default, rename = "request.estimated_cost")]
    pub(in crate::bundle) estimated_cost: Option<Usd>,
    #[serde(default, rename = "request.estimated_tokens")]
    pub(in crate::bundle) estimated_tokens: u64,
    #[serde(default, rename = "spend.known")]
    pub(in crate::bundle) spend_known: Option<bool>,
    #[serde(default, rename = "spend.month_to_date")]
    pub(in crate::bundle) month_to_date: Option<Usd>,
    #[serde(default, rename = "spend.age")]
    pub(in crate::bundle) spend_age: Option<Spanned<String>>,
    /// A text for the guardrails of `phase`.
    #[serde(default)]
    pub(in crate::bundle) text: Option<String>,
    #[serde(default)]
    pub(in crate::bundle) phase: Option<PhaseSource>,
    #[serde(default)]
    pub(in crate::bundle) now: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::bundle) struct ExpectSource {
    #[serde(default)]
    pub(in crate::bundle) decision: Option<Decision>,
    /// Whether the call may go to the target of the test.
    #[serde(default)]
    pub(in crate::bundle) eligible: Option<bool>,
    /// A guardrail, or an entry of its `run`, that must find something in the text.
    #[serde(default)]
    pub(in crate::bundle) guard: Option<String>,
    /// What it does about it.
    #[serde(default)]
    pub(in crate::bundle) action: Option<ActionSource>,
    /// The text as it is read from then on.
    #[serde(default)]
    pub(in crate::bundle) redacted: Option<String>,
    /// Route of the bundle that the call takes, or `none` for the configuration's.
    #[serde(default)]
    pub(in crate::bundle) route: Option<Spanned<String>>,
    /// Arm of an experiment that the call is in, or `none`.
    #[serde(default)]
    pub(in crate::bundle) arm: Option<String>,
    /// A rule that must be among the reasons.
    #[serde(default)]
    pub(in crate::bundle) rule: Option<Spanned<String>>,
    #[serde(default)]
    pub(in crate::bundle) code: Option<Spanned<String>>,
    /// `cheapest`, `{tag: …}` or `none`.
    #[serde(default)]
    pub(in crate::bundle) prefer: Option<Spanned<PreferSource>>,
}
