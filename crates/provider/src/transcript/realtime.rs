//! A conversation over the Realtime API as text, from the lines that [`crate::realtime::Record`] keeps of it: what the caller
//! wrote or was understood to say, and what came of each answer.

use super::{Turns, array, joined, responses, text};
use crate::scan::Tree;

/// How a record begins, and no provider's answer does.
const BEGINNING: &[u8] = b"{\"from\":\"";

/// Whether `response` is such a record.
pub(super) fn is_record(response: &[u8]) -> bool {
    response.starts_with(BEGINNING)
}

/// Adds what was said to `turns`.
pub(super) fn read(turns: &mut Turns, record: &[u8]) {
    for line in record.split(|byte| *byte == b'\n') {
        let Ok(line) = Tree::read(line) else { continue };
        let Some(event) = line.get("event") else { continue };
        let is_caller = text(&line, "from") == "caller";
        match (is_caller, text(event, "type").as_ref()) {
            (true, "conversation.item.create") => {
                let item = event.get("item").and_then(|item| Some((responses::asked_item(item)?, item)));
                let Some(((role, words), item)) = item else { continue };
                turns.add(&role, joined(vec![words, spoken(item)]));
            }
            (false, "conversation.item.input_audio_transcription.completed") => {
                turns.add("user", text(event, "transcript").into_owned());
            }
            (false, "response.done") => {
                let output = event.get("response").map(|response| array(response, "output")).unwrap_or_default();
                let items = output.iter().map(|item| joined(vec![spoken(item), written(item)]));
                turns.add("assistant", joined(items.collect()));
            }
            _ => {}
        }
    }
}

/// What was said of an item, by its transcripts.
fn spoken(item: &Tree<'_>) -> String {
    joined(array(item, "content").iter().map(|part| text(part, "transcript").into_owned()).collect())
}

/// What was written of an item: text, or the call of a function.
fn written(item: &Tree<'_>) -> String {
    if text(item, "type") == "function_call" {
        return format!("{}({})", text(item, "name"), text(item, "arguments"));
    }
    joined(array(item, "content").iter().map(|part| text(part, "text").into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use crate::realtime::{Record, Side};
    use crate::transcript::messages;

    #[test]
    fn a_spoken_conversation_reads_as_text() {
        let mut record = Record::new(100_000);
        let mut say = |side, event: &str| record.text(side, 1, event.as_bytes());
        say(Side::Provider, r#"{"type":"session.created","session":{"model":"gpt-realtime"}}"#);
        say(
            Side::Caller,
            r#"{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi."}]}}"#,
        );
        say(Side::Caller, r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#);
        say(
            Side::Provider,
            r#"{"type":"conversation.item.input_audio_transcription.completed","transcript":"What is the time?"}"#,
        );
        say(
            Side::Provider,
            r#"{"type":"response.done","response":{"output":[{"type":"message","content":[{"type":"output_audio","transcript":"Let me look."}]},
                {"type":"function_call","name":"clock","arguments":"{}"}]}}"#,
        );
        say(
            Side::Caller,
            r#"{"type":"conversation.item.create","item":{"type":"function_call_output","call_id":"1","output":"noon"}}"#,
        );
        say(
            Side::Provider,
            r#"{"type":"response.done","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"Noon."}]}]}}"#,
        );
        let (lines, _) = record.finish();
        let turns: Vec<String> =
            messages(b"model=x", &lines).into_iter().map(|turn| format!("{}: {}", turn.role, turn.content)).collect();
        assert_eq!(
            turns,
            [
                "user: Hi.",
                "user: What is the time?",
                "assistant: Let me look.\nclock({})",
                "tool: noon",
                "assistant: Noon."
            ]
        );
    }
}
