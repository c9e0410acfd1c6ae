//! Files and batches of OpenAI's, kept in memory for as long as somebody holds them: what is uploaded can be had again, and a
//! batch goes through its states in time and ends with an answer to every line. It reads no clock: whoever asks says when.
//! Sources: <https://platform.openai.com/docs/api-reference/files>,
//! <https://platform.openai.com/docs/api-reference/batch> (2026-11-26).

mod batch;
mod line;

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_interaction::{Dialect, Operation};

use super::perform::{Sent, Stage};
use super::{SandboxReply, Script, headers, prose, whole};
use crate::dialect::{ErrorKind, ErrorShape, error_body, form_file, form_texts, parse};
use batch::Batch;

/// What all files take together at most. In bytes.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// Batches kept at most.
const MAX_BATCHES: usize = 1_000;
/// Things on a page of a list, where the request does not say.
const PAGE: usize = 20;
/// What an output file is for.
const OUTPUT: &str = "batch_output";

/// When something is asked, and how fast time passes for batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// How long a batch stays in each of its states. Milliseconds.
    pub step_ms: u64,
}

#[derive(Debug)]
struct File {
    id: String,
    name: String,
    purpose: String,
    created_at_s: u64,
    content: Bytes,
}

/// All that was uploaded, and all batches, the oldest first.
#[derive(Debug, Default)]
pub struct Storage {
    files: Vec<File>,
    batches: Vec<Batch>,
    /// Goes into the next id.
    count: u64,
}

