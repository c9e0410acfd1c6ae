//! What a document of the index has, and how its text is cut into words.

use tantivy::schema::{FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer};

/// Version of the fields, of the analyser, and of what a conversation is taken to be (`provider::transcript`). An index with
/// another version is rebuilt.
pub(crate) const VERSION: u32 = 3;

/// Name of the analyser in the index.
const ANALYSER: &str = "tollgate-words";
/// Longer runs without a break (base64, hashes) are not words anybody searches for.
const LONGEST_WORD_BYTES: usize = 64;

/// The fields of a document: one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// Text of the messages, one value per message.
    pub(crate) body: Field,
    /// Roles of the messages, in the same order.
    pub(crate) role: Field,
    pub(crate) interaction_id: Field,
    pub(crate) started_at: Field,
    pub(crate) tenant: Field,
    pub(crate) team: Field,
    /// As requested and as served.
    pub(crate) model: Field,
    pub(crate) provider: Field,
    pub(crate) outcome: Field,
}

impl Fields {
    /// The schema and its fields.
    pub(crate) fn build() -> (Schema, Fields) {
        let words = TextFieldIndexing::default()
            .set_tokenizer(ANALYSER)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let mut schema = Schema::builder();
        let fields = Fields {
            body: schema.add_text_field("body", TextOptions::default().set_indexing_options(words).set_stored()),
            role: schema.add_text_field("role", STORED),
            interaction_id: schema.add_text_field("interaction_id", STRING | STORED),
            // Ranges are read from the fast field; a dictionary of instants would hold one term for each call.
            started_at: schema.add_i64_field("started_at", STORED | FAST),
            tenant: schema.add_text_field("tenant", STRING | STORED),
            team: schema.add_text_field("team", STRING | STORED),
            model: schema.add_text_field("model", STRING | STORED),
            provider: schema.add_text_field("provider", STRING | STORED),
            outcome: schema.add_text_field("outcome", STRING | STORED),
        };
        (schema.build(), fields)
    }
}

/// Cuts text into words: at everything that is neither letter nor digit, without case and accents.
pub(crate) fn analyser() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}

/// Makes the analyser known to an index.
pub(crate) fn register(index: &tantivy::Index) {
    index.tokenizers().register(ANALYSER, analyser());
}
