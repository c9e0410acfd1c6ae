//! A provider that answers with the usage that the prompt states, in the words of its dialect: what a call used is then
//! known without asking the program under test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

/// Speaks Chat Completions and Messages, streamed or not. Its thread ends with the process.
pub(crate) struct Scripted {
    pub(crate) url: String,
}

impl Scripted {
    pub(crate) fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || answer(connection));
            }
        });
        Scripted { url }
    }
}

fn answer(connection: TcpStream) {
    let mut reader = BufReader::new(connection);
    let mut head = Vec::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        head.push(std::mem::take(&mut line).to_ascii_lowercase());
    }
    let Some(request_line) = head.first().cloned() else { return };
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let prompt = request["messages"][0]["content"].as_str().unwrap();
    let usage: Value = serde_json::from_str(prompt).unwrap();
    let model = request["model"].as_str().unwrap();
    let is_stream = request["stream"] == true;
    let text = match (request_line.contains("/messages"), is_stream) {
        (false, false) => chat(model, usage).to_string(),
        (false, true) => chat_stream(model, &usage),
        (true, false) => message(model, usage).to_string(),
        (true, true) => message_stream(model, &usage),
    };
    let kind = if is_stream { "text/event-stream" } else { "application/json" };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    // The gateway may have gone.
    let _ = reader.get_mut().write_all(format!("{head}{text}").as_bytes());
}

fn chat(model: &str, usage: Value) -> Value {
    let message = json!({"role": "assistant", "content": "done"});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    json!({"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage})
}

fn chat_stream(model: &str, usage: &Value) -> String {
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk =
            json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices});
        chunk["usage"] = usage.cloned().unwrap_or(Value::Null);
        format!("data: {chunk}\n\n")
    };
    let said = chunk(json!([{"index": 0, "delta": {"content": "done"}, "finish_reason": null}]), None);
    let stopped = chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), None);
    format!("{said}{stopped}{}data: [DONE]\n\n", chunk(json!([]), Some(usage)))
}

fn message(model: &str, usage: Value) -> Value {
    let content = json!([{"type": "text", "text": "done"}]);
    json!({
        "id": "m1", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": "end_turn", "stop_sequence": null, "usage": usage,
    })
}

/// The input is told first, with one token of output, and everything again at the end, as Anthropic does.
fn message_stream(model: &str, usage: &Value) -> String {
    let mut first = usage.clone();
    first["output_tokens"] = usage["output_tokens"].as_u64().unwrap().min(1).into();
    let mut start = message(model, first);
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    let events = [
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "done"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ];
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}
