//! A small HTTP client for JSON in and anything out.

use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, Response};

/// One server and how to be admitted there.
#[derive(Clone)]
pub(crate) struct Api {
    agent: Agent,
    url: String,
    secret: String,
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// The id of the call, which every answer of the gateway carries.
    pub(crate) fn interaction_id(&self) -> String {
        let id = self.header("x-tollgate-interaction-id");
        assert!(!id.is_empty(), "no interaction id on: {} {}", self.status, self.text());
        id
    }
}

impl Api {
    pub(crate) fn new(url: &str, secret: &str) -> Api {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_redirects(0)
            .build()
            .new_agent();
        Api { agent, url: url.to_owned(), secret: secret.to_owned() }
    }

    /// What it is admitted by.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap()
    }

    pub(crate) fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        let url = format!("{}{path}", self.url);
        read(self.agent.get(url).header("authorization", format!("Bearer {}", self.secret)).call()?)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body, &[]).unwrap()
    }

    pub(crate) fn try_post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        self.try_post_bytes(path, &serde_json::to_vec(body).unwrap(), headers)
    }

    pub(crate) fn try_post_bytes(
        &self,
        path: &str,
        body: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        if !self.secret.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.secret));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body)?)
    }

    /// One chat turn with `model`, not streamed.
    pub(crate) fn chat(&self, model: &str, prompt: &str) -> Answer {
        self.post("/v1/chat/completions", &chat_request(model, prompt))
    }

    /// Rows of a query, each an object by column name.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Value> {
        let answer = self.post("/api/v1/sql?format=json", &json!({"query": sql, "max_rows": 1_000_000}));
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        assert_eq!(answer.json()["truncated"], false, "{sql}: the answer is not whole");
        answer.json()["rows"].as_array().unwrap_or_else(|| panic!("no rows in {}", answer.text())).clone()
    }

    /// The single number that a query returns.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql);
        let row = rows.first().and_then(Value::as_object).unwrap_or_else(|| panic!("no row for {sql}"));
        let value = row.values().next().unwrap();
        value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{sql} gave {value}"))
    }
}

/// The body of one chat turn.
pub(crate) fn chat_request(model: &str, prompt: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": prompt}]})
}

fn read(mut response: Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().with_config().limit(256 << 20).read_to_vec()?,
    })
}
