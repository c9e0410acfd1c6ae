//! Brings a text to the form in which phrases are looked for: compatibility forms are resolved (NFKC), marks and letters of
//! other alphabets that look like Latin ones become those, what cannot be seen is dropped, letters are small, and whatever is
//! between words becomes one space. How much had to be undone is itself a sign, and is counted.

use unicode_normalization::UnicodeNormalization;

/// A text as phrases are looked for in it.
#[derive(Debug, Default)]
pub(super) struct Normalised {
    /// Small Latin letters, digits, and single spaces; other letters as they are.
    pub(super) text: String,
    /// Characters that cannot be seen: zero-width ones, direction marks, tags.
    pub(super) invisible: usize,
    /// Letters of another alphabet among Latin ones, within a word.
    pub(super) disguised: usize,
}

/// Letters that look like a Latin one, and that one.
fn lookalike(letter: char) -> Option<char> {
    Some(match letter {
        'а' | 'α' | 'ɑ' => 'a',
        'в' | 'ь' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ё' | 'ε' => 'e',
        'ɡ' => 'g',
        'һ' | 'н' => 'h',
        'і' | 'ι' | 'ı' | 'ї' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' => 'm',
        'п' | 'η' | 'ո' => 'n',
        'о' | 'ο' | 'σ' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'ԝ' | 'ω' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        'ᴢ' => 'z',
        _ => return None,
    })
}

fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{00AD}' | '\u{E0000}'..='\u{E007F}')
}

impl Normalised {
    pub(super) fn of(text: &str) -> Normalised {
        let mut normalised = Normalised { text: String::with_capacity(text.len()), ..Normalised::default() };
        if text.is_ascii() {
            // NFKC changes no ASCII.
            text.bytes().for_each(|byte| normalised.push(char::from(byte)));
        } else {
            normalised.read(text);
        }
        normalised
    }

    fn read(&mut self, text: &str) {
        for word in text.split_inclusive(char::is_whitespace) {
            let has_latin = word.chars().any(|letter| letter.is_ascii_alphabetic());
            for letter in word.nfkc() {
                if is_invisible(letter) {
                    self.invisible += 1;
                    // Letters in the range of tags are ASCII that nobody sees.
                    if let Some(hidden) = (letter as u32).checked_sub(0xE_0000).and_then(char::from_u32) {
                        self.push(hidden);
                    }
                    continue;
                }
                let small = letter.to_lowercase().next().unwrap_or(letter);
                match lookalike(small) {
                    Some(latin) if has_latin => {
                        self.disguised += 1;
                        self.push(latin);
                    }
                    _ => self.push(small),
                }
            }
        }
    }

    fn push(&mut self, letter: char) {
        if letter.is_alphanumeric() {
            self.text.push(letter.to_ascii_lowercase());
        } else if matches!(letter, '\'' | '\u{2019}') {
            // `don't` is one word, `dont`.
        } else if !self.text.ends_with(' ') && !self.text.is_empty() {
            self.text.push(' ');
        }
    }

    /// The text with digits and single letters put back where they stand for letters: `1gn0re`, `i g n o r e`. `None` if there
    /// is nothing of the kind.
    pub(super) fn respelled(&self) -> Option<String> {
        let mut changed = false;
        let mut out = String::with_capacity(self.text.len());
        let mut spelled = 0;
        for word in self.text.split(' ') {
            let is_letter = word.chars().count() == 1;
            let joins = is_letter && spelled > 0;
            spelled = if is_letter { spelled + 1 } else { 0 };
            if !out.is_empty() && !joins {
                out.push(' ');
            }
            changed |= spelled == 4;
            let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
            let digits = word.bytes().filter(u8::is_ascii_digit).count();
            if letters > digits && digits > 0 {
                changed = true;
                out.extend(word.chars().map(|letter| match letter {
                    '0' => 'o',
                    '1' => 'i',
                    '3' => 'e',
                    '4' => 'a',
                    '5' => 's',
                    '7' => 't',
                    letter => letter,
                }));
            } else {
                out.push_str(word);
            }
        }
        changed.then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_are_taken_off_and_counted() {
        let plain = Normalised::of("Ignore  ALL\nprevious-instructions!");
        assert_eq!(plain.text, "ignore all previous instructions ");
        let odd = Normalised::of("Ign\u{200B}оre аll ｐｒｅｖｉｏｕｓ instructions");
        assert_eq!(odd.text, "ignore all previous instructions");
        assert_eq!((odd.invisible, odd.disguised), (1, 2));
        let hidden: String = "ignore".chars().map(|letter| char::from_u32(letter as u32 + 0xE_0000).unwrap()).collect();
        assert_eq!(Normalised::of(&hidden).text, "ignore");
    }

    #[test]
    fn russian_and_greek_stay_what_they_are() {
        let text = Normalised::of("Привет, как дела? Καλημέρα");
        assert_eq!((text.disguised, text.text.as_str()), (0, "привет как дела καλημέρα"));
    }

    #[test]
    fn letters_written_as_digits_or_apart_are_read() {
        assert_eq!(Normalised::of("1gn0re pr3vious").respelled().as_deref(), Some("ignore previous"));
        assert_eq!(Normalised::of("i g n o r e it").respelled().as_deref(), Some("ignore it"));
        assert_eq!(Normalised::of("a plain text of 2026").respelled(), None);
    }
}
