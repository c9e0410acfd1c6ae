//! Check digits: what tells a number that means something from one that only looks like it. Digits come as values 0 to 9,
//! letters as bytes.

/// Luhn (ISO/IEC 7812-1), the last digit being the check digit.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// ISO 7064 mod 97-10 over letters and digits, as IBAN has it: the first four characters count last.
pub(super) fn mod97(compact: &[u8]) -> bool {
    if compact.len() < 5 {
        return false;
    }
    let mut remainder = 0u32;
    for byte in compact[4..].iter().chain(&compact[..4]) {
        remainder = match byte {
            b'0'..=b'9' => remainder * 10 + u32::from(byte - b'0'),
            b'A'..=b'Z' => remainder * 100 + u32::from(byte - b'A') + 10,
            _ => return false,
        } % 97;
    }
    remainder == 1
}

/// ISO 7064 mod 11,10: German tax and VAT numbers.
pub(super) fn mod11_10(digits: &[u8]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let mut product = 10u32;
    for digit in body {
        let sum = (u32::from(*digit) + product) % 10;
        product = if sum == 0 { 10 } else { sum } * 2 % 11;
    }
    (11 - product) % 10 == u32::from(*check)
}

/// Verhoeff: India's Aadhaar.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const MULTIPLY: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const PERMUTE: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let check = digits.iter().rev().enumerate().fold(0u8, |check, (place, digit)| {
        MULTIPLY[usize::from(check)][usize::from(PERMUTE[place % 8][usize::from(*digit)])]
    });
    check == 0
}

/// Sum of digits times weights; the shorter of the two ends it.
pub(super) fn weighted(digits: &[u8], weights: &[i64]) -> i64 {
    digits.iter().zip(weights).map(|(digit, weight)| i64::from(*digit) * weight).sum()
}

/// The digits of a compact text as values; letters are left out.
pub(super) fn digits(compact: &[u8]) -> Vec<u8> {
    compact.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<u8> {
        digits(text.as_bytes())
    }

    #[test]
    fn published_examples_pass_and_their_neighbours_do_not() {
        assert!(luhn(&of("4539578763621486")) && !luhn(&of("4539578763621487")));
        assert!(mod97(b"GB82WEST12345698765432") && !mod97(b"GB82WEST12345698765433"));
        assert!(mod11_10(&of("86095742719")) && !mod11_10(&of("86095742718")));
        assert!(verhoeff(&of("2363")) && !verhoeff(&of("2364")));
    }

    #[test]
    fn every_single_wrong_digit_is_caught() {
        type Check = fn(&[u8]) -> bool;
        let checks = [("4539578763621486", luhn as Check), ("86095742719", mod11_10), ("2363", verhoeff)];
        for (number, check) in checks {
            let right = of(number);
            for place in 0..right.len() {
                for digit in (0..10).filter(|digit| *digit != right[place]) {
                    let mut wrong = right.clone();
                    wrong[place] = digit;
                    assert!(!check(&wrong), "{wrong:?}");
                }
            }
        }
    }
}
