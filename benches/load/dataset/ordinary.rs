//! Ordinary calls: applications of several teams that ask once, each with a prompt of 200 to 2,000 bytes and an answer
//! of 100 to 1,500, the JSON around them included in neither. Most applications put the same few sentences before what
//! they ask about.

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

struct Application {
    team: &'static str,
    name: String,
    model: (&'static str, (i128, i128)),
    /// What it puts before every question; empty for those that do not.
    instructions: String,
    answers_json: bool,
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
        let prose = Prose::new(seed);
        let mut random = Random::new(seed + 1);
        let mut applications = Vec::new();
        for team in TEAMS {
            for number in 1..=APPLICATIONS {
                let length = random.length(150, 700);
                let has_instructions = random.chance(60);
                applications.push(Application {
                    team,
                    name: format!("{team}-{number}"),
                    model: *random.one(&MODELS),
                    instructions: if has_instructions { prose.text(&mut random, length) } else { String::new() },
                    answers_json: random.chance(20),
                });
            }
        }
        Ordinary { prose, applications, random, calls, next: 0 }
    }

    fn call(&mut self, number: u64) -> Call {
        let Ordinary { prose, applications, random, .. } = self;
        let application = random.one(applications);
        let every_us = US_PER_DAY / self.calls.max(1);
        let started_at_us = DAY_BEGINS_US + (number * every_us + random.below(every_us.max(1))).cast_signed();
        let prompt_bytes = random.length(200, 2_000);
        let answer_bytes = random.length(100, 1_500);
        let instructions = application.instructions.as_str();
        let question = prose.text(random, prompt_bytes.saturating_sub(instructions.len()).max(60));
        let answer = match application.answers_json {
            true => prose.json(random, answer_bytes),
            false => prose.text(random, answer_bytes),
        };
        let mut messages = Vec::new();
        if !instructions.is_empty() {
            messages.push(json!({"role": "system", "content": instructions}));
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
