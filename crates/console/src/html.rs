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

/// Letters of a name that stay together however narrow the column is; a longer run without a mark is broken all the same.
const LONGEST_RUN: usize = 24;

/// An escaped name of a model or a person that may be broken after `/`, `-`, `_` and `@`, and not within its words.
#[must_use]
pub fn breakable_name(name: &str) -> String {
    let mut html = String::with_capacity(name.len() + 16);
    let mut run = 0;
    for letter in name.chars() {
        if run == LONGEST_RUN {
            html.push_str("<wbr>");
            run = 0;
        }
        html.push_str(&escape(letter.encode_utf8(&mut [0; 4])));
        run += 1;
        if matches!(letter, '/' | '-' | '_' | '@') {
            html.push_str("<wbr>");
            run = 0;
        }
    }
    html
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
        assert_eq!(breakable_name("claude-eu/eu.x_y"), "claude-<wbr>eu/<wbr>eu.x_<wbr>y");
        assert_eq!(breakable_name("<a@b>"), "&lt;a@<wbr>b&gt;");
        assert_eq!(breakable_name(&"x".repeat(25)), format!("{}<wbr>x", "x".repeat(24)));
        let html = r#"prices explain &lt;m&gt; <span class="option">--provider</span> p"#;
        assert_eq!(command("prices explain <m> --provider p"), html);
    }
}
