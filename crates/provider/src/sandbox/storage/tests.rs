use super::*;
use crate::dialect::Endpoint;

const FORM: &str = "multipart/form-data; boundary=b";

fn at(now_ms: u64) -> Moment {
    Moment { now_ms: 1_795_000_000_000 + now_ms, step_ms: 100 }
}

fn ask(storage: &mut Storage, verb: &str, path: &str, body: &str, now_ms: u64) -> (u16, Bytes) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let endpoint = match verb {
        "GET" => Endpoint::of_get(path, query, Dialect::Openai),
        "DELETE" => Endpoint::of_delete(path, query),
        _ => Endpoint::of_post(path, query),
    };
    let endpoint = endpoint.unwrap();
    let content_type = if path == "/v1/files" { FORM } else { "application/json" };
    let sent = Sent::to(&endpoint, verb, content_type, body.as_bytes());
    let reply = storage.answer(&sent, &Script::default(), 7, at(now_ms));
    (reply.status, reply.body())
}

fn told(storage: &mut Storage, verb: &str, path: &str, body: &str, now_ms: u64) -> Value {
    let (status, body) = ask(storage, verb, path, body, now_ms);
    assert_eq!(status, 200, "{path}: {body:?}");
    serde_json::from_slice(&body).unwrap()
}

fn upload(storage: &mut Storage, content: &str) -> String {
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{content}\r\n--b--\r\n"
    );
    let file = told(storage, "POST", "/v1/files", &form, 0);
    assert_eq!((&file["filename"], &file["bytes"]), (&"in.jsonl".into(), &content.len().into()));
    file["id"].as_str().unwrap().to_owned()
}

fn chat(id: &str, more: &str) -> String {
    format!(
        r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{{"model":"small","messages":[{{"role":"user","content":"Hi {id}"}}]{more}}}}}"#
    )
}

fn create(storage: &mut Storage, input: &str) -> String {
    let body = format!(
        r#"{{"input_file_id":"{input}","endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{{"for":"a test"}}}}"#
    );
    let batch = told(storage, "POST", "/v1/batches", &body, 0);
    assert_eq!((&batch["status"], &batch["metadata"]["for"]), (&"validating".into(), &"a test".into()));
    format!("/v1/batches/{}", batch["id"].as_str().unwrap())
}

#[test]
fn a_batch_goes_through_its_states_and_ends_with_an_answer_to_every_line() {
    let mut storage = Storage::default();
    let input = format!("{}\n\n{}\n{}", chat("one", ""), chat("two", ",\"stream\":true"), chat("three", ""));
    let input = upload(&mut storage, &input);
    let batch = create(&mut storage, &input);
    let mut seen = Vec::new();
    for now_ms in [0, 99, 100, 150, 199, 200, 299] {
        let batch = told(&mut storage, "GET", &batch, "", now_ms);
        assert!(batch["output_file_id"].is_null() && batch["usage"].is_null(), "{batch}");
        seen.push((
            batch["status"].as_str().unwrap().to_owned(),
            batch["request_counts"]["completed"].as_u64().unwrap(),
        ));
    }
    let seen: Vec<_> = seen.iter().map(|(status, done)| (status.as_str(), *done)).collect();
    assert_eq!(
        seen,
        [
            ("validating", 0),
            ("validating", 0),
            ("in_progress", 0),
            ("in_progress", 1),
            ("in_progress", 2),
            ("finalizing", 2),
            ("finalizing", 2)
        ]
    );
    let done = told(&mut storage, "GET", &batch, "", 300);
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["request_counts"], json!({ "total": 3, "completed": 2, "failed": 1 }));
    assert_eq!(done, told(&mut storage, "GET", &batch, "", 9_000), "it is over");
    let lines = |storage: &mut Storage, name: &str| -> Vec<Value> {
        let id = done[name].as_str().unwrap();
        let (status, content) = ask(storage, "GET", &format!("/v1/files/{id}/content"), "", 400);
        assert_eq!(status, 200);
        content
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    };
    let answers = lines(&mut storage, "output_file_id");
    assert_eq!(answers.iter().map(|line| line["custom_id"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "three"]);
    let mut tokens = 0;
    for line in &answers {
        assert_eq!((&line["response"]["status_code"], &line["error"]), (&200.into(), &Value::Null));
        assert_eq!(line["response"]["body"]["object"], "chat.completion");
        tokens += line["response"]["body"]["usage"]["total_tokens"].as_u64().unwrap();
    }
    assert_eq!(done["usage"]["total_tokens"], tokens);
    let refused = lines(&mut storage, "error_file_id");
    assert_eq!((refused.len(), &refused[0]["custom_id"]), (1, &"two".into()));
    assert_eq!(refused[0]["response"]["status_code"], 400);
    let output = told(&mut storage, "GET", &format!("/v1/files/{}", done["output_file_id"].as_str().unwrap()), "", 0);
    assert_eq!(output["purpose"], "batch_output");
}

