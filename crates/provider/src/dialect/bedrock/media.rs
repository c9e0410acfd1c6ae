//! Media types and the words that stand for them in Converse, and the names that documents may have there.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html> (2026-11-26).

use std::collections::{HashMap, HashSet};

/// What a format belongs to: one word can mean two media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    Image,
    Document,
    Video,
    Audio,
}

impl Medium {
    /// Media types with their words. Of several with one word the first is the one that the word is read as.
    fn formats(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Medium::Image => &[
                ("image/png", "png"),
                ("image/jpeg", "jpeg"),
                ("image/jpg", "jpeg"),
                ("image/gif", "gif"),
                ("image/webp", "webp"),
            ],
            Medium::Document => &[
                ("application/pdf", "pdf"),
                ("text/csv", "csv"),
                ("application/msword", "doc"),
                ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
                ("application/vnd.ms-excel", "xls"),
                ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
                ("text/html", "html"),
                ("text/plain", "txt"),
                ("text/markdown", "md"),
            ],
            Medium::Video => &[
                ("video/x-matroska", "mkv"),
                ("video/quicktime", "mov"),
                ("video/mp4", "mp4"),
                ("video/webm", "webm"),
                ("video/x-flv", "flv"),
                ("video/mpeg", "mpeg"),
                ("video/mpg", "mpg"),
                ("video/x-ms-wmv", "wmv"),
                ("video/wmv", "wmv"),
                ("video/3gpp", "three_gp"),
            ],
            Medium::Audio => &[
                ("audio/wav", "wav"),
                ("audio/x-wav", "wav"),
                ("audio/wave", "wav"),
                ("audio/mp3", "mp3"),
                ("audio/mpeg", "mp3"),
                ("audio/opus", "opus"),
                ("audio/aac", "aac"),
                ("audio/x-aac", "x-aac"),
                ("audio/flac", "flac"),
                ("audio/mp4", "mp4"),
                ("audio/m4a", "m4a"),
                ("audio/x-m4a", "m4a"),
                ("audio/ogg", "ogg"),
                ("audio/webm", "webm"),
                ("audio/x-matroska", "mka"),
                ("audio/pcm", "pcm"),
            ],
        }
    }

    /// Converse's word for a media type, whose parameters do not matter.
    pub(super) fn format(self, media_type: &str) -> Option<&'static str> {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let known = self.formats().iter().find(|(known, _)| known.eq_ignore_ascii_case(media_type));
        known.map(|(_, format)| *format)
    }

    /// Converse's word for what a file is by its name's ending.
    pub(super) fn format_of_name(self, name: &str) -> Option<&'static str> {
        let (_, ending) = name.rsplit_once('.')?;
        let ending = ending.to_ascii_lowercase();
        let ending = if ending == "jpg" { "jpeg" } else { ending.as_str() };
        self.formats().iter().map(|(_, format)| *format).find(|format| *format == ending)
    }

    /// The media type of a word; one made of the word where it is new.
    pub(super) fn media_type(self, format: &str) -> String {
        if let Some((media_type, _)) = self.formats().iter().find(|(_, known)| *known == format) {
            return (*media_type).to_owned();
        }
        let family = match self {
            Medium::Image => "image",
            Medium::Document => "application",
            Medium::Video => "video",
            Medium::Audio => "audio",
        };
        format!("{family}/{format}")
    }
}

/// Names given to documents so far: Converse wants each once in a request.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// How many documents have had a name before it was made another's.
    counts: HashMap<String, usize>,
}

impl Names {
    /// A name that Converse takes, as close to the caller's as can be: letters, digits, single spaces, hyphens, round and
    /// square brackets. The format stands beside it, so its ending is left off.
    pub(super) fn name(&mut self, wanted: Option<&str>, format: &str) -> String {
        const MAX_CHARS: usize = 190;
        let wanted = wanted.unwrap_or_default();
        let stem = wanted.rsplit_once('.').filter(|(_, ending)| ending.eq_ignore_ascii_case(format));
        let stem = stem.map_or(wanted, |(stem, _)| stem);
        let plain = stem.chars().map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '(' | ')' | '[' | ']' => letter,
            letter if letter.is_whitespace() => ' ',
            _ => '-',
        });
        let plain: String = plain.take(MAX_CHARS).collect();
        let plain = plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let plain = if plain.chars().any(char::is_alphanumeric) { plain } else { "document".to_owned() };
        let mut name = plain.clone();
        let count = self.counts.entry(plain.clone()).or_insert(1);
        while self.taken.contains(&name) {
            *count += 1;
            name = format!("{plain}-{count}");
        }
        self.taken.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_words_for_media_types() {
        assert_eq!(Medium::Image.format("image/JPG; x=1"), Some("jpeg"));
        assert_eq!(Medium::Image.format("image/tiff"), None);
        assert_eq!(Medium::Image.media_type("jpeg"), "image/jpeg");
        assert_eq!(Medium::Audio.media_type("new"), "audio/new");
        assert_eq!(Medium::Video.format("video/3gpp"), Some("three_gp"));
    }

    #[test]
    fn names_of_documents_are_plain_and_each_comes_once() {
        let mut names = Names::default();
        assert_eq!(names.name(Some("report.pdf"), "pdf"), "report");
        assert_eq!(names.name(Some("report.PDF"), "pdf"), "report-2");
        assert_eq!(names.name(Some("Q1_über  alles (v1.2).txt"), "pdf"), "Q1--ber alles (v1-2)-txt");
        assert_eq!(names.name(None, "pdf"), "document");
        assert_eq!(names.name(Some("報告"), "pdf"), "document-2");
    }
}
