//! The price catalogue from the command line: checked, updated under a running server, explained, and applied again to
//! what was recorded, which never changes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Tollgate, eventually};

const CONFIG: &str = "log: {flush_seconds: 1}\n";

/// The catalogue of the sandbox as it comes with the program, and with a price for the model that has none.
pub(crate) fn sandbox_prices() -> (String, String) {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let path = std::path::Path::new(&manifest).join("../crates/provider/catalog/sandbox.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let with = format!(
        "{text}  - id: unpriced\n    aliases: [unlisted]\n    prices:\n      \
         - {{from: release, input: \"1\", output: \"2\", cache_read: \"0.25\", above: [{{input_tokens: 1000, input: \"3\", output: \"4\"}}]}}\n"
    );
    (text, with)
}

/// What a command wrote, and whether it succeeded.
struct Said {
    success: bool,
    out: String,
    errors: String,
}

fn prices(tollgate: &Tollgate, arguments: &[&str]) -> Said {
    let output = tollgate.command().arg("prices").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { success: output.status.success(), out: text(output.stdout), errors: text(output.stderr) }
}

fn write(tollgate: &Tollgate, name: &str, text: &str) -> String {
    let path = tollgate.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_catalogue_is_checked_with_every_mistake_named_by_file_and_row() {
    let tollgate = Tollgate::at_rest(&[("tollgate.yaml", CONFIG)], &[]);
    let (sound, _) = sandbox_prices();
    let folder = tollgate.folder().join("prices");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("sandbox.yaml"), &sound).unwrap();
    let folder = folder.to_str().unwrap().to_owned();
    let said = prices(&tollgate, &["check", &folder]);
    assert!(said.success && said.out.contains("1 provider, 5 models, 5 price rows: 0 wrong"), "{}", said.out);
    for (name, text) in [
        ("broken.yaml", "provider: x\nsource: s\nchecked: 2026-11-01\nmodels:\n  - id: a\n    prise: []\n".to_owned()),
        ("dates.yaml", "provider: y\nsource: s\nchecked: soon\nmodels:\n  - {id: a, prices: [{from: 2026-02-30, input: \"1\"}]}\n".to_owned()),
        ("signs.yaml", "provider: z\nsource: s\nchecked: 2026-11-01\nmodels:\n  - {id: a, prices: [{from: release, input: \"-1\"}]}\n".to_owned()),
        ("twice.yaml", sound.clone()),
    ] {
        std::fs::write(std::path::Path::new(&folder).join(name), text).unwrap();
    }
    let said = prices(&tollgate, &["check", &folder]);
    assert!(!said.success);
    for expected in [
        "wrong: the price catalogue `broken.yaml`, line 6, column 5: ",
        "`prise`",
        "wrong: dates.yaml: y: `checked` is `soon`",
        "wrong: dates.yaml: y/a: from 2026-02-30: `from` is neither",
        "wrong: the price catalogue `signs.yaml`, line 5, column 22: ",
        "negative",
        "wrong: twice.yaml: sandbox: the name `sandbox` is also that of",
    ] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
    let said = prices(&tollgate, &["update", &folder]);
    assert!(!said.success && said.errors.contains("nothing was changed"), "{}", said.errors);
    assert!(!tollgate.data().join("prices.json").exists());
    let whole: Value = serde_json::from_str(&tollgate.run(&["--json", "prices", "check"])).unwrap();
    assert!(whole["providers"].as_u64().unwrap() >= 25 && whole["models"].as_u64().unwrap() >= 800, "{whole}");
    assert_eq!(whole["wrong"], 0);
}

