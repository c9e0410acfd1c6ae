//! Token counts, each class apart. `None` means that the provider did not say; zero means that it said zero.

use minicbor::{Decode, Encode};

/// Tokens of one call or one attempt, normalised so that [`Usage::input_tokens`] *includes* cached tokens in every
/// dialect (Anthropic's wire format leaves them out; OpenAI's does not). The output class includes reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, serde::Serialize, serde::Deserialize)]
#[cbor(map)]
pub struct Usage {
    /// All tokens read by the model, cached or not.
    #[n(0)]
    pub input_tokens: Option<u64>,
    /// All tokens written by the model, reasoning included.
    #[n(1)]
    pub output_tokens: Option<u64>,
    /// Part of the input that was read from the provider's prompt cache.
    #[n(2)]
    pub cache_read_input_tokens: Option<u64>,
    /// Part of the input that was written to a cache kept five minutes.
    #[n(3)]
    pub cache_write_5m_input_tokens: Option<u64>,
    /// Part of the input that was written to a cache kept one hour.
    #[n(4)]
    pub cache_write_1h_input_tokens: Option<u64>,
    /// Part of the output that was spent on reasoning.
    #[n(5)]
    pub reasoning_output_tokens: Option<u64>,
    /// Part of the input that was audio. Where the provider tells how much of it was cached, that is left out: it costs
    /// what cached tokens cost.
    #[n(6)]
    pub audio_input_tokens: Option<u64>,
    /// Part of the output that was audio.
    #[n(7)]
    pub audio_output_tokens: Option<u64>,
    /// Part of the input that was images, less what was cached as for audio.
    #[n(8)]
    pub image_input_tokens: Option<u64>,
    /// Part of the output that was images.
    #[n(9)]
    pub image_output_tokens: Option<u64>,
    /// Searches of the web that the provider made for the model, which it bills by the call.
    #[n(10)]
    pub web_search_calls: Option<u64>,
    /// Other calls of the provider's own tools that it bills by the call: file search, code interpreter, maps.
    #[n(11)]
    pub other_tool_calls: Option<u64>,
}

impl Usage {
    /// Whether the provider said anything at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Usage::default()
    }
}
