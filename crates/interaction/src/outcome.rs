//! The closed vocabularies of the record. Each is written to the lake as the lower-case text given here, and those
//! texts never change meaning; a new case is a new text.

/// Declares an enum whose cases are texts in the lake and small integers in CBOR.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $number:literal => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode,
                 serde::Serialize, serde::Deserialize)]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$case_doc])* #[n($number)] #[serde(rename = $text)] $case,)+
        }

        impl $name {
            /// Every case, in the order of its number.
            pub const ALL: &[$name] = &[$($name::$case),+];

            /// The text that stands in the lake.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$case => $text,)+ }
            }

            /// The case with this text, if there is one.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$case),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

vocabulary! {
    /// How a call ended, for its caller.
    Outcome {
        /// The provider answered and the caller received all of it.
        Success = 0 => "success",
        /// Policy refused it before any provider was called.
        Denied = 1 => "denied",
        /// An error reached the caller.
        Failed = 2 => "failed",
        /// The caller hung up before the end.
        Cancelled = 3 => "cancelled",
        /// The gateway stopped while the call was in flight; found by replay.
        Interrupted = 4 => "interrupted",
        /// Answered without a provider.
        Cached = 5 => "cached",
    }
}

vocabulary! {
    /// What policy said.
    Decision {
        /// The call may go ahead.
        Allow = 0 => "allow",
        /// The call may not go ahead.
        Deny = 1 => "deny",
    }
}

vocabulary! {
    /// Who counted the tokens.
    UsageSource {
        /// The provider's final count.
        Provider = 0 => "provider",
        /// The provider's count so far, of a call that did not end; what was written beyond it is estimated.
        Partial = 1 => "partial",
        /// Counted by the gateway.
        Estimated = 2 => "estimated",
        /// Nobody: token columns are NULL.
        None = 3 => "none",
    }
}

vocabulary! {
    /// Where the cost comes from.
    CostSource {
        /// Stated by the provider.
        Provider = 0 => "provider",
        /// Usage multiplied with the price catalogue.
        Catalog = 1 => "catalog",
        /// Unknown: the cost is NULL.
        None = 2 => "none",
        /// Nothing was bought: the answer was given again.
        Cache = 3 => "cache",
    }
}

vocabulary! {
    /// The caller's wire format.
    Dialect {
        /// OpenAI's Chat Completions API, its smaller siblings, and everything compatible with them.
        Openai = 0 => "openai",
        /// Anthropic's Messages API.
        Anthropic = 1 => "anthropic",
        /// OpenAI's Responses API.
        Responses = 2 => "responses",
        /// Google's Gemini API, on Vertex AI too.
        Gemini = 3 => "gemini",
        /// Amazon Bedrock's Converse API.
        Bedrock = 4 => "bedrock",
    }
}

vocabulary! {
    /// What was asked for.
    Operation {
        /// A conversation turn.
        Chat = 0 => "chat",
        /// Vectors for texts.
        Embeddings = 1 => "embeddings",
        /// The list of models.
        Models = 2 => "models",
        /// A text that continues a text.
        Completions = 3 => "completions",
        /// Whether a text or a picture is harmful.
        Moderations = 4 => "moderations",
        /// Pictures from words or from pictures.
        Images = 5 => "images",
        /// Words spoken.
        Speech = 6 => "speech",
        /// Speech into text in its own language.
        Transcription = 7 => "transcription",
        /// Speech into English text.
        Translation = 8 => "translation",
        /// Texts in the order in which they answer a question.
        Rerank = 9 => "rerank",
        /// How many tokens a conversation has.
        CountTokens = 10 => "count_tokens",
        /// Files kept by a provider.
        Files = 11 => "files",
        /// Many calls handed to a provider at once, for later.
        Batches = 12 => "batches",
        /// A conversation by voice over a WebSocket.
        Realtime = 13 => "realtime",
    }
}

vocabulary! {
    /// How a call was answered without a provider.
    CacheKind {
        /// The same request had been answered before.
        Exact = 0 => "exact",
        /// A request that means the same had been answered before.
        Semantic = 1 => "semantic",
    }
}

vocabulary! {
    /// On which text a guard ran.
    GuardPhase {
        /// What the caller sent.
        Input = 0 => "input",
        /// What the model wrote.
        Output = 1 => "output",
        /// What a tool returned to the model.
        ToolResult = 2 => "tool_result",
    }
}

vocabulary! {
    /// What a guard found.
    GuardOutcome {
        /// Nothing.
        Pass = 0 => "pass",
        /// What it looks for.
        Hit = 1 => "hit",
        /// It could not tell.
        Error = 2 => "error",
    }
}

vocabulary! {
    /// What was done about what a guard found.
    GuardAction {
        /// Nothing.
        None = 0 => "none",
        /// It was noted.
        Flag = 1 => "flag",
        /// What it matched was replaced.
        Redact = 2 => "redact",
        /// The call was refused or its answer cut off.
        Block = 3 => "block",
    }
}

vocabulary! {
    /// Which door the record came in by.
    Source {
        /// The gateway or a sidecar saw the call.
        Proxy = 0 => "proxy",
        /// Written by `tollgate demo`; never a real call.
        Demo = 1 => "demo",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_names_its_case() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_text(outcome.as_str()), Some(*outcome));
        }
        assert_eq!(Outcome::from_text("Success"), None);
        for operation in Operation::ALL {
            assert_eq!(Operation::from_text(operation.as_str()), Some(*operation));
        }
    }
}