#[test]
fn an_update_is_shown_refused_if_it_is_drastic_and_taken_up_by_the_running_server() {
    let mut tollgate = Tollgate::with_config(CONFIG);
    let gateway = tollgate.gateway();
    let (sound, priced) = sandbox_prices();
    assert_eq!(gateway.chat("sandbox/unpriced", "hello").header("x-tollgate-cost-usd"), "");
    let update = write(&tollgate, "sandbox.yaml", &priced);

    let said = prices(&tollgate, &["update", &update, "--dry-run"]);
    assert!(said.success && said.out.contains("+ sandbox/unpriced"), "{}{}", said.out, said.errors);
    assert!(!tollgate.data().join("prices.json").exists(), "a dry run changes nothing");

    let drastic = write(&tollgate, "drastic.yaml", &priced.replacen("input: \"", "input: \"900", 1));
    let said = prices(&tollgate, &["update", &drastic]);
    assert!(!said.success && said.errors.contains("--accept-large"), "{}", said.errors);
    assert!(said.errors.contains("large: `input` of `sandbox/") && said.out.contains("~ sandbox/"), "{}", said.out);
    assert!(!tollgate.data().join("prices.json").exists());

    let said = prices(&tollgate, &["update", &update]);
    assert!(said.success && said.errors.contains("the running server takes it up"), "{}", said.errors);
    let cost = eventually("the server uses the new prices", Duration::from_secs(20), || {
        let cost = gateway.chat("sandbox/unpriced", "hello").header("x-tollgate-cost-usd");
        (!cost.is_empty()).then_some(cost)
    });
    let said = prices(&tollgate, &["update", &update]);
    assert!(said.success && said.errors.contains("in use already"), "{}", said.errors);
    let console = tollgate.console();
    let event = eventually("the change is in the log", Duration::from_secs(10), || {
        console.rows("select * from control_events where action = 'prices.updated'").pop()
    });
    assert!(event["detail"].as_str().unwrap().starts_with("1 model added, 0 removed"), "{event}");

    // What the command line says of that call is what the gateway charged.
    let row = eventually("its row", Duration::from_secs(10), || {
        let sql = "select input_tokens, output_tokens, cost_usd, price_id from interactions where cost_usd is not null \
                   and model_served = 'unpriced'";
        console.rows(sql).pop()
    });
    let number = |name: &str| row[name].as_u64().unwrap().to_string();
    let explained: Value = serde_json::from_str(&tollgate.run(&[
        "--json",
        "prices",
        "explain",
        "unpriced",
        "--provider",
        "sandbox",
        "--input",
        &number("input_tokens"),
        "--output",
        &number("output_tokens"),
    ]))
    .unwrap();
    assert_eq!(explained["price_id"], row["price_id"]);
    let padded = |cost: &Value| {
        let text = cost.as_str().unwrap();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}.{fraction:0<12}")
    };
    assert_eq!(padded(&explained["cost_usd"]), row["cost_usd"].as_str().unwrap(), "{explained}");
    assert_eq!(padded(&json!(cost)), row["cost_usd"].as_str().unwrap());

    // The update outlives a restart, and taking it back brings back what came with the program.
    tollgate.stop();
    tollgate.resume();
    assert_ne!(tollgate.gateway().chat("sandbox/unpriced", "hello").header("x-tollgate-cost-usd"), "");
    let said = prices(&tollgate, &["update", "--builtin", "--accept-large"]);
    assert!(said.success && said.out.contains("- sandbox/unpriced"), "{}{}", said.out, said.errors);
    let gateway = tollgate.gateway();
    eventually("the server uses the old prices", Duration::from_secs(20), || {
        gateway.chat("sandbox/unpriced", "hello").header("x-tollgate-cost-usd").is_empty().then_some(())
    });
    let again = write(&tollgate, "same.yaml", &sound);
    assert!(prices(&tollgate, &["update", &again, "--dry-run"]).out.contains("0 prices changed"));
}

#[test]
fn a_price_is_explained_by_row_step_and_sum() {
    let tollgate = Tollgate::at_rest(&[("tollgate.yaml", CONFIG)], &[]);
    let update = write(&tollgate, "sandbox.yaml", &sandbox_prices().1);
    assert!(prices(&tollgate, &["update", &update]).success);
    let said =
        prices(&tollgate, &["explain", "sandbox/unlisted", "--input", "2000", "--cached", "500", "--output", "10"]);
    assert!(said.success, "{}", said.errors);
    for expected in [
        "unpriced at sandbox, found by the alias `unlisted`",
        "row       sandbox/unpriced@release",
        "prices above 1000 input tokens (applied)",
        "cache_read: 500 x 3.00 / 1000000 = 0.0015 USD (at the price of input)",
        "input: 1500 x 3.00 / 1000000 = 0.0045 USD",
        "output: 10 x 4.00 / 1000000 = 0.00004 USD",
        "total: 0.00604 USD",
    ] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
    let said = prices(&tollgate, &["explain", "gpt-5"]);
    assert!(!said.success && said.errors.contains("openai") && said.errors.contains("--provider"), "{}", said.errors);
    let said = prices(&tollgate, &["explain", "gtp-5", "--provider", "openai"]);
    assert!(!said.success && said.errors.contains("did you mean `gpt-5`?"), "{}", said.errors);
    let dated =
        prices(&tollgate, &["explain", "claude-sonnet-4-5-20250929", "--provider", "anthropic", "--tier", "batch"]);
    assert!(dated.success && dated.out.contains("tier batch") && dated.out.contains("source    http"), "{}", dated.out);
}

