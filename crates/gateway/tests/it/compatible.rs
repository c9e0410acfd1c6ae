//! Providers that speak OpenAI's formats, each with its own ways: what they refuse, how they word errors, how they say that
//! they want to be left alone; and Amazon's names for models, which say where these are served.

use serde_json::Value;
use tollgate_gateway::{Credentials, GatewaySettings, ProviderKind, Secret};
use tollgate_interaction::{Dialect, Outcome, UsageSource};
use tollgate_provider::preset::{Preset, Presets};

use crate::harness::{Bench, CHAT, MESSAGES, chat, chat_stream, settings};
use crate::provider::{self, MESSAGE, Provider, Received, chunk, end, json, respond, stream_head};

/// The settings of the bench with its provider `up` being the preset `name`, at its scripted address.
fn as_preset(up: &Provider, name: &str) -> GatewaySettings {
    let preset: &Preset = Presets::builtin().find(name).unwrap();
    let mut settings = settings(up.address);
    let provider = &mut settings.providers[0];
    (provider.has, provider.quirks) = (Some(preset.has.clone()), preset.quirks());
    provider.has_responses = preset.has(tollgate_provider::preset::Api::Responses);
    settings
}

const MISTRAL: [&str; 2] = [
    "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":100,\"total_tokens\":1100}}\n\n",
];

#[tokio::test]
async fn a_provider_that_refuses_stream_options_is_sent_none_and_counted_all_the_same() {
    let stream = [stream_head(), chunk(MISTRAL[0]), chunk(MISTRAL[1]), chunk("data: [DONE]\n\n"), end()];
    let up = Provider::answering(stream.to_vec()).await;
    let bench = Bench::start(as_preset(&up, "mistral")).await;
    let body = chat_stream("up/small");
    let answer = bench.post(CHAT, &body).await;
    assert!(answer.body.starts_with(&[MISTRAL[0], MISTRAL[1], "data: [DONE]\n\n"].concat()), "{}", answer.body);
    assert_eq!(up.received()[0].body, body.replace("up/small", "small"));
    let record = bench.row(&answer).record;
    assert_eq!((record.usage.input_tokens, record.usage_source), (Some(1000), UsageSource::Provider));
    // A request that the gateway writes itself has the limit's old name and no options.
    let message = r#"{"model":"up/o9","stream":true,"max_tokens":20,"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = bench.post(MESSAGES, message).await;
    assert!(answer.body.contains("message_stop"), "{}", answer.body);
    let sent: Value = serde_json::from_str(&up.received()[1].body).unwrap();
    assert!(sent.get("stream_options").is_none() && sent.get("max_completion_tokens").is_none(), "{sent}");
    assert_eq!((&sent["max_tokens"], &sent["stream"]), (&20.into(), &true.into()));
}

