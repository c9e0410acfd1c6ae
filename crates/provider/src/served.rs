//! What the name of a model says about who serves it: at Vertex AI the publisher, which decides in which format and at
//! which path it is spoken to, and at Amazon Bedrock the geography of an inference profile.

use crate::aws::encoded_segment;

/// Whose model it is, at Vertex AI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Publisher {
    /// Google's: spoken to in the words of the Gemini API.
    Google,
    /// Anthropic's: in those of the Messages API.
    Anthropic,
    /// Others, such as `meta/llama-4-maverick`: in those of OpenAI's Chat Completions.
    Other,
}

impl Publisher {
    /// Whose model `name` is, and its name at that publisher: `anthropic/claude-…` and `google/gemini-…` as written, a name
    /// without a publisher by its beginning.
    /// Source: <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/use-partner-models> (2026-11-26).
    #[must_use]
    pub fn of(name: &str) -> (Publisher, &str) {
        match name.split_once('/') {
            Some(("anthropic", model)) => (Publisher::Anthropic, model),
            Some(("google", model)) => (Publisher::Google, model),
            Some(_) => (Publisher::Other, name),
            None if name.starts_with("claude") => (Publisher::Anthropic, name),
            None => (Publisher::Google, name),
        }
    }
}

/// Path at Vertex AI of calls to `name`, below `/v1/projects/PROJECT/locations/REGION`. `method` is Gemini's for what is
/// asked; the models of others have one each for whole answers and for streams.
#[must_use]
pub fn vertex_path(name: &str, method: &str, stream: bool) -> String {
    let (publisher, model) = Publisher::of(name);
    // A version follows an `@`, which a path may hold as it is, and which Google's own libraries do not encode.
    let model = encoded_segment(model).replace("%40", "@");
    match (publisher, stream) {
        (Publisher::Google, _) => {
            let events = if method == "streamGenerateContent" { "?alt=sse" } else { "" };
            format!("/publishers/google/models/{model}:{method}{events}")
        }
        (Publisher::Anthropic, _) if method == "messages/count_tokens" => {
            "/publishers/anthropic/models/count-tokens:rawPredict".to_owned()
        }
        (Publisher::Anthropic, false) => format!("/publishers/anthropic/models/{model}:rawPredict"),
        (Publisher::Anthropic, true) => format!("/publishers/anthropic/models/{model}:streamRawPredict"),
        (Publisher::Other, _) => "/endpoints/openapi/chat/completions".to_owned(),
    }
}

/// Prefixes of Amazon's cross-region inference profiles, each the geography in which a call may be served.
/// Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html> (2026-11-26).
const GEOGRAPHIES: [&str; 9] = ["us", "eu", "apac", "jp", "au", "ca", "sa", "global", "us-gov"];

/// The id in an Amazon resource name, such as `eu.anthropic.claude-…` of
/// `arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-…`; any other name as it is. The id of
/// an application's own profile says nothing about the model behind it.
#[must_use]
pub fn bedrock_id(name: &str) -> &str {
    if !name.starts_with("arn:") {
        return name;
    }
    name.split_once('/').map_or(name, |(_, id)| id)
}

/// The geography in which calls to a model at Amazon may be served, where its name is that of a cross-region profile;
/// otherwise they are served in the region that is called.
#[must_use]
pub fn bedrock_geography(name: &str) -> Option<&str> {
    let (prefix, _) = bedrock_id(name).split_once('.')?;
    GEOGRAPHIES.contains(&prefix).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_told_by_the_name() {
        for (name, expected) in [
            ("gemini-2.5-flash", (Publisher::Google, "gemini-2.5-flash")),
            ("google/gemini-2.5-flash", (Publisher::Google, "gemini-2.5-flash")),
            ("claude-sonnet-4-5@20250929", (Publisher::Anthropic, "claude-sonnet-4-5@20250929")),
            ("anthropic/next", (Publisher::Anthropic, "next")),
            ("meta/llama-4-maverick", (Publisher::Other, "meta/llama-4-maverick")),
        ] {
            assert_eq!(Publisher::of(name), expected);
        }
        assert_eq!(
            vertex_path("claude-sonnet-4-5@20250929", "messages", true),
            "/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict"
        );
        assert_eq!(vertex_path("a/../b", "chat/completions", false), "/endpoints/openapi/chat/completions");
        assert_eq!(
            vertex_path("google/a/../b", "generateContent", false),
            "/publishers/google/models/a%2F..%2Fb:generateContent"
        );
    }

    #[test]
    fn a_profile_says_where_it_is_served() {
        let arn =
            "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0";
        for (name, geography, id) in [
            ("eu.anthropic.claude-v1:0", Some("eu"), "eu.anthropic.claude-v1:0"),
            (arn, Some("eu"), "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            ("global.anthropic.claude-v1:0", Some("global"), "global.anthropic.claude-v1:0"),
            ("anthropic.claude-v1:0", None, "anthropic.claude-v1:0"),
            ("ai21.jamba", None, "ai21.jamba"),
            ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2", None, "anthropic.claude-v2"),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", None, "abc123"),
        ] {
            assert_eq!((bedrock_geography(name), bedrock_id(name)), (geography, id));
        }
    }
}
