//! Callers with a token of an identity provider, whose keys are on a server that changes them, goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use http::HeaderValue;
use parking_lot::Mutex;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tollgate_gateway::{GatewaySettings, JwtClaims, JwtIssuer, JwtKeys};
use tollgate_interaction::Outcome;
use tollgate_policy::cache::Per;
use tollgate_policy::key::KeyLimits;

use crate::cache;
use crate::harness::{Answer, Bench, chat, now_us, settings};

const ISSUER: &str = "https://id.acme.test";

/// Signs tokens with a key called `name`.
struct Signer {
    name: &'static str,
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(name: &'static str, seed: u8) -> Signer {
        Signer { name, pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap() }
    }

    fn jwk(&self) -> Value {
        let x = BASE64URL.encode(self.pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.name, "x": x})
    }

    fn token(&self, changed: &[(&str, Value)]) -> String {
        let now_s = now_us() / 1_000_000;
        let mut claims = json!({
            "iss": ISSUER, "aud": "tollgate", "exp": now_s + 600, "sub": "u-1", "org": {"team": "red"}, "email": "ann@acme.test",
        });
        for (name, value) in changed {
            claims[*name] = value.clone();
        }
        let header = json!({"alg": "EdDSA", "kid": self.name});
        let message = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        format!("{message}.{}", BASE64URL.encode(self.pair.sign(message.as_bytes())))
    }
}

/// A server of keys.
struct KeyServer {
    url: String,
    /// What it answers with; `None` while it fails.
    keys: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn start(signers: &[&Signer]) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?a=1", listener.local_addr().unwrap());
        let server = KeyServer { url, keys: Arc::default(), asked: Arc::default() };
        server.publish(signers);
        let (keys, asked) = (Arc::clone(&server.keys), Arc::clone(&server.asked));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                assert!(head[..read].starts_with(b"GET /keys?a=1 HTTP/1.1\r\n"));
                let answer = match keys.lock().as_ref().map(Value::to_string) {
                    Some(body) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
                    None => "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        server
    }

