//! What a caller sends back with its next request, as client libraries do, and what of it finds its way home.

use serde_json::{Value, json};
use tollgate_interaction::Dialect;
use tollgate_provider::translate::{self, Asked, OnUnsupported};

use crate::scenario::{address, asked, scenarios, translated};

/// Every text that lets a provider recognise its own thoughts.
fn signatures(value: &Value, found: &mut Vec<String>) {
    let names = ["thoughtSignature", "thought_signature", "signature", "encrypted_content", "redactedContent"];
    match value {
        // What belongs to a step of the provider's own tools, which no other dialect can say.
        Value::Object(map) if map.get("type").is_some_and(|kind| kind == "web_search_result") => {}
        Value::Object(map) if map.contains_key("executableCode") || map.contains_key("toolCall") => {}
        Value::Object(map) => {
            let hides = |kind: &Value| kind == "redacted_thinking" || kind == "reasoning.encrypted";
            let hides = map.get("type").is_some_and(hides);
            for (name, value) in map {
                match value {
                    Value::String(text) if names.contains(&name.as_str()) || (hides && name == "data") => {
                        found.extend(Some(text.clone()).filter(|text| !text.is_empty()));
                    }
                    value => signatures(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| signatures(item, found)),
        _ => {}
    }
}

/// The next request of a caller that sends back the answer it was given, as client libraries do, and the results of calls.
fn second_turn(caller: Dialect, answer: &Value) -> Value {
    let each = |items: &Value, pointer: &str, name: &str, made: &dyn Fn(&Value) -> Value| -> Vec<Value> {
        let items = items.as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter(|item| item["type"] == name || item.get(name).is_some())
            .map(|item| made(item.pointer(pointer).unwrap()))
            .collect()
    };
    match caller {
        Dialect::Openai => {
            let message = &answer["choices"][0]["message"];
            let results = each(
                &message["tool_calls"],
                "/id",
                "function",
                &|id| json!({"role": "tool", "tool_call_id": id, "content": "ok"}),
            );
            let mut messages = vec![json!({"role": "user", "content": "Go."}), message.clone()];
            messages.extend(results);
            json!({"model": "m", "messages": messages})
        }
        Dialect::Anthropic => {
            let results = each(
                &answer["content"],
                "/id",
                "tool_use",
                &|id| json!({"type": "tool_result", "tool_use_id": id, "content": "ok"}),
            );
            json!({"model": "m", "max_tokens": 9, "messages": [
                {"role": "user", "content": "Go."}, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results},
            ]})
        }
        Dialect::Responses => {
            let mut input = vec![json!({"role": "user", "content": "Go."})];
            input.extend(answer["output"].as_array().unwrap().iter().cloned());
            input.extend(each(
                &answer["output"],
                "/call_id",
                "function_call",
                &|id| json!({"type": "function_call_output", "call_id": id, "output": "ok"}),
            ));
            json!({"model": "m", "input": input})
        }
        Dialect::Gemini => {
            let content = &answer["candidates"][0]["content"];
            let results = each(
                &content["parts"],
                "/functionCall",
                "functionCall",
                &|call| json!({"functionResponse": {"id": call["id"], "name": call["name"], "response": {"output": "ok"}}}),
            );
            json!({"contents": [{"role": "user", "parts": [{"text": "Go."}]}, content, {"role": "user", "parts": results}]})
        }
        Dialect::Bedrock => {
            let message = &answer["output"]["message"];
            let results = each(
                &message["content"],
                "/toolUse/toolUseId",
                "toolUse",
                &|id| json!({"toolResult": {"toolUseId": id, "content": [{"text": "ok"}]}}),
            );
            json!({"messages": [{"role": "user", "content": [{"text": "Go."}]}, message, {"role": "user", "content": results}]})
        }
    }
}

#[test]
fn what_a_provider_signed_comes_back_to_it_on_the_second_turn_of_every_caller() {
    let mut cases = 0;
    for upstream in scenarios().values() {
        let Some(body) = &upstream.answer else { continue };
        let mut signed = Vec::new();
        signatures(&serde_json::from_slice(body).unwrap(), &mut signed);
        if signed.is_empty() {
            continue;
        }
        for &caller in Dialect::ALL.iter().filter(|caller| **caller != upstream.dialect) {
            let answer = translate::answer(upstream.dialect, caller, body, &asked()).unwrap();
            let request = second_turn(caller, &serde_json::from_slice(&answer).unwrap()).to_string();
            let back =
                translate::request(caller, upstream.dialect, request.as_bytes(), address(), "m", OnUnsupported::Refuse);
            let what = format!("{} by a caller of {caller}", upstream.folder.display());
            // A signature of no words and no call has no place in some dialects; every other comes back as it was.
            let back = back.unwrap_or_else(|error| panic!("{what}: {error}"));
            let mut given = Vec::new();
            signatures(&serde_json::from_slice(&back.body).unwrap(), &mut given);
            for signature in &signed {
                assert!(given.contains(signature), "{what}: {signature} is not among {given:?}\n{request}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 40, "only {cases} signatures");
}

#[test]
fn ids_of_calls_differ_from_answer_to_answer() {
    let scenarios = scenarios();
    for (dialect, name) in [(Dialect::Openai, "tool_calls_without_ids"), (Dialect::Gemini, "tool_calls_without_ids")] {
        let upstream = &scenarios[&(dialect, name.to_owned())];
        let ids = |id: &str| -> Vec<Value> {
            let asked = Asked { id: id.to_owned(), ..asked() };
            let body =
                translate::answer(dialect, Dialect::Anthropic, upstream.answer.as_ref().unwrap(), &asked).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let blocks = body["content"].as_array().unwrap().iter();
            blocks.filter(|block| block["type"] == "tool_use").map(|block| block["id"].clone()).collect()
        };
        let (first, second) =
            (ids("01938c2e-7b1a-7c3d-9e4f-0123456789ab"), ids("01938c2e-7b1a-7c3d-9e4f-0123456789ac"));
        assert!(first.len() > 1 && first.iter().all(|id| !second.contains(id)), "{first:?} {second:?}");
        let stream = translated(upstream, Dialect::Anthropic).unwrap();
        let stream = String::from_utf8(stream).unwrap();
        for id in ids("golden") {
            assert!(stream.contains(id.as_str().unwrap()), "{id} in {stream}");
        }
    }
}
