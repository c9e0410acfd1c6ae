//! The console through its front door: a real metastore, made-up reports.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tollgate_analytics::backtest::{BacktestReport, Market, Trial};
use tollgate_analytics::report::{
    AsOf, Bucket, CostGroup, Costs, Experiments, FilterValues, InteractionDetail, InteractionFilter, InteractionPage,
    Overview, Page, RecordedCall, ReportFuture, TimeRange,
};
use tollgate_analytics::{QueryLimits, QueryResult, SignalsState, SqlError, Visibility};
use tollgate_evidence::{ControlTotals, EvidenceError, PackFile, PackSummary, RecordKeepingRequest};
use tollgate_interaction::InteractionId;
use tollgate_metastore::{Grant, Metastore, Role};
use tollgate_policy::ledger::lease::{LeaseAnswer, LeaseRequest};
use tollgate_policy::route::{Offer, Way, WhenAllRest};
use tollgate_policy::signals::SignalsSnapshot;
use tollgate_search::{Hit, SearchError, SearchQuery, SearchResult};
use tower::ServiceExt;

use crate::budgets::BudgetBooks;
use crate::error::ConsoleError;
use crate::ledger::{DerivedState, Ledger};
use crate::prices::{Missing, PriceGap, RepriceOrder, Repricing};
use crate::sample;
use crate::shell::Books;
use crate::state::{ConsoleSettings, ConsoleState, Instruments, Sample};

mod doors;
mod people;
mod scim;
mod tenants;

/// Answers with the samples; SQL with one row, unless it is an `INSERT`.
pub(crate) struct MadeUpLedger {
    pub(crate) changed: watch::Receiver<u64>,
    /// As far as which rows existed for whoever asked, question by question.
    pub(crate) asked: Arc<std::sync::Mutex<Vec<Visibility>>>,
    pub(crate) visibility: Visibility,
}

impl MadeUpLedger {
    fn note(&self) {
        self.asked.lock().unwrap().push(self.visibility.clone());
    }
}

impl Ledger for MadeUpLedger {
    fn overview(&self, range: TimeRange, bucket: Bucket) -> ReportFuture<Overview> {
        self.note();
        async move { Ok(sample::overview(range, bucket)) }.boxed()
    }
    fn interactions(&self, _: &InteractionFilter, _: Page) -> ReportFuture<InteractionPage> {
        self.note();
        async { Ok(sample::page()) }.boxed()
    }
    fn interaction(&self, id: InteractionId) -> ReportFuture<Option<InteractionDetail>> {
        self.note();
        let detail = sample::detail();
        let found = sample::rows(40).iter().any(|row| row.interaction_id == id);
        async move { Ok(found.then_some(detail)) }.boxed()
    }
    fn costs(&self, range: TimeRange, group_by: CostGroup) -> ReportFuture<Costs> {
        self.note();
        async move { Ok(sample::costs(range, group_by)) }.boxed()
    }
    fn backtest(&self, trial: Trial) -> ReportFuture<BacktestReport> {
        async move { Ok(sample::backtest(&trial.bundle.hash, trial.range)) }.boxed()
    }
    fn experiments(&self, range: TimeRange) -> ReportFuture<Experiments> {
        async move { Ok(sample::experiments(range)) }.boxed()
    }
    fn filter_values(&self, _: TimeRange) -> ReportFuture<FilterValues> {
        self.note();
        async { Ok(sample::values()) }.boxed()
    }
    fn sql(&self, query: &str, _: QueryLimits) -> BoxFuture<'static, Result<QueryResult, SqlError>> {
        self.note();
        if query.trim_start().to_uppercase().starts_with("INSERT") {
            return async { Err(SqlError::Refused { statement: "INSERT".to_owned() }) }.boxed();
        }
        async { Ok(one_row()) }.boxed()
    }
    fn record_keeping(
        &self,
        _: RecordKeepingRequest,
        out_dir: &Path,
    ) -> BoxFuture<'static, Result<PackSummary, EvidenceError>> {
        self.note();
        let dir = out_dir.to_owned();
        async move {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("report.html"), "<h1>Record-keeping</h1>").unwrap();
            let file = PackFile {
                path: "report.html".to_owned(),
                meaning: "the report".to_owned(),
                size_bytes: 23,
                sha256: "00".repeat(32),
                rows: None,
            };
            let totals = ControlTotals::default();
            Ok(PackSummary { dir, files: vec![file], totals, lake_version: 128, hot_rows: 43, findings: vec![] })
        }
        .boxed()
    }
    fn search(&self, query: &SearchQuery) -> Result<SearchResult, SearchError> {
        self.note();
        let row = &sample::rows(1)[0];
        let hit = Hit {
            interaction_id: row.interaction_id.to_string(),
            started_at_us: row.started_at_us,
            tenant: "acme".to_owned(),
            team: "kyc".to_owned(),
            model: "gpt-5".to_owned(),
            provider: None,
            outcome: Some("success".to_owned()),
            role: "user".to_owned(),
            snippet_html: format!("a <mark>{}</mark> was found", crate::html::escape(&query.text)),
        };
        Ok(SearchResult { total: 1, hits: vec![hit], elapsed_us: 900 })
    }
    fn derived(&self, now_us: i64, _: Option<String>) -> BoxFuture<'static, Result<DerivedState, ConsoleError>> {
        self.note();
        let signals = SignalsState { taken_at_us: now_us, ..SignalsState::default() };
        async { Ok(DerivedState { signals, search: None }) }.boxed()
    }
    fn only(&self, visibility: Visibility) -> Arc<dyn Ledger> {
        let (changed, asked) = (self.changed.clone(), Arc::clone(&self.asked));
        Arc::new(MadeUpLedger { changed, asked, visibility })
    }
    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

