//! Vocabularies of OpenAI's models, by the names of the models. Both come inside the program and are unpacked when a text
//! is first counted, which takes a while: not on a thread that others wait for.

/// A vocabulary, by OpenAI's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// `o200k_base`: GPT-4o and everything later.
    O200k,
    /// `cl100k_base`: GPT-4, GPT-3.5 and the embeddings.
    Cl100k,
}

/// Beginnings of names, as OpenAI's own tokenizer lists them: `tiktoken/model.py` (2026-11-26). A name continues after one
/// with nothing or with something that is neither letter nor digit, so that `o1` is not `o10`.
const BY_NAME: &[(&str, Vocabulary)] = &[
    ("gpt-5", Vocabulary::O200k),
    ("gpt-4.5", Vocabulary::O200k),
    ("gpt-4.1", Vocabulary::O200k),
    ("gpt-4o", Vocabulary::O200k),
    ("chatgpt-4o", Vocabulary::O200k),
    ("gpt-oss", Vocabulary::O200k),
    ("o1", Vocabulary::O200k),
    ("o3", Vocabulary::O200k),
    ("o4", Vocabulary::O200k),
    ("gpt-4", Vocabulary::Cl100k),
    ("gpt-3.5", Vocabulary::Cl100k),
    // As Azure writes it.
    ("gpt-35", Vocabulary::Cl100k),
    ("text-embedding-3", Vocabulary::Cl100k),
    ("text-embedding-ada-002", Vocabulary::Cl100k),
    ("davinci-002", Vocabulary::Cl100k),
    ("babbage-002", Vocabulary::Cl100k),
];

impl Vocabulary {
    /// That of a model, whoever serves it (`openai/gpt-5`), fine-tuned (`ft:gpt-4o:acme`) or not. `None` for any model
    /// that is not OpenAI's: other makers' vocabularies are their own, and a wrong one is no better than a rough count.
    #[must_use]
    pub fn of_model(model: &str) -> Option<Vocabulary> {
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric());
        let found = BY_NAME.iter().find(|(begins, _)| name.strip_prefix(begins).is_some_and(ends));
        found.map(|(_, vocabulary)| *vocabulary)
    }

    /// Tokens of `text`, in time that grows with its length. The first call unpacks the vocabulary: about 50 ms, and 20
    /// MB that stay.
    #[must_use]
    pub fn count(self, text: &str) -> u64 {
        // Only a build without the vocabularies has none; the rough count is then all there is.
        let known = tiktoken::get_encoding(self.name());
        known.map_or_else(|| super::of_chars(text.chars().count() as u64), |encoding| encoding.count(text) as u64)
    }

    fn name(self) -> &'static str {
        match self {
            Vocabulary::O200k => "o200k_base",
            Vocabulary::Cl100k => "cl100k_base",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_openais_own_tokenizer() {
        // Texts, and their tokens as `tiktoken` 0.14 for Python counts them: o200k_base, cl100k_base (2026-11-26).
        let cases = [
            ("hello world", 2, 2),
            ("The quick brown fox jumps over the lazy dog.", 10, 10),
            ("antidisestablishmentarianism", 6, 6),
            ("2 + 2 = 4", 7, 7),
            ("お誕生日おめでとう", 8, 9),
            ("tiktoken is great!", 6, 6),
            ("Die Prüfungsgesellschaft verlangt Nachweise über jede Genehmigung.", 13, 18),
            ("👩‍👩‍👧‍👦 ❤️‍🔥", 14, 25),
            (r#"{"path":"src/main.rs","lines":[10,42],"ok":true}"#, 17, 17),
            ("fn main() {\n    println!(\"{}\", 1_000);\n}\n", 13, 13),
            ("a   b\t\tc\n\n\n  d", 8, 8),
            // Special tokens are only words in a caller's text.
            ("<|endoftext|> and <|im_start|>", 14, 13),
            ("", 0, 0),
        ];
        for (text, o200k, cl100k) in cases {
            assert_eq!((Vocabulary::O200k.count(text), Vocabulary::Cl100k.count(text)), (o200k, cl100k), "{text}");
        }
    }

    #[test]
    fn openais_models_have_a_vocabulary_and_no_others() {
        for model in ["gpt-5.1-2025-11-13", "openai/gpt-4o-mini", "ft:gpt-4o:acme::x", "o1", "o3-mini", "gpt-oss-120b"]
        {
            assert_eq!(Vocabulary::of_model(model), Some(Vocabulary::O200k), "{model}");
        }
        for model in ["gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "gpt-35-turbo", "text-embedding-3-small"] {
            assert_eq!(Vocabulary::of_model(model), Some(Vocabulary::Cl100k), "{model}");
        }
        for model in ["claude-sonnet-4-5", "gemini-2.5-pro", "o10", "llama-4", "gpt-4x", "", "sandbox/small"] {
            assert_eq!(Vocabulary::of_model(model), None, "{model}");
        }
    }
}
