//! A gateway ready to be called: two providers of one scripted server (`openai`-like `up`, `anthropic`-like `claude`), the
//! sandbox, one key, one team, and the log to look into.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tollgate_gateway::{Credentials, Gateway, GatewaySettings, ModelRoute, ProviderKind, ProviderSettings, Secret};
use tollgate_interaction::{Event, Interaction, Settled};
use tollgate_policy::bundle::DEFAULT_YAML;
use tollgate_policy::control::{ControlDocument, ControlSnapshot, KeyRecord, hash_key, hash_text};
use tollgate_policy::ledger::{Amounts, Sums};
use tollgate_policy::residency::Places;
use tollgate_policy::route::Conduct;
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_provider::Catalog;
use tollgate_provider::preset::Quirks;
use tollgate_provider::translate::OnUnsupported;
use tollgate_wal::{LogGap, TailItem, Wal, WalSettings};

pub(crate) const KEY: &str = "tg-test-key";
pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const MESSAGES: &str = "/v1/messages";

/// A running gateway and its log.
pub(crate) struct Bench {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
    pub(crate) control: Arc<ArcSwap<ControlSnapshot>>,
    pub(crate) signals: Arc<ArcSwap<SignalsSnapshot>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: tokio::task::JoinHandle<()>,
    pub(crate) position: String,
    wal: Wal,
    _dir: tempfile::TempDir,
}

/// A response read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
    /// The same, where it is not text.
    pub(crate) bytes: Bytes,
}

