//! Which way a call takes: what the bundle says of its model, or else what the configuration says. What the bundle's routes
//! come to here is worked out once, when the bundle is first seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tollgate_interaction::{Dialect, Operation, Reason};
use tollgate_policy::Bundle;
use tollgate_policy::bundle::BundleError;
use tollgate_policy::route::{ArmTarget, Assignment, Layout, RouteFacts, plan};
use tollgate_provider::translate::OnUnsupported;

use super::{Resolved, RouteTable, Target};
use crate::error::CallError;

/// Where one call can go.
pub(crate) struct Course {
    /// By the first route of the bundle that holds, or else by the configuration.
    pub(crate) base: Arc<Resolved>,
    pub(super) arm: Option<Arm>,
    /// Experiments that the call could not take part in.
    pub(crate) reasons: Vec<Reason>,
}

/// The arm of an experiment that a call is in.
pub(super) struct Arm {
    pub(super) to: Arc<Resolved>,
    /// Whether it is a route of its own; otherwise the base's targets stand by.
    pub(super) is_route: bool,
    pub(super) assignment: Assignment,
}

/// What the routes of one bundle come to.
#[derive(Debug)]
pub(crate) struct BundleRoutes {
    bundle: Arc<Bundle>,
    routes: Vec<Arc<Resolved>>,
    /// Of experiments whose arms name a target, by experiment and arm.
    arms: BTreeMap<(String, String), Arc<Resolved>>,
}

impl BundleRoutes {
    pub(crate) fn routes(&self) -> &[Arc<Resolved>] {
        &self.routes
    }
}

impl Course {
    pub(crate) fn plain(base: Arc<Resolved>) -> Course {
        Course { base, arm: None, reasons: Vec::new() }
    }

    /// Every target that the call may come to.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Arc<super::Target>> {
        let of_arm = self.arm.iter().flat_map(|arm| &arm.to.targets);
        self.base.targets.iter().chain(of_arm)
    }

    /// Every target that sees what the call says: those, and those that get a copy.
    pub(crate) fn audience(&self) -> impl Iterator<Item = &Arc<super::Target>> {
        let plans = std::iter::once(&self.base).chain(self.arm.iter().map(|arm| &arm.to));
        let shadows = plans.filter_map(|plan| plan.shadow.as_ref().map(|(target, _)| target));
        self.targets().chain(shadows)
    }
}

impl RouteTable {
    /// The course of a call by the bundle's routes and experiments, or else by the configuration.
    ///
    /// # Errors
    /// [`CallError::ModelUnknown`], or [`CallError::Denied`] if a condition cannot be evaluated.
    pub(crate) fn course(&self, bundle: &Arc<Bundle>, facts: &RouteFacts<'_>) -> Result<Course, CallError> {
        let model = facts.request.model;
        if bundle.routes().is_empty() && bundle.experiments().is_empty() {
            return Ok(Course::plain(self.resolve(model)?));
        }
        let planned = plan(bundle, facts).map_err(|error| CallError::Denied {
            code: tollgate_policy::decide::code::POLICY_ERROR,
            message: error.to_string(),
            retry_after: None,
        })?;
        let prepared = self.of_bundle(bundle);
        let of_route = |at: usize| prepared.routes.get(at).cloned();
        let base = match planned.route.and_then(|(at, _)| of_route(at)) {
            Some(base) => base,
            None => self.resolve(model)?,
        };
        let arm = planned.arm.and_then(|(experiment, arm, assignment)| {
            let (to, is_route) = match &arm.to {
                ArmTarget::Route(at) => (of_route(*at)?, true),
                ArmTarget::Target(_) => {
                    (Arc::clone(prepared.arms.get(&(experiment.id.clone(), arm.name.clone()))?), false)
                }
            };
            Some(Arm { to, is_route, assignment })
        });
        Ok(Course { base, arm, reasons: planned.reasons })
    }