fn one_row() -> QueryResult {
    let team: ArrayRef = Arc::new(StringArray::from(vec![Some("kyc"), None]));
    let calls: ArrayRef = Arc::new(Int64Array::from(vec![41, 1]));
    let batch = RecordBatch::try_from_iter_with_nullable([("team", team, true), ("calls", calls, false)]).unwrap();
    let (schema, as_of) = (batch.schema(), AsOf { lake_version: 128, hot_rows: 43 });
    QueryResult { schema, batches: vec![batch], rows: 2, truncated: false, elapsed_ms: 3, as_of }
}

struct NoInstruments;

impl Instruments for NoInstruments {
    fn books(&self) -> Option<Books> {
        Some(Books { lake_version: 128, hot_rows: 43, dropped: 0 })
    }
    fn samples(&self) -> Vec<Sample> {
        Vec::new()
    }
    fn signals(&self) -> Option<Arc<SignalsSnapshot>> {
        None
    }
    fn routing(&self) -> Option<tollgate_policy::route::ModelsSnapshot> {
        Some(crate::sample::routing())
    }
    fn tolerant_models(&self) -> Vec<String> {
        vec!["tolerant".to_owned()]
    }
    fn models(&self) -> Vec<String> {
        vec!["sandbox/small".to_owned()]
    }
    fn budgets(&self) -> Option<BudgetBooks> {
        Some(sample::budgets())
    }
    fn budget_trouble(&self) -> Option<String> {
        None
    }
    fn alarms(&self) -> Vec<String> {
        Vec::new()
    }
    fn open_providers(&self) -> Vec<String> {
        vec!["local".to_owned()]
    }
}

/// Lends nothing and hears nothing.
struct NoReplicas;

impl crate::replicas::Replicas for NoReplicas {
    fn lend(&self, _: &LeaseRequest) -> Result<LeaseAnswer, crate::replicas::NotLent> {
        Err(crate::replicas::NotLent::Refused("these are tests".to_owned()))
    }
    fn note(&self, _: crate::replicas::SidecarReport) {}
}

/// Knows no price and no place.
pub(crate) struct NoMarket;

