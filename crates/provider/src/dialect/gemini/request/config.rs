//! Reads `generationConfig`: how long, how random, in what form, and how much thought.
//! Sources: <https://ai.google.dev/api/generate-content#generationconfig>,
//! <https://ai.google.dev/gemini-api/docs/thinking> (2026-11-26).

use serde_json::Value;

use crate::chat::{Effort, Format, Reasoning, Request, Said};
use crate::dialect::RequestError;
use crate::dialect::gemini::proto::Proto;
use crate::dialect::gemini::schema;
use crate::translate::read_text;

pub(super) fn read(mut config: Proto, request: &mut Request) -> Result<(), RequestError> {
    request.max_output_tokens = config.count("maxOutputTokens")?;
    request.temperature = config.number("temperature")?;
    request.top_p = config.number("topP")?;
    request.top_k = config.count("topK")?;
    request.seed = config.integer("seed")?;
    // None is what there is without a word.
    request.frequency_penalty = config.number("frequencyPenalty")?.filter(|penalty| penalty.value != 0.0);
    request.presence_penalty = config.number("presencePenalty")?.filter(|penalty| penalty.value != 0.0);
    request.choices = config.count("candidateCount")?.filter(|choices| choices.value != 1);
    request.stop = read_stop(&mut config)?;
    read_logprobs(&mut config, request)?;
    read_format(&mut config, request)?;
    if let Some(thinking) = config.message("thinkingConfig")? {
        read_thinking(thinking, request)?;
    }
    read_modalities(&mut config, request);
    request.others.extend(config.rest());
    Ok(())
}

fn read_stop(config: &mut Proto) -> Result<Option<Said<Vec<String>>>, RequestError> {
    let Some(Said { value, at }) = config.items("stopSequences") else { return Ok(None) };
    let mut texts = Vec::with_capacity(value.len());
    for (index, text) in value.into_iter().enumerate() {
        texts.push(read_text(text, &format!("{at}[{index}]"))?);
    }
    Ok(Some(Said::new(texts, at)).filter(|said| !said.value.is_empty()))
}

fn read_logprobs(config: &mut Proto, request: &mut Request) -> Result<(), RequestError> {
    let asked = config.flag("responseLogprobs")?.filter(|asked| asked.value);
    let alternatives = config.count("logprobs")?;
    match (asked, alternatives) {
        (Some(_), Some(alternatives)) => request.logprobs = Some(alternatives),
        (Some(asked), None) => request.logprobs = Some(Said::new(0, asked.at)),
        // Google refuses a number of alternatives to what is not asked for.
        (None, Some(alternatives)) => request.others.push(Said::new(alternatives.value.into(), alternatives.at)),
        (None, None) => {}
    }
    Ok(())
}

fn read_format(config: &mut Proto, request: &mut Request) -> Result<(), RequestError> {
    let media_type = config.text("responseMimeType")?.filter(|said| !matches!(said.value.as_str(), "" | "text/plain"));
    let older = config.said("responseSchema");
    let json_schema = config.said("responseJsonSchema").or_else(|| config.said("_responseJsonSchema"));
    let Some(media_type) = media_type else {
        request.others.extend(older);
        request.others.extend(json_schema);
        return Ok(());
    };
    if media_type.value != "application/json" {
        request.others.push(Said::new(media_type.value.into(), media_type.at));
        request.others.extend(older);
        request.others.extend(json_schema);
        return Ok(());
    }
    let schema = json_schema.or_else(|| older.map(|Said { value, at }| Said::new(schema::to_json_schema(value), at)));
    request.format = Some(match schema {
        Some(Said { value: schema, at }) => {
            // Google always sees to it, within what it knows of JSON Schema.
            let format = Format::JsonSchema { name: String::new(), description: None, schema, strict: None };
            Said::new(format, at)
        }
        None => Said::new(Format::JsonObject, media_type.at),
    });
    Ok(())
}

fn read_thinking(mut config: Proto, request: &mut Request) -> Result<(), RequestError> {
    let at = config.at().to_owned();
    let mut reasoning =
        Reasoning { shown: config.flag("includeThoughts")?.map(|said| said.value), ..Default::default() };
    match config.integer("thinkingBudget")?.map(|said| said.value) {
        Some(0) => reasoning.enabled = Some(false),
        // As much as it takes.
        Some(negative) if negative < 0 => reasoning.enabled = Some(true),
        Some(tokens) => reasoning.budget_tokens = u64::try_from(tokens).ok(),
        None => {}
    }
    if let Some(level) = config.text("thinkingLevel")? {
        let word = level.value.to_ascii_lowercase();
        reasoning.effort = Effort::from_word(&word);
        if reasoning.effort.is_none() && word != "thinking_level_unspecified" {
            request.others.push(Said::new(level.value.into(), level.at));
        }
    }
    if reasoning != Reasoning::default() {
        request.reasoning = Some(Said::new(reasoning, at));
    }
    request.others.extend(config.rest());
    Ok(())
}

/// Text alone is what every model gives.
fn read_modalities(config: &mut Proto, request: &mut Request) {
    let Some(Said { value, at }) = config.items("responseModalities") else { return };
    if !value.iter().all(|modality| modality.as_str().is_some_and(|word| word.eq_ignore_ascii_case("TEXT"))) {
        request.others.push(Said::new(Value::Array(value), at));
    }
}
