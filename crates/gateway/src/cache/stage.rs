//! The stage of a call: whether it can be answered again, by what it is told apart from others, and what is done while there
//! is no answer yet.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_interaction::{CacheKind, GuardPhase, Operation, Share};
use tollgate_policy::cache::{CacheRule, Per};
use tollgate_policy::control::{ControlSnapshot, Principal};
use tollgate_provider::RequestHead;
use tollgate_provider::canonical::Canonical;
use tollgate_provider::dialect::Endpoint;

use super::entry::Entry;
use super::flight::{Flight, Turn};
use super::keep::Keeping;
use super::key::{Key, Parts};
use super::replay::Hit;
use super::semantic;
use super::store::Store;
use super::wish::Wish;
use crate::admission::Admitted;
use crate::call::Call;
use crate::dispatch;
use crate::guard;
use crate::jwt;
use crate::route::{Course, Ordered, why_not};

/// Headers that go on to a provider and change nothing about its answer.
const NEUTRAL: [&str; 4] = ["tracestate", "traceparent", "idempotency-key", "x-client-request-id"];
/// Near questions whose answers are looked at, in case those of the nearest may not be given.
const NEAR_TRIED: usize = 4;

/// A call that may go ahead, as the cache looks at it.
pub(crate) struct Asked<'a> {
    pub(crate) control: &'a Arc<ControlSnapshot>,
    pub(crate) principal: &'a Arc<Principal>,
    pub(crate) course: &'a Course,
    pub(crate) ordered: &'a Ordered,
    pub(crate) admitted: &'a Admitted,
    pub(crate) head: &'a RequestHead,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) passed_on: &'a [(&'a HeaderName, &'a HeaderValue)],
    pub(crate) body: &'a Bytes,
}

/// What became of a call at the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Hit,
    Semantic,
    Miss,
    Bypass,
}

impl Label {
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Label::Hit => "hit",
            Label::Semantic => "semantic",
            Label::Miss => "miss",
            Label::Bypass => "bypass",
        })
    }
}

/// What a request is told apart by.
struct Identity {
    exact: Key,
    /// The question that may be asked in other words, and what it stands in.
    question: Option<(String, Key)>,
}

/// Looks for an answer to a call. If there is none, what the provider will say is kept, as far as it may be.
pub(crate) async fn look(call: &mut Call, asked: &Asked<'_>) -> Option<Hit> {
    let gateway = Arc::clone(&call.gateway);
    let cache = &gateway.cache;
    let (rule, store) = (asked.ordered.resolved.conduct.cache.as_ref()?, cache.store()?);
    let wish = Wish::of(asked.headers);
    let identity = if wish.no_store { None } else { identify(call, asked, rule) };
    let Some(identity) = identity else {
        call.cache_label = Some(Label::Bypass);
        cache.bypassed.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    let mut flight = None;
    if !wish.no_cache {
        let mut found = find(call, asked, &store, rule, &wish, identity.exact).await;
        if found.is_none() && rule.coalesce {
            flight = take_turn(call, identity.exact).await;
            if flight.is_none() {
                found = find(call, asked, &store, rule, &wish, identity.exact).await;
            }
        }
        if let Some(entry) = found {
            call.cache_label = Some(Label::Hit);
            cache.exact_hits.fetch_add(1, Ordering::Relaxed);
            return Some(Hit { entry, kind: CacheKind::Exact, similarity: Share::ONE });
        }
    }
    let mut vector = None;
    if let (Some(semantic), Some((text, surroundings))) = (&rule.semantic, identity.question) {
        vector = semantic::vector_of(call, asked, semantic, &text).await.map(|vector| (surroundings, vector));
        if vector.is_none() {
            cache.embedding_failures.fetch_add(1, Ordering::Relaxed);
        }
        if let (Some((surroundings, vector)), false) = (&vector, wish.no_cache) {
            let near = store.nearest(*surroundings, vector.clone()).await;
            for near in near.into_iter().take_while(|near| near.similarity >= semantic.threshold).take(NEAR_TRIED) {
                if let Some(entry) = find(call, asked, &store, rule, &wish, near.key).await {
                    call.cache_label = Some(Label::Semantic);
                    cache.semantic_hits.fetch_add(1, Ordering::Relaxed);
                    return Some(Hit { entry, kind: CacheKind::Semantic, similarity: near.similarity });
                }
            }
        }
    }
    call.cache_label = Some(if wish.no_cache { Label::Bypass } else { Label::Miss });
    let counter = if wish.no_cache { &cache.bypassed } else { &cache.misses };
    counter.fetch_add(1, Ordering::Relaxed);
    let limit = cache.max_entry_bytes();
    call.keeping = Some(Box::new(Keeping::new(call, store, identity.exact, rule.ttl, limit, vector, flight)));
    None
}

/// The answer that `key` names, if this caller may be given it.
async fn find(
    // Exclusive, since a call cannot be shared between threads.
    call: &mut Call,
    asked: &Asked<'_>,
    store: &Arc<Store>,
    rule: &CacheRule,
    wish: &Wish,
    key: Key,
) -> Option<Arc<Entry>> {
    let now_us = call.now_us();
    let entry = store.get(&key, now_us).await?;
    let age_us = now_us.saturating_sub(entry.card.kept_at_us);
    // Whoever shortens the time means what is there as well.
    let oldest_us =
        rule.ttl.us().min(wish.max_age.map_or(i64::MAX, |age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX)));
    // An age of no time at all is what a caller wants who wants nothing old.
    let is_fresh = age_us <= oldest_us && oldest_us > 0 && entry.card.expires_at_us > now_us;
    (is_fresh && may_be_given(call, asked, &entry)).then_some(entry)
}

