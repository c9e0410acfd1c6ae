use std::path::PathBuf;

use tollgate_gateway::{Credentials, GatewaySettings, ProviderKind, ProviderSettings, Secret, TokenSource};
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_provider::preset::{Api, Presets};

use crate::Config;

/// Variables that are set in the environment of a test.
type Variables = &'static [(&'static str, &'static str)];

fn parse(text: &str, variables: Variables) -> Result<Config, SourceError> {
    parse_with(text, Presets::builtin(), variables)
}

fn parse_with(text: &str, presets: &Presets, variables: Variables) -> Result<Config, SourceError> {
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::parse_with(text, PathBuf::from("/etc/tollgate"), presets, variable)
}

fn settings(config: &Config) -> GatewaySettings {
    config.gateway_settings([0; 32], String::new())
}

/// The provider `name` of a file.
fn provider(text: &str, variables: Variables, name: &str) -> ProviderSettings {
    let config = parse(text, variables).unwrap_or_else(|error| panic!("{error}"));
    settings(&config).providers.into_iter().find(|provider| provider.name == name).unwrap()
}

fn key(text: &str) -> Credentials {
    Credentials::Key(Secret::new(text))
}

fn refusal(text: &str, variables: Variables) -> SourceError {
    parse(text, variables).unwrap_err()
}

#[test]
fn a_preset_needs_its_name_and_a_key_and_nothing_else() {
    let groq = provider("providers: {groq: {api_key: \"${GROQ_API_KEY}\"}}", &[("GROQ_API_KEY", "gsk-1")], "groq");
    assert_eq!((groq.kind, groq.base_url.as_str()), (ProviderKind::Openai, "https://api.groq.com/openai/v1"));
    assert_eq!((groq.credentials, groq.price_as.as_deref()), (key("gsk-1"), Some("groq")));
    assert!(groq.has_responses && !groq.has.unwrap().contains(&Api::Embeddings));
    // The usual variable is looked at where the file says nothing.
    assert_eq!(provider("providers: {groq: {}}", &[("GROQ_API_KEY", "gsk-2")], "groq").credentials, key("gsk-2"));
    let fast = provider("providers: {fast: {preset: x-ai, api_key: k}}", &[], "fast");
    assert_eq!((fast.base_url.as_str(), fast.price_as.as_deref()), ("https://api.x.ai/v1", Some("xai")));
    let local = provider("providers: {ollama: {}}", &[], "ollama");
    assert_eq!((local.base_url.as_str(), local.credentials), ("http://127.0.0.1:11434/v1", Credentials::None));
}

#[test]
fn what_is_written_comes_before_what_the_preset_says() {
    let text = "providers:\n  mistral: {base_url: \"http://127.0.0.1:9/v2\", api_key: k, price_as: openai, responses: true, region: eu}\n";
    let mistral = provider(text, &[("MISTRAL_API_KEY", "not-this")], "mistral");
    assert_eq!((mistral.base_url.as_str(), mistral.credentials), ("http://127.0.0.1:9/v2", key("k")));
    assert_eq!((mistral.price_as.as_deref(), mistral.region.as_deref()), (Some("openai"), Some("eu")));
    assert!(mistral.has_responses && !mistral.quirks.asks_for_usage());
    let told = provider("providers: {groq: {api_key: k, has: [chat, moderations]}}", &[], "groq");
    assert_eq!((told.has.as_deref(), told.has_responses), (Some([Api::Chat, Api::Moderations].as_slice()), false));
    let error = refusal("providers:\n  groq: {api_key: k, has: [moderation]}\n", &[]);
    assert!(error.line == 2 && error.message.contains("`moderations`"), "{error}");
    // `dialect` says that it is no preset, whatever it is called.
    let own = provider("providers: {groq: {dialect: anthropic, base_url: \"http://127.0.0.1:9\"}}", &[], "groq");
    assert_eq!((own.kind, own.has), (ProviderKind::Anthropic, None));
}

