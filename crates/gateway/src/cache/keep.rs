//! An answer on its way to its caller, of which a copy is kept if it turns out to be a good one and whole.

use std::sync::Arc;

use http::{Response, header};
use tollgate_interaction::{Interaction, InteractionId, Outcome, Usd};
use tollgate_policy::cache::Lifetime;
use tollgate_policy::guard::KnownSecrets;

use super::entry::{Card, Entry, footprint};
use super::flight::Flight;
use super::key::Key;
use super::store::Store;
use super::vector::Vector;
use super::wish::forbids_keeping;
use crate::call::Call;
use crate::clock;
use crate::error::own;

/// The copy, and what has to be known of the call for it.
#[derive(Debug)]
pub(crate) struct Keeping {
    store: Arc<Store>,
    key: Key,
    ttl: Lifetime,
    limit: usize,
    vector: Option<(Key, Vector)>,
    from: InteractionId,
    /// When the call began.
    began_us: i64,
    body: Vec<u8>,
    /// Its media type; there once it has begun, with the status that a good one has.
    content_type: Option<String>,
    /// There once the call has been settled as a success.
    success: Option<Success>,
    is_given_up: bool,
    _flight: Option<Flight>,
}

#[derive(Debug)]
struct Success {
    card: Card,
    target: String,
    is_stream: bool,
    model_served: Option<String>,
    finish_reasons: Vec<String>,
    cost_usd: Option<Usd>,
}

impl Keeping {
    /// A copy of the answer to `call` of at most `limit` bytes, to be found by `key` for as long as `ttl`.
    pub(super) fn new(
        call: &Call,
        store: Arc<Store>,
        key: Key,
        ttl: Lifetime,
        limit: usize,
        vector: Option<(Key, Vector)>,
        flight: Option<Flight>,
    ) -> Keeping {
        Keeping {
            store,
            key,
            ttl,
            limit,
            vector,
            from: call.public_id,
            began_us: call.record.started_at_us,
            body: Vec::new(),
            content_type: None,
            success: None,
            is_given_up: false,
            _flight: flight,
        }
    }

    /// Takes over how the answer begins.
    pub(crate) fn begin(&mut self, head: &Response<()>) {
        let content_type = head.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        self.is_given_up |= forbids_keeping(head.headers()) || head.status() != own::OK;
        self.content_type = content_type.map(str::to_owned);
    }

    /// Takes over what of the answer goes to the caller.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if self.is_given_up || self.body.len() + piece.len() > self.limit {
            self.is_given_up = true;
            self.body = Vec::new();
            return;
        }
        self.body.extend_from_slice(piece);
    }

    /// Takes over how the call ended, from its record.
    pub(crate) fn learn(&mut self, record: &Interaction, target: Option<&str>) {
        let Some(target) = target.filter(|_| record.outcome == Outcome::Success) else { return };
        self.success = Some(Success {
            card: Card {
                tenant: record.tenant.clone(),
                team: record.team.clone(),
                key_id: record.api_key_id.clone().unwrap_or_default(),
                user_ref: record.user_ref.clone(),
                model: record.model_requested.clone(),
                from: Some(self.from),
                kept_at_us: 0,
                expires_at_us: 0,
                surroundings: self.vector.as_ref().map(|(surroundings, _)| surroundings.bytes().to_vec()),
                footprint: 0,
            },
            target: target.to_owned(),
            is_stream: record.stream,
            model_served: record.model_served.clone(),
            finish_reasons: record.finish_reasons.clone(),
            cost_usd: record.cost_usd,
        });
    }

    /// Keeps the copy, unless the answer is not whole, is none, or holds what must not be written down.
    pub(crate) fn keep(self) {
        let Keeping { store, key, ttl, vector, from, began_us, body, content_type, success, is_given_up, .. } = self;
        let (Some(content_type), Some(success), false) = (content_type, success, is_given_up) else { return };
        if body.is_empty() || KnownSecrets.redact(&body).is_some() {
            return;
        }
        let now_us = clock::now_us();
        let Success { card, target, is_stream, model_served, finish_reasons, cost_usd } = success;
        let card = Card {
            kept_at_us: now_us,
            expires_at_us: now_us.saturating_add(ttl.us()),
            footprint: footprint(body.len()),
            ..card
        };
        let entry = Entry { card, content_type, body, is_stream, from, target, model_served, finish_reasons, cost_usd };
        store.put(key, entry, vector, began_us);
    }
}

impl Call {
    /// Notes for the cache how the answer begins.
    pub(crate) fn note_head(&mut self, head: &Response<()>) {
        if let Some(keeping) = &mut self.keeping {
            keeping.begin(head);
        }
    }

    /// Notes for the cache what goes to the caller.
    pub(crate) fn note_sent(&mut self, piece: &[u8]) {
        if let Some(keeping) = &mut self.keeping {
            keeping.push(piece);
        }
    }

    /// Keeps the answer, now that it is whole and the call is in the log.
    pub(crate) fn keep_answer(&mut self) {
        if let Some(keeping) = self.keeping.take() {
            keeping.keep();
        }
    }
}
