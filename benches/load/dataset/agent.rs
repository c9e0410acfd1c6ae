//! A conversation of an agent: every call sends the whole history again, after the same instructions and the same
//! definitions of tools, and adds what its tools or its user said since.

use serde_json::{Value, json};

use super::{Call, Caller, DAY_BEGINS_US, Prose, Random, completion, facts, json_payload};

const INSTRUCTIONS_BYTES: usize = 3_000;
const TOOLS_BYTES: usize = 4_000;
/// Bytes of what a user, a tool or the model says.
const SAID_BYTES: (usize, usize) = (300, 3_000);
const MODEL: (&str, (i128, i128)) = ("openai/gpt-5", (1_250, 10_000));

/// One conversation, call by call.
pub(crate) struct Conversation<'a> {
    prose: &'a Prose,
    random: Random,
    id: String,
    user: String,
    application: String,
    history: Vec<Value>,
    tools: Vec<Value>,
    /// The call of a tool that is still to be answered.
    called: Option<String>,
    now_us: i64,
    turns: usize,
}

impl<'a> Conversation<'a> {
    /// The conversation that belongs to `seed`: `turns` calls, the first `starts_after_us` into the day. Those of the same
    /// `application` have the same instructions and tools.
    pub(crate) fn new(
        prose: &'a Prose,
        seed: u64,
        application: u64,
        starts_after_us: i64,
        turns: usize,
    ) -> Conversation<'a> {
        let mut of_application = Random::new(application);
        let instructions = prose.text(&mut of_application, INSTRUCTIONS_BYTES);
        let tools = tools(prose, &mut of_application);
        let mut random = Random::new(seed);
        Conversation {
            prose,
            id: random.hexadecimal(32),
            user: random.hexadecimal(32),
            application: format!("agent-{application}"),
            history: vec![json!({"role": "system", "content": instructions})],
            tools,
            called: None,
            now_us: DAY_BEGINS_US + starts_after_us,
            turns,
            random,
        }
    }

    fn said(&mut self) -> String {
        let bytes = self.random.length(SAID_BYTES.0, SAID_BYTES.1);
        self.prose.text(&mut self.random, bytes)
    }
}

impl Iterator for Conversation<'_> {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        self.turns = self.turns.checked_sub(1)?;
        match self.called.take() {
            Some(id) => {
                let bytes = self.random.length(SAID_BYTES.0, SAID_BYTES.1);
                let content = self.prose.json(&mut self.random, bytes);
                self.history.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
            }
            None => {
                let content = self.said();
                self.history.push(json!({"role": "user", "content": content}));
            }
        }
        let (model, usd_per_mtok) = MODEL;
        let request =
            json!({"model": model, "messages": self.history, "tools": self.tools, "temperature": 0.1}).to_string();
        let answer = if self.random.chance(65) {
            let id = format!("call_{}", self.random.base62(24));
            let function = self.random.one(&self.tools)["function"]["name"].clone();
            let bytes = self.random.length(40, 200);
            let arguments = json!({"query": self.prose.text(&mut self.random, bytes), "limit": self.random.below(50)});
            self.called = Some(id.clone());
            let call = json!({"id": id, "type": "function", "function": {"name": function, "arguments": arguments.to_string()}});
            json!({"role": "assistant", "content": null, "tool_calls": [call]})
        } else {
            json!({"role": "assistant", "content": self.said()})
        };
        self.history.push(answer.clone());
        let started_at_us = self.now_us;
        let tokens = (request.len() / 4, answer.to_string().len() / 4);
        let response = completion(&mut self.random, "gpt-5", started_at_us, &answer, tokens);
        let caller = Caller {
            team: "platform",
            application: &self.application,
            model,
            usd_per_mtok,
            conversation: Some(&self.id),
            user: Some(&self.user),
        };
        let interaction = facts(&mut self.random, caller, started_at_us, request.len(), response.len());
        // The model's time, then that of the tool or the user.
        self.now_us = interaction.ended_at_us + (1_000_000 + self.random.below(40_000_000)).cast_signed();
        Some(Call { interaction, request: json_payload(request), response: json_payload(response) })
    }
}

fn tools(prose: &Prose, random: &mut Random) -> Vec<Value> {
    let mut tools = Vec::new();
    let mut bytes = 0;
    while bytes < TOOLS_BYTES {
        let described = |random: &mut Random| json!({"type": "string", "description": prose.text(random, 90)});
        let tool = json!({"type": "function", "function": {
            "name": prose.text(random, 18).to_lowercase().replace([' ', ',', '.'], "_"),
            "description": prose.text(random, 180),
            "parameters": {
                "type": "object",
                "properties": {"query": described(random), "customer_id": described(random), "limit": {"type": "integer"}},
                "required": ["query"],
                "additionalProperties": false,
            },
        }});
        bytes += tool.to_string().len();
        tools.push(tool);
    }
    tools
}
