//! Providers that want an access token: Vertex AI and Azure with Entra. Authority and provider are one scripted server; an
//! assertion's signature is checked with the public half of the key it was made with, which is nobody's but this test's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollgate_gateway::{Credentials, GatewaySettings, ProviderKind, Secret, TokenSource, read_credentials};
use tollgate_interaction::{Dialect, Outcome};

use crate::harness::{Bench, CHAT, MESSAGES, chat, chat_stream, now_us, settings};
use crate::provider::{self, CHUNKS, MESSAGE, Provider, Received, Step, chunk, end, json, stream_head};

const KEY: &str = include_str!("keys/service_account.pem");
const PUBLIC_KEY: &str = include_str!("keys/service_account.pub.pem");
const GEMINI: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hello"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1000,"candidatesTokenCount":100,"totalTokenCount":1100},"modelVersion":"gemini-2.5-flash"}"#;

fn asks_for_token(request: &Received) -> bool {
    request.head.contains(" /token ") || request.head.contains("/oauth2/") || request.head.contains("/computemetadata/")
}

fn token(name: &str, life_s: u64) -> Vec<Step> {
    json(200, &json!({"access_token": name, "expires_in": life_s, "token_type": "Bearer"}).to_string())
}

/// What a provider of any format answers.
fn answer(request: &Received) -> Vec<Step> {
    if request.head.contains("rawpredict") {
        return json(200, MESSAGE);
    }
    if request.head.contains("generatecontent") {
        return json(200, GEMINI);
    }
    json(200, provider::CHAT)
}

/// The settings of the bench with a provider `vertex` (and `entra`, an Azure) that gets its tokens from `up`.
fn with_tokens(up: &Provider) -> GatewaySettings {
    let mut settings = settings(up.address);
    let address = up.address;
    let file = json!({
        "type": "service_account", "project_id": "acme-ai", "private_key_id": "key-7", "private_key": KEY,
        "client_email": "tollgate@acme-ai.iam.gserviceaccount.com", "token_uri": format!("http://{address}/token"),
    });
    let (source, project) = read_credentials(&file.to_string()).unwrap();
    let mut vertex = settings.providers[0].clone();
    vertex.name = "vertex".into();
    vertex.kind = ProviderKind::Vertex;
    vertex.region = Some("europe-west4".into());
    vertex.project = project;
    vertex.price_as = None;
    vertex.credentials = Credentials::Token(source);
    let mut entra = settings.providers[0].clone();
    entra.name = "entra".into();
    entra.kind = ProviderKind::Azure;
    entra.credentials = Credentials::Token(TokenSource::Entra {
        authority: format!("http://{address}"),
        tenant_id: "contoso".into(),
        client_id: "app-1".into(),
        client_secret: Secret::new("s3cret"),
        scope: "https://cognitiveservices.azure.com/.default".into(),
    });
    settings.providers.extend([vertex, entra]);
    settings.models[0].targets = vec!["vertex/gemini-2.5-flash".into(), "up/small".into()];
    settings
}

fn last_call(up: &Provider) -> Received {
    up.received().into_iter().rfind(|request| !asks_for_token(request)).unwrap()
}

fn tokens_asked(up: &Provider) -> Vec<Received> {
    up.received().into_iter().filter(asks_for_token).collect()
}

/// The claims of a service account's assertion, once its signature has been found to be good.
fn claims(form: &str) -> (Value, Value) {
    let assertion = form.split("assertion=").nth(1).unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let der: String = PUBLIC_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = ring::signature::UnparsedPublicKey::new(
        &ring::signature::RSA_PKCS1_2048_8192_SHA256,
        STANDARD.decode(der).unwrap(),
    );
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).expect("a good signature");
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    (read(header), read(claims))
}

