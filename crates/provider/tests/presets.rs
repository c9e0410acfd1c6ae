//! `docs/providers.md` is written from the table of presets, so that it cannot say anything else. After a change of the
//! table: `TOLLGATE_BLESS=1 cargo test -p tollgate-provider --test presets`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use tollgate_provider::preset::{Api, LimitName, Presets};

const HEAD: &str = "\
# Providers

Written from `crates/provider/presets.yaml` by a test; change the table, not this file.

Providers with a format or a way of authentication of their own:

| `dialect` | provider | who calls | where |
|---|---|---|---|
| `openai` | OpenAI, and any server that copies its API | `api_key`; OPENAI_API_KEY | `base_url` |
| `azure` | Azure OpenAI | `api_key`; AZURE_OPENAI_API_KEY; or `azure: {tenant_id, client_id, client_secret}` (Microsoft Entra) | `base_url` of the resource, `api_version` |
| `anthropic` | Anthropic | `api_key`; ANTHROPIC_API_KEY | `base_url` |
| `gemini` | Google Gemini API | `api_key`; GEMINI_API_KEY, GOOGLE_API_KEY | `base_url` |
| `vertex` | Google Vertex AI: Gemini, Claude, and others as `vertex/PUBLISHER/MODEL` | `google: {service_account_file}`, `{service_account_json}` or `{metadata_server}`; GOOGLE_APPLICATION_CREDENTIALS | `project`; `region` (`europe-west4`, `eu`, `global`) |
| `bedrock` | Amazon Bedrock | `aws: {access_key_id, secret_access_key, session_token}`; AWS_ACCESS_KEY_ID …; or `api_key`; AWS_BEARER_TOKEN_BEDROCK | `region`; AWS_REGION |

Providers that speak OpenAI's API, known by name. `providers: {groq: {}}` is a whole entry where the variable is set, and
`{fast: {preset: groq, api_key: …}}` gives one another name. What is written in an entry comes before what stands here; a key
from the environment is sent to the provider's own address and nowhere else.

What its calls cost. An entry whose address is the vendor's own is priced by the vendor's list, and so is one that is a preset
or is called as a vendor is (`openai: {base_url: …}` for a proxy before OpenAI). Any other address is nobody's that has a price
list here: the calls of `mine: {dialect: openai, base_url: \"http://10.0.0.7:8000/v1\"}` have no cost (NULL, counted as unknown on
every page) until the file says one:

- `price_as: openai` in the entry: by the prices of another list, as those of a vendor whose models it serves; the lists are
  what `tollgate prices explain` and `crates/provider/catalog` name;
- or rows of its own: a file with `provider: mine` that `catalog: {prices: FILE}` names ([prices](prices.md)).

";

fn table() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("| preset | provider | key | has | prices | address | besides |\n|---|---|---|---|---|---|---|\n");
    for preset in Presets::builtin().iter() {
        let names: Vec<String> =
            std::iter::once(&preset.name).chain(&preset.also_called).map(|name| format!("`{name}`")).collect();
        let key = preset.key.as_deref().unwrap_or("none");
        let has: Vec<&str> = preset.has.iter().copied().map(Api::as_str).collect();
        let prices = if preset.price_as.is_some() { "yes" } else { "no" };
        let quirks = preset.quirks();
        let mut besides: Vec<String> = Vec::new();
        if let Some(limit) = quirks.limit {
            let name = match limit {
                LimitName::MaxTokens => "max_tokens",
                LimitName::MaxCompletionTokens => "max_completion_tokens",
            };
            besides.push(format!("`{name}`"));
        }
        if !quirks.asks_for_usage() {
            besides.push("no `stream_options`".to_owned());
        }
        besides.extend(preset.notes.clone());
        let (title, docs, url) = (&preset.title, &preset.docs, &preset.base_url);
        writeln!(
            text,
            "| {} | [{title}]({docs}) | {key} | {} | {prices} | `{url}` | {} |",
            names.join(" "),
            has.join(", "),
            besides.join("; ")
        )
        .unwrap();
    }
    text
}

#[test]
fn the_documentation_is_the_table() {
    let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../docs/providers.md");
    let expected = table();
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == expected, "docs/providers.md is not what the table says; run this test with TOLLGATE_BLESS=1");
}
