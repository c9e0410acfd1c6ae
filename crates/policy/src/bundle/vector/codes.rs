//! The codes that a test may expect: those there are, and those that a rule of this very bundle can give.

use serde_saphyr::Spanned;

use super::source::{ExpectSource, TestSource};
use crate::allowance::{Allowance, Kind};
use crate::bundle::{AccessRule, BundleError, DataClass, Effect, Uncertain};
use crate::decide::code;
use crate::residency::NO_ELIGIBLE_TARGET;
use crate::suggestion;

/// What the gateway answers a call with that a guardrail blocks.
const GUARDRAIL_BLOCKED: &str = "guardrail_blocked";

/// The rules of a bundle that deny calls.
pub(in crate::bundle) struct Denying<'a> {
    pub(in crate::bundle) access: &'a [AccessRule],
    pub(in crate::bundle) allowances: &'a [Allowance],
    pub(in crate::bundle) classes: &'a [DataClass],
}

/// Refuses a test that expects a code which there is not, and finds one that no rule of the bundle can give.
pub(in crate::bundle) fn check(
    test: &TestSource,
    denying: &Denying<'_>,
    remarks: &mut Vec<BundleError>,
) -> Result<(), BundleError> {
    let ExpectSource { code: Some(expected), eligible, .. } = &test.expect.value else { return Ok(()) };
    if !all().any(|known| known == expected.value) {
        return Err(unknown(expected));
    }
    if let Some(why) = denying.lack(&expected.value, eligible.is_some()) {
        let message = format!("nothing in this bundle can give the code `{}`: {why}", expected.value);
        remarks.push(BundleError::new(expected.referenced, message));
    }
    Ok(())
}

fn all() -> impl Iterator<Item = &'static str> {
    code::ALL.into_iter().chain([NO_ELIGIBLE_TARGET, GUARDRAIL_BLOCKED])
}

fn unknown(expected: &Spanned<String>) -> BundleError {
    let meant = suggestion::phrase(&expected.value, all());
    let known: Vec<String> = all().map(|known| format!("`{known}`")).collect();
    let message = format!("there is no code `{}`{meant}; the codes are {}", expected.value, known.join(", "));
    BundleError::new(expected.referenced, message)
}

impl Denying<'_> {
    /// Why no call of a test can end with this code; `None` if one can.
    fn lack(&self, expected: &str, is_of_target: bool) -> Option<&'static str> {
        let is_any = |test: &dyn Fn(&Allowance) -> bool| self.allowances.iter().any(test);
        let limits_what = |test: fn(&Effect) -> bool| self.access.iter().any(|rule| test(&rule.effect));
        let (can, why) = match expected {
            GUARDRAIL_BLOCKED => (false, "a test says what a guardrail does by `action: block`"),
            // A target's test looks at residency alone, any other at everything but that.
            NO_ELIGIBLE_TARGET => {
                (is_of_target, "a test asks after residency by `eligible: false`, and `code` is about everything else")
            }
            _ if is_of_target => (
                false,
                "the test asks whether a target may serve the call, of which the only code is `no_eligible_target`",
            ),
            code::MODEL_NOT_ALLOWED => {
                let limits = |effect: &Effect| matches!(effect, Effect::Allow { models, .. } if !models.is_empty());
                (limits_what(limits), "no access rule has a list of `models`")
            }
            code::OPERATION_NOT_ALLOWED => {
                let limits =
                    |effect: &Effect| matches!(effect, Effect::Allow { operations, .. } if !operations.is_empty());
                (limits_what(limits), "no access rule has a list of `operations`")
            }
            code::BUDGET_EXCEEDED => (
                is_any(
                    &|allowance| matches!(&allowance.kind, Kind::Budget(steps) if steps.iter().any(|step| step.wall.is_some())),
                ),
                "no budget has a step that denies",
            ),
            code::RATE_LIMITED => (is_any(&|allowance| matches!(allowance.kind, Kind::Limit)), "it has no `limits`"),
            code::SPEND_UNKNOWN => (
                is_any(&|allowance| [allowance.on_stale, allowance.on_missing].contains(&Uncertain::Deny)),
                "no budget and no limit has `on_stale: deny` or `on_missing: deny`",
            ),
            code::DATA_CLASS_UNKNOWN => (!self.classes.is_empty(), "it has no `data_classes`"),
            code::KEY_EXPIRED => (false, "the key of a test does not expire"),
            _ => (true, ""),
        };
        (!can).then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use crate::bundle::{Bundle, BundleError, load};

    fn with(rules: &str, expect: &str) -> Result<Bundle, BundleError> {
        load(&format!("apiVersion: tollgate/v1\nbundle: {{name: t}}\n{rules}\ntests:\n  - expect: {{{expect}}}\n"))
    }

    const ALLOW: &str = "access: [{id: all, when: 'true', allow: {}}]";

    #[test]
    fn a_code_that_there_is_not_is_refused_with_its_place_and_the_nearest() {
        let error = with(ALLOW, "decision: deny, code: budget_exceded").unwrap_err();
        assert_eq!((error.line, error.column), (5, 36), "{error}");
        assert!(
            error.message.starts_with("there is no code `budget_exceded`; did you mean `budget_exceeded`?"),
            "{error}"
        );
        assert!(error.message.contains("`rate_limited`"), "{error}");
    }

    #[test]
    fn a_code_that_no_rule_can_give_is_remarked_upon() {
        for (code, why) in [
            ("budget_exceeded", "no budget has a step that denies"),
            ("spend_unknown", "no budget and no limit"),
            ("rate_limited", "it has no `limits`"),
            ("model_not_allowed", "no access rule has a list of `models`"),
            ("operation_not_allowed", "no access rule has a list of `operations`"),
            ("data_class_unknown", "it has no `data_classes`"),
            ("key_expired", "does not expire"),
            ("no_eligible_target", "`eligible: false`"),
            ("guardrail_blocked", "`action: block`"),
        ] {
            let remarks = with(ALLOW, &format!("decision: deny, code: {code}")).unwrap().remarks(0);
            let [remark] = remarks.as_slice() else { panic!("{code}: {remarks:?}") };
            assert_eq!((remark.line, remark.column), (5, 36), "{remark}");
            assert!(remark.message.contains(code) && remark.message.contains(why), "{remark}");
        }
        for (rules, expect) in [
            (ALLOW, "decision: deny, code: access_denied"),
            (ALLOW, "decision: allow, code: allowed"),
            (ALLOW, "eligible: false, code: no_eligible_target"),
            (
                "access: [{id: a, when: 'true', allow: {models: [m], operations: [chat]}}]",
                "decision: deny, code: model_not_allowed",
            ),
            (
                "access: [{id: a, when: 'true', allow: {operations: [chat]}}]",
                "decision: deny, code: operation_not_allowed",
            ),
            (
                "access: [{id: a, when: 'true', allow: {}}]\nlimits: [{id: l, scope: {team: x}, limit: {calls: 1, per: day}, on_missing: deny}]",
                "decision: deny, code: spend_unknown",
            ),
        ] {
            assert_eq!(with(rules, expect).unwrap().remarks(0), [], "{expect}");
        }
    }
}
