//! `GET /api/v1/budgets`.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::access::Reader;
use crate::budgets::lines;
use crate::state::ConsoleState;

/// What the scopes of budgets and limits have used up, those nearest to their limit first, and what was said about it.
pub async fn show(State(state): State<ConsoleState>, Extension(reader): Extension<Reader>) -> Json<Value> {
    let trouble = state.instruments.budget_trouble();
    let Some(books) = reader.budgets(&state) else {
        return Json(json!({"bundle": null, "budgets": [], "total": 0, "alerts": [], "trouble": trouble}));
    };
    let (budgets, total) = lines(&books, state.now_us());
    Json(json!({
        "bundle": books.bundle.hash,
        "budgets": budgets,
        "total": total,
        "alerts": books.alerts,
        "trouble": trouble,
    }))
}