impl Market for NoMarket {
    fn cost(&self, _: &str, _: &str, _: &tollgate_interaction::Usage, _: i64) -> Option<tollgate_interaction::Usd> {
        None
    }
    fn offer(&self, _: &str, _: &str) -> Option<Arc<dyn Offer>> {
        None
    }
    fn stands_for(&self, _: &str) -> Option<Way<Arc<dyn Offer>>> {
        None
    }
    fn when_all_rest(&self) -> WhenAllRest {
        WhenAllRest::Try
    }
}

/// Forgets as many answers as the tenant's name has letters.
struct MadeUpAnswers;

impl crate::answers::Answers for MadeUpAnswers {
    fn look(&self) -> serde_json::Value {
        serde_json::json!({"entries": 3})
    }
    fn purge(&self, order: crate::answers::PurgeOrder) -> BoxFuture<'static, Result<u64, String>> {
        async move { order.tenant.map(|tenant| tenant.len() as u64).ok_or_else(|| "the disk is full".to_owned()) }
            .boxed()
    }
}

/// Prices nothing, and says who asked.
pub(crate) struct MadeUpPrices;

impl crate::prices::Prices for MadeUpPrices {
    fn update_id(&self) -> String {
        crate::prices::BUILTIN.to_owned()
    }
    fn update(&self) -> Result<Option<bytes::Bytes>, String> {
        Ok(None)
    }
    fn gap(&self, call: &RecordedCall) -> Option<PriceGap> {
        let missing = if call.usage.is_empty() { Missing::Usage } else { Missing::Price };
        let sentence = match missing {
            Missing::Usage => "nobody counted what it used, so no price can be applied".to_owned(),
            _ => format!("no price for model `{}` at `{}`", call.model_asked, call.provider),
        };
        Some(PriceGap { missing, model: call.model_asked.clone(), sentence })
    }
    fn reprice(&self, order: RepriceOrder) -> BoxFuture<'static, Result<Repricing, String>> {
        let hours = u64::try_from((order.to_us - order.from_us) / 3_600_000_000).unwrap();
        let result = Repricing {
            mode: order.mode,
            catalog_id: format!("{} of {}", order.reason, order.actor),
            calls: hours,
            unchanged: 0,
            changed: 0,
            newly_priced: 0,
            still_unpriced: 0,
            no_longer_priced: 0,
            old_usd: tollgate_interaction::Usd::ZERO,
            new_usd: tollgate_interaction::Usd::ZERO,
            appended: 0,
            by_model: Vec::new(),
        };
        async move { Ok(result) }.boxed()
    }
}

/// What was recorded of readings; refuses while it is told to.
#[derive(Default)]
pub(crate) struct Readings {
    pub(crate) events: std::sync::Mutex<Vec<tollgate_interaction::AccessEvent>>,
    pub(crate) is_full: std::sync::atomic::AtomicBool,
}

impl crate::AccessLog for Readings {
    fn record(&self, event: tollgate_interaction::AccessEvent) -> BoxFuture<'static, Result<(), String>> {
        let full = self.is_full.load(std::sync::atomic::Ordering::SeqCst);
        if !full {
            self.events.lock().unwrap().push(event);
        }
        async move { if full { Err("the log is full".to_owned()) } else { Ok(()) } }.boxed()
    }
}

struct MadeUpIntegrity;

impl crate::integrity::Integrity for MadeUpIntegrity {
    fn status(&self) -> crate::integrity::IntegrityStatus {
        sample::integrity()
    }
    fn verify(&self) -> BoxFuture<'static, Result<crate::integrity::VerificationView, String>> {
        async { Ok(sample::verification()) }.boxed()
    }
}

pub(crate) struct Console {
    pub(crate) readings: Arc<Readings>,
    pub(crate) router: Router,
    pub(crate) metastore: Arc<dyn Metastore>,
    pub(crate) asked: Arc<std::sync::Mutex<Vec<Visibility>>>,
    dir: tempfile::TempDir,
}

