//! A batch on its way: `validating`, `in_progress`, `finalizing`, `completed`, each for a step of time; or `failed`, if its input
//! is none; or `cancelling` and `cancelled`.

use serde_json::{Value, json};
use tollgate_interaction::Usage;

use super::Moment;
use super::line::Work;

/// What the provider gives a batch to be done. In seconds.
const WINDOW_S: u64 = 24 * 3_600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Validating,
    Failed,
    InProgress,
    Finalizing,
    Completed,
    Cancelling,
    Cancelled,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Validating => "validating",
            Status::Failed => "failed",
            Status::InProgress => "in_progress",
            Status::Finalizing => "finalizing",
            Status::Completed => "completed",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
        }
    }
}

/// One batch.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: String,
    input: String,
    endpoint: String,
    metadata: Value,
    errors: Vec<Value>,
    answered: u64,
    refused: u64,
    model: Option<String>,
    usage: Usage,
    /// Lines until they are filed.
    results: Option<(Vec<u8>, Vec<u8>)>,
    output: Option<String>,
    error: Option<String>,
    began_ms: u64,
    step_ms: u64,
    cancelled_ms: Option<u64>,
}

impl Batch {
    pub(super) fn new(
        id: String,
        input: String,
        endpoint: String,
        metadata: Value,
        work: Work,
        moment: Moment,
    ) -> Batch {
        let lines = |lines: &[Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        Batch {
            id,
            input,
            endpoint,
            metadata,
            answered: work.answered.len() as u64,
            refused: work.refused.len() as u64,
            results: Some((lines(&work.answered), lines(&work.refused))),
            errors: work.errors,
            model: work.model,
            usage: work.usage,
            output: None,
            error: None,
            began_ms: moment.now_ms,
            step_ms: moment.step_ms,
            cancelled_ms: None,
        }
    }

    /// When the step with this number begins. Milliseconds since 1970.
    fn step(&self, number: u64) -> u64 {
        self.began_ms + number * self.step_ms
    }

    fn status(&self, now_ms: u64) -> Status {
        match self.cancelled_ms {
            Some(at_ms) if now_ms >= at_ms + self.step_ms => return Status::Cancelled,
            Some(_) => return Status::Cancelling,
            None => {}
        }
        match now_ms {
            now_ms if now_ms < self.step(1) => Status::Validating,
            _ if !self.errors.is_empty() => Status::Failed,
            now_ms if now_ms < self.step(2) => Status::InProgress,
            now_ms if now_ms < self.step(3) => Status::Finalizing,
            _ => Status::Completed,
        }
    }

    /// False if it has ended.
    pub(super) fn cancel(&mut self, moment: Moment) -> bool {
        let status = self.status(moment.now_ms);
        if matches!(status, Status::Failed | Status::Completed | Status::Cancelled) {
            return false;
        }
        self.cancelled_ms.get_or_insert(moment.now_ms);
        true
    }

    /// Lines to be filed, once, when it is completed: answers and refusals.
    pub(super) fn take_results(&mut self, moment: Moment) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.status(moment.now_ms) == Status::Completed { self.results.take() } else { None }
    }

    pub(super) fn is_filed(&mut self, output: Option<String>, error: Option<String>) {
        (self.output, self.error) = (output, error);
    }

    /// Lines that are done: they take the whole of the step in progress.
    fn done(&self, now_ms: u64) -> (u64, u64) {
        let until_ms = self.cancelled_ms.map_or(now_ms, |at_ms| at_ms.min(now_ms));
        let total = self.answered + self.refused;
        let spent_ms = until_ms.saturating_sub(self.step(1)).min(self.step_ms);
        let done = (total * spent_ms).checked_div(self.step_ms).unwrap_or(total);
        (done.min(self.answered), done.saturating_sub(self.answered))
    }

    pub(super) fn told(&self, moment: Moment) -> Value {
        let now_ms = moment.now_ms;
        let status = self.status(now_ms);
        // A state's beginning, once it has been there.
        let until_ms = self.cancelled_ms.map_or(now_ms, |at_ms| at_ms.min(now_ms));
        let has_failed = !self.errors.is_empty();
        let since = |number: u64| {
            let at_ms = self.step(number);
            (!has_failed && until_ms >= at_ms).then_some(at_ms / 1_000)
        };
        let (completed, failed) = if has_failed { (0, 0) } else { self.done(now_ms) };
        let is_over = status == Status::Completed;
        let errors = (status == Status::Failed).then(|| json!({ "object": "list", "data": self.errors }));
        json!({
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": errors,
            "input_file_id": self.input,
            "completion_window": "24h",
            "status": status.as_str(),
            "output_file_id": self.output,
            "error_file_id": self.error,
            "created_at": self.began_ms / 1_000,
            "in_progress_at": since(1),
            "expires_at": self.began_ms / 1_000 + WINDOW_S,
            "finalizing_at": since(2),
            "completed_at": since(3),
            "failed_at": (status == Status::Failed).then(|| self.step(1) / 1_000),
            "expired_at": null,
            "cancelling_at": self.cancelled_ms.map(|at_ms| at_ms / 1_000),
            "cancelled_at": (status == Status::Cancelled).then(|| self.cancelled_ms.map(|at_ms| (at_ms + self.step_ms) / 1_000)),
            "request_counts": {
                "total": if has_failed || status == Status::Validating { 0 } else { self.answered + self.refused },
                "completed": completed,
                "failed": failed,
            },
            "usage": is_over.then(|| usage(&self.usage)),
            "metadata": self.metadata,
        })
    }
}

fn usage(usage: &Usage) -> Value {
    let (input, output) = (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0));
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": usage.cache_read_input_tokens.unwrap_or(0) },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_output_tokens.unwrap_or(0) },
        "total_tokens": input + output,
    })
}
