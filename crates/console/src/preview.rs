//! Renders every page from the samples. With `TOLLGATE_PREVIEW=DIR` set, the pages and their assets are written there,
//! to be looked at in a browser.

use askama::Template;

use crate::pages::budgets::BudgetsPage;
use crate::pages::costs::CostsPage;
use crate::pages::experiments::ExperimentsPage;
use crate::pages::integrity::IntegrityPage;
use crate::pages::interaction::InteractionPage;
use crate::pages::interactions::InteractionsPage;
use crate::pages::keys::{CreatedKeyView, KeyLine, KeysPage};
use crate::pages::login::LoginPage;
use crate::pages::models::ModelsPage;
use crate::pages::overview::{FirstSteps, OverviewPage};
use crate::pages::policies::{Form, PoliciesPage};
use crate::pages::problem::ProblemPage;
use crate::pages::reports::ReportsPage;
use crate::pages::search::{QueryForm, SearchPage};
use crate::pages::setup::{Choice, Offer, SetupPage};
use crate::pages::sql::{Cell, Column, QueryProblem, ResultTable, SqlPage, TableSchema};
use crate::range::Range;
use crate::refill::Refill;
use crate::sample;
use crate::shell::{Books, Shell};
use crate::tests::MadeUpPrices;
use crate::unpriced::Explainer;
use tollgate_analytics::report::{CostGroup, InteractionFilter, Overview, Totals};
use tollgate_metastore::Role;
use tollgate_search::{Hit, SearchResult};

pub(crate) fn shell(title: &str, active: &'static str) -> Shell {
    Shell {
        title: title.to_owned(),
        active,
        role: Role::Admin,
        reach: tollgate_metastore::Reach::Installation,
        csrf: "c5rf".to_owned(),
        program: "tollgate --config tollgate.yaml".to_owned(),
        may_read_content: true,
        may_manage: true,
        theme: None,
        is_cut_off: false,
        books: Some(Books { lake_version: 128, hot_rows: 43, dropped: 0 }),
        alarms: Vec::new(),
    }
}

/// The budgets, with a shared ledger in trouble and without any.
fn budgets() -> Vec<(&'static str, String)> {
    let frame = || shell("Budgets", "/budgets");
    let alarms =
        vec!["the shared ledger does not answer: timed out; calls that budgets are about are denied".to_owned()];
    let troubled = Shell { alarms, ..frame() };
    vec![
        ("budgets", BudgetsPage::new(frame(), Some(sample::budgets()), sample::NOW_US).render().unwrap()),
        ("budgets-troubled", BudgetsPage::new(troubled, Some(sample::budgets()), sample::NOW_US).render().unwrap()),
        ("budgets-none", BudgetsPage::new(frame(), None, sample::NOW_US).render().unwrap()),
    ]
}

fn first_steps() -> FirstSteps {
    FirstSteps { gateway_url: "http://127.0.0.1:8080".to_owned(), example_model: "sandbox/small".to_owned() }
}

fn overview() -> Vec<(&'static str, String)> {
    let page = |range: Range| {
        let (steps, bucket) = range.in_steps(sample::NOW_US);
        let report = sample::overview(steps, bucket);
        let frame = shell("Overview", "/");
        OverviewPage::new(frame, range, &report, sample::rows(10), first_steps(), sample::NOW_US).render().unwrap()
    };
    let (steps, bucket) = Range::Day.in_steps(sample::NOW_US);
    let nothing = Overview {
        totals: Totals::default(),
        previous: Totals::default(),
        by_model: vec![],
        ..sample::overview(steps, bucket)
    };
    let frame = shell("Overview", "/");
    let empty = OverviewPage::new(frame, Range::Day, &nothing, vec![], first_steps(), sample::NOW_US).render().unwrap();
    vec![
        ("overview", page(Range::Day)),
        ("overview-1h", page(Range::Hour)),
        ("overview-30d", page(Range::Month)),
        ("overview-empty", empty),
    ]
}