/// Whether the target that answered then might answer this call: it is one of the route's still, and neither residency nor
/// capability speaks against it. That it rests does not: it is not called.
fn may_be_given(call: &Call, asked: &Asked<'_>, entry: &Entry) -> bool {
    let asking = dispatch::asking(call, asked.control, asked.principal, asked.admitted, asked.head);
    let target = asked.course.targets().find(|target| target.name == entry.target);
    target.is_some_and(|target| why_not(target, &asking).is_none())
}

/// Waits for the same request of another, or gets the right to go first; `None` once the other is done.
async fn take_turn(call: &mut Call, key: Key) -> Option<Flight> {
    match call.gateway.cache.flights.take_turn(key) {
        Turn::First(flight) => Some(flight),
        Turn::Wait(mut first) => {
            // Its end is told by its sender's going away. No call waits longer than it may take.
            let until = call.deadline().max(Instant::now());
            let _ = tokio::time::timeout_at(until.into(), first.changed()).await;
            None
        }
    }
}

/// What the call is told apart by; `None` if it cannot be answered again.
fn identify(call: &Call, asked: &Asked<'_>, rule: &CacheRule) -> Option<Identity> {
    let is_repeatable = matches!(
        call.record.operation,
        Operation::Chat | Operation::Completions | Operation::Embeddings | Operation::Rerank | Operation::Moderations
    );
    // Values that come back into the answer are one caller's, and are kept nowhere.
    if !is_repeatable || asked.head.is_form() || call.has_values_to_restore() {
        return None;
    }
    let canonical = Canonical::read(asked.body, asked.head.stream)?;
    let mut parts = surroundings(call, asked, rule)?;
    let question = match &rule.semantic {
        Some(semantic) if call.record.operation == Operation::Chat => {
            canonical.question(call.dialect).zip(subject(call)).map(|(question, subject)| {
                let own = parts.clone().with("question").with(subject).with(&semantic.model.name);
                (question.text, own.with(question.rest).key())
            })
        }
        _ => None,
    };
    parts.add("request");
    parts.add(canonical.bytes());
    Some(Identity { exact: parts.key(), question })
}

/// Everything an answer depends on beside the body; `None` if a guardrail's condition fails, or if it cannot be told who asks.
fn surroundings(call: &Call, asked: &Asked<'_>, rule: &CacheRule) -> Option<Parts> {
    let (record, head, endpoint) = (&call.record, asked.head, asked.endpoint);
    let scope = match rule.per {
        Per::Tenant => String::new(),
        Per::Team => record.team.clone(),
        Per::Key => key_of(call)?.to_owned(),
        Per::User => subject(call)?,
    };
    let form = [u8::from(head.stream), u8::from(head.hides_usage()), u8::from(endpoint.events)];
    let mut parts = Parts::of_tenant(&record.tenant)
        .with(rule.per.as_str())
        .with(scope)
        .with(call.dialect.as_str())
        .with(record.operation.as_str())
        .with(endpoint.method.as_ref())
        .with(form)
        .with(&head.model)
        .with(record.experiment.as_deref().unwrap_or_default())
        .with(record.arm.as_deref().unwrap_or_default());
    let mut headers: Vec<(&str, &[u8])> = asked
        .passed_on
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| !NEUTRAL.contains(name))
        .collect();
    headers.sort_unstable();
    parts.add((headers.len() as u64).to_be_bytes());
    for (name, value) in headers {
        parts.add(name);
        parts.add(value);
    }
    // What was let through then is not what may be let through now: the guardrails on answers are part of what is asked.
    let bundle = &asked.control.bundle;
    if bundle.has_guardrails(GuardPhase::Output) {
        parts.add(&bundle.hash);
        let mut targets: Vec<_> = asked.course.targets().collect();
        targets.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        targets.dedup_by(|one, other| one.name == other.name);
        for target in targets {
            parts.add(&target.name);
            parts.add(guard::answer_rules(call, bundle, head, target)?.join("\n"));
        }
    }
    Some(parts)
}

/// The end user or, where the call names none, the virtual key; `None` where many may be behind it.
fn subject(call: &Call) -> Option<String> {
    match &call.record.user_ref {
        Some(user) => Some(format!("user {user}")),
        None => key_of(call).map(|key| format!("key {key}")),
    }
}

/// The virtual key; `None` for the bearer of a token, whose issuer's name is all that stands in its place.
fn key_of(call: &Call) -> Option<&str> {
    call.record.api_key_id.as_deref().filter(|key| !jwt::is_of_issuer(key))
}