    /// The course of a call that names no model: no bundle has a route for it.
    ///
    /// # Errors
    /// As [`RouteTable::without_model`].
    pub(crate) fn course_without_model(
        &self,
        provider: Option<&str>,
        dialect: Dialect,
        operation: Operation,
    ) -> Result<Course, CallError> {
        self.without_model(provider, dialect, operation).map(Course::plain)
    }

    /// What the routes of `bundle` come to here.
    pub(crate) fn of_bundle(&self, bundle: &Arc<Bundle>) -> Arc<BundleRoutes> {
        if let Some(known) = self.of_bundle.load_full().filter(|known| Arc::ptr_eq(&known.bundle, bundle)) {
            return known;
        }
        let prepared = Arc::new(self.prepare_routes(bundle));
        self.of_bundle.store(Some(Arc::clone(&prepared)));
        prepared
    }

    /// Whether every target of the bundle is served here.
    ///
    /// # Errors
    /// [`BundleError`] with line and column at the first that is not, or that leads in a circle.
    pub(crate) fn check_bundle(&self, bundle: &Bundle) -> Result<(), BundleError> {
        let names: Vec<String> = self.known.keys().cloned().collect();
        let leads_to = |(name, resolved): (&String, &Arc<Resolved>)| {
            resolved.alias.as_ref()?;
            Some((name.clone(), resolved.targets.iter().map(|target| target.name.clone()).collect()))
        };
        let aliases: BTreeMap<String, Vec<String>> = self.known.iter().filter_map(leads_to).collect();
        bundle.check_targets(|name| self.resolve(name).is_ok(), &names, &aliases)
    }

    fn prepare_routes(&self, bundle: &Arc<Bundle>) -> BundleRoutes {
        let prepare = |alias: &str, rule: &str, conduct, names: &mut dyn Iterator<Item = (&str, u32)>| {
            let stands_for = |name: &str| Some(self.resolve(name).ok()?.targets.clone());
            let layout = Layout::of_bundle(bundle, names, &stands_for);
            self.resolved_of(alias, rule, conduct, layout)
        };
        let routes = bundle.routes().iter().map(|route| {
            let mut names = route.targets.iter().map(|target| (target.name.as_str(), target.weight));
            Arc::new(prepare(&route.alias, &route.id, route.conduct.clone(), &mut names))
        });
        let arms = bundle.experiments().iter().flat_map(|experiment| {
            experiment.arms.iter().filter_map(move |arm| match &arm.to {
                ArmTarget::Route(_) => None,
                ArmTarget::Target(target) => Some((experiment, arm, target)),
            })
        });
        let arms = arms.map(|(experiment, arm, target)| {
            let mut names = std::iter::once((target.name.as_str(), 1));
            let to = prepare(&experiment.alias, &experiment.id, Default::default(), &mut names);
            ((experiment.id.clone(), arm.name.clone()), Arc::new(to))
        });
        BundleRoutes { bundle: Arc::clone(bundle), routes: routes.collect(), arms: arms.collect() }
    }

    /// A route of the bundle. What bundles do not say is as the configuration says of the alias.
    fn resolved_of(
        &self,
        alias: &str,
        rule: &str,
        conduct: tollgate_policy::route::Conduct,
        layout: Layout<Arc<Target>>,
    ) -> Resolved {
        let configured = self.known.get(alias);
        let shadow = conduct.shadow.as_ref().and_then(|shadow| Some((self.first_target(&shadow.to)?, shadow.share)));
        if let (Some(shadow), None) = (&conduct.shadow, &shadow) {
            tracing::warn!(
                route = rule,
                "route `{rule}` of the bundle copies calls to `{}`, which no provider here serves",
                shadow.to
            );
        }
        Resolved {
            alias: Some(alias.to_owned()),
            rule: Some(rule.to_owned()),
            targets: layout.targets,
            weights: layout.weights,
            unknown: layout.unknown,
            conduct,
            shadow,
            ack: configured.and_then(|known| known.ack),
            on_unsupported: configured.map_or(OnUnsupported::default(), |known| known.on_unsupported),
            on_disconnect: configured.and_then(|known| known.on_disconnect),
            turn: AtomicUsize::default(),
        }
    }
}
