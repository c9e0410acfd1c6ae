//! Identity, tax and bank numbers of single countries: a shape, a check, and the words that are usually near. A number whose
//! check is weak (nine to eleven bare digits and one check digit, which one in ten numbers passes by chance) counts only
//! near such a word.

use super::Score;
use super::checksum::{digits, luhn, mod11_10, verhoeff, weighted};
use super::number::Compact;

/// One kind of number.
#[derive(Debug)]
pub(super) struct Number {
    /// As rules name it, behind `pii.`.
    pub(super) name: &'static str,
    /// As findings name it.
    pub(super) entity: &'static str,
    /// See [`super::number::shaped`]. Tried in order.
    pub(super) shapes: &'static [&'static [u8]],
    /// What its letters and digits have to fulfil.
    pub(super) check: fn(&[u8]) -> bool,
    /// Without a word near it.
    pub(super) alone: Score,
    /// Without a word, but with separators where they belong.
    pub(super) separated: Score,
    /// Lower case.
    pub(super) words: &'static [&'static str],
}

impl Number {
    /// How sure it is that `compact` is one.
    pub(super) fn score(&self, compact: &Compact, is_near_word: bool) -> Score {
        match (is_near_word, compact.separators > 0) {
            (true, _) => Score::percent(90).max(self.alone),
            (false, true) => self.separated,
            (false, false) => self.alone,
        }
    }
}

const fn number(
    (name, entity): (&'static str, &'static str),
    shapes: &'static [&'static [u8]],
    check: fn(&[u8]) -> bool,
    (alone, separated): (u32, u32),
    words: &'static [&'static str],
) -> Number {
    Number { name, entity, shapes, check, alone: Score::percent(alone), separated: Score::percent(separated), words }
}

