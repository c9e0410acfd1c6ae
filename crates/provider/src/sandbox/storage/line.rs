//! The lines of a batch's input, and what each of them is answered.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Usage};

use super::super::perform::{Sent, perform};
use super::super::{Script, prose};
use crate::dialect::{Endpoint, ErrorKind, ErrorShape, error_body};
use crate::observe;

/// What batches may ask for.
pub(super) const ENDPOINTS: [&str; 5] =
    ["/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations"];
/// Lines of a batch at most, as the provider has it.
const MAX_LINES: usize = 50_000;
/// Mistakes that are told at most.
const MAX_TOLD: usize = 100;

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Mistakes in the input. If there are any, nothing is answered.
    pub(super) errors: Vec<Value>,
    /// Lines that were answered, and lines that were refused, in the order of the input.
    pub(super) answered: Vec<Value>,
    pub(super) refused: Vec<Value>,
    pub(super) model: Option<String>,
    pub(super) usage: Usage,
}

/// Does what `input` asks of `endpoint`.
pub(super) fn work(input: &[u8], endpoint: &str, script: &Script, seed: u64) -> Work {
    let mut work = Work::default();
    let mut names = BTreeSet::new();
    let mut calls = Vec::new();
    let lines = input.split(|byte| *byte == b'\n').enumerate();
    for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        match read(line, endpoint, &mut names) {
            Ok(call) => calls.push(call),
            Err((code, param, message)) if work.errors.len() < MAX_TOLD => {
                work.errors.push(json!({ "code": code, "line": at + 1, "message": message, "param": param }));
            }
            Err(_) => {}
        }
    }
    let whole = |code: &str, message: String| json!({ "code": code, "line": null, "message": message, "param": null });
    if work.errors.is_empty() && calls.is_empty() {
        work.errors.push(whole("empty_file", "The input file is empty.".to_owned()));
    }
    if calls.len() > MAX_LINES {
        work.errors.push(whole("task_limit_exceeded", format!("The input has more than {MAX_LINES} lines.")));
    }
    if work.errors.is_empty() {
        calls.iter().for_each(|call| work.answer(call, endpoint, script, seed));
    }
    work
}

struct Call {
    custom_id: String,
    body: Value,
}

type Mistake = (&'static str, Option<&'static str>, String);

fn read(line: &[u8], endpoint: &str, names: &mut BTreeSet<String>) -> Result<Call, Mistake> {
    let said: Value = serde_json::from_slice(line)
        .map_err(|_| ("invalid_json_line", None, "This line is not parseable as valid JSON.".to_owned()))?;
    let missing = |name: &'static str| {
        ("missing_required_parameter", Some(name), format!("Missing required parameter: '{name}'."))
    };
    let custom_id = said["custom_id"].as_str().ok_or_else(|| missing("custom_id"))?.to_owned();
    if said["method"] != "POST" {
        return Err(("invalid_method", Some("method"), "The method must be POST.".to_owned()));
    }
    if said["url"] != endpoint {
        return Err(("invalid_url", Some("url"), format!("The URL is not that of the batch, `{endpoint}`.")));
    }
    if !names.insert(custom_id.clone()) {
        return Err(("duplicate_custom_id", Some("custom_id"), format!("`{custom_id}` stands for another line.")));
    }
    let body = said.get("body").filter(|body| body.is_object()).cloned().ok_or_else(|| missing("body"))?;
    Ok(Call { custom_id, body })
}

impl Work {
    fn answer(&mut self, call: &Call, endpoint: &str, script: &Script, seed: u64) {
        let Call { custom_id, body } = call;
        self.model = self.model.take().or_else(|| body["model"].as_str().map(str::to_owned));
        let (status, answer) = answer(body, endpoint, script, seed);
        let key = prose::mix(seed ^ prose::hash(custom_id.as_bytes()));
        let line = json!({
            "id": format!("batch_req_{key:016x}"),
            "custom_id": custom_id,
            "response": {
                "status_code": status,
                "request_id": format!("req_{:016x}", prose::mix(key)),
                "body": serde_json::from_slice(&answer).unwrap_or(Value::Null),
            },
            "error": null,
        });
        if status != 200 {
            self.refused.push(line);
            return;
        }
        self.answered.push(line);
        if let Some(endpoint) = Endpoint::of_post(endpoint, "") {
            add(&mut self.usage, &observe::whole(endpoint.dialect, endpoint.operation, &answer).usage);
        }
    }
}

/// Status and body of what one line is answered.
fn answer(body: &Value, endpoint: &str, script: &Script, seed: u64) -> (u16, Vec<u8>) {
    let refuse = |message: String| {
        let error = ErrorShape {
            code: "invalid_request".to_owned(),
            message,
            param: None,
            kind: ErrorKind::Invalid,
            http_status: 400,
            interaction_id: String::new(),
        };
        (400, error_body(Dialect::Openai, &error))
    };
    if body["stream"] == true {
        return refuse("`stream` has no place in a batch".to_owned());
    }
    let Some(endpoint) = Endpoint::of_post(endpoint, "") else {
        return refuse(format!("the sandbox has nothing at `{endpoint}`"));
    };
    let body = body.to_string();
    let reply = perform(&Sent::to(&endpoint, "POST", "application/json", body.as_bytes()), script, seed);
    (reply.status, reply.body().to_vec())
}

fn add(sum: &mut Usage, usage: &Usage) {
    let add = |sum: &mut Option<u64>, more: Option<u64>| {
        if let Some(more) = more {
            *sum = Some(sum.unwrap_or(0) + more);
        }
    };
    add(&mut sum.input_tokens, usage.input_tokens);
    add(&mut sum.cache_read_input_tokens, usage.cache_read_input_tokens);
    add(&mut sum.output_tokens, usage.output_tokens);
    add(&mut sum.reasoning_output_tokens, usage.reasoning_output_tokens);
}