pub(crate) async fn console() -> Console {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("meta.db").display());
    let metastore = tollgate_metastore::open(&url).await.unwrap();
    let (sender, changed) = watch::channel(0);
    // Kept open for as long as the test runs.
    std::mem::forget(sender);
    let readings = Arc::new(Readings::default());
    let asked = Arc::default();
    let state = ConsoleState {
        ledger: Arc::new(MadeUpLedger { changed, asked: Arc::clone(&asked), visibility: Visibility::everything() }),
        access_log: Arc::clone(&readings) as _,
        integrity: Arc::new(MadeUpIntegrity),
        metastore: Arc::clone(&metastore),
        market: Arc::new(NoMarket),
        standing: Arc::default(),
        sso: None,
        replicas: Arc::new(NoReplicas),
        prices: Arc::new(MadeUpPrices),
        answers: Arc::new(MadeUpAnswers),
        instruments: Arc::new(NoInstruments),
        settings: Arc::new(ConsoleSettings {
            gateway_url: "http://127.0.0.1:8080".to_owned(),
            program: "tollgate --config tollgate.yaml".to_owned(),
            tenant: "default".to_owned(),
            secure_cookies: false,
            scratch_dir: dir.path().to_path_buf(),
            clock: || chrono::Utc::now().timestamp_micros(),
        }),
        shutdown: CancellationToken::new(),
    };
    Console { readings, router: crate::router(state), metastore, asked, dir }
}

pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Console {
    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Request::get(path).header("cookie", cookie).body(Body::empty()).unwrap()).await
    }

    async fn post_form(&self, path: &str, cookie: &str, form: String) -> Answer {
        let request = Request::post(path)
            .header("cookie", cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        self.ask(request).await
    }

    /// The cookie of someone who signed in by a link.
    async fn signed_in_as(&self, role: Role) -> String {
        let token = self.metastore.create_login_link_for(&Grant::of(role), "test").await.unwrap();
        let answer = self.get(&format!("/login?token={token}"), "").await;
        assert_eq!((answer.status, location(&answer)), (StatusCode::SEE_OTHER, "/"));
        let set = answer.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
        set.split(';').next().unwrap().to_owned()
    }
}

fn location(answer: &Answer) -> &str {
    answer.headers.get(header::LOCATION).map_or("", |to| to.to_str().unwrap())
}

fn csrf_in(page: &str) -> &str {
    page.split("name=\"csrf\" content=\"").nth(1).unwrap().split('"').next().unwrap()
}

const PAGES: [&str; 15] = [
    "/",
    "/interactions",
    "/costs",
    "/experiments",
    "/policies",
    "/budgets",
    "/search",
    "/search?q=leak",
    "/sql",
    "/reports",
    "/integrity",
    "/people",
    "/keys",
    "/models",
    "/setup",
];

#[tokio::test]
async fn every_page_opens_for_an_administrator_with_strict_headers() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Admin).await;
    let call = format!("/interactions/{}", sample::rows(1)[0].interaction_id);
    for path in PAGES.into_iter().chain([call.as_str()]) {
        let answer = console.get(path, &cookie).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
}

#[tokio::test]
async fn a_bundle_is_tried_or_shown_with_what_is_wrong() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    let page = console.get("/policies", &cookie).await;
    assert!(page.text.contains("The built-in bundle is active"), "{}", page.text);
    let csrf = csrf_in(&page.text).to_owned();
    let form = |bundle: &str, limit: &str| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &csrf).append_pair("bundle", bundle).append_pair("max_denials", limit);
        form.finish()
    };
    let bundle = tollgate_policy::bundle::DEFAULT_YAML;
    let tried = console.post_form("/policies/simulate", &cookie, form(bundle, "1%")).await;
    assert_eq!(tried.status, StatusCode::OK, "{}", tried.text);
    assert!(tried.text.contains("Beyond its limits") && tried.text.contains("max-denials"), "{}", tried.text);
    let tried = console.post_form("/policies/simulate", &cookie, form(bundle, "50%")).await;
    assert!(tried.text.contains("Within its limits"), "{}", tried.text);
    let wrong = console.post_form("/policies/simulate", &cookie, form(&bundle.replace("access:", "acces:"), "")).await;
    assert!(wrong.text.contains("does not load") && wrong.text.contains("line"), "{}", wrong.text);
    assert!(wrong.text.contains("acces:"), "what was written stays in the form");
    let viewer = console.signed_in_as(Role::Viewer).await;
    let page = console.get("/policies", &viewer).await;
    assert!(!page.text.contains("Try it"), "{}", page.text);
}

