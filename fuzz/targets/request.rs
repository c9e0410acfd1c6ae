//! The full readers of requests: none panics, none disagrees with the head, and the sandbox answers whatever it is sent.
#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use tollgate_fuzz::{Form, address, chosen, cross, mutate};
use tollgate_interaction::{Dialect, Operation};
use tollgate_provider::dialect::parse_head_at;
use tollgate_provider::translate::{Losses, OnUnsupported, Remedy, read_request, write_request};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(Form::Json, data, size, max_size, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { cross(Form::Json, one, other, out, seed) });

fuzz_target!(|input: &[u8]| {
    let Some((dialect, body)) = chosen(input) else { return };
    let Ok(value) = serde_json::from_slice(body) else { return };
    let Ok(request) = read_request(dialect, value, address()) else { return };
    if let Ok(head) = parse_head_at(dialect, Operation::Chat, address(), body) {
        let in_body = matches!(dialect, Dialect::Openai | Dialect::Anthropic | Dialect::Responses);
        assert!(!in_body || (&request.model, request.stream) == (&head.model, head.stream));
        let said = request.max_output_tokens.as_ref().map(|limit| limit.value);
        assert!(said.is_none() || said == head.max_output_tokens, "{said:?} {:?}", head.max_output_tokens);
        assert!(request.messages.iter().all(|message| !message.parts.is_empty()), "no message is empty");
    }
    // To its own dialect, which the gateway never asks for: there it can only lose what it does not understand.
    let mut losses = Losses::new(dialect, OnUnsupported::Drop);
    let written = match write_request(dialect, request, &mut losses) {
        Ok(written) => written,
        Err(error) => {
            assert_eq!(error.remedy, Remedy::Nothing, "what may be dropped is not refused: {error}");
            return;
        }
    };
    read_request(dialect, written, address()).expect("what was written can be read");
});
