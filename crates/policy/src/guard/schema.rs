//! Whether an answer is the JSON that a schema describes. Schemas that refer to others elsewhere are refused when the bundle
//! loads: nothing is fetched. Patterns in a schema are matched in linear time.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::judge::{Judge, Judgement};
use super::{PatternError, Score};

/// A JSON schema that texts have to fit.
#[derive(Debug)]
pub(crate) struct OutputSchema(Box<Validator>);

impl OutputSchema {
    pub(crate) fn new(schema: &Value) -> Result<Self, PatternError> {
        let built = jsonschema::options().with_pattern_options(PatternOptions::regex()).build(schema);
        let validator = built.map_err(|error| PatternError(unusable(&error)))?;
        Ok(OutputSchema(Box::new(validator)))
    }
}

/// Where the schema is no schema. Of what may stand there a validator says only by which of its own rules.
fn unusable(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    if place.is_empty() {
        return format!("the JSON schema cannot be used: {error}");
    }
    format!("the JSON schema cannot be used: `{}` is not allowed at `{place}`", error.instance())
}

impl Judge for OutputSchema {
    fn judge(&self, text: &str) -> Option<Judgement> {
        let hit = |detail| Some(Judgement { entity: "JSON_SCHEMA".into(), score: Score::CERTAIN, detail });
        let Ok(value) = serde_json::from_str::<Value>(text.trim()) else {
            return hit("the text is not JSON".to_owned());
        };
        let error = self.0.iter_errors(&value).next()?;
        // Where, and by which rule; not what stands there.
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "the value".to_owned() } else { format!("`{place}`") };
        hit(format!("{place} does not fit `{}`", error.schema_path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> OutputSchema {
        let schema =
            r#"{"type":"object","required":["name"],"properties":{"name":{"type":"string","pattern":"^[A-Z]"}}}"#;
        OutputSchema::new(&serde_json::from_str(schema).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_fits_or_the_place_is_named_without_its_value() {
        let schema = schema();
        assert!(schema.judge(r#" {"name":"Ada"} "#).is_none());
        assert_eq!(schema.judge("Sure! Here it is").unwrap().detail, "the text is not JSON");
        let detail = schema.judge(r#"{"name":"ada"}"#).unwrap().detail;
        assert!(detail.contains("/name") && !detail.contains("ada"), "{detail}");
    }

    #[test]
    fn a_schema_elsewhere_is_not_fetched() {
        let elsewhere = serde_json::json!({"$ref": "http://127.0.0.1:1/schema.json"});
        assert!(OutputSchema::new(&elsewhere).is_err());
        assert!(OutputSchema::new(&serde_json::json!({"type": "strnig"})).is_err());
    }
}