/// Every number of a country that is known here.
pub(super) static NUMBERS: [Number; 36] = [
    number(
        ("us_ssn", "US_SSN"),
        &[b"999_99_9999", b"999999999"],
        us_ssn,
        (20, 85),
        &["ssn", "social security", "soc sec"],
    ),
    number(("us_itin", "US_ITIN"), &[b"999_99_9999", b"999999999"], us_itin, (20, 85), &["itin", "taxpayer", "tax id"]),
    number(("us_npi", "US_NPI"), &[b"9999999999"], us_npi, (20, 20), &["npi", "national provider"]),
    number(
        ("us_routing", "US_ROUTING"),
        &[b"9999-9999-9"],
        us_routing,
        (20, 20),
        &["routing", "aba", "rtn", "transit"],
    ),
    number(("us_mbi", "US_MBI"), &[b"9AX9-AX9-AA99"], us_mbi, (70, 85), &["medicare", "mbi", "beneficiary"]),
    number(("uk_nhs", "UK_NHS"), &[b"999-999-9999"], uk_nhs, (20, 30), &["nhs", "national health"]),
    number(
        ("uk_nino", "UK_NINO"),
        &[b"AA-99-99-99-A"],
        uk_nino,
        (70, 85),
        &["national insurance", "nino", "ni number"],
    ),
    number(
        ("de_tax_id", "DE_TAX_ID"),
        &[b"99-999-999-999"],
        de_tax_id,
        (30, 60),
        &["steuer", "tin", "idnr", "tax id", "tax number"],
    ),
    number(
        ("de_social_security", "DE_SOCIAL_SECURITY"),
        &[b"99-999999-A-999"],
        de_social_security,
        (85, 85),
        &["sozialversicherung", "rentenversicherung", "sv-nummer"],
    ),
    number(
        ("de_id_card", "DE_ID_CARD"),
        &[b"XXXXXXXXX9"],
        de_id_card,
        (20, 20),
        &["personalausweis", "ausweis", "id card", "reisepass", "passport"],
    ),
    number(
        ("de_vat_id", "DE_VAT_ID"),
        &[b"DE-999999999", b"DE-999-999-999"],
        de_vat_id,
        (85, 85),
        &["ust", "vat", "umsatzsteuer"],
    ),
    number(("es_nif", "ES_NIF"), &[b"99999999-A"], es_nif, (80, 80), &["nif", "dni"]),
    number(("es_nie", "ES_NIE"), &[b"A-9999999-A"], es_nie, (80, 85), &["nie"]),
    number(
        ("it_fiscal_code", "IT_FISCAL_CODE"),
        &[b"AAAAAA-99A99-A999A"],
        it_fiscal_code,
        (95, 95),
        &["codice fiscale", "fiscal"],
    ),
    number(
        ("it_vat", "IT_VAT"),
        &[b"IT-99999999999", b"99999999999"],
        it_vat,
        (20, 70),
        &["partita iva", "p.iva", "p. iva", "vat"],
    ),
    number(("pl_pesel", "PL_PESEL"), &[b"99999999999"], pl_pesel, (40, 40), &["pesel"]),
    number(("fi_hetu", "FI_HETU"), &[b"999999!999X"], fi_hetu, (90, 90), &["hetu", "henkil"]),
    number(
        ("se_personnummer", "SE_PERSONNUMMER"),
        &[b"999999_9999", b"99999999_9999", b"9999999999", b"999999999999"],
        se_personnummer,
        (20, 60),
        &["personnummer", "samordningsnummer", "personal number"],
    ),
    number(
        ("fr_nir", "FR_NIR"),
        &[b"9-99-99-9X-999-999-99"],
        fr_nir,
        (80, 90),
        &["nir", "securite sociale", "curit\u{e9} sociale", "insee"],
    ),
    number(
        ("nl_bsn", "NL_BSN"),
        &[b"999999999", b"9999_99_999", b"999_999_999"],
        nl_bsn,
        (20, 20),
        &["bsn", "burgerservice", "sofinummer"],
    ),
    number(("in_aadhaar", "IN_AADHAAR"), &[b"9999-9999-9999"], in_aadhaar, (30, 55), &["aadhaar", "aadhar", "uidai"]),
    number(("in_pan", "IN_PAN"), &[b"AAAAA9999A"], in_pan, (70, 70), &["pan"]),
    number(("in_gstin", "IN_GSTIN"), &[b"99AAAAA9999AXZX"], in_gstin, (95, 95), &["gst"]),
    number(("sg_nric", "SG_NRIC"), &[b"A9999999A"], sg_nric, (85, 85), &["nric", "fin"]),
    number(("sg_uen", "SG_UEN"), &[b"99999999A", b"999999999A"], sg_uen, (40, 40), &["uen"]),
    number(("au_abn", "AU_ABN"), &[b"99-999-999-999"], au_abn, (30, 60), &["abn", "business number"]),
    number(("au_acn", "AU_ACN"), &[b"999-999-999"], au_acn, (20, 20), &["acn", "company number"]),
    number(("au_tfn", "AU_TFN"), &[b"999-999-999"], au_tfn, (20, 20), &["tfn", "tax file"]),
    number(("au_medicare", "AU_MEDICARE"), &[b"9999-99999-9"], au_medicare, (20, 40), &["medicare"]),
    number(
        ("kr_rrn", "KR_RRN"),
        &[b"999999_9999999", b"9999999999999"],
        kr_rrn,
        (40, 85),
        &["rrn", "resident registration", "\u{c8fc}\u{bbfc}"],
    ),
    number(("th_tnin", "TH_TNIN"), &[b"9-9999-99999-99-9"], th_tnin, (30, 80), &["thai", "national id", "tnin"]),
    number(("tr_id", "TR_ID"), &[b"99999999999"], tr_id, (45, 45), &["kimlik", "tckn", "tc no", "t.c."]),
    number(
        ("za_id", "ZA_ID"),
        &[b"9999999999999", b"999999_9999_999", b"999999_9999_99_9"],
        za_id,
        (60, 75),
        &["id number", "identity", "rsa id"],
    ),
    number(("ca_sin", "CA_SIN"), &[b"999-999-999"], ca_sin, (20, 40), &["sin", "social insurance"]),
    number(("ch_ahv", "CH_AHV"), &[b"999-9999-9999-99"], ch_ahv, (80, 90), &["ahv", "avs"]),
    number(
        ("be_nn", "BE_NN"),
        &[b"99-99-99-999-99", b"999999-999-99"],
        be_nn,
        (40, 40),
        &["rijksregister", "registre national", "national register"],
    ),
];

