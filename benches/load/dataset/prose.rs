//! Text with the statistics of English: the small words that carry every sentence, and a vocabulary of words that are
//! built from stems and endings and used as often as Zipf's law says, some of them again and again within one text.

use super::Random;

/// The most frequent words of English, in order: about half of every text.
const SMALL_WORDS: &str = "the of and to a in is that for it as was with be by on not he his but at are this have from or had an \
    they which one you were all her she there would their we him been has when who will no more if out so up said what its about than \
    into them can only other time new some could these two may first then do any like my now over such our man me even most made after \
    also did many must before back see through way where get much go well your know should down work year because come people just \
    say each those take day good how long little use too own great while make world still see very last both between life under never \
    same another think during without place however part again found every here against right home number does given since system set \
    used using data user order report account request value team service change result check need please message error file code \
    customer policy date name list answer review table query model case issue based following below include provide information";
const STEMS: &str = "act adapt agree align amend anchor apply arrang assess assign attach audit balanc barrier batch bind block board border \
    branch bridg broker budget build bundl captur carri cast cert chang charg claim class clear client clust collect combin command commit \
    compar compil compos comput concern confirm connect consid consist constru contain control convert coordin correct cost count cover \
    creat credit crit curr custom cycl damag deal debt decid declar defin deliver depend deposit deriv design detail detect determin \
    develop differ direct discov discuss distribut divid docu draft draw driv duplic earn edit effect elect employ enabl engag ensur \
    establish estim evalu event evid examin exchang execut exist expand expect experi explain export express extend extract fact fail \
    featur field figur filter financ fix flow follow form found fram fulfil function gener govern group grow guarant handl harbour \
    identif illustr imag impact implement import improv indic influenc inform inspect instal institut instruct insur integr intend \
    interest intern interpret introduc invest invoic issu join judg justif kernel label launch layer lead learn legal level licens limit \
    link liquid load locat machin maintain manag manu map margin market match measur mediat memb merg method migrat mobil model modif \
    monitor mortgag motion negoti network norm note notif object observ obtain occur offer operat oppos optim organ origin owner pack \
    paragraph partner pass pattern pay perform permit person phase plan plant point port posit predict prefer prepar present preserv \
    press prevent print privat process produc profit program project promot proport propos protect prov public publish purchas qual \
    quant quot rang rat reach react reason receiv recogn recommend record recover reduc refer reflect reform refus regard regist regul \
    reject relat releas relev rely remain remov render renew rent repair replac repli represent requir research reserv resolv resourc \
    respond restrict retain retriev return reveal revers risk rout sampl scal schedul schem scop search second sect secur select sens \
    separat serv settl shar shift ship sign simul sourc special spec split stabil staff standard stat stock stor strateg structur subject \
    submit substitut success suffic suggest suppl support surfac suspend switch tail target tax technic term test text threshold toler \
    track trad transact transfer translat transport treat trend trigger trust updat valid vari vend verif vers view volum vot warn weigh";
const ENDINGS: &str =
    "ing ed s ion er ment able al ation ive ance or ity ful ist ly ent ate ure ism ary ous less ness ship";
const BEGINNINGS: &str = "re un pre inter sub over dis non co counter out under trans multi mis";
/// Words that are not [`SMALL_WORDS`]; about as many as an active vocabulary has.
const VOCABULARY: usize = 12_000;
/// Zipf's law with Mandelbrot's shift: the word of rank `r` is used in proportion to `1 / (r + SHIFT)`.
const SHIFT: f64 = 2.7;
/// Words that one text keeps coming back to.
const SUBJECTS: usize = 24;

/// A vocabulary and how often each of its words is used.
pub(crate) struct Prose {
    words: Vec<String>,
    /// For each word, the share of all uses up to it, in units of 2⁻³².
    shares: Vec<u32>,
}

impl Prose {
    /// The vocabulary that belongs to `seed`.
    pub(crate) fn new(seed: u64) -> Prose {
        let mut random = Random::new(seed);
        let parts = |text: &'static str| text.split_whitespace().collect::<Vec<&str>>();
        let (stems, endings, beginnings) = (parts(STEMS), parts(ENDINGS), parts(BEGINNINGS));
        let mut words: Vec<String> = parts(SMALL_WORDS).into_iter().map(str::to_owned).collect();
        while words.len() < VOCABULARY {
            let beginning = if random.chance(22) { *random.one(&beginnings) } else { "" };
            let second = if random.chance(12) { *random.one(&endings) } else { "" };
            words.push(format!("{beginning}{}{}{second}", random.one(&stems), random.one(&endings)));
        }
        let weights: Vec<f64> = (1..=words.len()).map(|rank| 1.0 / (rank as f64 + SHIFT)).collect();
        let all: f64 = weights.iter().sum();
        let mut reached = 0.0;
        let shares = weights.iter().map(|weight| {
            reached += weight;
            (reached / all * f64::from(u32::MAX)) as u32
        });
        Prose { shares: shares.collect(), words }
    }

    fn word(&self, random: &mut Random) -> &str {
        let place = (random.next() >> 32) as u32;
        let at = self.shares.partition_point(|share| *share < place);
        &self.words[at.min(self.words.len() - 1)]
    }

    /// About `bytes` of sentences: never more, and at most one word less.
    pub(crate) fn text(&self, random: &mut Random, bytes: usize) -> String {
        let subjects: Vec<&str> = (0..SUBJECTS).map(|_| self.word(random)).collect();
        let mut text = String::with_capacity(bytes + 16);
        let mut left_in_sentence = 0;
        loop {
            let begins = left_in_sentence == 0;
            if begins {
                left_in_sentence = 6 + random.below(20);
            }
            let from = text.len();
            if random.chance(2) {
                text.push_str(&random.below(100_000).to_string());
            } else if random.chance(16) {
                text.push_str(random.one::<&str>(&subjects));
            } else {
                text.push_str(self.word(random));
            }
            if begins {
                text[from..from + 1].make_ascii_uppercase();
            }
            left_in_sentence -= 1;
            text.push_str(match left_in_sentence {
                0 if random.chance(12) => ".\n\n",
                0 => ". ",
                _ if random.chance(7) => ", ",
                _ => " ",
            });
            if text.len() > bytes {
                text.truncate(from.max(1));
                text.truncate(text.trim_end().len());
                return text;
            }
        }
    }

    /// A JSON object of about `bytes`, such as a tool answers: names that repeat, values that do not.
    pub(crate) fn json(&self, random: &mut Random, bytes: usize) -> String {
        let mut rows = String::from("[");
        while rows.len() < bytes {
            if rows.len() > 1 {
                rows.push(',');
            }
            let row = serde_json::json!({
                "id": random.hexadecimal(8),
                "name": self.text(random, 24),
                "status": random.one(&["open", "closed", "pending", "rejected"]),
                "amount": random.below(1_000_000) as f64 / 100.0,
                "updated_at": format!("2026-{:02}-{:02}T{:02}:{:02}:{:02}Z", 1 + random.below(12), 1 + random.below(28),
                    random.below(24), random.below(60), random.below(60)),
                "note": self.text(random, 90),
            });
            rows.push_str(&row.to_string());
        }
        rows + "]"
    }
}
