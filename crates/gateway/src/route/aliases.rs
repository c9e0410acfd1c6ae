//! Aliases, and aliases of aliases: what each comes to in targets. One that leads back to itself is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tollgate_policy::route::Layout;
use tollgate_provider::ModelEntry;

use super::{Resolved, RouteError, RouteTable, Target};
use crate::settings::ModelRoute;

impl RouteTable {
    pub(super) fn add_aliases(&mut self, routes: &[ModelRoute]) -> Result<(), RouteError> {
        let by_alias: HashMap<&str, &ModelRoute> = routes.iter().map(|route| (route.alias.as_str(), route)).collect();
        let mut done = Vec::with_capacity(routes.len());
        for route in routes {
            self.add_alias(route, &by_alias, &mut Vec::new(), &mut done)?;
        }
        // Shadows may go to any of them.
        for route in routes {
            self.add_shadow(route)?;
        }
        Ok(())
    }

    fn add_alias<'a>(
        &mut self,
        route: &'a ModelRoute,
        by_alias: &HashMap<&str, &'a ModelRoute>,
        path: &mut Vec<&'a str>,
        done: &mut Vec<&'a str>,
    ) -> Result<(), RouteError> {
        let alias = route.alias.as_str();
        if done.contains(&alias) {
            return Ok(());
        }
        path.push(alias);
        if path.iter().filter(|step| **step == alias).count() > 1 {
            return Err(RouteError::Circle { alias: alias.to_owned(), path: path.join(" → ") });
        }
        let mut layout = Layout::default();
        for (at, target) in route.targets.iter().enumerate() {
            if let Some(inner) = by_alias.get(target.as_str()) {
                self.add_alias(inner, by_alias, path, done)?;
            }
            let found = self.known.get(target).cloned().or_else(|| self.resolve_unlisted(target)).ok_or_else(|| {
                let (alias, target) = (route.alias.clone(), target.clone());
                RouteError::UnknownTarget { hint: self.hint(&target), alias, target }
            })?;
            layout.add(&found.targets, route.weights.get(at).copied().unwrap_or(1));
        }
        if layout.targets.is_empty() {
            return Err(RouteError::NoTargets { alias: route.alias.clone() });
        }
        let resolved = Resolved {
            alias: Some(route.alias.clone()),
            rule: None,
            targets: layout.targets,
            weights: layout.weights,
            unknown: Vec::new(),
            conduct: route.conduct.clone(),
            shadow: None,
            ack: route.ack,
            on_unsupported: route.on_unsupported,
            on_disconnect: route.on_disconnect,
            turn: AtomicUsize::default(),
        };
        self.known.insert(route.alias.clone(), Arc::new(resolved));
        self.listed.push(ModelEntry { id: route.alias.clone(), owned_by: "tollgate".into(), created_at_s: 0 });
        path.pop();
        done.push(alias);
        Ok(())
    }

    fn add_shadow(&mut self, route: &ModelRoute) -> Result<(), RouteError> {
        let Some(shadow) = &route.conduct.shadow else { return Ok(()) };
        let target = self.first_target(&shadow.to).ok_or_else(|| {
            let (alias, target) = (route.alias.clone(), shadow.to.clone());
            RouteError::UnknownShadow { hint: self.hint(&target), alias, target }
        })?;
        if let Some(resolved) = self.known.get_mut(&route.alias).and_then(Arc::get_mut) {
            resolved.shadow = Some((target, shadow.share));
        }
        Ok(())
    }

    /// The first target of what a name stands for.
    pub(super) fn first_target(&self, name: &str) -> Option<Arc<Target>> {
        let found = self.known.get(name).cloned().or_else(|| self.resolve_unlisted(name))?;
        found.targets.first().cloned()
    }
}
