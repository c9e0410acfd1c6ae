//! `tollgate search`: finds calls by words of their prompts and answers. The index belongs to the running server.

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::remote::{Remote, query_value};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Words, "phrases", -not, team:NAME, model:NAME.
    #[arg(required = true, allow_hyphen_values = true)]
    words: Vec<String>,
    /// Largest number of hits.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// URL of another machine's console.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(crate) async fn run(common: Common, args: SearchArgs) -> anyhow::Result<()> {
    let data = DataDir::create(&common.data)?;
    let remote = Remote::find(args.url.as_deref(), &data)?.context(
        "search needs the running server, whose index it uses; start `tollgate serve` or name one with --url",
    )?;
    let words = args.words.join(" ");
    let path = format!("/api/v1/search?q={}&limit={}", query_value(&words), args.limit);
    let answer = remote.get(&path, "application/json").await?;
    if common.json {
        terminal::bytes(&answer)?;
        return Ok(());
    }
    let found: Value = serde_json::from_slice(&answer).context("the server's answer is not JSON")?;
    let hits = found["hits"].as_array().context("the server's answer has no `hits`")?;
    for hit in hits {
        let field = |name: &str| hit[name].as_str().unwrap_or("-").to_owned();
        terminal::line(&format!(
            "{}  {}  {}  {}  {}\n    {}",
            field("interaction_id"),
            time(&hit["started_at_us"]),
            field("outcome"),
            field("team"),
            field("model"),
            plain(&field("snippet_html")),
        ));
    }
    terminal::note(&format!("{} of {} hit{}", hits.len(), found["total"], if found["total"] == 1 { "" } else { "s" }));
    Ok(())
}

/// Microseconds since 1970 as UTC, or as they are if they are no time.
fn time(us: &Value) -> String {
    let time = us.as_i64().and_then(chrono::DateTime::from_timestamp_micros);
    time.map_or_else(|| us.to_string(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A snippet without its markup: marks become `*…*`, entities their characters.
fn plain(snippet: &str) -> String {
    let mut text = snippet.replace("<mark>", "*").replace("</mark>", "*");
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#39;", "'")] {
        text = text.replace(entity, character);
    }
    text.replace("&amp;", "&").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_snippet_reads_as_plain_text() {
        assert_eq!(super::plain("a <mark>b</mark> &lt;c&gt; &amp;lt;"), "a *b* <c> &lt;");
    }
}
