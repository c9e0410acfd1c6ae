//! Files and batches of a provider that keeps nothing: what it says about one it makes up from its name, so that the same
//! question gets the same answer; its lists are empty.
//! Sources: <https://platform.openai.com/docs/api-reference/files>,
//! <https://platform.openai.com/docs/api-reference/batch> (2026-11-26).

use serde_json::{Value, json};

use super::SandboxReply;
use super::perform::Stage;
use super::prose::hash;
use crate::dialect::form_texts;

pub(super) fn storage(stage: &Stage<'_>) -> SandboxReply {
    let path = stage.sent.method.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (stage.sent.verb, parts.as_slice()) {
        ("POST", ["files"]) => {
            let form = form_texts(stage.sent.content_type, stage.sent.body);
            let purpose = form.iter().find(|(name, _)| name == "purpose").map(|(_, purpose)| purpose.as_str());
            let Some(purpose) = purpose else { return stage.refuse("`purpose` must say what the file is for") };
            stage.whole(&file(stage, &format!("file-sandbox{:016x}", hash(stage.sent.body)), purpose))
        }
        ("DELETE", ["files", id]) => stage.whole(&json!({ "id": id, "object": "file", "deleted": true })),
        ("GET", ["files", id, "content"]) => {
            let line = format!("{{\"custom_id\":\"{id}\"}}\n");
            stage.pieces("application/octet-stream", vec![line.into_bytes()])
        }
        ("GET", ["files", id]) => stage.whole(&file(stage, id, "batch")),
        ("POST", ["batches"]) => {
            let input = stage.text("input_file_id");
            if input.is_empty() {
                return stage.refuse("`input_file_id` must name a file");
            }
            let id = format!("batch_sandbox{:016x}", hash(stage.sent.body));
            stage.whole(&batch(stage, &id, "validating", input))
        }
        ("POST", ["batches", id, "cancel"]) => stage.whole(&batch(stage, id, "cancelling", "file-sandbox")),
        ("GET", ["batches", id]) => stage.whole(&batch(stage, id, "in_progress", "file-sandbox")),
        _ => stage.whole(&json!({ "object": "list", "data": [], "has_more": false })),
    }
}

fn file(stage: &Stage<'_>, id: &str, purpose: &str) -> Value {
    json!({
        "id": id,
        "object": "file",
        "bytes": stage.sent.body.len(),
        "created_at": stage.script.created_at_s,
        "filename": "sandbox.jsonl",
        "purpose": purpose,
        "status": "processed",
    })
}

fn batch(stage: &Stage<'_>, id: &str, status: &str, input: &str) -> Value {
    json!({
        "id": id,
        "object": "batch",
        "endpoint": if stage.text("endpoint").is_empty() { "/v1/chat/completions" } else { stage.text("endpoint") },
        "input_file_id": input,
        "completion_window": "24h",
        "status": status,
        "created_at": stage.script.created_at_s,
        "request_counts": { "total": 0, "completed": 0, "failed": 0 },
    })
}