#[tokio::test]
async fn reading_content_is_recorded_with_its_purpose_or_does_not_happen() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    let id = sample::rows(1)[0].interaction_id;
    console.get(&format!("/interactions/{id}?purpose=complaint+17"), &cookie).await;
    console.get("/search?q=leak", &cookie).await;
    console.get("/api/v1/search?q=leak", &cookie).await;
    console.get(&format!("/api/v1/interactions/{id}"), &cookie).await;
    {
        let events = console.readings.events.lock().unwrap();
        let told: Vec<_> = events.iter().map(|event| (event.action.as_str(), event.purpose.as_str())).collect();
        assert_eq!(told, [("view", "complaint 17"), ("search", ""), ("search", ""), ("view", "")]);
        assert_eq!(events[0].subject, sample::detail().row.interaction_id.to_string());
        assert!(events[0].actor.starts_with("console:auditor:session-"), "{}", events[0].actor);
        assert!(events.iter().all(|event| event.actor == events[0].actor));
    }
    console.readings.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    for path in
        [format!("/interactions/{id}"), "/search?q=leak".to_owned(), format!("/api/v1/interactions/{id}/request")]
    {
        let answer = console.get(&path, &cookie).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.text.contains("access_not_recorded") && !answer.text.contains("plumber"), "{}", answer.text);
    }
    let viewer = console.signed_in_as(Role::Viewer).await;
    let facts = console.get(&format!("/interactions/{id}"), &viewer).await;
    assert_eq!(facts.status, StatusCode::OK, "who may not see content reads none");
}

#[tokio::test]
async fn whoever_may_read_content_can_verify_and_sees_what_was_found() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    let page = console.get("/integrity", &cookie).await;
    let form = format!("csrf={}", csrf_in(&page.text));
    let found = console.post_form("/integrity", &cookie, form).await;
    assert_eq!(found.status, StatusCode::OK);
    assert!(found.text.contains("record-changed") && found.text.contains("gw-7f3a91/12/40117"), "{}", found.text);
    let viewer = console.signed_in_as(Role::Viewer).await;
    let page = console.get("/integrity", &viewer).await;
    assert!(!page.text.contains("Verify now"));
}