#[tokio::test]
async fn a_provider_with_the_responses_api_alone_serves_callers_of_chat() {
    let response = r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"small","output":[{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hello","annotations":[]}]}],"usage":{"input_tokens":1000,"output_tokens":100,"total_tokens":1100,"cost":{"currency":"USD","total_cost":0.25}}}"#;
    let up = Provider::answering(json(200, response)).await;
    let bench = Bench::start(as_preset(&up, "perplexity")).await;
    let answer = bench.post(CHAT, &chat("up/small")).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hello", "{}", answer.body);
    assert!(up.received()[0].head.starts_with("post /v1/responses "), "{}", up.received()[0].head);
    let record = bench.row(&answer).record;
    assert_eq!((record.upstream_dialect, record.usage.input_tokens), (Some(Dialect::Responses), Some(1000)));
    assert_eq!(record.provider_cost_usd, Some("0.25".parse().unwrap()));
}

#[tokio::test]
async fn what_a_provider_does_not_have_is_refused_before_it_is_called() {
    let up = Provider::answering(json(200, provider::CHAT)).await;
    let bench = Bench::start(as_preset(&up, "groq")).await;
    let answer = bench.post("/v1/embeddings", r#"{"model":"up/e","input":"hi"}"#).await;
    let code = &answer.json()["error"]["code"];
    assert_eq!((answer.status.as_u16(), code), (400, &"operation_not_supported".into()));
    let bench = Bench::start(as_preset(&up, "jina")).await;
    let answer = bench.post(CHAT, &chat("up/small")).await;
    assert_eq!(answer.json()["error"]["code"], "operation_not_supported");
    assert!(up.received().is_empty());
}

#[tokio::test]
async fn an_error_that_client_libraries_cannot_read_is_reworded_and_recorded_as_it_came() {
    let cases = [
        (
            422,
            r#"{"detail":[{"loc":["body","tools"],"msg":"Extra inputs are not permitted","type":"extra_forbidden"}]}"#,
            "body.tools: Extra inputs are not permitted",
            "invalid_request",
        ),
        (
            404,
            r#"{"error":"model \"m\" not found, try pulling it first"}"#,
            "model \"m\" not found, try pulling it first",
            "not_found",
        ),
        (
            400,
            r#"{"message":"too many tokens: size limit exceeded by 9 tokens"}"#,
            "too many tokens: size limit exceeded by 9 tokens",
            "context_length",
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 9 tokens.","type":"BadRequestError","param":null,"code":400}"#,
            "This model's maximum context length is 9 tokens.",
            "context_length",
        ),
    ];
    for (status, body, message, class) in cases {
        let up = Provider::answering(json(status, body)).await;
        let bench = Bench::start(settings(up.address)).await;
        for path in [CHAT, MESSAGES] {
            let request = format!(r#"{{"max_tokens":5,{}"#, &chat("up/small")[1..]);
            let answer = bench.post(path, &request).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["error"]["message"]),
                (status, &message.into()),
                "{body}"
            );
            let row = bench.row(&answer);
            assert_eq!(row.record.error_type.as_deref(), Some(class), "{body}");
            assert_eq!(row.settled.response.body, body.as_bytes(), "the record holds what the provider said");
        }
    }
    let native = r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null},"x":1}"#;
    let up = Provider::answering(json(400, native)).await;
    let bench = Bench::start(settings(up.address)).await;
    assert_eq!(bench.post(CHAT, &chat("up/small")).await.body, native, "an error in the caller's shape is passed on");
}

#[tokio::test]
async fn limits_and_waits_reach_the_caller_in_every_dialect() {
    let headers = "content-type: application/json\r\nx-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 0\r\n\
                   x-ratelimit-reset-requests: 1m30.5s\r\n";
    let slow = r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#;
    let google = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.07s"}]}}"#;
    let up = Provider::start(move |request: &Received| {
        if request.head.contains("generatecontent") { json(429, google) } else { respond(429, headers, slow) }
    })
    .await;
    let request = |model: &str| format!(r#"{{"max_tokens":5,{}"#, &chat(model)[1..]);
    for (path, model) in
        [(CHAT, "up/small"), (MESSAGES, "up/small"), (MESSAGES, "claude/small"), (CHAT, "claude/small")]
    {
        // The target is left alone from here on.
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post(path, &request(model)).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "91"), "{model} {}", answer.body);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "60");
        assert_eq!(answer.header("x-ratelimit-reset-requests"), "1m30.5s");
        assert_eq!(bench.row(&answer).record.error_type.as_deref(), Some("rate_limited"));
    }
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(CHAT, &request("google/small")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "35"), "{}", answer.body);
    // Of a good answer, too.
    let headers = "content-type: application/json\r\nx-ratelimit-remaining-tokens: 149984\r\nanthropic-ratelimit-requests-remaining: 9\r\n";
    let up = Provider::start(move |request: &Received| {
        respond(200, headers, if request.head.contains("/messages") { MESSAGE } else { provider::CHAT })
    })
    .await;
    let bench = Bench::start(settings(up.address)).await;
    for (path, model) in [(CHAT, "up/small"), (MESSAGES, "claude/small"), (CHAT, "claude/small")] {
        let answer = bench.post(path, &request(model)).await;
        assert_eq!(answer.header("x-ratelimit-remaining-tokens"), "149984", "{model}");
        assert_eq!(answer.header("anthropic-ratelimit-requests-remaining"), "9", "{model}");
    }
}