impl Storage {
    /// Answers a request about files or batches. Lines of a batch get what [`super::perform()`] answers with `script` and `seed`.
    pub fn answer(&mut self, sent: &Sent<'_>, script: &Script, seed: u64, moment: Moment) -> SandboxReply {
        let key = prose::mix(seed ^ prose::hash(sent.body) ^ prose::hash(sent.method.as_bytes()));
        let (path, query) = sent.method.split_once('?').unwrap_or((sent.method, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let head = match parse(&sent.endpoint(), sent.content_type, sent.body) {
            Ok(head) => head,
            Err(error) => return refused(sent, script, key, 400, error.code(), error.to_string()),
        };
        let request = serde_json::from_slice(sent.body).unwrap_or_default();
        let stage = Stage { sent, script, head, key, request };
        if sent.dialect != Dialect::Openai {
            return stage.refuse(format!("the sandbox keeps no {} of this API's", sent.operation));
        }
        for at in 0..self.batches.len() {
            self.advance(at, moment);
        }
        let answered = match sent.operation {
            Operation::Files => self.files(&stage, &parts, query, moment),
            _ => self.batches(&stage, &parts, query, seed, moment),
        };
        answered.unwrap_or_else(|missing| {
            refused(sent, script, key, 404, "not_found", format!("No such {missing}. It may have been deleted."))
        })
    }

    fn files(
        &mut self,
        stage: &Stage<'_>,
        parts: &[&str],
        query: &str,
        moment: Moment,
    ) -> Result<SandboxReply, String> {
        let missing = |id: &str| format!("File object: {id}");
        Ok(match (stage.sent.verb, parts) {
            ("POST", ["files"]) => self.upload(stage, moment),
            ("DELETE", ["files", id]) => {
                let at = self.files.iter().position(|file| file.id == *id).ok_or_else(|| missing(id))?;
                self.files.remove(at);
                stage.whole(&json!({ "id": id, "object": "file", "deleted": true }))
            }
            ("GET", ["files", id, "content"]) => {
                let file = self.file(id).ok_or_else(|| missing(id))?;
                let headers = headers(Dialect::Openai, stage.script, stage.key, "application/octet-stream");
                SandboxReply { status: 200, headers, frames: vec![(stage.script.ttft_ms, file.content.clone())] }
            }
            ("GET", ["files", id]) => stage.whole(&self.file(id).ok_or_else(|| missing(id))?.told()),
            _ => {
                let purpose = parameter(query, "purpose");
                let files = self.files.iter().filter(|file| purpose.is_none_or(|purpose| file.purpose == purpose));
                stage.whole(&list(files.map(File::told), query))
            }
        })
    }

    fn upload(&mut self, stage: &Stage<'_>, moment: Moment) -> SandboxReply {
        let Sent { content_type, body, .. } = *stage.sent;
        let form = form_texts(content_type, body);
        let Some((_, purpose)) = form.iter().find(|(name, _)| name == "purpose") else {
            return stage.refuse("`purpose` must say what the file is for");
        };
        let Some((name, content)) = form_file(content_type, body) else {
            return stage.refuse("`file` must be a file");
        };
        let taken: usize = self.files.iter().map(|file| file.content.len()).sum();
        if taken + content.len() > MAX_BYTES {
            return stage.refuse(format!("the sandbox keeps {MAX_BYTES} bytes of files and no more: delete some"));
        }
        let told = self.keep(name, purpose.clone(), Bytes::copy_from_slice(content), moment).told();
        stage.whole(&told)
    }

    fn keep(&mut self, name: String, purpose: String, content: Bytes, moment: Moment) -> &File {
        let id = self.next_id("file-sandbox");
        let file = File { id, name, purpose, created_at_s: moment.now_ms / 1_000, content };
        let at = self.files.len();
        self.files.push(file);
        &self.files[at]
    }

    fn next_id(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{:016x}", prose::mix(self.count))
    }

    fn file(&self, id: &str) -> Option<&File> {
        self.files.iter().find(|file| file.id == id)
    }

    fn batches(
        &mut self,
        stage: &Stage<'_>,
        parts: &[&str],
        query: &str,
        seed: u64,
        moment: Moment,
    ) -> Result<SandboxReply, String> {
        let place = |batches: &[Batch], id: &str| {
            batches.iter().position(|batch| batch.id == id).ok_or_else(|| format!("Batch object: {id}"))
        };
        let at = match (stage.sent.verb, parts) {
            ("POST", ["batches"]) => return self.create(stage, seed, moment),
            ("POST", ["batches", id, "cancel"]) => {
                let at = place(&self.batches, id)?;
                if !self.batches[at].cancel(moment) {
                    return Ok(stage.refuse(format!("`{id}` has come to its end and cannot be cancelled")));
                }
                at
            }
            ("GET", ["batches", id]) => place(&self.batches, id)?,
            _ => return Ok(stage.whole(&list(self.batches.iter().map(|batch| batch.told(moment)), query))),
        };
        Ok(stage.whole(&self.batches[at].told(moment)))
    }

    fn create(&mut self, stage: &Stage<'_>, seed: u64, moment: Moment) -> Result<SandboxReply, String> {
        let (input, endpoint) = (stage.text("input_file_id"), stage.text("endpoint"));
        if input.is_empty() {
            return Ok(stage.refuse("`input_file_id` must name a file"));
        }
        if !line::ENDPOINTS.contains(&endpoint) {
            return Ok(stage.refuse(format!("`endpoint` must be one of {}", line::ENDPOINTS.join(", "))));
        }
        if stage.text("completion_window") != "24h" {
            return Ok(stage.refuse("`completion_window` must be `24h`"));
        }
        if self.batches.len() >= MAX_BATCHES {
            self.batches.remove(0);
        }
        let file = self.file(input).ok_or_else(|| format!("File object: {input}"))?;
        let work = match file.purpose.as_str() {
            "batch" => line::work(&file.content, endpoint, stage.script, seed),
            other => return Ok(stage.refuse(format!("`{input}` was uploaded for `{other}` and not for `batch`"))),
        };
        let id = self.next_id("batch_sandbox");
        let metadata = stage.request.get("metadata").cloned().unwrap_or_default();
        let batch = Batch::new(id, input.to_owned(), endpoint.to_owned(), metadata, work, moment);
        let told = batch.told(moment);
        self.batches.push(batch);
        Ok(stage.whole(&told))
    }

    /// Files what a batch has come to, if it is at its end.
    fn advance(&mut self, at: usize, moment: Moment) {
        let Some((output, errors)) = self.batches[at].take_results(moment) else { return };
        let mut file = |name: &str, content: Vec<u8>| {
            let name = format!("{}_{name}.jsonl", self.batches[at].id);
            (!content.is_empty()).then(|| self.keep(name, OUTPUT.to_owned(), content.into(), moment).id.clone())
        };
        let (output, errors) = (file("output", output), file("error", errors));
        self.batches[at].is_filed(output, errors);
    }
}

impl File {
    fn told(&self) -> Value {
        json!({
            "id": self.id,
            "object": "file",
            "bytes": self.content.len(),
            "created_at": self.created_at_s,
            "expires_at": null,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": null,
        })
    }
}

/// A page of a list, the newest first.
fn list(things: impl DoubleEndedIterator<Item = Value>, query: &str) -> Value {
    let limit = parameter(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE);
    let after = parameter(query, "after");
    let mut rest: Vec<Value> = things.rev().collect();
    if let Some(after) = after {
        let at = rest.iter().position(|thing| thing["id"] == after);
        rest.drain(..at.map_or(0, |at| at + 1));
    }
    let has_more = rest.len() > limit;
    rest.truncate(limit);
    let id = |thing: Option<&Value>| thing.map(|thing| thing["id"].clone());
    let (first, last) = (id(rest.first()), id(rest.last()));
    json!({ "object": "list", "data": rest, "first_id": first, "last_id": last, "has_more": has_more })
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn refused(sent: &Sent<'_>, script: &Script, key: u64, status: u16, code: &str, message: String) -> SandboxReply {
    let error = ErrorShape {
        code: code.to_owned(),
        message,
        param: None,
        kind: if status == 404 { ErrorKind::NotFound } else { ErrorKind::Invalid },
        http_status: status,
        interaction_id: String::new(),
    };
    SandboxReply { status, ..whole(sent.dialect, script, key, error_body(sent.dialect, &error)) }
}

#[cfg(test)]
mod tests;
