//! Files and batches: kept by a provider, passed through to it, and every look at them a row.

use http::Method;
use tollgate_interaction::{Operation, Outcome, UsageSource};

use crate::harness::{Bench, settings};
use crate::provider::{self, Provider, Received, bytes, respond};

const FILE: &str = r#"{"id":"file-1","object":"file","bytes":9,"created_at":1,"filename":"a.jsonl","purpose":"batch","status":"processed"}"#;
const BATCH: &str = r#"{"id":"batch_1","object":"batch","model":"gpt-5","status":"completed","errors":null,"usage":{"input_tokens":900,"output_tokens":90,"total_tokens":990}}"#;

fn script(request: &Received) -> Vec<provider::Step> {
    match request.head.split(' ').nth(1).unwrap_or_default() {
        path if path.contains("/content") => bytes("application/octet-stream", b"{\"a\":1}\n{\"a\":2}\n"),
        path if path.contains("missing") => {
            provider::json(404, r#"{"error":{"message":"No such File object","type":"invalid_request_error"}}"#)
        }
        path if path.contains("page") => respond(200, "content-type: text/html\r\n", "<h1>hi</h1>"),
        path if path.contains("batches") => provider::json(200, BATCH),
        _ => provider::json(200, FILE),
    }
}

/// One provider that keeps files, beside others that do not.
async fn bench() -> (Bench, Provider) {
    let up = Provider::start(script).await;
    let mut settings = settings(up.address);
    settings.providers.retain(|provider| provider.name != "gone");
    settings.models.clear();
    (Bench::start(settings).await, up)
}

#[tokio::test]
async fn each_request_reaches_the_provider_as_it_is_and_becomes_a_row() {
    let (bench, up) = bench().await;
    for (method, path, operation) in [
        (Method::GET, "/v1/files?limit=2&after=file-0", Operation::Files),
        (Method::GET, "/v1/files/file-1", Operation::Files),
        (Method::GET, "/v1/files/file-1/content", Operation::Files),
        (Method::DELETE, "/v1/files/file-1", Operation::Files),
        (Method::GET, "/v1/batches", Operation::Batches),
        (Method::GET, "/v1/batches/batch_1", Operation::Batches),
        (Method::POST, "/v1/batches/batch_1/cancel", Operation::Batches),
    ] {
        let answer = bench.ask(method.clone(), path, &[]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let head = up.received().pop().unwrap().head;
        assert!(head.starts_with(&format!("{method} {path} http/1.1").to_lowercase()), "{head}");
        assert!(head.contains("authorization: bearer sk-operator"), "{head}");
        let record = bench.row(&answer).record;
        assert_eq!((record.operation, record.outcome), (operation, Outcome::Success), "{path}");
        assert_eq!((record.provider.as_deref(), record.model_requested.as_str()), (Some("up"), ""));
        // The tokens of a batch are not those of looking at it.
        assert_eq!(
            (record.usage_source, record.cost_usd, record.model_served),
            (UsageSource::None, None, None),
            "{path}"
        );
        assert_eq!(answer.header("x-tollgate-provider"), "up");
    }
}

#[tokio::test]
async fn an_upload_and_a_batch_are_passed_on_whole() {
    let (bench, up) = bench().await;
    let line = "{\"custom_id\":\"1\",\"body\":{\"model\":\"x\"}}\n";
    let parts: [(&str, &[u8]); 2] =
        [("name=\"purpose\"", b"batch"), ("name=\"file\"; filename=\"a.jsonl\"", line.as_bytes())];
    let answer = bench.send(bench.upload("/v1/files", &parts)).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, FILE));
    let received = up.received().pop().unwrap();
    assert!(received.head.contains("content-type: multipart/form-data; boundary=edge"), "{}", received.head);
    assert!(received.body.contains(line) && received.body.ends_with("--edge--\r\n"));
    assert_eq!(bench.row(&answer).record.operation, Operation::Files);
    let body = r#"{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"}"#;
    let answer = bench.post("/v1/batches", body).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, BATCH));
    assert_eq!(up.received().pop().unwrap().body, body);
    assert_eq!(bench.row(&answer).record.outcome, Outcome::Success);
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_the_provider_s_words_or_ours() {
    let (bench, _up) = bench().await;
    let missing = bench.get("/v1/files/missing").await;
    assert_eq!((missing.status.as_u16(), &missing.json()["error"]["message"]), (404, &"No such File object".into()));
    let record = bench.row(&missing).record;
    assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("not_found")));
    let page = bench.get("/v1/files/page").await;
    assert_eq!((page.status.as_u16(), &page.json()["error"]["code"]), (502, &"upstream_invalid_response".into()));
    // A path that leads elsewhere is no call at all.
    for path in ["/v1/files/%2e%2e/models", "/v1/files/a/b/c"] {
        let answer = bench.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (404, &"path_not_found".into()),
            "{path}"
        );
    }
    let none = bench.ask(Method::GET, "/v1/files", &[("x-tollgate-provider", "claude")]).await;
    assert_eq!((none.status.as_u16(), &none.json()["error"]["code"]), (400, &"operation_not_supported".into()));
    assert!(none.body.contains("`up` has it"), "{}", none.body);
}