/// What the log holds of one call.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) record: Interaction,
    pub(crate) settled: Settled,
    pub(crate) was_opened: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn id(&self) -> &str {
        self.header("x-tollgate-interaction-id")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Settings that point every provider at `upstream`.
pub(crate) fn settings(upstream: SocketAddr) -> GatewaySettings {
    let provider = |name: &str, kind, address: SocketAddr| ProviderSettings {
        name: name.into(),
        kind,
        base_url: format!("http://{address}"),
        authorities_pem: None,
        credentials: Credentials::Key(Secret::new("sk-operator")),
        has_responses: false,
        api_version: None,
        region: Some("eu".into()),
        project: None,
        has: None,
        quirks: Quirks::default(),
        places: Places::default(),
        self_hosted: false,
        tags: Vec::new(),
        models: None,
        price_as: Some("sandbox".into()),
    };
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut sandbox = provider("sandbox", ProviderKind::Sandbox, nobody);
    sandbox.models = Some(vec!["small".into(), "large".into(), "embed".into()]);
    let alias = |alias: &str, targets: &[&str]| ModelRoute {
        alias: alias.into(),
        targets: targets.iter().map(|&target| target.into()).collect(),
        weights: Vec::new(),
        conduct: Conduct::default(),
        ack: None,
        on_unsupported: OnUnsupported::Refuse,
        on_disconnect: None,
    };
    let mut settings = GatewaySettings {
        providers: vec![
            provider("up", ProviderKind::Openai, upstream),
            provider("claude", ProviderKind::Anthropic, upstream),
            provider("google", ProviderKind::Gemini, upstream),
            provider("amazon", ProviderKind::Bedrock, upstream),
            provider("gone", ProviderKind::Openai, nobody),
            sandbox,
        ],
        models: vec![
            alias("assistant", &["up/large", "up/small"]),
            alias("mixed", &["claude/large", "up/small"]),
            ModelRoute { on_unsupported: OnUnsupported::Drop, ..alias("lenient", &["claude/large"]) },
            alias("resilient", &["gone/large", "up/small"]),
        ],
        user_hash_key: [7; 32],
        ..GatewaySettings::default()
    };
    settings.timeouts.first_byte = Duration::from_millis(400);
    settings.timeouts.idle_stream = Duration::from_millis(400);
    settings.timeouts.connect = Duration::from_millis(400);
    settings.timeouts.drain = Duration::from_secs(2);
    settings
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// The key that requests are sent with.
pub(crate) fn key() -> KeyRecord {
    KeyRecord {
        id: "key-1".into(),
        hash: hash_text(&hash_key(KEY)),
        name: "test".into(),
        tenant: "acme".into(),
        project: Some("onboarding".into()),
        team: "kyc".into(),
        enabled: true,
        ..KeyRecord::default()
    }
}

fn control(keys: Vec<KeyRecord>, bundle_yaml: &str) -> ControlSnapshot {
    let document = ControlDocument { revision: 1, keys, bundle_yaml: bundle_yaml.into(), issued_at_us: 0 };
    ControlSnapshot::compile(&document).unwrap()
}

impl Bench {
    pub(crate) async fn start(settings: GatewaySettings) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut log = WalSettings::new(dir.path());
        log.writer = Some("test".parse().unwrap());
        Bench::start_on(settings, dir, log).await
    }

    pub(crate) async fn start_on(mut settings: GatewaySettings, dir: tempfile::TempDir, log: WalSettings) -> Bench {
        let wal = Wal::open(log).unwrap();
        let position = format!("{}/{}", wal.writer(), wal.epoch());
        settings.log_position.clone_from(&position);
        let control = Arc::new(ArcSwap::from_pointee(control(vec![key()], DEFAULT_YAML)));
        // Fresh, and nothing spent: the default bundle would otherwise prefer the cheapest target to be on the safe side.
        let budgets = Sums::of(control.load().bundle.tallies());
        let signals =
            SignalsSnapshot { id: "sig".into(), taken_at_us: now_us(), budgets, ..SignalsSnapshot::default() };
        let signals = Arc::new(ArcSwap::from_pointee(signals));
        let catalog = Arc::new(Catalog::builtin().unwrap());
        let gateway =
            Gateway::new(settings, wal.appender(), Arc::clone(&control), Arc::clone(&signals), catalog).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let served = Arc::clone(&gateway).serve(listener, shutdown.clone(), Duration::from_millis(500));
        let serving = tokio::spawn(async move { served.await.unwrap() });
        Bench { gateway, address, control, signals, shutdown, serving, position, wal, _dir: dir }
    }

    /// A gateway that decides by `yaml`, of whose budgets the log knows that nothing has been spent.
    pub(crate) async fn start_with(settings: GatewaySettings, yaml: &str) -> Bench {
        let bench = Bench::start(settings).await;
        bench.put_policy(yaml);
        bench.know_nothing_spent();
        bench
    }

    /// Lets the log say, a second ago, that an account of the budgets in force has made so many calls this year.
    pub(crate) fn know_calls(&self, tally: &str, scope: &str, calls: u64) {
        let tallies = Arc::clone(self.control.load().bundle.tallies());
        let year = tallies.iter().find(|known| known.id == tally).unwrap();
        let mut budgets = Sums::of(&tallies);
        let amounts = Amounts { calls, ..Amounts::ZERO };
        let bucket_us = year.window.bucket(now_us()).from_us;
        budgets.tallies.get_mut(tally).unwrap().insert(scope.to_owned(), vec![(bucket_us, amounts)]);
        self.signals.store(Arc::new(SignalsSnapshot {
            id: "sig-1".into(),
            taken_at_us: now_us() - 1_000_000,
            watermarks: BTreeMap::from([(self.position.clone(), self.log_position().0)]),
            budgets,
            ..SignalsSnapshot::default()
        }));
    }

    /// Lets the log say that nothing was spent of the budgets in force.
    pub(crate) fn know_nothing_spent(&self) {
        let budgets = Sums::of(self.control.load().bundle.tallies());
        self.signals.store(Arc::new(SignalsSnapshot {
            id: "sig-0".into(),
            taken_at_us: now_us(),
            budgets,
            ..SignalsSnapshot::default()
        }));
    }

    /// Replaces the keys that the gateway knows.
    pub(crate) fn use_keys(&self, keys: Vec<KeyRecord>) {
        self.control.store(Arc::new(control(keys, DEFAULT_YAML)));
    }

    /// Why settings make no gateway.
    pub(crate) fn refused(settings: GatewaySettings) -> String {
        let dir = tempfile::tempdir().unwrap();
        let wal = Wal::open(WalSettings::new(dir.path())).unwrap();
        let control = Arc::new(ArcSwap::from_pointee(control(vec![key()], DEFAULT_YAML)));
        let catalog = Arc::new(Catalog::builtin().unwrap());
        Gateway::new(settings, wal.appender(), control, Arc::default(), catalog).unwrap_err().to_string()
    }

    /// Puts a bundle in force, as a change of the control plane does.
    pub(crate) fn put_policy(&self, yaml: &str) {
        self.control.store(Arc::new(control(vec![key()], yaml)));
    }

    pub(crate) fn request(&self, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {KEY}"))
            .body(Full::new(body.into()))
            .unwrap()
    }

    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Response<hyper::body::Incoming> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = tokio::time::timeout(Duration::from_secs(120), client.request(request)).await;
        response.expect("the gateway answers in time").unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.open(request).await.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(120), body.collect()).await.expect("an end").unwrap();
        let bytes = body.to_bytes();
        // Amazon's streams are binary.
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, body, bytes }
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(self.request(path, body.to_owned())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    /// A request without a body.
    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> Answer {
        let mut request = self.request(path, "");
        *request.method_mut() = method;
        for (name, value) in headers {
            request.headers_mut().insert(*name, http::HeaderValue::from_static(value));
        }
        self.send(request).await
    }

    /// A form with these parts: what stands behind `form-data; `, and the value.
    pub(crate) fn upload(&self, path: &str, parts: &[(&str, &[u8])]) -> Request<Full<Bytes>> {
        let mut body = Vec::new();
        for (head, value) in parts {
            body.extend_from_slice(format!("--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--edge--\r\n");
        let mut request = self.request(path, body);
        let kind = http::HeaderValue::from_static("multipart/form-data; boundary=edge");
        request.headers_mut().insert("content-type", kind);
        request
    }

    /// Everything in the log so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        let (events, gaps) = self.log();
        assert_eq!(gaps, []);
        events
    }

    /// Everything in the log so far, and what is missing from it.
    pub(crate) fn log(&self) -> (Vec<Event>, Vec<LogGap>) {
        let mut tail = self.wal.tail();
        let (mut events, mut gaps) = (Vec::new(), Vec::new());
        while let Some(item) = tail.try_next().unwrap() {
            match item {
                TailItem::Event { event, .. } => events.push(event),
                TailItem::EndOfHistory => {}
                TailItem::Gap(gap) => gaps.push(gap),
            }
        }
        (events, gaps)
    }

    /// Last number of the log, and the last that is on the disk.
    pub(crate) fn log_position(&self) -> (u64, u64) {
        let status = self.wal.status();
        (status.appended_seq, status.durable_seq)
    }

    /// The rows in the log so far, in the order they were settled.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let events = self.events();
        let opened = |id| {
            events.iter().any(|event| matches!(event, Event::Opened(opened) if opened.interaction.interaction_id == id))
        };
        let settled = events.iter().filter_map(|event| match event {
            Event::Settled(settled) => Some(settled.as_ref().clone()),
            Event::Opened(_) | Event::Governance(_) => None,
        });
        settled
            .map(|settled| {
                let record = settled.interaction.clone();
                Row { was_opened: opened(record.interaction_id), record, settled }
            })
            .collect()
    }

    /// The row of an answer, which is in the log by the time the answer has been read.
    pub(crate) fn row(&self, answer: &Answer) -> Row {
        let rows: Vec<Row> =
            self.rows().into_iter().filter(|row| row.record.interaction_id.to_string() == answer.id()).collect();
        assert_eq!(rows.len(), 1, "rows of {answer:?}");
        rows.into_iter().next().unwrap()
    }

    /// The only row, once it is there.
    pub(crate) async fn only_row(&self) -> Row {
        self.last_of(1).await
    }

    /// The last of exactly `count` rows, once it is there.
    pub(crate) async fn last_of(&self, count: usize) -> Row {
        let started = Instant::now();
        loop {
            let mut rows = self.rows();
            assert!(rows.len() <= count, "{} rows for {count} calls", rows.len());
            if let (true, Some(row)) = (rows.len() == count, rows.pop()) {
                return row;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "no row was written");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A chat request as bytes.
    pub(crate) fn raw_request(path: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    }

    pub(crate) async fn over_http2(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TokioIo::new(self.raw().await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body, bytes }
    }
}

/// A chat request for `model`.
pub(crate) fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#)
}

/// The same, streamed.
pub(crate) fn chat_stream(model: &str) -> String {
    format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#)
}
