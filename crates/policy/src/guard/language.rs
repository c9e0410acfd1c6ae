//! Which language a text is in, by its trigrams (`whatlang`, 70 languages). A text too short to tell passes: trigrams of a few
//! words say little, and a wrong guess would block a greeting.

use whatlang::Lang;

use super::Score;
use super::judge::{Judge, Judgement};

/// Letters a text must have to be judged.
const LEAST_LETTERS: usize = 40;

/// Two-letter codes (ISO 639-1) of the languages that are told apart, beside those of `whatlang`.
const CODES: [(&str, Lang); 70] = [
    ("eo", Lang::Epo),
    ("en", Lang::Eng),
    ("ru", Lang::Rus),
    ("zh", Lang::Cmn),
    ("es", Lang::Spa),
    ("pt", Lang::Por),
    ("it", Lang::Ita),
    ("bn", Lang::Ben),
    ("fr", Lang::Fra),
    ("de", Lang::Deu),
    ("uk", Lang::Ukr),
    ("ka", Lang::Kat),
    ("ar", Lang::Ara),
    ("hi", Lang::Hin),
    ("ja", Lang::Jpn),
    ("he", Lang::Heb),
    ("yi", Lang::Yid),
    ("pl", Lang::Pol),
    ("am", Lang::Amh),
    ("jv", Lang::Jav),
    ("ko", Lang::Kor),
    ("nb", Lang::Nob),
    ("da", Lang::Dan),
    ("sv", Lang::Swe),
    ("fi", Lang::Fin),
    ("tr", Lang::Tur),
    ("nl", Lang::Nld),
    ("hu", Lang::Hun),
    ("cs", Lang::Ces),
    ("el", Lang::Ell),
    ("bg", Lang::Bul),
    ("be", Lang::Bel),
    ("mr", Lang::Mar),
    ("kn", Lang::Kan),
    ("ro", Lang::Ron),
    ("sl", Lang::Slv),
    ("hr", Lang::Hrv),
    ("sr", Lang::Srp),
    ("mk", Lang::Mkd),
    ("lt", Lang::Lit),
    ("lv", Lang::Lav),
    ("et", Lang::Est),
    ("ta", Lang::Tam),
    ("vi", Lang::Vie),
    ("ur", Lang::Urd),
    ("th", Lang::Tha),
    ("gu", Lang::Guj),
    ("uz", Lang::Uzb),
    ("pa", Lang::Pan),
    ("az", Lang::Aze),
    ("id", Lang::Ind),
    ("te", Lang::Tel),
    ("fa", Lang::Pes),
    ("ml", Lang::Mal),
    ("or", Lang::Ori),
    ("my", Lang::Mya),
    ("ne", Lang::Nep),
    ("si", Lang::Sin),
    ("km", Lang::Khm),
    ("tk", Lang::Tuk),
    ("ak", Lang::Aka),
    ("zu", Lang::Zul),
    ("sn", Lang::Sna),
    ("af", Lang::Afr),
    ("la", Lang::Lat),
    ("sk", Lang::Slk),
    ("ca", Lang::Cat),
    ("tl", Lang::Tgl),
    ("hy", Lang::Hye),
    ("cy", Lang::Cym),
];

/// The languages a text may be in.
#[derive(Debug)]
pub(crate) struct Languages(Vec<Lang>);

impl Languages {
    /// Languages by their two-letter codes.
    ///
    /// # Errors
    /// The code that is not known.
    pub(crate) fn new<'a>(codes: &[&'a str]) -> Result<Self, &'a str> {
        let lang = |code: &&'a str| CODES.iter().find(|(known, _)| known == code).map(|(_, lang)| *lang).ok_or(*code);
        codes.iter().map(lang).collect::<Result<_, _>>().map(Languages)
    }

    /// Every code that is known.
    pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
        CODES.iter().map(|(code, _)| *code)
    }
}

impl Judge for Languages {
    fn judge(&self, text: &str) -> Option<Judgement> {
        if text.chars().filter(|letter| letter.is_alphabetic()).take(LEAST_LETTERS).count() < LEAST_LETTERS {
            return None;
        }
        let told = whatlang::detect(text)?;
        if self.0.contains(&told.lang()) || !told.is_reliable() {
            return None;
        }
        let code = CODES.iter().find(|(_, lang)| *lang == told.lang()).map_or(told.lang().code(), |(code, _)| code);
        // Confidence is a share of one.
        let score = Score::millionths((told.confidence() * 1_000_000.0) as u32);
        Some(Judgement { entity: "LANGUAGE".into(), score, detail: format!("language `{code}`") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_that_is_not_allowed_is_named() {
        let languages = Languages::new(&["de", "en"]).unwrap();
        let french = "Bonjour, je voudrais savoir comment je peux ouvrir un compte dans votre banque à Paris.";
        assert_eq!(languages.judge(french).unwrap().detail, "language `fr`");
        for fine in ["Guten Tag, ich möchte wissen, wie ich bei Ihrer Bank ein Konto eröffnen kann.", "Bonjour"] {
            assert!(languages.judge(fine).is_none(), "{fine}");
        }
        assert_eq!(Languages::new(&["de", "xx"]).unwrap_err(), "xx");
    }
}