#[tokio::test]
async fn a_provider_is_named_where_several_keep_files_and_nobody_is_guessed() {
    let up = Provider::start(script).await;
    let bench = Bench::start(settings(up.address)).await;
    let unclear = bench.get("/v1/files").await;
    assert_eq!((unclear.status.as_u16(), &unclear.json()["error"]["code"]), (400, &"provider_ambiguous".into()));
    assert!(unclear.body.contains("`gone`, `up`") && unclear.body.contains("x-tollgate-provider"), "{}", unclear.body);
    let named = bench.ask(Method::GET, "/v1/files", &[("x-tollgate-provider", "up")]).await;
    assert_eq!(named.status, 200);
    let mut none = settings(up.address);
    none.providers.retain(|provider| provider.name == "sandbox");
    none.models.clear();
    let bench = Bench::start(none).await;
    let answer = bench.get("/v1/files").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (400, &"operation_not_supported".into()));
    assert!(answer.body.contains("`files`") && answer.body.contains("add one under `providers`"), "{}", answer.body);
}

#[tokio::test]
async fn anthropic_keeps_files_and_batches_for_its_own_callers() {
    let script = |request: &Received| match request.head.contains("/results") {
        true => bytes("application/x-jsonl", b"{\"custom_id\":\"1\"}\n{\"custom_id\":\"2\"}\n"),
        false => provider::json(200, r#"{"id":"x","type":"message_batch","processing_status":"ended"}"#),
    };
    let up = Provider::start(script).await;
    let bench = Bench::start(settings(up.address)).await;
    let version = [("anthropic-version", "2023-06-01"), ("anthropic-beta", "files-api-2025-04-14")];
    for (method, path, operation) in [
        (Method::GET, "/v1/files", Operation::Files),
        (Method::DELETE, "/v1/files/file_1", Operation::Files),
        (Method::POST, "/v1/messages/batches", Operation::Batches),
        (Method::GET, "/v1/messages/batches/b_1/results", Operation::Batches),
    ] {
        let answer = bench.ask(method.clone(), path, &version).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, "claude"), "{}", answer.body);
        let head = up.received().pop().unwrap().head;
        assert!(head.starts_with(&format!("{method} {path} http/1.1").to_lowercase()), "{head}");
        assert!(head.contains("x-api-key: sk-operator") && head.contains("files-api-2025-04-14"), "{head}");
        let record = bench.row(&answer).record;
        assert_eq!((record.operation, record.outcome), (operation, Outcome::Success), "{path}");
        assert_eq!(
            (record.dialect, record.usage_source),
            (tollgate_interaction::Dialect::Anthropic, UsageSource::None)
        );
    }
}
