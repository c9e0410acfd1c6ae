//! The dashboard in a real browser: `web/browser` holds the specifications, this starts what they look at.

use std::path::Path;
use std::process::Command;

use crate::support::Tollgate;

#[test]
fn every_page_works_in_a_real_browser() {
    // Flushed as in production: a file a second would make the pages of a debug build slow.
    let tollgate = Tollgate::with_config("log: {flush_seconds: 10}\n");
    let gateway = tollgate.gateway();
    for number in 0..12 {
        gateway.chat(if number % 3 == 0 { "sandbox/large" } else { "sandbox/small" }, "a quokka at the toll gate");
        gateway.chat("no-such/model", "refused");
    }
    tollgate.await_count("select count(*) from interactions", 24);
    let modules = std::env::var_os("TOLLGATE_TOOLS_NODE_MODULES")
        .expect("TOLLGATE_TOOLS_NODE_MODULES is not set; run the tests by `cargo xtask test`");
    let browser = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../web/browser");
    let output = Command::new("node")
        .arg(browser.join("run.mjs"))
        .env("NODE_MODULES", modules)
        .env("BASE_URL", &tollgate.console_url)
        .env("LOGIN_URL", &tollgate.login_url)
        .env("GATEWAY_URL", &tollgate.gateway_url)
        .env("API_KEY", tollgate.key())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("{printed}");
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
}