#[test]
fn an_input_that_is_none_fails_with_its_lines() {
    let mut storage = Storage::default();
    let elsewhere = chat("c", "").replace("/v1/chat/completions", "/v1/embeddings");
    let input = [chat("a", ""), "{".to_owned(), chat("a", ""), elsewhere, r#"{"custom_id":"d"}"#.to_owned()].join("\n");
    for (input, expected) in [
        (input.as_str(), &["invalid_json_line", "duplicate_custom_id", "invalid_url", "invalid_method"][..]),
        ("\n", &["empty_file"]),
    ] {
        let input = upload(&mut storage, input);
        let batch = create(&mut storage, &input);
        let batch = told(&mut storage, "GET", &batch, "", 100);
        assert_eq!((&batch["status"], &batch["in_progress_at"]), (&"failed".into(), &Value::Null), "{batch}");
        let errors = batch["errors"]["data"].as_array().unwrap();
        assert_eq!(errors.iter().map(|error| error["code"].as_str().unwrap()).collect::<Vec<_>>(), expected);
        assert!(batch["output_file_id"].is_null() && batch["request_counts"]["total"] == 0);
    }
}

#[test]
fn a_batch_can_be_cancelled_until_it_is_over() {
    let mut storage = Storage::default();
    let input = upload(&mut storage, &chat("a", ""));
    let batch = create(&mut storage, &input);
    let cancelled = told(&mut storage, "POST", &format!("{batch}/cancel"), "", 50);
    assert_eq!(cancelled["status"], "cancelling");
    assert_eq!(told(&mut storage, "GET", &batch, "", 149)["status"], "cancelling");
    let over = told(&mut storage, "GET", &batch, "", 150);
    assert_eq!((&over["status"], &over["in_progress_at"]), (&"cancelled".into(), &Value::Null), "{over}");
    assert_eq!(ask(&mut storage, "POST", &format!("{batch}/cancel"), "", 160).0, 400);
    assert_eq!(told(&mut storage, "GET", "/v1/files", "", 500)["data"].as_array().unwrap().len(), 1, "no output");
}

#[test]
fn files_are_kept_listed_and_deleted_and_what_is_not_there_is_not_made_up() {
    let mut storage = Storage::default();
    let ids: Vec<String> = ["a", "b", "c"].iter().map(|content| upload(&mut storage, content)).collect();
    let page = told(&mut storage, "GET", "/v1/files?limit=2&purpose=batch", "", 0);
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&ids[2].clone().into(), &true.into()));
    let rest = told(&mut storage, "GET", &format!("/v1/files?limit=2&after={}", ids[1]), "", 0);
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&ids[0].clone().into(), &false.into()));
    assert_eq!(told(&mut storage, "GET", "/v1/files?purpose=vision", "", 0)["data"], json!([]));
    let path = format!("/v1/files/{}", ids[0]);
    assert_eq!(ask(&mut storage, "GET", &format!("{path}/content"), "", 0), (200, Bytes::from_static(b"a")));
    assert_eq!(told(&mut storage, "DELETE", &path, "", 0)["deleted"], true);
    for (verb, path) in [("GET", path.as_str()), ("DELETE", &path), ("GET", "/v1/batches/batch_x")] {
        assert_eq!(ask(&mut storage, verb, path, "", 0).0, 404, "{verb} {path}");
    }
    let body = |input: &str, endpoint: &str| {
        format!(r#"{{"input_file_id":"{input}","endpoint":"{endpoint}","completion_window":"24h"}}"#)
    };
    assert_eq!(ask(&mut storage, "POST", "/v1/batches", &body("file-none", "/v1/embeddings"), 0).0, 404);
    assert_eq!(ask(&mut storage, "POST", "/v1/batches", &body(&ids[1], "/v1/audio/speech"), 0).0, 400);
}
