//! What a question means, as a vector. The embedding model is called through this gateway, as a call of the same caller: with a
//! row of its own, decided by the same policy, charged to the same budgets, and labelled with the call it was made for. If it
//! does not answer in time, the call goes on as if no question were near.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tollgate_interaction::{Dialect, Operation};
use tollgate_policy::cache::Semantic;

use super::stage::Asked;
use super::vector::Vector;
use crate::call::Call;
use crate::{settle, stages};

/// Label of such a call, behind `tollgate.`; its value is the id of the call it was made for.
const LABEL: &str = "semantic_cache_for";

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    embedding: Vec<f32>,
}

/// The vector of `text`; `None` if the model does not give it, or not in time.
pub(super) async fn vector_of(call: &mut Call, asked: &Asked<'_>, semantic: &Semantic, text: &str) -> Option<Vector> {
    let body = serde_json::to_vec(&Question { model: &semantic.model.name, input: text }).ok()?;
    let aside = beside(call);
    let asking = stages::ask_aside(aside, asked.control, asked.principal, body.into());
    let answer: Bytes = tokio::time::timeout(semantic.timeout.duration(), asking).await.ok()??;
    let answer: Answer = serde_json::from_slice(&answer).ok()?;
    Vector::of(&answer.data.first()?.embedding)
}

/// A call of its own that is made for `call`.
fn beside(call: &Call) -> Box<Call> {
    let mut aside = Call::because_of(&call.record, &call.gateway, (Dialect::Openai, Operation::Embeddings));
    settle::label(&mut aside.record, LABEL, call.public_id.to_string());
    aside.principal.clone_from(&call.principal);
    aside
}
