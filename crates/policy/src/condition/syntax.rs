//! What the parser of conditions complains of, in words: its own speak of tokens and list all that might stand there.

/// Words of other languages, and what conditions have for them.
const MEANT: [(&str, &str); 10] = [
    ("and", "&&"),
    ("AND", "&&"),
    ("&", "&&"),
    ("or", "||"),
    ("OR", "||"),
    ("|", "||"),
    ("not", "!"),
    ("NOT", "!"),
    ("=", "=="),
    ("<>", "!="),
];

/// The first complaint of the parser, which begins with `Syntax error: ` where it is about what stands in the text.
pub(super) fn in_words(complaint: &str) -> String {
    let Some(about) = complaint.trim().strip_prefix("Syntax error: ") else { return complaint.trim().to_owned() };
    let kinds: [(&str, &str); 5] = [
        ("token recognition error at: '", "'"),
        ("mismatched input '", "' expecting "),
        ("extraneous input '", "' expecting "),
        ("no viable alternative at input '", "'"),
        ("missing ", " at '"),
    ];
    for (kind, (begin, end)) in kinds.into_iter().enumerate() {
        let Some((stands, rest)) = about.strip_prefix(begin).and_then(|rest| rest.rsplit_once(end)) else { continue };
        return match kind {
            0 => unreadable(stands),
            4 => missing(stands, rest.trim_end_matches('\'')),
            _ => unexpected(stands),
        };
    }
    about.to_owned()
}

/// A beginning that no word of the language has.
fn unreadable(stands: &str) -> String {
    let first = stands.chars().next().unwrap_or_default();
    match first {
        '"' | '\'' => format!("a text begins with {first} and does not end; close it with {first}"),
        '=' | '&' | '|' => instead(&first.to_string()),
        _ => format!("`{}` means nothing in a condition", stands.trim()),
    }
}

fn unexpected(stands: &str) -> String {
    match stands {
        "<EOF>" => "it ends where something has to follow".to_owned(),
        word if MEANT.iter().any(|(other, _)| *other == word) => instead(word),
        word => format!("`{word}` cannot stand here"),
    }
}

fn missing(what: &str, before: &str) -> String {
    let what = what.trim_matches('\'');
    let before = if before == "<EOF>" { "at its end".to_owned() } else { format!("before `{before}`") };
    format!("`{what}` is missing {before}")
}

fn instead(word: &str) -> String {
    let meant = MEANT.iter().find(|(other, _)| *other == word).map_or("==", |(_, meant)| *meant);
    format!("write `{meant}` for `{word}`")
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn complaints_of_the_parser_are_put_into_words() {
        for (complaint, words) in [
            ("Syntax error: mismatched input '<EOF>' expecting {'[', '{'}", "it ends where something has to follow"),
            ("Syntax error: mismatched input 'and' expecting {<EOF>, '=='}", "write `&&` for `and`"),
            ("Syntax error: extraneous input ')' expecting <EOF>", "`)` cannot stand here"),
            ("Syntax error: token recognition error at: '= '", "write `==` for `=`"),
            (
                "Syntax error: token recognition error at: '\"x'",
                "a text begins with \" and does not end; close it with \"",
            ),
            ("Syntax error: token recognition error at: '#'", "`#` means nothing in a condition"),
            ("Syntax error: missing ')' at '<EOF>'", "`)` is missing at its end"),
            ("Syntax error: something else", "something else"),
            ("reserved identifier: for", "reserved identifier: for"),
        ] {
            assert_eq!(in_words(complaint), words);
        }
    }
}