#[test]
fn a_key_of_the_environment_goes_to_its_own_provider_alone() {
    let elsewhere =
        "providers: {groq: {base_url: \"http://127.0.0.1:9/v1\"}, openai: {base_url: \"http://127.0.0.1:9\"}}";
    let variables: Variables = &[("GROQ_API_KEY", "gsk-1"), ("OPENAI_API_KEY", "sk-1")];
    assert_eq!(provider(elsewhere, variables, "groq").credentials, Credentials::None);
    assert_eq!(provider(elsewhere, variables, "openai").credentials, Credentials::None);
    assert_eq!(provider("providers: {openai: {}}", variables, "openai").credentials, key("sk-1"));
    let amazon = "providers: {bedrock: {region: eu-central-1, base_url: \"http://127.0.0.1:9\"}}";
    let variables: Variables = &[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    assert_eq!(provider(amazon, variables, "bedrock").credentials, Credentials::None);
}

#[test]
fn a_name_that_nobody_knows_is_located_and_the_nearest_told() {
    let error = refusal("providers:\n  fast:\n    preset: grok2\n    api_key: k\n", &[]);
    assert_eq!((error.line, error.column), (3, 13), "{error}");
    assert!(error.message.contains("`grok2`") && error.message.contains("did you mean `grok`?"), "{error}");
    let error = refusal("server: {}\nproviders:\n  mistrall: {api_key: k}\n", &[]);
    assert_eq!(error.line, 3, "{error}");
    assert!(error.message.contains("`mistrall`") && error.message.contains("did you mean `mistral`?"), "{error}");
    let error = refusal("providers: {fast: {preset: groq, dialect: anthropic}}", &[]);
    assert!(error.message.contains("drop `dialect`"), "{error}");
    let error = refusal("providers: {groq: {}}", &[]);
    assert!(error.message.contains("`api_key`") && error.message.contains("`GROQ_API_KEY`"), "{error}");
}

#[test]
fn adding_a_provider_is_one_entry_of_the_table() {
    let entry = "\n- {name: acme, title: Acme, base_url: 'https://api.acme.example/v3', key: ACME_KEY, has: [chat, rerank], \
                 limit: max_tokens, stream_usage: always, docs: 'https://acme.example/docs'}\n";
    let table = Presets::from_yaml(&[Presets::builtin_yaml(), entry].concat()).unwrap();
    for text in ["", "providers: {acme: {}}", "providers: {fast: {preset: acme}}"] {
        let config = parse_with(text, &table, &[("ACME_KEY", "a-1")]).unwrap();
        let providers = settings(&config).providers;
        let acme = providers.iter().find(|provider| provider.name != "sandbox").unwrap();
        assert_eq!((acme.base_url.as_str(), &acme.credentials), ("https://api.acme.example/v3", &key("a-1")), "{text}");
        assert_eq!((acme.price_as.as_deref(), acme.has_responses), (Some("acme"), false));
        assert_eq!(acme.has.as_deref(), Some([Api::Chat, Api::Rerank].as_slice()));
        assert!(!acme.quirks.asks_for_usage());
    }
}

#[test]
fn without_a_file_the_environment_says_which_providers_there_are() {
    let variables: Variables =
        &[("OPENAI_API_KEY", "a"), ("GROQ_API_KEY", "b"), ("GEMINI_API_KEY", "c"), ("XAI_API_KEY", "")];
    let names = |text: &str| parse(text, variables).unwrap().providers.into_keys().collect::<Vec<_>>();
    assert_eq!(names(""), ["gemini", "groq", "openai", "sandbox"]);
    // A file that names providers means these; the two that have always been added still are.
    assert_eq!(names("providers: {ollama: {}}"), ["ollama", "openai", "sandbox"]);
}

#[test]
fn amazons_credentials_come_from_the_file_or_the_usual_variables() {
    let variables: Variables = &[
        ("AWS_ACCESS_KEY_ID", "ASIA1"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let amazon = provider("providers: {claude-eu: {dialect: bedrock, region: eu-central-1}}", variables, "claude-eu");
    assert_eq!(amazon.base_url, "https://bedrock-runtime.eu-central-1.amazonaws.com");
    assert_eq!(
        amazon.credentials,
        Credentials::Aws {
            access_key_id: "ASIA1".into(),
            secret_access_key: Secret::new("secret"),
            session_token: Some(Secret::new("session")),
        }
    );
    let amazon = provider("providers: {bedrock: {}}", variables, "bedrock");
    assert_eq!(amazon.region.as_deref(), Some("eu-west-1"));
    let error = refusal("providers:\n  bedrock: {}\n", &[]);
    assert!(error.line == 2 && error.message.contains("`region`"), "{error}");
    let bearer: Variables =
        &[("AWS_BEARER_TOKEN_BEDROCK", "b-1"), ("AWS_ACCESS_KEY_ID", "ASIA1"), ("AWS_SECRET_ACCESS_KEY", "s")];
    assert_eq!(provider("providers: {bedrock: {region: us-east-1}}", bearer, "bedrock").credentials, key("b-1"));
}

#[test]
fn entra_gives_tokens_for_azure() {
    let text = "providers:\n  azure:\n    base_url: https://acme.openai.azure.com\n    \
                azure: {tenant_id: t, client_id: c, client_secret: \"${SECRET}\"}\n";
    let azure = provider(text, &[("SECRET", "s-1")], "azure");
    let expected = |tenant_id: &str, authority: &str| {
        Credentials::Token(TokenSource::Entra {
            authority: authority.into(),
            tenant_id: tenant_id.into(),
            client_id: "c".into(),
            client_secret: Secret::new("s-1"),
            scope: "https://cognitiveservices.azure.com/.default".into(),
        })
    };
    assert_eq!(azure.credentials, expected("t", "https://login.microsoftonline.com"));
    let text = text.replace("tenant_id: t", "tenant_id: t, authority: \"https://login.microsoftonline.us\"");
    let azure = provider(&text, &[("SECRET", "s-1")], "azure");
    assert_eq!(azure.credentials, expected("t", "https://login.microsoftonline.us"));
    let variables: Variables = &[("AZURE_TENANT_ID", "t2"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "s-1")];
    let azure = provider("providers: {azure: {base_url: \"https://acme.openai.azure.com\"}}", variables, "azure");
    assert_eq!(azure.credentials, expected("t2", "https://login.microsoftonline.com"));
    let error = refusal("providers: {azure: {api_key: k}}", &[]);
    assert!(error.message.contains("`base_url`"), "{error}");
}

/// What `gcloud auth application-default login` leaves; a key of a service account is another test's.
const GOOGLE: &str = r#"{"type":"authorized_user","client_id":"c","client_secret":"s-2","refresh_token":"r-2","quota_project_id":"acme-ai"}"#;

#[test]
fn vertex_is_called_where_its_region_is() {
    for (region, url) in [
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ] {
        let text =
            format!("providers: {{vertex: {{region: {region}, google: {{service_account_json: \"${{GOOGLE}}\"}}}}}}");
        let vertex = provider(&text, &[("GOOGLE", GOOGLE)], "vertex");
        assert_eq!((vertex.kind, vertex.base_url.as_str()), (ProviderKind::Vertex, url));
        assert_eq!((vertex.project.as_deref(), vertex.region.as_deref()), (Some("acme-ai"), Some(region)));
        assert!(matches!(vertex.credentials, Credentials::Token(TokenSource::AuthorizedUser { .. })));
        assert_eq!((vertex.price_as, vertex.kind.as_str()), (None, "vertex"));
    }
}

#[test]
fn googles_credentials_come_from_a_file_the_environment_or_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adc.json"), GOOGLE).unwrap();
    let path = folder.path().join("adc.json").display().to_string();
    let text = "providers: {vertex: {region: global, project: other, google: {service_account_file: adc.json}}}";
    let variable = |name: &str| (name == "GOOGLE_APPLICATION_CREDENTIALS").then(|| path.clone());
    let config = Config::parse(text, folder.path().to_path_buf(), variable).unwrap();
    let vertex = |config: &Config| settings(config).providers.into_iter().find(|known| known.name == "vertex").unwrap();
    assert_eq!(vertex(&config).project.as_deref(), Some("other"), "what is written comes first");
    let config = Config::parse("providers: {vertex: {region: global}}", PathBuf::from("/"), variable).unwrap();
    assert_eq!(vertex(&config).project.as_deref(), Some("acme-ai"));
    let shown = format!("{config:?}{:?}", settings(&config));
    assert!(!shown.contains("s-2") && !shown.contains("r-2"), "no secret is printed");
    let machine = "providers: {vertex: {region: global, project: p, google: {metadata_server: \"http://metadata.google.internal\"}}}";
    let expected = TokenSource::MetadataServer { url: "http://metadata.google.internal".into() };
    assert_eq!(provider(machine, &[], "vertex").credentials, Credentials::Token(expected));
}

#[test]
fn what_vertex_lacks_is_located() {
    let lacks = |text: &str, what: &str| {
        let error = refusal(text, &[("GOOGLE", r#"{"type":"external_account"}"#)]);
        assert!(error.line == 2 && error.message.contains(what), "{what}: {error}");
    };
    lacks("providers:\n  vertex: {project: p}\n", "`region`");
    lacks("providers:\n  vertex: {region: global, project: p}\n", "GOOGLE_APPLICATION_CREDENTIALS");
    lacks("providers:\n  vertex: {region: global, api_key: k}\n", "`project`");
    lacks("providers:\n  vertex: {region: global, google: {service_account_file: nowhere.json}}\n", "nowhere.json");
    lacks(
        "providers:\n  vertex: {region: global, google: {service_account_json: \"${GOOGLE}\"}}\n",
        "`external_account`",
    );
}

#[test]
fn the_schema_names_every_preset() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let preset = &schema["$defs"]["Provider"]["properties"]["preset"]["enum"];
    let named: Vec<&str> = preset.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(named, Presets::builtin().names().collect::<Vec<_>>());
    let required = schema["$defs"]["Provider"]["required"].as_array().cloned().unwrap_or_default();
    assert!(required.is_empty(), "{required:?}");
    for name in ["google", "azure", "aws", "project", "region"] {
        assert!(schema["$defs"]["Provider"]["properties"].get(name).is_some(), "{name}");
    }
}

#[test]
fn a_provider_that_answers_nobody_without_credentials_is_refused_with_what_to_set() {
    for (entry, set) in [
        ("openai: {}", "OPENAI_API_KEY"),
        ("fast: {dialect: openai}", "`base_url`"),
        ("fast: {dialect: openai, base_url: \"https://eu.api.openai.com/v1\"}", "`api_key: \"${OPENAI_API_KEY}\"`"),
        ("groq: {base_url: \"https://api.groq.com/openai/v2\"}", "`api_key: \"${GROQ_API_KEY}\"`"),
        ("anthropic: {}", "ANTHROPIC_API_KEY"),
        ("gemini: {}", "GEMINI_API_KEY"),
        ("azure: {base_url: \"https://acme.openai.azure.com\"}", "AZURE_OPENAI_API_KEY"),
        ("bedrock: {region: eu-central-1}", "AWS_ACCESS_KEY_ID"),
    ] {
        let error = refusal(&format!("server: {{}}\nproviders:\n  {entry}\n"), &[]);
        let name = entry.split(':').next().unwrap();
        assert_eq!(error.line, 3, "{error}");
        assert!(error.message.contains(&format!("`{name}`")) && error.message.contains(set), "{entry}: {error}");
    }
}

#[test]
fn a_server_that_may_want_a_key_is_doubted_unless_it_is_near() {
    let doubts = |entry: &str, variables: Variables| {
        let config = parse(&format!("providers:\n  {entry}\n"), variables).unwrap_or_else(|error| panic!("{error}"));
        config.doubts().map(|doubt| (doubt.line, doubt.message.clone())).collect::<Vec<_>>()
    };
    let variables: Variables = &[("OPENAI_API_KEY", "sk-1"), ("ANTHROPIC_API_KEY", "a-1")];
    let found = doubts("openai: {base_url: \"https://llm.acme.example/v1\"}", variables);
    let [(line, message)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(*line, 2);
    for named in ["`openai`", "`llm.acme.example`", "`api_key:", "OPENAI_API_KEY"] {
        assert!(message.contains(named), "{named} is not in {message}");
    }
    assert_eq!(doubts("azure: {base_url: \"https://acme.azure-api.net\"}", &[]).len(), 1);
    assert_eq!(doubts("bedrock: {region: eu-central-1, base_url: \"https://proxy.acme.example\"}", &[]).len(), 1);
    for fine in [
        "mine: {dialect: openai, base_url: \"http://127.0.0.1:9/v1\"}",
        "mine: {dialect: openai, base_url: \"http://10.1.2.3:8000/v1\"}",
        "mine: {dialect: openai, base_url: \"http://vllm:8000/v1\"}",
        "mine: {dialect: openai, base_url: \"http://vllm.models.svc.cluster.local/v1\"}",
        "mine: {dialect: openai, base_url: \"https://llm.acme.example/v1\", api_key: k}",
        "ollama: {}",
        "sandbox: {}",
    ] {
        assert_eq!(doubts(fine, &[]), [], "{fine}");
    }
    assert_eq!(parse("", &[]).unwrap().doubts().count(), 0, "the sandbox alone is no reason to doubt");
}

#[test]
fn authorities_of_ones_own_are_read_and_looked_at_before_anything_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let pem = include_str!("../../../gateway/tests/it/tls/authority.pem");
    std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
    std::fs::write(folder.path().join("none.pem"), "hello\n").unwrap();
    let broken = pem.replacen("MII", "AAA", 1);
    std::fs::write(folder.path().join("broken.pem"), broken).unwrap();
    let parsed = |entry: &str| {
        let text = format!("providers:\n  mine:\n    dialect: openai\n    api_key: k\n    {entry}\n");
        Config::parse(&text, folder.path().to_path_buf(), |_| None)
    };
    let config = parsed("ca_file: ca.pem").unwrap();
    let mine = settings(&config).providers.into_iter().find(|provider| provider.name == "mine").unwrap();
    assert_eq!(mine.authorities_pem.as_deref(), Some(pem));
    for (entry, what) in [
        ("ca_file: nowhere.pem", "nowhere.pem"),
        ("ca_file: none.pem", "holds no certificate"),
        ("ca_file: broken.pem", "certificate number 1"),
        ("ca_file: ca.pem\n    base_url: \"http://127.0.0.1:9\"", "no certificate is looked at"),
    ] {
        let error = parsed(entry).unwrap_err();
        assert!((error.line, error.column) == (5, 14) && error.message.contains(what), "{what}: {error}");
    }
}

#[test]
fn every_wait_and_size_of_a_conversation_can_be_set() {
    let text = "server: {session_idle_seconds: 7, session_total_seconds: 8, max_message_bytes: 9, connect_seconds: 3, \
                total_seconds: 4, request_body_seconds: 5}\n";
    let settings = settings(&parse(text, &[]).unwrap());
    let timeouts = &settings.timeouts;
    let seconds =
        [timeouts.session_idle, timeouts.session_total, timeouts.connect, timeouts.total, timeouts.request_body];
    assert_eq!(seconds.map(|wait| wait.as_secs()), [7, 8, 3, 4, 5]);
    assert_eq!(settings.limits.message_bytes, 9);
    // What is not written is what the gateway does by itself.
    let (ours, default) = (self::settings(&parse("", &[]).unwrap()), GatewaySettings::default());
    assert_eq!(format!("{:?}", ours.timeouts), format!("{:?}", default.timeouts));
    assert_eq!(format!("{:?}", ours.limits), format!("{:?}", default.limits));
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    for name in ["session_idle_seconds", "session_total_seconds", "max_message_bytes"] {
        assert!(schema["$defs"]["Server"]["properties"].get(name).is_some(), "{name}");
    }
    assert!(schema["$defs"]["Provider"]["properties"].get("ca_file").is_some());
}
