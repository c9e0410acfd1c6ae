//! The program's own log: to standard error, `TOLLGATE_LOG` chooses what (as in `info,tollgate_gateway=debug`).

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Installs the subscriber.
///
/// # Errors
/// If `TOLLGATE_LOG` is not a filter.
pub(crate) fn install() -> anyhow::Result<()> {
    let filter = match std::env::var("TOLLGATE_LOG") {
        Ok(text) => EnvFilter::try_new(&text).with_context(|| format!("`TOLLGATE_LOG={text}` is not a log filter"))?,
        // Delta's own crates report every commit at `info`.
        Err(_) => EnvFilter::new("info,deltalake_core=warn,buoyant_kernel=warn,tantivy=warn,sqlx=warn"),
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    Ok(())
}