    fn publish(&self, signers: &[&Signer]) {
        *self.keys.lock() = Some(json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}));
    }

    fn fail(&self) {
        *self.keys.lock() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn issuer(keys: JwtKeys) -> JwtIssuer {
    let name = |name: &str| Some(name.to_owned());
    JwtIssuer {
        issuer: ISSUER.into(),
        keys,
        audiences: vec!["tollgate".into()],
        claims: JwtClaims { tenant: None, team: name("org.team"), user: name("email"), project: name("project") },
        tenant: "acme".into(),
        team: None,
        limits: KeyLimits::default(),
        refresh: Duration::from_secs(600),
        pause: Duration::from_millis(300),
        max_stale: Duration::from_secs(3_600),
    }
}

async fn bench(issuer: JwtIssuer) -> Bench {
    Bench::start(GatewaySettings { jwt: vec![issuer], ..settings(([127, 0, 0, 1], 1).into()) }).await
}

async fn call(bench: &Bench, token: &str) -> Answer {
    let mut request = bench.request("/v1/chat/completions", chat("sandbox/small"));
    request.headers_mut().insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    bench.send(request).await
}

/// Checks a refusal and its row, and returns its sentence.
fn refused(bench: &Bench, answer: &Answer, status: u16, code: &str) -> String {
    let error = &answer.json()["error"];
    assert_eq!((answer.status.as_u16(), error["code"].as_str()), (status, Some(code)), "{answer:?}");
    let row = bench.row(answer).record;
    assert_eq!((row.outcome, row.error_type.as_deref()), (Outcome::Denied, Some(code)));
    assert!(row.attempts.is_empty() && row.team.is_empty(), "what was not verified is not believed");
    error["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_a_key_and_its_claims_say_whose_call_it_is() {
    let signer = Signer::new("now", 1);
    let server = KeyServer::start(&[&signer]).await;
    let bench = bench(issuer(JwtKeys::Url(server.url.clone()))).await;
    for _ in 0..3 {
        assert_eq!(call(&bench, &signer.token(&[])).await.status, 200);
    }
    assert_eq!(server.asked(), 1, "the keys are kept");
    let answer = call(&bench, &signer.token(&[("project", json!("onboarding"))])).await;
    let row = bench.row(&answer).record;
    assert_eq!((row.tenant.as_str(), row.team.as_str(), row.project.as_deref()), ("acme", "red", Some("onboarding")));
    assert_eq!(row.api_key_id.as_deref(), Some("jwt:https://id.acme.test"));
    assert!(row.user_ref.is_some());
    assert_eq!(bench.post("/v1/chat/completions", &chat("sandbox/small")).await.status, 200, "keys work beside it");
    let log = format!("{:?}", bench.events());
    assert!(!log.contains(&signer.token(&[])[..40]) && !log.contains("ann@acme.test"));
}

#[tokio::test]
async fn a_token_that_does_not_fit_is_refused_with_its_own_code() {
    let (signer, stranger) = (Signer::new("now", 1), Signer::new("now", 2));
    let keys = json!({"keys": [signer.jwk()]}).to_string();
    let bench = bench(issuer(JwtKeys::Document(keys.into()))).await;
    let now_s = now_us() / 1_000_000;
    for (changed, code) in [
        (("iss", json!("https://evil.test")), "token_issuer_unknown"),
        (("aud", json!("another")), "token_audience_wrong"),
        (("exp", json!(now_s - 61)), "token_expired"),
        (("nbf", json!(now_s + 120)), "token_not_yet_valid"),
        (("org", json!({})), "token_claim_missing"),
        (("email", json!("a\nb")), "token_claim_missing"),
    ] {
        refused(&bench, &call(&bench, &signer.token(&[changed])).await, 401, code);
    }
    refused(&bench, &call(&bench, &stranger.token(&[])).await, 401, "token_signature_invalid");
    let message = refused(&bench, &call(&bench, "eyJhbGciOiJub25lIn0.e30.").await, 401, "token_algorithm_refused");
    assert!(message.contains("`none`"), "{message}");
    refused(&bench, &call(&bench, "eyJhbGciOiJIUzI1NiJ9.e30.AAAA").await, 401, "token_algorithm_refused");
    refused(&bench, &call(&bench, "eyJ.e30.AAAA").await, 401, "token_malformed");
    refused(&bench, &call(&bench, "tg-no-such-key").await, 401, "key_unknown");
    assert_eq!(call(&bench, &signer.token(&[])).await.status, 200);
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_unknown_ones_do_not_make_the_gateway_ask_again_and_again() {
    let (old, new) = (Signer::new("old", 1), Signer::new("new", 2));
    let server = KeyServer::start(&[&old]).await;
    let bench = bench(issuer(JwtKeys::Url(server.url.clone()))).await;
    assert_eq!(call(&bench, &old.token(&[])).await.status, 200);
    for _ in 0..20 {
        refused(&bench, &call(&bench, &new.token(&[])).await, 401, "token_key_unknown");
    }
    assert!(server.asked() <= 2, "asked {} times", server.asked());
    server.publish(&[&old, &new]);
    tokio::time::sleep(Duration::from_millis(350)).await;
    for _ in 0..10 {
        assert_eq!(call(&bench, &new.token(&[])).await.status, 200);
    }
    assert!(server.asked() <= 3, "asked {} times", server.asked());
    assert_eq!(call(&bench, &old.token(&[])).await.status, 200);
}

#[tokio::test]
async fn keys_that_cannot_be_renewed_serve_until_they_are_too_old_and_then_nobody_comes_in() {
    let signer = Signer::new("now", 1);
    let server = KeyServer::start(&[&signer]).await;
    let short = Duration::from_millis(50);
    let max_stale = Duration::from_millis(1_200);
    let settings = JwtIssuer { refresh: short, pause: short, max_stale, ..issuer(JwtKeys::Url(server.url.clone())) };
    let bench = bench(settings).await;
    assert_eq!(call(&bench, &signer.token(&[])).await.status, 200);
    server.fail();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(call(&bench, &signer.token(&[])).await.status, 200, "what is held still serves");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let message = refused(&bench, &call(&bench, &signer.token(&[])).await, 503, "token_keys_unavailable");
    assert!(message.contains("`https://id.acme.test`") && message.contains("virtual key"), "{message}");
    server.publish(&[&signer]);
    tokio::time::sleep(short * 2).await;
    assert_eq!(call(&bench, &signer.token(&[])).await.status, 200);
}

#[tokio::test]
async fn without_keys_from_the_start_a_token_is_refused_and_a_virtual_key_works() {
    let bench = bench(issuer(JwtKeys::Url("http://127.0.0.1:1/keys".into()))).await;
    refused(&bench, &call(&bench, &Signer::new("now", 1).token(&[])).await, 503, "token_keys_unavailable");
    assert_eq!(bench.post("/v1/chat/completions", &chat("sandbox/small")).await.status, 200);
}

#[tokio::test]
async fn tokens_of_an_issuer_are_for_what_the_operator_says() {
    let signer = Signer::new("now", 1);
    let keys = json!({"keys": [signer.jwk()]}).to_string();
    let limits = KeyLimits { models: vec!["openai/*".into()], ..KeyLimits::default() };
    let bench = bench(JwtIssuer { limits, ..issuer(JwtKeys::Document(keys.into())) }).await;
    let answer = call(&bench, &signer.token(&[])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (403, &json!("key_model_not_allowed")));
    assert_eq!(bench.row(&answer).record.team, "red");
}

#[tokio::test]
async fn bearers_who_are_not_told_apart_are_given_no_answer_of_one_another() {
    let signer = Signer::new("now", 1);
    let (up, folder) = (cache::counting().await, tempfile::tempdir().unwrap());
    for (user, expected) in [(Some("email".to_owned()), ["miss", "hit"]), (None, ["bypass", "bypass"])] {
        let server = KeyServer::start(&[&signer]).await;
        let mut issuer = issuer(JwtKeys::Url(server.url.clone()));
        issuer.claims.user = user;
        let settings = cache::caching(&up, folder.path(), &cache::hours(Per::User));
        let alias = settings.models[0].alias.clone();
        let bench = Bench::start(GatewaySettings { jwt: vec![issuer], ..settings }).await;
        for expected in expected {
            let mut request = bench.request("/v1/chat/completions", chat(&alias));
            let token = format!("Bearer {}", signer.token(&[]));
            request.headers_mut().insert("authorization", HeaderValue::try_from(token).unwrap());
            assert_eq!(bench.send(request).await.header("x-tollgate-cache"), expected);
        }
    }
}