#[tokio::test]
async fn someone_who_is_not_signed_in_is_asked_to_and_a_program_is_told_so() {
    let console = console().await;
    for path in PAGES {
        let answer = console.get(path, "tollgate_session=made-up").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert!(location(&answer).starts_with("/login"), "{path}");
    }
    let answer = console.get("/api/v1/overview", "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let error: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(error["error"]["code"], "signed_out");
    assert_eq!(error["error"]["request_id"], answer.headers["x-request-id"].to_str().unwrap());
}

#[tokio::test]
async fn a_login_link_works_once_and_looking_at_it_does_not_use_it_up() {
    let console = console().await;
    let token = console.metastore.create_login_link().await.unwrap();
    let path = format!("/login?token={token}&next=/costs");
    let seen = console.ask(Request::head(&path).body(Body::empty()).unwrap()).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert_eq!(location(&console.get(&path, "").await), "/costs");
    let again = console.get(&path, "").await;
    assert!(again.text.contains("was used already"), "{}", again.text);
    assert!(again.headers.get(header::SET_COOKIE).is_none());
}

#[tokio::test]
async fn a_form_without_the_token_of_the_session_changes_nothing() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Admin).await;
    for csrf in ["", "&csrf=tgc-guessed"] {
        let answer = console.post_form("/keys", &cookie, format!("name=a&team=b{csrf}")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("csrf_refused"), "{}", answer.text);
    }
    let json = Request::post("/api/v1/keys")
        .header("cookie", &cookie)
        .header("content-type", "application/json")
        .body(Body::from(r#"{"name":"a","team":"b"}"#))
        .unwrap();
    assert_eq!(console.ask(json).await.status, StatusCode::FORBIDDEN);
    assert!(console.metastore.list_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_is_shown_once_and_can_be_revoked() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Admin).await;
    let csrf = csrf_in(&console.get("/keys", &cookie).await.text).to_owned();
    let created = console.post_form("/keys", &cookie, format!("csrf={csrf}&name=billing&team=payments")).await;
    assert!(created.text.contains("is ready") && created.text.contains("tg-"), "{}", created.text);
    let key = console.metastore.list_keys().await.unwrap().remove(0);
    assert_eq!((key.tenant.as_str(), key.team.as_str()), ("default", "payments"));
    let revoked = console.post_form(&format!("/keys/{}/revoke", key.id), &cookie, format!("csrf={csrf}")).await;
    assert_eq!(location(&revoked), "/keys");
    assert!(!console.metastore.list_keys().await.unwrap()[0].enabled);
    let list = console.get("/keys", &cookie).await;
    assert!(list.text.contains("revoked") && !list.text.contains("is ready"));
}

#[tokio::test]
async fn setup_shows_people_what_it_tells_programs() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Viewer).await;
    let told = console.get("/api/v1/setup?model=assistant", &cookie).await;
    let told: serde_json::Value = serde_json::from_str(&told.text).unwrap();
    for client in told["clients"].as_array().unwrap() {
        let id = client["id"].as_str().unwrap();
        let page = console.get(&format!("/setup?client={id}&model=assistant"), &cookie).await.text;
        let page = page.replace("<b class=\"slot\">", "").replace("</b>", "");
        for block in client["blocks"].as_array().unwrap() {
            let text = crate::html::escape(block["text"].as_str().unwrap());
            assert!(page.contains(&format!("<code>{text}</code>")), "{id}: {text}");
        }
        assert!(!page.contains("Create key"), "a viewer may not");
    }
    let refused = console.get("/setup?client=curl&model=a%22b", &cookie).await.text;
    assert!(refused.contains("cannot stand in a program") && refused.contains("sandbox/small"), "{refused}");
    let coding = console.get("/setup?client=claude-code", &cookie).await.text;
    assert!(coding.contains("tolerant"), "an alias that drops what it cannot express: {coding}");
    assert!(!console.get("/setup?client=curl", &cookie).await.text.contains("tolerant"));
    let unknown = console.get("/setup?client=nobody", &cookie).await.text;
    assert!(unknown.contains("pip install openai"), "{unknown}");
}