fn us_ssn(compact: &[u8]) -> bool {
    let (area, group, serial) = (&compact[..3], &compact[3..5], &compact[5..]);
    // 987-65-4320 to 4329 are for advertisements; 078-05-1120 was printed in a wallet.
    area != b"000"
        && area != b"666"
        && area[0] != b'9'
        && group != b"00"
        && serial != b"0000"
        && compact != b"078051120"
}

fn us_itin(compact: &[u8]) -> bool {
    let group = (compact[3] - b'0') * 10 + compact[4] - b'0';
    compact[0] == b'9' && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

fn us_npi(compact: &[u8]) -> bool {
    let prefixed = [&[8, 0, 8, 4, 0][..], &digits(compact)].concat();
    matches!(compact[0], b'1' | b'2') && luhn(&prefixed)
}

fn us_routing(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let district = digits[0] * 10 + digits[1];
    matches!(district, 1..=12 | 21..=32 | 61..=72 | 80) && weighted(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]) % 10 == 0
}

fn us_mbi(compact: &[u8]) -> bool {
    compact[0] != b'0' && !compact.iter().any(|byte| b"SLOIBZ".contains(byte))
}

fn uk_nhs(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let check = 11 - weighted(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    check != 10 && check % 11 == i64::from(digits[9])
}

fn uk_nino(compact: &[u8]) -> bool {
    const UNUSED: [&[u8]; 7] = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"];
    !b"DFIQUV".contains(&compact[0])
        && !b"DFIOQUV".contains(&compact[1])
        && !UNUSED.contains(&&compact[..2])
        && (b'A'..=b'D').contains(&compact[8])
}

fn de_tax_id(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let mut counts = [0; 10];
    digits[..10].iter().for_each(|digit| counts[usize::from(*digit)] += 1);
    // One digit stands twice or three times among the first ten, and no other does.
    let repeated = counts.iter().filter(|count| **count > 1).count();
    digits[0] != 0 && repeated == 1 && counts.iter().all(|count| *count <= 3) && mod11_10(&digits)
}

fn de_social_security(compact: &[u8]) -> bool {
    let letter = compact[8] - b'A' + 1;
    let mut digits = digits(&compact[..8]);
    digits.extend([letter / 10, letter % 10]);
    digits.extend(self::digits(&compact[9..11]));
    let crossed = |product: i64| product / 10 + product % 10;
    let weights = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    let sum: i64 = digits.iter().zip(weights).map(|(digit, weight)| crossed(i64::from(*digit) * weight)).sum();
    is_day_and_month(&digits[2..4], &digits[4..6]) && sum % 10 == i64::from(compact[11] - b'0')
}

fn de_id_card(compact: &[u8]) -> bool {
    let value = |byte: &u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' + 10 };
    let allowed = |byte: &u8| byte.is_ascii_digit() || b"CFGHJKLMNPRTVWXYZ".contains(byte);
    let values: Vec<u8> = compact[..9].iter().map(value).collect();
    let sum = weighted(&values, &[7, 3, 1, 7, 3, 1, 7, 3, 1]);
    compact[0].is_ascii_uppercase() && compact[..9].iter().all(allowed) && sum % 10 == i64::from(compact[9] - b'0')
}

fn de_vat_id(compact: &[u8]) -> bool {
    mod11_10(&digits(compact))
}

const SPANISH: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";

fn es_nif(compact: &[u8]) -> bool {
    let number = digits(&compact[..8]).iter().fold(0usize, |number, digit| number * 10 + usize::from(*digit));
    SPANISH[number % 23] == compact[8]
}

fn es_nie(compact: &[u8]) -> bool {
    let first = match compact[0] {
        b'X' => 0usize,
        b'Y' => 1,
        b'Z' => 2,
        _ => return false,
    };
    let number = digits(&compact[1..8]).iter().fold(first, |number, digit| number * 10 + usize::from(*digit));
    SPANISH[number % 23] == compact[8]
}

fn it_fiscal_code(compact: &[u8]) -> bool {
    // Values of characters at odd places, for 0 to 9 and for A to Z.
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let value = |byte: u8| usize::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    let sum: u32 = compact[..15]
        .iter()
        .enumerate()
        .map(|(place, byte)| if place % 2 == 0 { ODD[value(*byte)] } else { value(*byte) as u32 })
        .sum();
    b"ABCDEHLMPRST".contains(&compact[8]) && sum % 26 == u32::from(compact[15] - b'A')
}

fn it_vat(compact: &[u8]) -> bool {
    let digits = digits(compact);
    digits.iter().any(|digit| *digit != 0) && luhn(&digits)
}

fn pl_pesel(compact: &[u8]) -> bool {
    let digits = digits(compact);
    // The century stands in the month: 1800s +80, 2000s +20, 2100s +40, 2200s +60.
    let month = (digits[2] * 10 + digits[3]) % 20;
    let day = digits[4] * 10 + digits[5];
    let sum = weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    (1..=12).contains(&month) && (1..=31).contains(&day) && (10 - sum % 10) % 10 == i64::from(digits[10])
}

fn fi_hetu(compact: &[u8]) -> bool {
    const CHECKS: &[u8] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let digits = digits(&[&compact[..6], &compact[7..10]].concat());
    let number = digits.iter().fold(0usize, |number, digit| number * 10 + usize::from(*digit));
    is_day_and_month(&digits[..2], &digits[2..4]) && CHECKS[number % 31] == compact[10]
}

fn se_personnummer(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let short = if digits.len() == 12 { &digits[2..] } else { &digits[..] };
    let is_century = digits.len() == 10 || matches!(digits[..2], [1, 9] | [2, 0]);
    let day = short[4] * 10 + short[5];
    // Those who are not registered have 60 added to their day.
    let is_day = (1..=31).contains(&day) || (61..=91).contains(&day);
    is_century && (1..=12).contains(&(short[2] * 10 + short[3])) && is_day && luhn(short)
}

fn fr_nir(compact: &[u8]) -> bool {
    // Corsica's departments, 2A and 2B, count as 19 and 18.
    let mut number = compact[..13].to_vec();
    match (number[5], number[6]) {
        (b'2', b'A') => number[5..7].copy_from_slice(b"19"),
        (b'2', b'B') => number[5..7].copy_from_slice(b"18"),
        _ => {}
    }
    if !number.iter().all(u8::is_ascii_digit) || !matches!(compact[0], b'1'..=b'4' | b'7' | b'8') {
        return false;
    }
    let value = digits(&number).iter().fold(0u64, |value, digit| value * 10 + u64::from(*digit));
    let key = digits(&compact[13..]).iter().fold(0u64, |key, digit| key * 10 + u64::from(*digit));
    let month = digits(&compact[3..5]).iter().fold(0u64, |month, digit| month * 10 + u64::from(*digit));
    matches!(month, 1..=12 | 20..=42 | 50..=99) && key == 97 - value % 97
}

fn nl_bsn(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let sum = weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2, -1]);
    sum > 0 && sum % 11 == 0
}

