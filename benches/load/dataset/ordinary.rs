//! Ordinary calls: applications of several teams that ask once. How long their requests and answers are follows what was
//! published of a cloud's traces (a median of 1,020 tokens read and 129 written for conversations, 1,500 and 13 for
//! completions of code: Patel et al., Splitwise, ISCA 2024, <https://github.com/Azure/AzurePublicDataset>), with shorter
//! requests, which compress less. Nobody publishes what stands in them; here it is
//!
//! - for about 45 of 100 applications instructions, one to three passages found in 300 of their own, and a question;
//! - for about 35 instructions with examples and a document to classify or to extract from, answered in JSON;
//! - for about 20 a question alone.
//!
//! Questions, documents and answers are new text with every call, about a third of what is said.

use serde_json::json;

use super::{Call, Caller, DAY_BEGINS_US, Prose, Random, completion, facts, json_payload};

const TEAMS: [&str; 8] = ["claims", "underwriting", "support", "legal", "marketing", "platform", "research", "finance"];
/// Applications of each team.
const APPLICATIONS: usize = 5;
/// Model with dollars a million tokens read and written, in thousandths.
const MODELS: [(&str, (i128, i128)); 6] = [
    ("openai/gpt-4o-mini", (150, 600)),
    ("openai/gpt-4o", (2_500, 10_000)),
    ("openai/gpt-5-mini", (250, 2_000)),
    ("azure/gpt-4.1", (2_000, 8_000)),
    ("mistral/mistral-small", (100, 300)),
    ("local/llama-3.3-70b", (0, 0)),
];
const US_PER_DAY: u64 = 86_400_000_000;

/// Passages that an application finds its context in.
const PASSAGES: usize = 300;

/// What an application puts around what it asks about.
enum Kind {
    Assistant { passages: Vec<String> },
    Extraction,
    Plain,
}

struct Application {
    team: &'static str,
    name: String,
    model: (&'static str, (i128, i128)),
    /// What it puts before every question; empty for those that do not.
    instructions: String,
    kind: Kind,
}

impl Application {
    fn new(prose: &Prose, random: &mut Random, team: &'static str, number: usize, kind: u64) -> Application {
        let (kind, instructions) = match kind {
            0..45 => {
                let passages = (0..PASSAGES).map(|_| {
                    let bytes = random.length(400, 1_200);
                    prose.text(random, bytes)
                });
                (Kind::Assistant { passages: passages.collect() }, random.length(800, 4_000))
            }
            45..80 => (Kind::Extraction, random.length(800, 3_000)),
            _ => (Kind::Plain, 0),
        };
        let instructions = if instructions == 0 { String::new() } else { prose.text(random, instructions) };
        Application { team, name: format!("{team}-{number}"), model: *random.one(&MODELS), instructions, kind }
    }

    /// What the user is made to say, and the answer.
    fn said(&self, prose: &Prose, random: &mut Random) -> (String, String) {
        match &self.kind {
            Kind::Assistant { passages } => {
                let (question, answer) = (random.length(60, 600), random.length(100, 1_200));
                let found: Vec<&str> = (0..=random.below(3)).map(|_| random.one(passages).as_str()).collect();
                let question = prose.text(random, question);
                let said = format!("Context:\n{}\n\nQuestion: {question}", found.join("\n---\n"));
                (said, prose.text(random, answer))
            }
            Kind::Extraction => {
                let (document, answer) = (random.length(300, 2_000), random.length(40, 400));
                (format!("Document:\n{}", prose.text(random, document)), prose.json(random, answer))
            }
            Kind::Plain => {
                let (question, answer) = (random.length(200, 2_000), random.length(100, 1_500));
                (prose.text(random, question), prose.text(random, answer))
            }
        }
    }
}

/// Calls `0..calls` in the order in which they start, spread over one day.
pub(crate) struct Ordinary {
    prose: Prose,
    applications: Vec<Application>,
    random: Random,
    calls: u64,
    next: u64,
}

impl Ordinary {
    /// The calls that belong to `seed`.
    pub(crate) fn new(seed: u64, calls: u64) -> Ordinary {
        // Strides through the hundred, so that forty applications are of all kinds in their proportions.
        Ordinary::of_kinds(seed, calls, |number| number as u64 * 37 % 100)
    }

    /// Only those that ask a question alone: no call says anything that another one said.
    pub(crate) fn questions(seed: u64, calls: u64) -> Ordinary {
        Ordinary::of_kinds(seed, calls, |_| 99)
    }

    fn of_kinds(seed: u64, calls: u64, kind: impl Fn(usize) -> u64) -> Ordinary {
        let prose = Prose::new(seed);
        let mut random = Random::new(seed + 1);
        let mut applications = Vec::new();
        for team in TEAMS {
            for number in 1..=APPLICATIONS {
                let kind = kind(applications.len());
                applications.push(Application::new(&prose, &mut random, team, number, kind));
            }
        }
        Ordinary { prose, applications, random, calls, next: 0 }
    }

    fn call(&mut self, number: u64) -> Call {
        let Ordinary { prose, applications, random, .. } = self;
        let application = random.one(applications);
        let every_us = US_PER_DAY / self.calls.max(1);
        let started_at_us = DAY_BEGINS_US + (number * every_us + random.below(every_us.max(1))).cast_signed();
        let (question, answer) = application.said(prose, random);
        let mut messages = Vec::new();
        if !application.instructions.is_empty() {
            messages.push(json!({"role": "system", "content": application.instructions}));
        }
        messages.push(json!({"role": "user", "content": question}));
        let (model, usd_per_mtok) = application.model;
        let request = json!({"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 1024}).to_string();
        let message = json!({"role": "assistant", "content": answer, "refusal": null, "annotations": []});
        let served = model.split_once('/').map_or(model, |(_, served)| served);
        let response = completion(random, served, started_at_us, &message, (request.len() / 4, answer.len() / 4));
        let user = random.chance(50).then(|| format!("{:032x}", u128::from(Random::new(random.below(5_000)).next())));
        let caller = Caller {
            team: application.team,
            application: &application.name,
            model,
            usd_per_mtok,
            conversation: None,
            user: user.as_deref(),
        };
        let interaction = facts(random, caller, started_at_us, request.len(), response.len());
        Call { interaction, request: json_payload(request), response: json_payload(response) }
    }
}

impl Iterator for Ordinary {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        let number = self.next;
        self.next += 1;
        (number < self.calls).then(|| self.call(number))
    }
}