fn lists() -> Vec<(&'static str, String)> {
    let filter = InteractionFilter { team: Some("kyc".into()), ..InteractionFilter::default() };
    let list = |filter: &InteractionFilter, page| {
        let frame = shell("Interactions", "/interactions");
        InteractionsPage::new(frame, Range::Day, filter, &sample::values(), page, true).render().unwrap()
    };
    let mut none = sample::page();
    (none.rows, none.next) = (vec![], None);
    let explainer = Explainer { prices: &MadeUpPrices, program: "tollgate --config tollgate.yaml" };
    let detail = |frame: Shell| InteractionPage::new(frame, sample::detail(), None).render().unwrap();
    let unpriced = || {
        let mut call = sample::detail();
        (call.row.cost_usd, call.corrections) = (None, Vec::new());
        call.tags.push(("tollgate.caller_left_after_ms".to_owned(), "1500".to_owned()));
        let why = explainer.why(&call.recorded().unwrap());
        InteractionPage::new(shell("Interaction", "/interactions"), call, Some(why)).render().unwrap()
    };
    let viewer = Shell { may_read_content: false, role: Role::Viewer, ..shell("Interaction", "/interactions") };
    let range = Range::Month.at(sample::NOW_US);
    let costs = sample::costs(range, CostGroup::Team);
    vec![
        ("interactions", list(&InteractionFilter::default(), sample::page())),
        ("interactions-none", list(&filter, none)),
        ("interaction", detail(shell("Interaction", "/interactions"))),
        ("interaction-viewer", detail(viewer)),
        ("interaction-unpriced", unpriced()),
        (
            "integrity",
            IntegrityPage::new(shell("Integrity", "/integrity"), sample::integrity(), None, sample::NOW_US)
                .render()
                .unwrap(),
        ),
        (
            "integrity-found",
            IntegrityPage::new(
                shell("Integrity", "/integrity"),
                sample::integrity(),
                Some(sample::verification()),
                sample::NOW_US,
            )
            .render()
            .unwrap(),
        ),
        (
            "integrity-troubled",
            IntegrityPage::new(shell("Integrity", "/integrity"), sample::troubled(), None, sample::NOW_US)
                .render()
                .unwrap(),
        ),
        ("policies", policies(false)),
        ("policies-tried", policies(true)),
        (
            "experiments",
            ExperimentsPage::new(shell("Experiments", "/experiments"), Range::Month, sample::experiments(range))
                .render()
                .unwrap(),
        ),
        ("costs", CostsPage::new(shell("Costs", "/costs"), Range::Month, costs, explainer).render().unwrap()),
    ]
}

fn policies(is_tried: bool) -> String {
    let yaml = tollgate_policy::bundle::DEFAULT_YAML;
    let revision = |revision, reason: &str| tollgate_metastore::BundleRevision {
        revision,
        hash: "9f2c".repeat(16),
        name: "cost-cap".to_owned(),
        version: Some(format!("2026.11.{revision}")),
        author: "ada@acme.example".to_owned(),
        reason: reason.to_owned(),
        created_at_us: sample::NOW_US - 86_400_000_000 * (20 - revision as i64),
        restores: None,
    };
    let revisions = vec![revision(12, "the cap of November, agreed with finance"), revision(7, "first bundle")];
    let limits = tollgate_analytics::backtest::Limits { max_denials: "1%".parse().ok(), ..Default::default() };
    let found = is_tried.then(|| {
        let report = sample::backtest(&"ab".repeat(32), Range::Week.at(sample::NOW_US));
        crate::simulation::Simulation::of(report, &limits, sample::changes())
    });
    PoliciesPage::new(shell("Policies", "/policies"), yaml.to_owned(), revisions, Form::with(yaml), None, found, true)
        .render()
        .unwrap()
}

fn inquiry() -> Vec<(&'static str, String)> {
    let hit = |role: &str| {
        Hit {
        tenant: "acme".into(),
        provider: None,
        outcome: Some("success".into()),
        interaction_id: sample::rows(1)[0].interaction_id.to_string(),
        started_at_us: sample::NOW_US,
        team: "claims-automation".into(),
        model: "gpt-5-mini".into(),
        role: role.into(),
        snippet_html: "the <mark>leak</mark> began in March, but the plumber&#39;s invoice is from May. Is the notice still in time under clause 7.2?".into(),
    }
    };
    let form = QueryForm { text: "leak".into(), ..QueryForm::default() };
    let hits = vec![hit("user"), hit("assistant"), hit("system")];
    let found = SearchResult { total: 41, hits, elapsed_us: 3_100 };
    let column =
        |name: &str, kind: &str, numeric| Column { name: name.into(), kind: kind.into(), numeric, meaning: "" };
    let cell = |text: &str, numeric| Cell { text: Some(text.into()), numeric };
    let tables = vec![TableSchema {
        name: "interactions",
        columns: vec![
            column("interaction_id", "text", false),
            column("started_at", "timestamp", false),
            column("cost_usd", "decimal(20,12)", true),
        ],
    }];
    let result = ResultTable {
        columns: vec![
            column("team", "text", false),
            column("calls", "int", true),
            column("cost_usd", "decimal(38,12)", true),
        ],
        rows: (0..12)
            .map(|n| {
                vec![
                    cell("payments", false),
                    cell(&format!("{}", 1200 - n * 31), true),
                    Cell { text: (n != 4).then(|| "83.120000000000".into()), numeric: true },
                ]
            })
            .collect(),
        truncated: false,
        elapsed_ms: 14,
    };
    let problem = QueryProblem {
        message: "the query cannot be planned: No field named teem. Did you mean 'team'?".into(),
        hint: "The columns are listed beside the editor.".into(),
    };
    vec![
        ("search", SearchPage::new(shell("Search", "/search"), form, found, 0).render().unwrap()),
        (
            "search-empty",
            SearchPage::new(shell("Search", "/search"), QueryForm::default(), SearchResult::default(), 0)
                .render()
                .unwrap(),
        ),
        (
            "sql",
            SqlPage::new(shell("SQL", "/sql"), String::new(), None, Some(result), tables.clone()).render().unwrap(),
        ),
        (
            "sql-problem",
            SqlPage::new(shell("SQL", "/sql"), "SELECT teem FROM interactions".into(), Some(problem), None, tables)
                .render()
                .unwrap(),
        ),
    ]
}