#[tokio::test]
async fn gemini_on_vertex_is_called_with_a_token_that_a_signed_assertion_gave() {
    let up =
        Provider::start(|request| if asks_for_token(request) { token("ya29.one", 3_600) } else { answer(request) })
            .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    for _ in 0..2 {
        let answer = bench.post("/v1beta/models/vertex/gemini-2.5-flash:generateContent", body).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, GEMINI));
        let record = bench.row(&answer).record;
        assert_eq!((record.region.as_deref(), record.upstream_dialect), (Some("europe-west4"), Some(Dialect::Gemini)));
        assert_eq!(record.price_id.as_deref(), Some("vertex/gemini-2.5-flash@release"), "{record:?}");
    }
    let called = last_call(&up);
    let path =
        "post /v1/projects/acme-ai/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generatecontent ";
    assert!(called.head.starts_with(path), "{}", called.head);
    assert!(called.head.contains("authorization: bearer ya29.one\r\n"), "{}", called.head);
    assert_eq!(called.body, body, "the caller's own bytes");

    let asked = tokens_asked(&up);
    assert_eq!(asked.len(), 1, "one token for two calls");
    assert!(asked[0].head.starts_with("post /token http/1.1\r\n"), "{}", asked[0].head);
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    assert!(asked[0].body.starts_with(grant), "{}", asked[0].body);
    let (header, claims) = claims(&asked[0].body);
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "key-7"}));
    assert_eq!(claims["iss"], "tollgate@acme-ai.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], format!("http://{}/token", up.address));
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    let (issued, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((now_us() / 1_000_000 - issued).abs() < 60 && ends == issued + 3_600, "{claims}");
}

#[tokio::test]
async fn a_stream_of_another_dialect_is_translated_from_gemini_on_vertex() {
    let up = Provider::start(|request| {
        if asks_for_token(request) {
            return token("t", 3_600);
        }
        vec![stream_head(), chunk(format!("data: {GEMINI}\n\n")), end()]
    })
    .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let answer = bench.post(CHAT, &chat_stream("vertex/google/gemini-2.5-flash")).await;
    assert!(answer.body.contains("hello") && answer.body.contains("data: [DONE]\n\n"), "{}", answer.body);
    let head = last_call(&up).head;
    assert!(head.contains("/publishers/google/models/gemini-2.5-flash:streamgeneratecontent?alt=sse "), "{head}");
    let record = bench.row(&answer).record;
    assert_eq!((record.usage.input_tokens, record.cost_usd.is_some()), (Some(1000), true), "{record:?}");
}

#[tokio::test]
async fn claude_on_vertex_gets_the_callers_bytes_with_a_version_in_place_of_the_model() {
    let up = Provider::start(|request| if asks_for_token(request) { token("t", 3_600) } else { answer(request) }).await;
    let bench = Bench::start(with_tokens(&up)).await;
    let models = "/v1/projects/acme-ai/locations/europe-west4/publishers/anthropic/models/";
    let body = |model: &str, stream: bool| {
        format!(
            r#"{{ "max_tokens":9,"model":"{model}", "stream":{stream},"messages":[{{"role":"user","content":"hi"}}],"x":1e2}}"#
        )
    };
    for (model, stream, method) in [
        ("vertex/claude-sonnet-4-5@20250929", false, "claude-sonnet-4-5@20250929:rawpredict"),
        ("vertex/anthropic/claude-sonnet-4-5@20250929", true, "claude-sonnet-4-5@20250929:streamrawpredict"),
    ] {
        let answer = bench.post(MESSAGES, &body(model, stream)).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, MESSAGE));
        let called = last_call(&up);
        assert!(called.head.starts_with(&format!("post {models}{method} ")), "{}", called.head);
        let expected =
            body(model, stream).replace(&format!(r#""model":"{model}""#), r#""anthropic_version":"vertex-2023-10-16""#);
        assert_eq!(called.body, expected);
        let record = bench.row(&answer).record;
        assert_eq!((record.upstream_dialect, record.usage.input_tokens), (Some(Dialect::Anthropic), Some(1000)));
        // The scripted answer is of `small`, so that the model asked for gives the price: with a region, the regional one.
        let price = record.price_id.as_deref();
        assert_eq!(price, Some("vertex/claude-sonnet-4-5@release?region=regional"), "{record:?}");
    }
    let answer = bench.post(CHAT, &chat("vertex/claude-sonnet-4-5@20250929")).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hello");
    let sent: Value = serde_json::from_str(&last_call(&up).body).unwrap();
    assert_eq!(sent["anthropic_version"], "vertex-2023-10-16");
    assert!(sent.get("model").is_none() && sent["messages"][0]["role"] == "user", "{sent}");
}

#[tokio::test]
async fn models_of_others_on_vertex_are_spoken_to_in_openais_words() {
    let up = Provider::start(|request| if asks_for_token(request) { token("t", 3_600) } else { answer(request) }).await;
    let bench = Bench::start(with_tokens(&up)).await;
    let answer = bench.post(CHAT, &chat("vertex/meta/llama-4-maverick")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let called = last_call(&up);
    let path = "post /v1/projects/acme-ai/locations/europe-west4/endpoints/openapi/chat/completions ";
    assert!(called.head.starts_with(path), "{}", called.head);
    assert!(called.body.contains(r#""model":"meta/llama-4-maverick""#), "{}", called.body);
}

#[tokio::test]
async fn calls_at_the_same_moment_wait_for_one_token() {
    let up = Provider::start(|request| {
        if asks_for_token(request) {
            return [vec![Step::Wait(Duration::from_millis(150))], token("t", 3_600)].concat();
        }
        answer(request)
    })
    .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let body = chat("vertex/gemini-2.5-flash");
    let call = || bench.post(CHAT, &body);
    let (a, b, c, d) = tokio::join!(call(), call(), call(), call());
    for answer in [a, b, c, d] {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!((tokens_asked(&up).len(), bench.rows().len()), (1, 4));
}

#[tokio::test]
async fn a_token_that_has_ended_or_was_refused_is_not_used_again() {
    let up = Provider::start(|request| {
        if asks_for_token(request) {
            return token("short", 1);
        }
        answer(request)
    })
    .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let body = chat("vertex/gemini-2.5-flash");
    assert_eq!(bench.post(CHAT, &body).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(bench.post(CHAT, &body).await.status, 200);
    assert_eq!(tokens_asked(&up).len(), 2);

    let up = Provider::start(|request| {
        if asks_for_token(request) {
            return token("t", 3_600);
        }
        json(401, r#"{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}"#)
    })
    .await;
    let bench = Bench::start(with_tokens(&up)).await;
    for _ in 0..2 {
        let answer = bench.post(CHAT, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (502, &"upstream_credentials".into()));
    }
    assert_eq!(tokens_asked(&up).len(), 2, "a refused token is forgotten");
}

#[tokio::test]
async fn without_a_token_the_caller_is_told_why_in_its_own_words_and_there_is_a_row() {
    let refusal = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature for key s3cret-hint"}"#;
    let up = Provider::start(move |request| if asks_for_token(request) { json(400, refusal) } else { answer(request) })
        .await;
    let bench = Bench::start(with_tokens(&up)).await;
    for path in [CHAT, MESSAGES] {
        let body = format!(r#"{{"max_tokens":5,{}"#, &chat("vertex/gemini-2.5-flash")[1..]);
        let answer = bench.post(path, &body).await;
        assert_eq!(answer.status.as_u16(), 502, "{}", answer.body);
        let told = answer.json();
        let message = told["error"]["message"].as_str().unwrap();
        for part in ["`vertex`", "access token", "invalid_grant", &up.address.to_string()] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert!(!answer.body.contains("s3cret-hint"), "the authority's own words are the operator's");
        let row = bench.row(&answer);
        assert_eq!((row.record.outcome, row.record.error_type.as_deref()), (Outcome::Failed, Some("upstream_token")));
        assert_eq!(row.record.attempts[0].error_class.as_deref(), Some("upstream_token"));
        assert!(row.was_opened);
    }
    assert!(up.received().iter().all(asks_for_token), "nobody was called without a token");
    // Another target needs none.
    let answer = bench.post(CHAT, &chat("assistant")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-provider")), (200, "up"));
}

#[tokio::test]
async fn calls_that_waited_for_a_token_fail_with_the_one_attempt() {
    let up = Provider::start(|_| [vec![Step::Wait(Duration::from_millis(150))], json(503, "{}")].concat()).await;
    let bench = Bench::start(with_tokens(&up)).await;
    let body = chat("vertex/gemini-2.5-flash");
    let (a, b, c) = tokio::join!(bench.post(CHAT, &body), bench.post(CHAT, &body), bench.post(CHAT, &body));
    for answer in [a, b, c] {
        assert_eq!(answer.status.as_u16(), 502, "{}", answer.body);
    }
    assert_eq!(tokens_asked(&up).len(), 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_while_a_token_is_fetched_is_charged_nothing() {
    let up = Provider::start(|_| vec![Step::Hang]).await;
    let bench = Bench::start(with_tokens(&up)).await;
    let request = bench.request(CHAT, chat("vertex/gemini-2.5-flash"));
    let hung_up = tokio::time::timeout(Duration::from_millis(200), bench.open(request)).await;
    assert!(hung_up.is_err());
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.cost_usd, record.usage.input_tokens), (Outcome::Cancelled, None, None));
    assert_eq!(record.attempts.len(), 1);
}

#[tokio::test]
async fn azure_is_called_with_a_token_of_entra() {
    let up =
        Provider::start(|request| if asks_for_token(request) { token("eyJ.entra", 3_600) } else { answer(request) })
            .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let answer = bench.post(CHAT, &chat("entra/gpt-5")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let asked = &tokens_asked(&up)[0];
    assert!(asked.head.starts_with("post /contoso/oauth2/v2.0/token "), "{}", asked.head);
    assert_eq!(
        asked.body,
        "grant_type=client_credentials&client_id=app-1&client_secret=s3cret&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
    );
    let head = last_call(&up).head;
    assert!(head.starts_with("post /openai/v1/chat/completions "), "{head}");
    assert!(head.contains("authorization: bearer eyj.entra\r\n") && !head.contains("api-key"), "{head}");
}

#[tokio::test]
async fn a_machine_at_google_asks_its_metadata_server() {
    let up =
        Provider::start(|request| if asks_for_token(request) { token("ya29.m", 3_600) } else { answer(request) }).await;
    let mut settings = with_tokens(&up);
    let vertex = settings.providers.iter_mut().find(|provider| provider.name == "vertex").unwrap();
    vertex.credentials = Credentials::Token(TokenSource::MetadataServer { url: format!("http://{}", up.address) });
    vertex.region = Some("global".into());
    let bench = Bench::start(settings).await;
    let answer = bench.post(CHAT, &chat("vertex/gemini-2.5-flash")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let head = &tokens_asked(&up)[0].head;
    assert!(head.starts_with("get /computemetadata/v1/instance/service-accounts/default/token "), "{head}");
    assert!(head.contains("metadata-flavor: google\r\n"), "{head}");
    assert!(last_call(&up).head.contains("/locations/global/"));
}

#[tokio::test]
async fn a_stream_that_needs_a_token_first_is_a_stream_all_the_same() {
    let up = Provider::start(|request| {
        if asks_for_token(request) {
            return token("t", 3_600);
        }
        let mut steps = vec![stream_head()];
        steps.extend(CHUNKS.map(chunk));
        steps.push(end());
        steps
    })
    .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let answer = bench.post(CHAT, &chat_stream("entra/gpt-5")).await;
    assert!(answer.body.contains("data: [DONE]\n\n"), "{}", answer.body);
    assert_eq!(bench.row(&answer).record.usage.output_tokens, Some(100));
}

#[tokio::test]
async fn vectors_are_made_on_vertex_for_every_caller() {
    let predictions =
        r#"{"predictions":[{"embeddings":{"values":[0.5],"statistics":{"token_count":3,"truncated":false}}}]}"#;
    let up =
        Provider::start(
            move |request| {
                if asks_for_token(request) { token("t", 3_600) } else { provider::json(200, predictions) }
            },
        )
        .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let openai = r#"{"model":"vertex/text-embedding-005","input":"a","dimensions":8}"#;
    let google = r#"{"content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY"}"#;
    for (path, body, values, sent) in [
        (
            "/v1/embeddings",
            openai,
            "/data/0/embedding",
            r#"{"instances":[{"content":"a"}],"parameters":{"outputDimensionality":8}}"#,
        ),
        (
            "/v1beta/models/vertex/text-embedding-005:embedContent",
            google,
            "/embedding/values",
            r#"{"instances":[{"content":"a","task_type":"RETRIEVAL_QUERY"}]}"#,
        ),
    ] {
        let answer = bench.post(path, body).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        assert_eq!(answer.json().pointer(values), Some(&json!([0.5])), "{}", answer.body);
        let called = last_call(&up);
        let expected = "/publishers/google/models/text-embedding-005:predict ";
        assert!(called.head.contains(expected), "{}", called.head);
        let (told, sent): (Value, Value) = (called.body.parse().unwrap(), sent.parse().unwrap());
        assert_eq!(told, sent);
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.usage.input_tokens), (Outcome::Success, Some(3)));
        assert_eq!(record.model_served.as_deref(), Some("text-embedding-005"));
    }
    let refused = bench.post("/v1/embeddings", r#"{"model":"vertex/claude-opus-5","input":"a"}"#).await;
    assert_eq!(refused.json()["error"]["code"], "operation_not_supported", "{}", refused.body);
}

#[tokio::test]
async fn claude_s_tokens_are_counted_on_vertex() {
    let up = Provider::start(|request| {
        if asks_for_token(request) { token("t", 3_600) } else { provider::json(200, r#"{"input_tokens":7}"#) }
    })
    .await;
    let bench = Bench::start(with_tokens(&up)).await;
    let own = r#"{"model":"vertex/anthropic/claude-opus-5","messages":[{"role":"user","content":"hi"}]}"#;
    let google = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    for (path, body, told) in [
        ("/v1/messages/count_tokens", own, json!({ "input_tokens": 7 })),
        ("/v1beta/models/vertex%2Fclaude-opus-5:countTokens", google, json!({ "totalTokens": 7 })),
    ] {
        let answer = bench.post(path, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, told), "{}", answer.body);
        let called = last_call(&up);
        assert!(called.head.contains("/publishers/anthropic/models/count-tokens:rawpredict "), "{}", called.head);
        let body: Value = called.body.parse().unwrap();
        assert_eq!(
            (&body["model"], &body["anthropic_version"]),
            (&json!("claude-opus-5"), &json!("vertex-2023-10-16"))
        );
    }
}