fn in_aadhaar(compact: &[u8]) -> bool {
    compact[0] > b'1' && verhoeff(&digits(compact))
}

fn in_pan(compact: &[u8]) -> bool {
    b"ABCFGHJLPTK".contains(&compact[3])
}

fn in_gstin(compact: &[u8]) -> bool {
    let value = |byte: u8| u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' + 10 });
    let sum: u32 = compact[..14]
        .iter()
        .enumerate()
        .map(|(place, byte)| value(*byte) * if place % 2 == 0 { 1 } else { 2 })
        .map(|product| product / 36 + product % 36)
        .sum();
    (36 - sum % 36) % 36 == value(compact[14])
}

fn sg_nric(compact: &[u8]) -> bool {
    let first = compact[0];
    let sum = weighted(&digits(&compact[1..8]), &[2, 7, 6, 5, 4, 3, 2]);
    let offset = match first {
        b'T' | b'G' => 4,
        b'M' => 3,
        b'S' | b'F' => 0,
        _ => return false,
    };
    let place = ((sum + offset) % 11) as usize;
    let checks: &[u8] = match first {
        b'S' | b'T' => b"JZIHGFEDCBA",
        b'M' => b"KLJNPQRTUWX",
        _ => b"XWUTRQPNMLK",
    };
    let place = if first == b'M' { 10 - place } else { place };
    checks[place] == compact[8]
}