fn access() -> Vec<(&'static str, String)> {
    let created = CreatedKeyView {
        id: "key-1".into(),
        name: "billing service".into(),
        secret: "tg-4mJt1c9Qm0sX2vB7yKp3LwEe8RzUaNdF".into(),
        previous_until: None,
    };
    let key = |name: &str, is_active| KeyLine {
        id: "key_01j9x3k2".into(),
        name: name.into(),
        display: "tg-4mJt…".into(),
        team: "payments".into(),
        project: "—".into(),
        user: "ann@acme.example".into(),
        limits: "for chat; models openai/*; from 10.0.0.0/8".into(),
        ends: "—".into(),
        created: "2026-11-20".into(),
        state: if is_active { "active" } else { "revoked" },
        is_active,
    };
    let keys = vec![key("billing service", true), key("old laptop", false)];
    let models =
        ["sandbox/small", "assistant", "claude-eu/eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "the \"best\""];
    let models: Vec<String> = models.iter().map(|&model| model.to_owned()).collect();
    let setup = |created, client: &str, models| {
        let choice = Choice { client: Some(client.to_owned()), model: None };
        let frame = shell("Setup", "/setup");
        let offer = Offer { models, tolerant: Vec::new(), open_providers: vec!["llama-home".to_owned()] };
        SetupPage::new(frame, created, Refill::default(), "http://127.0.0.1:8080", offer, choice).render().unwrap()
    };
    let problem = ProblemPage {
        theme: None,
        status: 404,
        title: "No such call".into(),
        message: "interaction `019ab1c2-…` is not in the log".into(),
        hint: "It may be older than what the log keeps, or the id may be cut off.".into(),
        code: "interaction_not_found",
        request_id: "req-9f3c".into(),
        links: vec![("/interactions".into(), "All interactions".into()), ("/".into(), "Overview".into())],
    };
    vec![
        ("setup", setup(None, "openai-python", models.clone())),
        ("setup-created", setup(Some(created.clone()), "claude-code", models.clone())),
        ("setup-cursor", setup(None, "cursor", models)),
        ("keys", KeysPage::new(shell("Keys", "/keys"), Some(created), Refill::default(), keys).render().unwrap()),
        ("models", ModelsPage::new(shell("Models", "/models"), &sample::routing()).render().unwrap()),
        ("models-first", ModelsPage::new(shell("Models", "/models"), &sample::routing_at_first()).render().unwrap()),
        ("reports", ReportsPage::new(shell("Reports", "/reports"), sample::NOW_US).render().unwrap()),
        (
            "login",
            LoginPage {
                next: String::new(),
                theme: None,
                provider: Some("Acme SSO".into()),
                refused: Some("the link was already used; ask for another".into()),
            }
            .render()
            .unwrap(),
        ),
        ("problem", problem.render().unwrap()),
    ]
}

#[test]
fn every_page_renders_without_inline_script_or_style() {
    let pages: Vec<_> = [overview(), budgets(), lists(), inquiry(), access()].concat();
    for (name, html) in &pages {
        assert!(!html.contains(" style="), "`{name}` has inline style");
        assert!(!html.contains(" onclick"), "`{name}` has inline script");
        assert!(!html.contains("<script>"), "`{name}` has inline script or unescaped content");
    }
    let Ok(dir) = std::env::var("TOLLGATE_PREVIEW") else { return };
    let dir = std::path::Path::new(&dir);
    std::fs::create_dir_all(dir.join("static")).unwrap();
    for (name, html) in pages {
        std::fs::write(dir.join(format!("{name}.html")), html.replace("\"/static/", "\"static/")).unwrap();
    }
    for url in [crate::assets::style_url(), crate::assets::script_url(), crate::assets::icon_url()] {
        let file_name = url.strip_prefix("/static/").unwrap();
        let asset = crate::assets::find(file_name).unwrap();
        std::fs::write(dir.join("static").join(file_name), asset.content).unwrap();
    }
}
