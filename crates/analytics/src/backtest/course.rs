//! Where one call of the past would have gone first: by the functions that route live calls (`policy::route`), from the
//! bundle's routes and experiments, what the row says of its own route, and the configuration's aliases as they are now.

use std::sync::Arc;

use tollgate_policy::route::{
    self, ArmTarget, Conduct, Layout, PlanError, Planned, RouteFacts, Seat, Way, WhenAllRest, WhyNot,
};
use tollgate_policy::{Bundle, Facts, Verdict};

use super::choice::{Choosing, Chosen};
use super::known::{Known, Target};
use super::logged::Logged;
use super::report::Unlogged;
use super::row::Row;
use super::{Market, Trial};

/// What the routes and experiments of a bundle come to by the configuration as it is now.
pub(super) struct Courses {
    bundle: Arc<Bundle>,
    /// In the bundle's order.
    routes: Vec<Arc<Way<Target>>>,
    /// Targets of arms that name one, by experiment and arm in the bundle's order.
    arms: Vec<Vec<Option<Layout<Target>>>>,
    when_all_rest: WhenAllRest,
    /// What a route goes by of which the row tells no more than the order that came of it.
    as_logged: Conduct,
}

/// What is known of one call.
#[derive(Clone, Copy)]
pub(super) struct Call<'a, 'r> {
    pub(super) row: &'a Row<'r>,
    pub(super) facts: &'a Facts<'a>,
    pub(super) verdict: &'a Verdict,
    /// Whether the bundle that is tried did decide it.
    pub(super) is_own: bool,
}

/// Where a call would have gone.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The target that would have been tried first.
    pub(super) first: Option<Target>,
    /// The experiment and the arm it is in.
    pub(super) arm: Option<(String, String)>,
    /// Rules that leave out each of the targets, with what they miss, if that leaves none.
    pub(super) barred: Vec<(String, String)>,
    /// Why there is no target, if no rule leaves them out.
    pub(super) nobody: Option<String>,
    /// What it went by.
    pub(super) why: String,
    pub(super) notes: Notes,
}

/// What is to be said of how a course was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notes {
    /// The bundle has a route or an experiment for the call.
    pub(super) is_planned: bool,
    /// What the choice rests on and the row does not tell. It stays as it was or, where that target is not among those of
    /// the route, is not known.
    pub(super) unlogged: Option<Unlogged>,
    /// A number was drawn anew: none that was drawn then decides such a choice.
    pub(super) drawn_anew: bool,
    /// A target of which the row does not speak was taken to be ready.
    pub(super) assumed_ready: bool,
    /// A cost that the choice rests on is by the prices in force now.
    pub(super) priced_now: bool,
    /// The configuration leads elsewhere now than it did: the targets of then were taken.
    pub(super) has_drifted: bool,
}

/// The route that a call takes before an arm that names a target is put in front of it.
enum Base<'a> {
    /// Of the bundle.
    Route(&'a str, Arc<Way<Target>>),
    /// Of the configuration as it is now.
    Configured(Arc<Way<Target>>),
    /// As the row has it.
    Logged,
}

impl Courses {
    pub(super) fn of(trial: &Trial) -> Courses {
        let (bundle, market): (_, &Arc<dyn Market>) = (Arc::clone(&trial.bundle), &trial.market);
        let stands_for = |name: &str| Some(market.stands_for(name)?.layout.targets);
        let routes = bundle.routes().iter().map(|route| {
            let names = route.targets.iter().map(|target| (target.name.as_str(), target.weight));
            let layout = Layout::of_bundle(&bundle, names, &stands_for);
            Arc::new(Way { layout, conduct: route.conduct.clone() })
        });
        let routes = routes.collect();
        let arm = |arm: &route::Arm| match &arm.to {
            ArmTarget::Route(_) => None,
            ArmTarget::Target(target) => {
                Some(Layout::of_bundle(&bundle, std::iter::once((target.name.as_str(), 1)), &stands_for))
            }
        };
        let arms = bundle.experiments().iter().map(|experiment| experiment.arms.iter().map(arm).collect()).collect();
        Courses { routes, arms, when_all_rest: market.when_all_rest(), as_logged: Conduct::default(), bundle }
    }

