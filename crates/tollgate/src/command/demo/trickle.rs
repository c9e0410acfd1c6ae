//! A trickle of live calls, made over HTTP like any client's.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::scene::Team;

/// Calls at random moments, `per_minute` on average, until `stop`.
pub(super) async fn run(gateway: String, keys: Vec<(&'static Team, String)>, per_minute: u32, stop: CancellationToken) {
    if per_minute == 0 || keys.is_empty() {
        return stop.cancelled().await;
    }
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut random = StdRng::from_rng(&mut rand::rng());
    loop {
        let pause = Duration::from_secs_f64(random.random_range(0.2..1.8) * 60.0 / f64::from(per_minute));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let (team, key) = &keys[random.random_range(0..keys.len())];
        let (path, body) = question(&mut random, team);
        if let Err(error) = call(&client, &format!("{gateway}{path}"), key, body).await {
            tracing::debug!(error = format!("{error:#}"), "a call of the demo failed");
        }
    }
}

fn question(random: &mut StdRng, team: &Team) -> (&'static str, String) {
    let prompt = team.prompts[random.random_range(0..team.prompts.len())];
    let (provider, model, _) = team.models[random.random_range(0..team.models.len())];
    if model.starts_with("text-embedding") {
        return (
            "/v1/embeddings",
            serde_json::json!({"model": format!("{provider}/{model}"), "input": prompt}).to_string(),
        );
    }
    // Now and then somebody mistypes a model, so that the error rate is not a flat line.
    let model = match random.random_range(0..20) {
        0 => "assistent".to_owned(),
        1..=5 => "assistant".to_owned(),
        6..=8 => "fast".to_owned(),
        _ => format!("{provider}/{model}"),
    };
    let messages = [serde_json::json!({"role": "user", "content": prompt})];
    let body = serde_json::json!({"model": model, "stream": random.random_bool(0.5), "messages": messages});
    ("/v1/chat/completions", body.to_string())
}

async fn call(client: &Client<HttpConnector, Full<Bytes>>, url: &str, key: &str, body: String) -> anyhow::Result<()> {
    let request = Request::post(url)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    client.request(request).await?.into_body().collect().await?;
    Ok(())
}
