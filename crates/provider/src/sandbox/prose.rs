//! Sentences from templates: plausible to look at, different from call to call, the same for the same seed.

use super::ask::Ask;
use super::tool;

/// Sentences that open an answer. `{}` takes a word of the prompt.
const OPENINGS: [&str; 8] = [
    "Good question about {}.",
    "Here is a short answer on {}.",
    "In short, {} comes down to a few things.",
    "Let us look at {} step by step.",
    "Thanks for the details on {}.",
    "There are two sides to {}.",
    "Yes, and {} is a good place to start.",
    "The main point about {} is easy to miss.",
];
/// Sentences that carry it on.
const BODIES: [&str; 20] = [
    "Most teams begin with {} and measure the effect before they change anything else.",
    "The cost of {} is usually smaller than the cost of getting {} wrong.",
    "A simple check is to compare {} from this week with {} from the week before.",
    "When {} grows, {} tends to follow with a short delay.",
    "It helps to write down who owns {} and when it was last reviewed.",
    "One common mistake is to treat {} and {} as the same thing.",
    "You can test this with a small sample of {} first.",
    "If {} is missing, the result will look right but will not be complete.",
    "For {}, the figures from the last quarter are a fair baseline.",
    "In practice, {} matters more than {} for the people who use it every day.",
    "Two things follow from that: {} should be visible, and {} should be easy to undo.",
    "A careful reader will notice that {} is only half of the story.",
    "The same holds for {}, with a few exceptions that are worth a note.",
    "Nothing about {} has to be decided today.",
    "Keep the steps small, and look at {} again after each of them.",
    "There is a trade-off here: more {} means less time for {}.",
    "The numbers support this, though {} varies from region to region.",
    "Once {} is in place, {} becomes much easier to explain.",
    "It is fine to leave {} as it is until the next review.",
    "In our example, {} took three days and {} took one.",
];
/// How a word of the prompt becomes a subject, whatever kind of word it is.
const FRAMES: [&str; 6] =
    ["the {} part", "the {} question", "your point about {}", "the {} side", "the figure for {}", "the {} review"];
/// Stand in for words of the prompt when it has none.
const SUBJECTS: [&str; 10] = [
    "the request",
    "the plan",
    "the report",
    "the budget",
    "the contract",
    "the schedule",
    "the data",
    "the team",
    "the next step",
    "the summary",
];

/// Scatters the bits of `state` (the finaliser of splitmix64, <https://prng.di.unimi.it/splitmix64.c>).
pub(super) fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// FNV-1a of `bytes`: any spread will do, nothing here is secret.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// A sequence of numbers that look random.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// A number below `sides`, which must not be zero.
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        usize::try_from(mix(self.0) % sides as u64).unwrap_or(0)
    }

    fn pick<'a, T: ?Sized>(&mut self, things: &[&'a T]) -> &'a T {
        things[self.roll(things.len())]
    }
}

/// How many tokens an answer to `ask` has: longer for longer prompts, and varied.
pub(super) fn length(ask: &Ask, seed: u64) -> u64 {
    let base = 24 + ask.prompt_tokens().min(400) / 4;
    base + mix(seed) % (base * 2)
}

/// About `wanted` tokens of prose, or exactly one JSON value if the caller wants JSON.
pub(super) fn tokens(ask: &Ask, seed: u64, wanted: u64) -> Vec<String> {
    if let Some(schema) = &ask.json_schema {
        let value = tool::example(schema, ask, &mut Dice::new(seed));
        return pieces(&value.to_string());
    }
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut dice = Dice::new(seed);
    let mut tokens = Vec::with_capacity(wanted + 16);
    let mut template = dice.pick(&OPENINGS);
    let mut sentences = 0;
    while tokens.len() < wanted {
        let sentence = fill(template, ask, &mut dice);
        let before = match sentences {
            0 => "",
            count if count % 5 == 0 => "\n\n",
            _ => " ",
        };
        tokens.extend(pieces(&format!("{before}{sentence}")));
        template = dice.pick(&BODIES);
        sentences += 1;
    }
    tokens.truncate(wanted);
    end(&mut tokens);
    tokens
}

/// Ends the prose where it was cut, as prose ends.
fn end(tokens: &mut [String]) {
    if let Some(last) = tokens.last_mut().filter(|last| !last.ends_with('.')) {
        while last.ends_with([',', ':', '.']) {
            last.pop();
        }
        last.push('.');
    }
}

/// `template` with a subject in every gap, and a capital at its start.
fn fill(template: &str, ask: &Ask, dice: &mut Dice) -> String {
    let mut sentence = String::with_capacity(template.len() + 48);
    for (place, part) in template.split("{}").enumerate() {
        if place > 0 {
            sentence.push_str(&subject(ask, dice));
        }
        sentence.push_str(part);
    }
    let mut characters = sentence.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    first + characters.as_str()
}

fn subject(ask: &Ask, dice: &mut Dice) -> String {
    match ask.words.len() {
        0 => dice.pick(&SUBJECTS).to_owned(),
        words => {
            let word = &ask.words[dice.roll(words)];
            dice.pick(&FRAMES).replace("{}", word)
        }
    }
}

/// Cuts text into pieces of about one token: words, each with the white space before it.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut inside_word = false;
    for character in text.chars() {
        let is_space = character.is_whitespace();
        match pieces.last_mut() {
            Some(piece) if !(is_space && inside_word) => piece.push(character),
            _ => pieces.push(character.to_string()),
        }
        inside_word = !is_space;
    }
    pieces
}