fn sg_uen(compact: &[u8]) -> bool {
    let (weights, checks): (&[i64], &[u8]) = match compact.len() {
        9 => (&[10, 4, 9, 3, 8, 2, 7, 1], b"XMKECAWLJDB"),
        _ => (&[10, 8, 6, 4, 9, 7, 5, 3, 1], b"ZKCMDNERGWH"),
    };
    let (body, check) = compact.split_at(compact.len() - 1);
    checks[(weighted(&digits(body), weights) % 11) as usize] == check[0]
}

fn au_abn(compact: &[u8]) -> bool {
    let mut digits = digits(compact);
    let Some(first) = digits[0].checked_sub(1) else { return false };
    digits[0] = first;
    weighted(&digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) % 89 == 0
}

fn au_acn(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let sum = weighted(&digits, &[8, 7, 6, 5, 4, 3, 2, 1]);
    (10 - sum % 10) % 10 == i64::from(digits[8])
}

fn au_tfn(compact: &[u8]) -> bool {
    weighted(&digits(compact), &[1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 == 0
}

fn au_medicare(compact: &[u8]) -> bool {
    let digits = digits(compact);
    matches!(digits[0], 2..=6) && weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == i64::from(digits[8])
}

fn kr_rrn(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let sum = weighted(&digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    is_day_and_month(&digits[4..6], &digits[2..4])
        && matches!(digits[6], 1..=8)
        && (11 - sum % 11) % 10 == i64::from(digits[12])
}

fn th_tnin(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let sum = weighted(&digits, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    digits[0] != 0 && (11 - sum % 11) % 10 == i64::from(digits[12])
}

fn tr_id(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let odd = weighted(&digits, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(&digits, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let all: i64 = digits[..10].iter().map(|digit| i64::from(*digit)).sum();
    digits[0] != 0 && (odd * 7 - even).rem_euclid(10) == i64::from(digits[9]) && all % 10 == i64::from(digits[10])
}

fn za_id(compact: &[u8]) -> bool {
    let digits = digits(compact);
    is_day_and_month(&digits[4..6], &digits[2..4]) && digits[10] < 2 && luhn(&digits)
}

fn ca_sin(compact: &[u8]) -> bool {
    !matches!(compact[0], b'0' | b'8') && luhn(&digits(compact))
}

fn ch_ahv(compact: &[u8]) -> bool {
    let digits = digits(compact);
    let sum = weighted(&digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]);
    compact.starts_with(b"756") && (10 - sum % 10) % 10 == i64::from(digits[12])
}

fn be_nn(compact: &[u8]) -> bool {
    let value = |digits: &[u8]| digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(*digit));
    let digits = digits(compact);
    let (body, check) = (value(&digits[..9]), value(&digits[9..]));
    // Those born since 2000 have a 2 put before their number.
    check == 97 - body % 97 || check == 97 - (2_000_000_000 + body) % 97
}

/// Digits as two places each.
fn is_day_and_month(day: &[u8], month: &[u8]) -> bool {
    (1..=31).contains(&(day[0] * 10 + day[1])) && (1..=12).contains(&(month[0] * 10 + month[1]))
}

#[cfg(test)]
mod tests {
    use super::super::number::shaped;
    use super::*;

    fn holds(name: &str, written: &str) -> bool {
        let number = NUMBERS.iter().find(|number| number.name == name).unwrap();
        let read = number
            .shapes
            .iter()
            .find_map(|shape| shaped(written.as_bytes(), 0, shape).filter(|compact| compact.end == written.len()));
        read.is_some_and(|compact| (number.check)(compact.bytes()))
    }

    // Examples from the publications of the issuing bodies, or made from their rules.
    const VALID: [(&str, &str); 37] = [
        ("us_ssn", "536-90-4399"),
        ("us_itin", "912-91-3457"),
        ("us_npi", "1234567893"),
        ("us_routing", "021000021"),
        ("us_mbi", "1EG4-TE5-MK73"),
        ("uk_nhs", "943 476 5919"),
        ("uk_nino", "AB 12 34 56 C"),
        ("de_tax_id", "86095742719"),
        ("de_tax_id", "86 095 742 719"),
        ("de_social_security", "15070649C103"),
        ("de_id_card", "L01X00T471"),
        ("de_vat_id", "DE136695976"),
        ("es_nif", "12345678Z"),
        ("es_nie", "X1234567L"),
        ("it_fiscal_code", "RSSMRA85T10A562S"),
        ("it_vat", "IT00743110157"),
        ("pl_pesel", "44051401359"),
        ("fi_hetu", "131052-308T"),
        ("se_personnummer", "811228-9874"),
        ("fr_nir", "2 55 08 14 168 025 38"),
        ("nl_bsn", "111222333"),
        ("in_aadhaar", "2341 2341 2346"),
        ("in_pan", "ABCPE1234F"),
        ("in_gstin", "27AAPFU0939F1ZV"),
        ("sg_nric", "S1234567D"),
        ("sg_uen", "196800306E"),
        ("au_abn", "51 824 753 556"),
        ("au_acn", "004 085 616"),
        ("au_tfn", "123 456 782"),
        ("au_medicare", "2123 45670 1"),
        ("kr_rrn", "900101-1234568"),
        ("th_tnin", "1-2345-67890-12-1"),
        ("tr_id", "10000000146"),
        ("za_id", "8001015009087"),
        ("ca_sin", "130 692 544"),
        ("ch_ahv", "756.9217.0769.85"),
        ("be_nn", "85073003328"),
    ];

    #[test]
    fn published_numbers_pass_their_checks() {
        let failed: Vec<_> = VALID.iter().filter(|(name, written)| !holds(name, written)).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }

    #[test]
    fn a_wrong_last_character_fails_wherever_there_is_a_check() {
        // These have no check digit at their end.
        let unchecked = ["us_ssn", "us_itin", "us_mbi", "uk_nino", "in_pan", "au_medicare"];
        for (name, written) in VALID.iter().filter(|(name, _)| !unchecked.contains(name)) {
            let last = written.chars().last().unwrap();
            let wrong = if last.is_ascii_digit() { char::from((last as u8 - b'0' + 1) % 10 + b'0') } else { 'Q' };
            let changed = format!("{}{wrong}", &written[..written.len() - 1]);
            assert!(!holds(name, &changed), "{name}: {changed}");
        }
    }
}
