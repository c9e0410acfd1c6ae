//! Whether the routes of a bundle lead anywhere: not in a circle, and to targets that a gateway has.

use std::collections::{BTreeMap, HashSet};

use crate::bundle::{Bundle, BundleError};
use crate::route::{ArmTarget, NamedTarget, Route};
use crate::suggestion;

/// Routes that lead back to where they come from, by way of aliases that the bundle itself routes.
pub(super) fn refuse_cycles(routes: &[Route]) -> Result<(), BundleError> {
    let leads_to = |alias: &str| -> Vec<&NamedTarget> {
        routes.iter().filter(|route| route.alias == alias).flat_map(|route| &route.targets).collect()
    };
    for route in routes {
        for target in &route.targets {
            let mut seen: Vec<&str> = vec![&target.name];
            let mut open: Vec<&str> = vec![&target.name];
            while let Some(alias) = open.pop() {
                if alias == route.alias {
                    return Err(cycle(route, target));
                }
                for next in leads_to(alias) {
                    if !seen.contains(&next.name.as_str()) {
                        seen.push(&next.name);
                        open.push(&next.name);
                    }
                }
            }
        }
    }
    Ok(())
}

fn cycle(route: &Route, target: &NamedTarget) -> BundleError {
    let (id, alias, name) = (&route.id, &route.alias, &target.name);
    let message = if alias == name {
        format!("route `{id}` of `{alias}` leads to `{alias}` itself; name a `PROVIDER/MODEL`")
    } else {
        format!("route `{id}` leads from `{alias}` to `{name}` and from there back to `{alias}`; break the circle")
    };
    BundleError { line: target.line, column: target.column, message }
}

impl Bundle {
    /// Every target that a route, the cache of one, or an arm names, with its place.
    pub fn named_targets(&self) -> impl Iterator<Item = &NamedTarget> {
        let of_arms = self.experiments.iter().flat_map(|experiment| &experiment.arms);
        let of_arms = of_arms.filter_map(|arm| match &arm.to {
            ArmTarget::Target(target) => Some(target),
            ArmTarget::Route(_) => None,
        });
        let of_routes = self.routes.iter().flat_map(|route| {
            let semantic = route.conduct.cache.as_ref().and_then(|cache| cache.semantic.as_ref());
            route.targets.iter().chain(semantic.map(|semantic| &semantic.model))
        });
        of_routes.chain(of_arms)
    }

    /// Checks the targets against a configuration: `known` says whether it has one of this name, `names` are those that may
    /// have been meant, and `leads_to` are the targets of its aliases, by alias.
    ///
    /// # Errors
    /// [`BundleError`] at the first target that is unknown or leads in a circle.
    pub fn check_targets(
        &self,
        known: impl Fn(&str) -> bool,
        names: &[String],
        leads_to: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), BundleError> {
        for target in self.named_targets() {
            if !known(&target.name) && !self.has_route_for(&target.name) {
                let meant = suggestion::phrase(&target.name, names.iter().map(String::as_str));
                let message =
                    format!("`{}` is neither a model of a configured provider nor an alias{meant}", target.name);
                return Err(BundleError { line: target.line, column: target.column, message });
            }
        }
        for route in &self.routes {
            for target in &route.targets {
                let mut open: Vec<&str> = vec![&target.name];
                let mut seen: HashSet<&str> = open.iter().copied().collect();
                while let Some(alias) = open.pop() {
                    if alias == route.alias {
                        return Err(cycle(route, target));
                    }
                    let own = self.routes.iter().filter(|route| route.alias == alias);
                    let own = own.flat_map(|route| route.targets.iter().map(|target| target.name.as_str()));
                    let configured = leads_to.get(alias).into_iter().flatten().map(String::as_str);
                    open.extend(own.chain(configured).filter(|name| seen.insert(name)));
                }
            }
        }
        Ok(())
    }
}