    /// Names in the bundle that lead nowhere by the configuration as it is now.
    pub(super) fn unknown(&self) -> Vec<String> {
        let layouts = self.routes.iter().map(|way| &way.layout).chain(self.arms.iter().flatten().flatten());
        let mut names: Vec<String> = layouts.flat_map(|layout| layout.unknown.iter().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where a call would have gone; `logged` is where it went.
    ///
    /// # Errors
    /// [`PlanError`] if a condition cannot be evaluated: the call would have been denied.
    pub(super) fn find(&self, call: Call<'_, '_>, logged: &Logged<'_>, known: &mut Known) -> Result<Course, PlanError> {
        let planned = self.plan(call)?;
        let mut notes = Notes { is_planned: planned.route.is_some() || planned.arm.is_some(), ..Notes::default() };
        let takes_part = route::takes_part(call.verdict.prefer.as_ref(), call.verdict.min_quality);
        let arm = planned.arm.as_ref().filter(|_| takes_part);
        let divided = arm.map(|(_, arm, _)| &arm.to);
        let base = match divided {
            Some(ArmTarget::Route(at)) => self.routes.get(*at).map(|way| {
                let id = self.bundle.routes().get(*at).map_or("", |route| route.id.as_str());
                Base::Route(id, Arc::clone(way))
            }),
            _ => self.base(call, &planned, logged, known),
        };
        let Some(base) = base else {
            notes.unlogged = Some(Unlogged::Name);
            return Ok(Course { notes, why: Unlogged::Name.sentence().to_owned(), ..Course::default() });
        };
        let first = match arm {
            Some((experiment, arm, _)) => self.arm(&experiment.id, &arm.name),
            None => None,
        };
        // The strategy of a logged route is the configuration's, unless that has changed since.
        let way = known.way(call.row.model());
        let as_now = way.as_deref().filter(|way| logged.is_by(&way.conduct));
        let own_layout;
        let (layout, conduct) = match &base {
            Base::Route(_, way) | Base::Configured(way) => (&way.layout, &way.conduct),
            Base::Logged => {
                own_layout = logged.layout();
                (&own_layout, as_now.map_or(&self.as_logged, |way| &way.conduct))
            }
        };
        let parts = (layout.targets.as_slice(), layout.weights.as_slice());
        let front = first.map(|first| (first.targets.as_slice(), first.weights.as_slice()));
        let mut choosing = Choosing {
            seats: route::seats(front, parts),
            conduct,
            route: match &base {
                Base::Route(id, _) => id,
                Base::Configured(_) | Base::Logged => call.row.model(),
            },
            is_of_bundle: matches!(base, Base::Route(..)),
            assignment: arm.map(|(_, _, assignment)| assignment),
            when_all_rest: self.when_all_rest,
        };
        if matches!(base, Base::Logged) && front.is_none() {
            notes.has_drifted = as_now.is_none() && logged.seats.len() > 1;
            choosing.seats = if as_now.is_some() { logged.seated() } else { logged.as_preferred() };
        } else if call.is_own && !logged.seats.is_empty() && !logged.is_seated_as(&choosing.seats) {
            choosing.seats = logged.seated();
            notes.has_drifted = true;
        }
        let unknown = if layout.unknown.is_empty() { &[] } else { layout.unknown.as_slice() };
        let chosen = choosing.choose(&self.bundle, call, logged, &mut notes);
        Ok(course(chosen, unknown, notes))
    }

    fn plan<'b>(&'b self, call: Call<'_, '_>) -> Result<Planned<'b>, PlanError> {
        if call.row.model().is_empty() {
            // No bundle has a route for a call that names no model.
            return Ok(Planned::default());
        }
        route::plan(&self.bundle, &RouteFacts { request: *call.facts, conversation: call.row.conversation() })
    }

    fn base<'a>(
        &'a self,
        call: Call<'_, '_>,
        planned: &Planned<'a>,
        logged: &Logged<'_>,
        known: &mut Known,
    ) -> Option<Base<'a>> {
        if let Some((at, route)) = planned.route {
            return self.routes.get(at).map(|way| Base::Route(&route.id, Arc::clone(way)));
        }
        // What the configuration said then is what the row says, unless a bundle or an experiment had a part in that. A
        // bundle's own calls without a plan had none.
        let is_own = call.is_own && planned.arm.is_none();
        if !logged.seats.is_empty() && (is_own || !logged.was_planned) {
            return Some(Base::Logged);
        }
        let configured = known.way(call.row.model()).map(Base::Configured);
        configured.or_else(|| (!logged.seats.is_empty()).then_some(Base::Logged))
    }

    fn arm(&self, experiment: &str, arm: &str) -> Option<&Layout<Target>> {
        let at = self.bundle.experiments().iter().position(|known| known.id == experiment)?;
        let place = self.bundle.experiments().get(at)?.arms.iter().position(|known| known.name == arm)?;
        self.arms.get(at)?.get(place)?.as_ref()
    }
}

fn course(chosen: Chosen, unknown: &[String], notes: Notes) -> Course {
    let Chosen { first, arm, why_nots, why } = chosen;
    let mut course = Course { first, arm, why, notes, ..Course::default() };
    if course.first.is_some() || notes.unlogged.is_some() {
        return course;
    }
    let is_nobody_left = why_nots.iter().all(|(_, why_not)| why_not.is_some());
    for (target, why_not) in &why_nots {
        if let (true, Some(WhyNot::Barred { rule, why })) = (is_nobody_left, why_not) {
            let reason = (rule.clone(), format!("`{target}`: {why}"));
            if !course.barred.contains(&reason) {
                course.barred.push(reason);
            }
        }
    }
    if course.barred.is_empty() {
        let named = |(target, why_not): &(String, Option<WhyNot>)| match why_not {
            Some(why_not) => format!("`{target}`: {}", why_not.text()),
            None => format!("`{target}` rests"),
        };
        let unknown = unknown.iter().map(|name| format!("`{name}`: {}", route::UNKNOWN_TARGET));
        course.nobody = Some(why_nots.iter().map(named).chain(unknown).collect::<Vec<_>>().join(", "));
    }
    course
}

/// Targets that stand in line.
pub(super) type Seats<'a> = Vec<Seat<'a, Target>>;