#[test]
fn history_is_priced_again_by_appending_and_the_recorded_calls_stay() {
    let mut tollgate = Tollgate::with_config(CONFIG);
    let gateway = tollgate.gateway();
    for _ in 0..3 {
        assert_eq!(gateway.chat("sandbox/unpriced", "hello").status, 200);
        assert_eq!(gateway.chat("sandbox/small", "hello").status, 200);
    }
    tollgate.await_count("select count(*) from interactions", 6);
    let recorded = tollgate.console().rows("select * from interactions order by interaction_id");
    let range = ["--from", "2020-01-01", "--to", "2099-01-01"];
    let reprice = |tollgate: &Tollgate, more: &[&str]| -> Value {
        let said = tollgate.run(&[&["--json", "prices", "reprice"], range.as_slice(), more].concat());
        serde_json::from_str(&said).unwrap()
    };
    let idle = reprice(&tollgate, &["--dry-run"]);
    assert_eq!((&idle["unchanged"], &idle["still_unpriced"]), (&json!(3), &json!(3)));
    assert!(idle["by_model"][0]["problem"].as_str().unwrap().contains("`unpriced`"), "{idle}");

    let update = write(&tollgate, "sandbox.yaml", &sandbox_prices().1);
    assert!(prices(&tollgate, &["update", &update]).success);
    let planned = eventually("the server has the new prices", Duration::from_secs(20), || {
        let planned = reprice(&tollgate, &["--dry-run"]);
        (planned["newly_priced"] == 3).then_some(planned)
    });
    assert_eq!((&planned["mode"], &planned["appended"]), (&json!("dry_run"), &json!(0)));
    let console = tollgate.console();
    assert_eq!(console.number("select count(*) from price_corrections"), 0);

    let refused = tollgate.command().args(["prices", "reprice"]).args(range).output().unwrap();
    assert!(!refused.status.success(), "corrections need a reason");
    let done = reprice(&tollgate, &["--reason", "a price was added"]);
    assert_eq!((&done["appended"], &done["new_usd"]), (&json!(3), &planned["new_usd"]));
    // What was appended can be read when the command has ended, and what was recorded is as it was.
    assert_eq!(console.number("select count(*) from price_corrections where reason = 'a price was added'"), 3);
    assert_eq!(console.rows("select * from interactions order by interaction_id"), recorded);
    let report = console.get("/api/v1/costs?range=24h").json();
    assert_eq!((&report["total"]["unpriced"], &report["corrections"]["priced_since"]), (&json!(0), &json!(3)));
    assert_eq!(report["corrections"]["corrected_usd"], done["new_usd"]);
    assert!(console.get("/costs?range=24h").text().contains("3 calls, 3 of them recorded without a cost"));
    let again = reprice(&tollgate, &["--reason", "once more"]);
    assert_eq!((&again["appended"], &again["unchanged"]), (&json!(0), &json!(6)));

    // It is part of the log like everything else: in the lake, under the proof, and there after a restart.
    tollgate.await_count("select count(*) from control_events where action = 'prices.reapplied'", 1);
    tollgate.stop();
    tollgate.resume();
    let verified = tollgate.run(&["audit", "verify"]);
    println!("{verified}");
    let total =
        "select sum(cost_usd) as now, sum(recorded_cost_usd) as recorded, count(corrected_at) as corrected from costs";
    let sums = tollgate.console().rows(total).remove(0);
    assert_eq!(sums["corrected"], 3);
    assert_ne!(sums["now"], sums["recorded"]);
    tollgate.stop();
    let offline = prices(&tollgate, &["reprice", "--from", "2020-01-01", "--to", "2099-01-01", "--reason", "offline"]);
    assert!(!offline.success && offline.errors.contains("tollgate serve"), "{}", offline.errors);
    assert_eq!(reprice(&tollgate, &["--dry-run"])["unchanged"], 6, "the lake alone says the same");
}
