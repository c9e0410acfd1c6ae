//! What a provider answered that is no answer, in a few words: its media type and, of a page of HTML, the title, which tells
//! a login page from a proxy's regrets. The whole of it stands in the call's row.

/// Longest title that is quoted.
const MAX_TITLE_CHARS: usize = 80;

/// To go on with after `something that is not JSON`; empty if nothing can be said.
pub(crate) fn described(content_type: &str, body: &[u8]) -> String {
    let kind: String = content_type.split(';').next().unwrap_or_default().trim().chars().take(60).collect();
    match (kind.is_empty(), title(body)) {
        (true, None) => String::new(),
        (false, None) => format!(", but came as `{kind}`"),
        (true, Some(title)) => format!(", but a page with the title `{title}`"),
        (false, Some(title)) => format!(", but came as `{kind}`, a page with the title `{title}`"),
    }
}

/// The title of a page of HTML, on one line.
fn title(body: &[u8]) -> Option<String> {
    // Titles stand at the beginning.
    let text = String::from_utf8_lossy(&body[..body.len().min(16 * 1024)]);
    // Of the same length as the text, unlike a lowercase of all letters.
    let lower = text.to_ascii_lowercase();
    let open = lower.find("<title")?;
    let from = open + lower[open..].find('>')? + 1;
    let to = from + lower[from..].find("</title")?;
    let words: Vec<&str> = text[from..to].split(|letter: char| letter.is_whitespace() || letter.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let title: String = line.chars().filter(|letter| *letter != '`').take(MAX_TITLE_CHARS).collect();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_its_title() {
        let page = b"<!doctype html><HTML><Title lang=en>\n Sign \x07 in </title><body>";
        assert_eq!(
            described("text/html; charset=utf-8", page),
            ", but came as `text/html`, a page with the title `Sign in`"
        );
        assert_eq!(described("", b"<title>a</title>"), ", but a page with the title `a`");
        assert_eq!(described("application/json", b"{"), ", but came as `application/json`");
        for body in [&b"<title>"[..], b"<title", b"<title></title>", b"\xff<title>"] {
            assert_eq!(described("", body), "", "{body:?}");
        }
        let long = format!("<title>{}</title>", "\u{e4}".repeat(500));
        assert!(described("", long.as_bytes()).chars().count() < 130);
    }
}
