//! Who the demo is about: a bank with five teams, four providers and a bad afternoon.

/// The configuration it runs with. Every provider is the sandbox; `price_as` gives each real prices.
pub(super) const CONFIG: &str = r#"
log: {flush_seconds: 5}
providers:
  openai:     {dialect: sandbox, region: us-east-1,    price_as: openai,    models: [gpt-5, gpt-5-mini, text-embedding-3-small]}
  anthropic:  {dialect: sandbox, region: us-west-2,    price_as: anthropic, models: [claude-sonnet-4-5, claude-haiku-4-5]}
  mistral-eu: {dialect: sandbox, region: eu-west-3,    price_as: mistral,   models: [mistral-large-2512, mistral-small-2603], tags: [eu]}
  llama-home: {dialect: sandbox, region: on-premises,  price_as: groq,      models: [llama-3.3-70b-versatile], tags: [open-weights]}
models:
  assistant:     {targets: [openai/gpt-5, mistral-eu/mistral-large-2512, llama-home/llama-3.3-70b-versatile]}
  assistant-eu:  {targets: [mistral-eu/mistral-large-2512, llama-home/llama-3.3-70b-versatile]}
  fast:          {targets: [openai/gpt-5-mini, anthropic/claude-haiku-4-5], strategy: cheapest}
"#;

/// The bank.
pub(super) const TENANT: &str = "meridian-bank";
/// Name of the keys that the trickle uses.
pub(super) const LIVE_KEY_NAME: &str = "demo traffic";

/// A team and what it does all day.
pub(super) struct Team {
    pub(super) name: &'static str,
    pub(super) project: &'static str,
    /// Share of all calls, out of the sum over the teams.
    pub(super) weight: u32,
    /// What it calls: (provider, model, weight).
    pub(super) models: &'static [(&'static str, &'static str, u32)],
    /// Typical tokens read and written.
    pub(super) tokens: (u64, u64),
    /// What its people ask.
    pub(super) prompts: &'static [&'static str],
}

pub(super) const TEAMS: &[Team] = &[
    Team {
        name: "support",
        project: "inbox",
        weight: 40,
        models: &[("openai", "gpt-5-mini", 5), ("anthropic", "claude-haiku-4-5", 3), ("openai", "gpt-5", 1)],
        tokens: (1_400, 260),
        prompts: &[
            "Draft a kind answer to a customer whose card was declined at a petrol station in Porto.",
            "Summarise this complaint about a standing order that was executed twice.",
            "Which documents does a customer need to raise the limit of a debit card?",
            "Translate this e-mail about a chargeback into plain English.",
        ],
    },
    Team {
        name: "kyc",
        project: "onboarding",
        weight: 18,
        models: &[("mistral-eu", "mistral-large-2512", 6), ("llama-home", "llama-3.3-70b-versatile", 2)],
        tokens: (5_200, 480),
        prompts: &[
            "List the beneficial owners named in this extract from the commercial register.",
            "Does the source of funds in this statement match the profession given at onboarding?",
            "Compare the address on the utility bill with the one in the application and name every difference.",
        ],
    },
    Team {
        name: "research",
        project: "markets",
        weight: 14,
        models: &[
            ("anthropic", "claude-sonnet-4-5", 5),
            ("openai", "gpt-5", 4),
            ("openai", "text-embedding-3-small", 4),
        ],
        tokens: (9_800, 1_250),
        prompts: &[
            "Extract every guidance figure from this earnings call and say what changed since last quarter.",
            "Write three scenarios for the covered-bond spread if the deposit facility rate falls by 25 basis points.",
            "Which of these filings mention supply risk in rare earths, and on which page?",
        ],
    },
    Team {
        name: "engineering",
        project: "ledger-core",
        weight: 20,
        models: &[
            ("anthropic", "claude-sonnet-4-5", 6),
            ("openai", "gpt-5", 2),
            ("llama-home", "llama-3.3-70b-versatile", 2),
        ],
        tokens: (7_400, 900),
        prompts: &[
            "Explain why this batch posting deadlocks and propose the smallest change that removes the cycle.",
            "Write a property test for the rounding of interest on overdrafts.",
            "Review this migration: can it lock the accounts table for longer than a second?",
        ],
    },
    Team {
        name: "marketing",
        project: "spring-campaign",
        weight: 8,
        models: &[("openai", "gpt-5-mini", 4), ("mistral-eu", "mistral-small-2603", 3)],
        tokens: (620, 380),
        prompts: &[
            "Five subject lines for a savings account that pays monthly, without exclamation marks.",
            "Rewrite this leaflet about mortgages so that a fourteen-year-old understands it.",
        ],
    },
];