#[tokio::test]
async fn an_unreadable_refusal_still_says_when_to_come_back() {
    let up = Provider::answering(respond(429, "content-type: text/html\r\nretry-after: 7\r\n", "<h1>slow</h1>")).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(CHAT, &chat("up/small")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"), "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], "upstream_error");
}

/// The first target answers so, the second well; says how many attempts the second call makes.
async fn second_call_after(status: u16, headers: &'static str) -> String {
    let up = Provider::start(move |request: &Received| {
        if request.body.contains("\"large\"") {
            return respond(status, headers, r#"{"error":{"message":"not now","type":"t"}}"#);
        }
        json(200, provider::CHAT)
    })
    .await;
    let bench = Bench::start(settings(up.address)).await;
    let first = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((first.status.as_u16(), first.header("x-tollgate-attempts")), (200, "2"), "{}", first.body);
    bench.post(CHAT, &chat("assistant")).await.header("x-tollgate-attempts").to_owned()
}

#[tokio::test]
async fn a_target_that_asked_to_be_left_alone_is_until_then() {
    assert_eq!(second_call_after(429, "retry-after: 30\r\n").await, "1");
    assert_eq!(second_call_after(429, "retry-after-ms: 30000\r\n").await, "1");
    let used_up = "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 30s\r\n";
    assert_eq!(second_call_after(429, used_up).await, "1");
    assert_eq!(second_call_after(429, "retry-after: 0\r\n").await, "2");
    assert_eq!(second_call_after(503, "retry-after: 30\r\n").await, "1");
    assert_eq!(second_call_after(503, "").await, "2");
    assert_eq!(second_call_after(402, "").await, "2", "an empty account is a reason to try the next");
}

#[tokio::test]
async fn a_key_that_is_refused_with_a_bad_status_is_still_the_gateways_own() {
    let xai = r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: sk***or."}"#;
    let up = Provider::answering(json(400, xai)).await;
    let bench = Bench::start(settings(up.address)).await;
    let answer = bench.post(CHAT, &chat("up/small")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (502, &"upstream_credentials".into()));
    assert!(!answer.body.contains("sk***or"), "{}", answer.body);
}

#[tokio::test]
async fn a_profile_of_amazons_is_priced_and_placed_by_its_geography() {
    let converse = r#"{"output":{"message":{"role":"assistant","content":[{"text":"hello"}]}},"stopReason":"end_turn","usage":{"inputTokens":1000,"outputTokens":100,"totalTokens":1100},"metrics":{"latencyMs":1}}"#;
    let up = Provider::answering(json(200, converse)).await;
    let mut settings = settings(up.address);
    let amazon = settings.providers.iter_mut().find(|provider| provider.kind == ProviderKind::Bedrock).unwrap();
    (amazon.region, amazon.price_as) = (Some("eu-central-1".into()), None);
    amazon.credentials = Credentials::Aws {
        access_key_id: "ASIA1".into(),
        secret_access_key: Secret::new("secret"),
        session_token: Some(Secret::new("session")),
    };
    let bench = Bench::start(settings).await;
    let model = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    let profile = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/";
    let mut costs = Vec::new();
    for (name, region) in [
        (model.to_owned(), "eu-central-1"),
        (format!("eu.{model}"), "eu"),
        (format!("{profile}eu.{model}"), "eu"),
        (format!("global.{model}"), "global"),
    ] {
        let answer = bench.post(CHAT, &chat(&format!("amazon/{name}"))).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.region.as_deref()), (Outcome::Success, Some(region)), "{name}");
        assert!(record.price_id.is_some(), "{name} has no price");
        costs.push(record.cost_usd.unwrap());
        let head = up.received().pop().unwrap().head;
        assert!(
            head.contains("/eu-central-1/bedrock/aws4_request") && head.contains("x-amz-security-token: session"),
            "{head}"
        );
    }
    assert_eq!(costs[1], costs[2], "an ARN is priced as the profile it names");
    let application = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc";
    let answer = bench.post(CHAT, &chat(&format!("amazon/{application}"))).await;
    assert_eq!(bench.row(&answer).record.cost_usd, None, "an application's own profile does not tell its model");
}
