//! The models that a bundle names, each with its place. Whether such a name is right or misspelt only a configuration can
//! tell: it knows which aliases and providers there are.

use serde_saphyr::{Location, Spanned};

use super::Bundle;
use super::compile::Compiler;
use crate::route::{ArmTarget, Experiment, NamedTarget, Route};

/// What a model is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// An access rule allows it: a name, or a prefix that ends in `*`.
    Allowed,
    /// A route takes the calls to this alias.
    Routed,
    /// An experiment divides the calls to this alias.
    Divided,
    /// A route or an arm leads there.
    Target,
    /// It turns questions into vectors for a cache.
    Embeddings,
    /// Copies of calls go there.
    Shadow,
    /// A budget or a limit is about it.
    Counted,
}

/// A model that a bundle names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// What for.
    pub naming: Naming,
    /// Id of the rule that does.
    pub rule: String,
    /// As it is written.
    pub name: String,
    /// Line of the bundle, from 1.
    pub line: u64,
    /// Column of the bundle, from 1, in characters.
    pub column: u64,
}

impl Bundle {
    /// Every model that the bundle names outside of conditions and tests.
    #[must_use]
    pub fn mentions(&self) -> &[Mention] {
        &self.mentions
    }
}

impl Compiler<'_> {
    /// Notes that a rule names a model.
    pub(super) fn mention(&mut self, naming: Naming, rule: &str, named: &Spanned<String>) {
        self.mention_at(naming, rule, &named.value, named.referenced);
    }

    /// Notes where the calls of a route go.
    pub(super) fn mention_route(&mut self, route: &Route, shadow_at: Option<Location>) {
        for target in &route.targets {
            self.mention_target(Naming::Target, &route.id, target);
        }
        if let Some(semantic) = route.conduct.cache.as_ref().and_then(|cache| cache.semantic.as_ref()) {
            self.mention_target(Naming::Embeddings, &route.id, &semantic.model);
        }
        if let (Some(shadow), Some(at)) = (&route.conduct.shadow, shadow_at) {
            self.mention_at(Naming::Shadow, &route.id, &shadow.to, at);
        }
    }

    /// Notes where the arms of an experiment lead.
    pub(super) fn mention_arms(&mut self, experiment: &Experiment) {
        for arm in &experiment.arms {
            if let ArmTarget::Target(target) = &arm.to {
                self.mention_target(Naming::Target, &experiment.id, target);
            }
        }
    }

    fn mention_target(&mut self, naming: Naming, rule: &str, target: &NamedTarget) {
        let NamedTarget { name, line, column, .. } = target;
        let (rule, name) = (rule.to_owned(), name.clone());
        self.mentions.push(Mention { naming, rule, name, line: *line, column: *column });
    }

    fn mention_at(&mut self, naming: Naming, rule: &str, name: &str, at: Location) {
        let (rule, name) = (rule.to_owned(), name.to_owned());
        self.mentions.push(Mention { naming, rule, name, line: at.line().max(1), column: at.column().max(1) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::load;

    const BUNDLE: &str = "apiVersion: tollgate/v1
bundle: {name: t}
access:
  - {id: some, when: 'true', allow: {models: [fast, 'own/*']}}
limits:
  - {id: few, scope: {model: dear}, limit: {calls: 10, per: day}}
budgets:
  - {id: each, scope: {model: '*'}, limit: {usd: 1, per: day}, steps: [{at: 1.0, deny: no}]}
routes:
  - id: r
    alias: fast
    targets: [up/a]
    shadow: {to: up/b, share: 0.1}
    cache: {ttl: 1h, semantic: {model: up/e, threshold: 0.9}}
experiments:
  - id: e
    alias: slow
    unit: key
    arms: [{name: x, weight: 1, target: up/c}, {name: y, weight: 1, route: r}]
";

    #[test]
    fn every_model_that_a_rule_names_is_known_with_its_place() {
        let bundle = load(BUNDLE).unwrap();
        let told = |mention: &Mention| {
            let Mention { naming, rule, name, line, column } = mention;
            format!("{line}:{column} {rule} {naming:?} {name}")
        };
        let mut found: Vec<String> = bundle.mentions().iter().map(told).collect();
        found.sort_unstable();
        let mut expected = vec![
            "4:47 some Allowed fast",
            "4:53 some Allowed own/*",
            "6:30 few Counted dear",
            "11:12 r Routed fast",
            "12:15 r Target up/a",
            "13:13 r Shadow up/b",
            "14:40 r Embeddings up/e",
            "17:12 e Divided slow",
            "19:41 e Target up/c",
        ];
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
