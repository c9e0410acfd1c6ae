//! Text made safe for pages, where a template does not do it.

/// Text that may stand in HTML or SVG, in an attribute or outside one.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

/// Escaped text in which names between backticks are set as code. An odd backtick stays what it is.
#[must_use]
pub fn coded(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escape(text);
    }
    let set = |(index, part): (usize, &&str)| match index % 2 {
        1 => format!("<code>{}</code>", escape(part)),
        _ => escape(part),
    };
    parts.iter().enumerate().map(set).collect()
}

/// An escaped name that may be broken after each underscore, for columns that are narrower than it.
#[must_use]
pub fn breakable(name: &str) -> String {
    escape(name).replace('_', "_<wbr>")
}

/// An escaped command of which no option is broken in two: hyphens invite that.
#[must_use]
pub fn command(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.starts_with("--") {
        true => format!(r#"<span class="option">{}</span>"#, escape(word)),
        false => escape(word),
    });
    words.collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_backticks_become_code_and_nothing_becomes_markup() {
        assert_eq!(coded("team `<b>` is over"), "team <code>&lt;b&gt;</code> is over");
        assert_eq!(coded("a lone ` stays"), "a lone ` stays");
    }

    #[test]
    fn names_and_commands_break_where_it_does_not_hurt() {
        assert_eq!(breakable("client_<disconnected>"), "client_<wbr>&lt;disconnected&gt;");
        let html = r#"prices explain &lt;m&gt; <span class="option">--provider</span> p"#;
        assert_eq!(command("prices explain <m> --provider p"), html);
    }
}