#[tokio::test]
async fn a_viewer_sees_figures_but_nothing_that_was_said() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Viewer).await;
    let id = sample::rows(1)[0].interaction_id;
    let page = console.get(&format!("/interactions/{id}"), &cookie).await;
    assert!(page.text.contains("budget/team-monthly") && !page.text.contains("policyholder"), "{}", page.text);
    let json = console.get(&format!("/api/v1/interactions/{id}"), &cookie).await;
    assert!(json.text.contains("budget/team-monthly") && !json.text.contains("policyholder"));
    for path in ["/search?q=a", "/sql", "/keys", "/reports", "/api/v1/search?q=a", "/api/v1/keys", "/api/v1/control"] {
        assert_eq!(console.get(path, &cookie).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let raw = console.get(&format!("/api/v1/interactions/{id}/request"), &cookie).await;
    assert_eq!(raw.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_sidecar_may_download_the_control_plane_and_nothing_else() {
    let console = console().await;
    let token = console.metastore.create_api_token(Role::Sidecar).await.unwrap();
    let get =
        |path: &str| Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    let control = console.ask(get("/api/v1/control")).await;
    let answer: serde_json::Value = serde_json::from_str(&control.text).unwrap();
    assert!(answer["control"]["bundle_yaml"].is_string() && answer["signals"].is_null());
    assert_eq!(console.ask(get("/api/v1/overview")).await.status, StatusCode::FORBIDDEN);
    let form = console.post_form("/login", "", format!("token={token}")).await;
    assert!(form.headers.get(header::SET_COOKIE).is_none());
}

#[tokio::test]
async fn sql_answers_in_three_formats_and_refuses_to_write() {
    let console = console().await;
    let token = console.metastore.create_api_token(Role::Auditor).await.unwrap();
    let post = |kind: &str, accept: &str, body: &str| {
        Request::post("/api/v1/sql")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", kind)
            .header("accept", accept)
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let json = console.ask(post("application/json", "*/*", r#"{"query":"SELECT 1"}"#)).await;
    let answer: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!((&answer["rows"][0]["calls"], &answer["row_count"]), (&41.into(), &2.into()));
    let csv = console.ask(post("text/plain", "text/csv", "SELECT 1")).await;
    assert!(csv.text.starts_with("team,calls"), "{}", csv.text);
    let arrow = console.ask(post("application/json", "*/*", r#"{"query":"SELECT 1","format":"arrow"}"#)).await;
    assert_eq!(arrow.headers[header::CONTENT_TYPE], "application/vnd.apache.arrow.stream");
    let refused = console.ask(post("text/plain", "*/*", "INSERT INTO interactions VALUES (1)")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text.contains("sql_statement_refused"), "{}", refused.text);
}

#[tokio::test]
async fn the_sql_page_shows_null_as_null_and_an_error_in_place() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    let csrf = csrf_in(&console.get("/sql", &cookie).await.text).to_owned();
    let page = console.post_form("/sql", &cookie, format!("csrf={csrf}&query=SELECT+1")).await;
    assert!(page.text.contains(">41</td>") && page.text.contains(">NULL</td>"), "{}", page.text);
    let refused = console.post_form("/sql", &cookie, format!("csrf={csrf}&query=INSERT+x")).await;
    assert_eq!(refused.status, StatusCode::OK);
    assert!(refused.text.contains("<code>INSERT</code> is refused"), "{}", refused.text);
}

#[tokio::test]
async fn a_lost_reader_is_shown_the_way_back() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Admin).await;
    for path in
        ["/nowhere", "/interactions/not-an-id", "/static/style.css", "/?range=fortnight", "/interactions?after=x"]
    {
        let answer = console.get(path, &cookie).await;
        assert!(answer.status.is_client_error(), "{path}");
        assert!(answer.text.contains("<h1>") && answer.text.contains("href=\"/"), "{path}: {}", answer.text);
    }
    let wrong = console.get("/api/v1/sql", &cookie).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_was_said_is_shown_as_text_and_downloaded_as_bytes() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    let id = sample::rows(1)[0].interaction_id;
    let page = console.get(&format!("/interactions/{id}"), &cookie).await;
    assert!(page.text.contains("alert(1)") && !page.text.contains("<script>alert"), "{}", page.text);
    let raw = console.get(&format!("/api/v1/interactions/{id}/response"), &cookie).await;
    assert_eq!(raw.headers[header::CONTENT_TYPE], "application/octet-stream");
    assert!(raw.headers[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
    assert!(raw.text.starts_with("data: {"));
}

#[tokio::test]
async fn a_report_pack_is_sent_as_an_archive_and_leaves_nothing_behind() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Auditor).await;
    let path = "/api/v1/reports/record-keeping?from=2026-11-01&to=2026-12-01";
    let manifest = console.get(path, &cookie).await;
    let summary: serde_json::Value = serde_json::from_str(&manifest.text).unwrap();
    assert_eq!(summary["dir"], "record-keeping-2026-11-01-to-2026-11-30");
    let pack = console.get(&format!("{path}&format=tar"), &cookie).await;
    assert!(pack.text.starts_with("record-keeping-2026-11-01-to-2026-11-30/report.html"), "{:?}", pack.status);
    let left = std::fs::read_dir(console.dir.path()).unwrap().filter_map(Result::ok);
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with("report-")));
    let backwards = console.get("/api/v1/reports/record-keeping?from=2026-11-02&to=2026-11-01", &cookie).await;
    assert_eq!(backwards.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_open_api_document_names_every_address_of_the_api() {
    let console = console().await;
    let answer = console.get("/api/v1/openapi.json", "").await;
    let document: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    let routes = include_str!("routes.rs");
    let named = routes.split('"').filter(|text| text.starts_with("/api/v1/") && !text.ends_with("openapi.json"));
    for path in named {
        assert!(document["paths"].get(path).is_some(), "`{path}` is missing from the document");
    }
}

/// To look at the pages in a browser: `cargo test -p tollgate-console serve_samples -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "serves the samples until it is stopped"]
async fn serve_samples() {
    let console = console().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8181").await.unwrap();
    let link = console.metastore.create_login_link().await.unwrap();
    std::fs::write("/tmp/preview-login", format!("http://127.0.0.1:8181/login?token={link}")).unwrap();
    axum::serve(listener, console.router.clone()).await.unwrap();
}

#[tokio::test]
async fn calls_are_priced_again_for_an_administrator_with_a_reason() {
    let console = console().await;
    let token = console.metastore.create_api_token(Role::Admin).await.unwrap();
    let ask = async |token: &str, body: &str| {
        let request = Request::post("/api/v1/prices/reprice").header("authorization", format!("Bearer {token}"));
        console.ask(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let whole = r#"{"from": "2026-11-01", "to": "2026-11-02", "mode": "append", "reason": "dearer"}"#;
    let answer = ask(&token, whole).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let result: Repricing = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(result.calls, 24);
    assert!(result.catalog_id.starts_with("dearer of console:admin:"), "{}", result.catalog_id);
    for body in [
        whole.replace("dearer", " "),
        whole.replace("2026-11-02", "2026-10-31"),
        whole.replace("append", "edit"),
        whole.replace("2026-11-01", "once"),
    ] {
        let answer = ask(&token, &body).await;
        assert!(answer.status == StatusCode::BAD_REQUEST && answer.text.contains("parameter_invalid"), "{body}");
    }
    let auditor = console.metastore.create_api_token(Role::Auditor).await.unwrap();
    assert_eq!(ask(&auditor, whole).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn budgets_are_told_to_readers_of_facts_with_those_nearest_to_their_limit_first() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Viewer).await;
    let page = console.get("/budgets", &cookie).await.text;
    for told in ["team=kyc", "81.20", "denies", "this month (Europe/Berlin)", "at the rate so far", "could not be sent"]
    {
        assert!(page.contains(told), "`{told}` is missing");
    }
    let answer: serde_json::Value = serde_json::from_str(&console.get("/api/v1/budgets", &cookie).await.text).unwrap();
    let lines = answer["budgets"].as_array().unwrap();
    assert_eq!(answer["total"], lines.len());
    let used: Vec<i64> = lines.iter().filter_map(|line| line["used_basis_points"].as_i64()).collect();
    assert!(used.len() > 3 && used.is_sorted_by(|one, other| one >= other), "{used:?}");
    let kyc = lines.iter().find(|line| line["scope"] == "team=kyc" && line["kind"] == "budget").unwrap();
    assert_eq!((&kyc["spent"], &kyc["limit"], &kyc["state"]), (&"81.20".into(), &"100.00".into(), &"reached".into()));
    assert_eq!(kyc["forecast"]["method"], "weekdays");
}

#[tokio::test]
async fn routing_is_shown_and_given_out_alike_and_says_why_a_target_rests() {
    let console = console().await;
    let cookie = console.signed_in_as(Role::Viewer).await;
    // Names may be broken between their words.
    let page = console.get("/models", &cookie).await.text.replace("<wbr>", "");
    for said in [
        "gold-customers",
        "asked to be left alone; for 41 s more",
        "refused the gateway’s credentials; for 9 s more",
        "failed too often; one call is trying it",
        "opnai/gpt-5",
        "hedged after p95",
        "5 % copied to local/llama-4-maverick",
        "840 ms",
    ] {
        assert!(page.contains(said), "`{said}` is not on the page");
    }
    let answer: tollgate_policy::route::ModelsSnapshot =
        serde_json::from_str(&console.get("/api/v1/models", &cookie).await.text).unwrap();
    assert_eq!(answer, sample::routing());
}
