use super::*;
use crate::observe::{self, Observer};
use serde_json::Value;
use tollgate_interaction::UsageSource;

const PROMPT: &str = r#"[{"role":"user","content":"Compare the renewal clauses of the Hamburg warehouse contract."}]"#;

fn chat(dialect: Dialect, extra: &str, script: &Script) -> SandboxReply {
    let body = format!(r#"{{"model":"small","max_tokens":400,"messages":{PROMPT}{extra}}}"#);
    respond(dialect, Operation::Chat, Address::default(), body.as_bytes(), script, 7)
}

fn json(reply: &SandboxReply) -> Value {
    serde_json::from_slice(&reply.body()).unwrap()
}

fn observed(dialect: Dialect, reply: &SandboxReply) -> observe::Observation {
    let mut observer = Observer::new(dialect, Operation::Chat, true);
    reply.frames.iter().for_each(|(_, bytes)| observer.push(bytes));
    observer.finish(true)
}

#[test]
fn the_same_call_gets_the_same_answer_and_another_seed_another_one() {
    for extra in ["", r#","stream":true"#] {
        let script = Script::default();
        assert_eq!(chat(Dialect::Openai, extra, &script), chat(Dialect::Openai, extra, &script));
        let body = format!(r#"{{"model":"small","messages":{PROMPT}{extra}}}"#);
        let seeded =
            |seed| respond(Dialect::Openai, Operation::Chat, Address::default(), body.as_bytes(), &script, seed).body();
        assert_ne!(seeded(1), seeded(2));
    }
}

#[test]
fn an_answer_fits_the_schema_that_is_asked_for_in_either_dialect() {
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"},"year":{"type":"integer"}},"required":["city","year"]}"#;
    let asked = [
        (
            Dialect::Openai,
            format!(r#","response_format":{{"type":"json_schema","json_schema":{{"name":"a","schema":{schema}}}}}"#),
            "/choices/0/message/content",
        ),
        (
            Dialect::Anthropic,
            format!(r#","output_config":{{"format":{{"type":"json_schema","schema":{schema}}}}}"#),
            "/content/0/text",
        ),
        (
            Dialect::Anthropic,
            format!(r#","output_format":{{"type":"json_schema","schema":{schema}}}"#),
            "/content/0/text",
        ),
    ];
    for (dialect, extra, place) in asked {
        let reply = json(&chat(dialect, &extra, &Script::default()));
        let written: Value = serde_json::from_str(reply.pointer(place).unwrap().as_str().unwrap()).unwrap();
        assert!(written["city"].is_string() && written["year"].is_u64(), "{extra}: {written}");
    }
}

#[test]
fn an_answer_mentions_the_prompt() {
    let reply = json(&chat(Dialect::Openai, "", &Script::default()));
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap().to_lowercase();
    assert!(
        ["compare", "renewal", "clauses", "hamburg", "warehouse", "contract"].iter().any(|word| content.contains(word))
    );
}

#[test]
fn the_streamed_and_the_whole_answer_count_alike_and_are_observed_as_such() {
    let script = Script { output_tokens: Some(60), chunk_tokens: 7, cached_input_tokens: 5, ..Script::default() };
    for dialect in [Dialect::Openai, Dialect::Anthropic] {
        let whole = observe::whole(dialect, Operation::Chat, &chat(dialect, "", &script).body());
        let extra = r#","stream":true,"stream_options":{"include_usage":true}"#;
        let streamed = observed(dialect, &chat(dialect, extra, &script));
        for observation in [&whole, &streamed] {
            assert_eq!(observation.usage_source, UsageSource::Provider);
            assert_eq!(observation.usage.output_tokens, Some(60));
            assert_eq!(observation.usage.cache_read_input_tokens, Some(5));
            assert_eq!(observation.model_served.as_deref(), Some("small"));
            assert!(observation.terminated && observation.error.is_none());
        }
        assert_eq!(whole.usage.input_tokens, streamed.usage.input_tokens);
        assert_eq!(whole.finish_reasons, streamed.finish_reasons);
    }
}

#[test]
fn a_tool_that_takes_text_is_given_some() {
    let extra = r#","tools":[{"type":"custom","custom":{"name":"shell"}}],"tool_choice":{"type":"custom","custom":{"name":"shell"}}"#;
    let reply = json(&chat(Dialect::Openai, extra, &Script::default()));
    let custom = &reply["choices"][0]["message"]["tool_calls"][0]["custom"];
    assert_eq!(custom["name"], "shell", "{reply}");
    let streamed = chat(Dialect::Openai, &format!(r#"{extra},"stream":true"#), &Script::default()).body();
    let events = String::from_utf8_lossy(&streamed);
    let pieces = events.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let input: String = pieces
        .filter_map(|piece| {
            piece.pointer("/choices/0/delta/tool_calls/0/custom/input").and_then(Value::as_str).map(str::to_owned)
        })
        .collect();
    assert!(input.contains(' '), "{events}");
}

#[test]
fn the_callers_limit_cuts_the_answer() {
    let body = format!(r#"{{"model":"small","max_completion_tokens":5,"messages":{PROMPT}}}"#);
    let reply =
        json(&respond(Dialect::Openai, Operation::Chat, Address::default(), body.as_bytes(), &Script::default(), 1));
    assert_eq!(reply["usage"]["completion_tokens"], 5);
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
}

#[test]
fn a_required_tool_is_called_with_arguments_that_fit() {
    let openai = r#","tools":[{"type":"function","function":{"name":"find","parameters":{"type":"object","properties":
        {"text":{"type":"string"},"limit":{"type":"integer"},"kind":{"enum":["lease"]},"note":{"type":"string"}},
        "required":["text","limit","kind"]}}}],"tool_choice":"required""#;
    let reply = json(&chat(Dialect::Openai, openai, &Script::default()));
    let choice = &reply["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let function = &choice["message"]["tool_calls"][0]["function"];
    let arguments: Value = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments["kind"], "lease");
    assert!(arguments["text"].is_string() && arguments["limit"].is_u64() && arguments.get("note").is_none());

    let streamed =
        observed(Dialect::Openai, &chat(Dialect::Openai, &format!(r#"{openai},"stream":true"#), &Script::default()));
    assert_eq!(streamed.finish_reasons, ["tool_calls"]);

    let anthropic = r#","tools":[{"name":"find","input_schema":{"type":"object","properties":{"text":{"type":"string"}}}}],
        "tool_choice":{"type":"tool","name":"find"}"#;
    let reply = json(&chat(Dialect::Anthropic, anthropic, &Script::default()));
    assert_eq!((&reply["stop_reason"], &reply["content"][0]["name"]), (&"tool_use".into(), &"find".into()));
    assert!(reply["content"][0]["input"]["text"].is_string());
}

#[test]
fn embeddings_come_as_floats_or_base64_and_near_texts_are_near() {
    let ask = |format: &str| {
        let body = format!(
            r#"{{"model":"embed","dimensions":64,"encoding_format":"{format}","input":["red apple pie","red apple tart","tax law"]}}"#
        );
        json(&respond(
            Dialect::Openai,
            Operation::Embeddings,
            Address::default(),
            body.as_bytes(),
            &Script::default(),
            1,
        ))
    };
    let floats = ask("float");
    let vector = |index: usize| -> Vec<f64> {
        floats["data"][index]["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let near = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
    assert!(near(&vector(0), &vector(1)) > near(&vector(0), &vector(2)) + 0.2);
    let encoded = ask("base64");
    // 64 floats are 256 bytes, which base64 writes in 344 characters.
    assert_eq!(encoded["data"][2]["embedding"].as_str().unwrap().len(), 344);
    assert_eq!(floats["usage"], encoded["usage"]);
}

#[test]
fn a_request_the_real_provider_would_refuse_is_refused_in_its_words() {
    let reply = respond(
        Dialect::Anthropic,
        Operation::Chat,
        Address::default(),
        br#"{"model":"m","messages":[]}"#,
        &Script::default(),
        1,
    );
    assert_eq!(reply.status, 400);
    assert_eq!(json(&reply)["error"]["type"], "invalid_request_error");
    let reply = respond(Dialect::Openai, Operation::Chat, Address::default(), b"{", &Script::default(), 1);
    assert_eq!(json(&reply)["error"]["code"], "invalid_json");
}

#[test]
fn the_delays_are_those_of_the_script() {
    let script = Script { ttft_ms: 40, inter_chunk_ms: 3, output_tokens: Some(4), ..Script::default() };
    let reply = chat(Dialect::Openai, r#","stream":true"#, &script);
    let delays: Vec<u64> = reply.frames.iter().map(|(delay_ms, _)| *delay_ms).collect();
    assert_eq!(delays, [40, 3, 3, 3, 3, 3, 3]);
}

#[test]
fn a_thinking_model_reports_its_reasoning_and_json_mode_answers_json() {
    let body = format!(r#"{{"model":"thinker","messages":{PROMPT},"response_format":{{"type":"json_object"}}}}"#);
    let reply =
        json(&respond(Dialect::Openai, Operation::Chat, Address::default(), body.as_bytes(), &Script::default(), 1));
    assert!(reply["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0);
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(content).unwrap().is_object());
}
