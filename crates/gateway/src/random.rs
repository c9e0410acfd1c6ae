//! Interaction ids without a lock and without a system call: each thread has a small generator, seeded once from the
//! operating system. The ids must be unique, not secret; of all this only [`salt`] is fit for a secret.

use std::cell::Cell;

use tollgate_interaction::commitment::Salt;
use tollgate_interaction::{InteractionId, Share};

thread_local! {
    static STATE: Cell<[u64; 2]> = Cell::new(seed());
}

fn seed() -> [u64; 2] {
    let mut bytes = [0_u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // No entropy device: addresses and the clock still tell threads and processes apart.
        let here = std::ptr::from_ref(&bytes) as u64;
        let now = crate::clock::now_us() as u64;
        return [here ^ now.rotate_left(32) | 1, now ^ u64::from(std::process::id()).rotate_left(48)];
    }
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    [word(low) | 1, word(high)]
}

/// One step of xoroshiro128++ (Blackman and Vigna, 2019).
fn next() -> u64 {
    STATE.with(|state| {
        let [first, mut second] = state.get();
        let drawn = first.wrapping_add(second).rotate_left(17).wrapping_add(first);
        second ^= first;
        state.set([first.rotate_left(49) ^ second ^ second << 21, second.rotate_left(28)]);
        drawn
    })
}

/// A number for what needs no more than variety, such as the seed of the sandbox.
pub(crate) fn number() -> u64 {
    next()
}

/// A number from 0 up to, not including, 1.
pub(crate) fn share() -> Share {
    const MILLION: u64 = 1_000_000;
    Share::new(u32::try_from(next() % MILLION).unwrap_or(0))
}

/// A new id for a call that started at `started_at_us`.
pub(crate) fn interaction_id(started_at_us: i64) -> InteractionId {
    let mut random = [0; 10];
    let (low, high) = random.split_at_mut(8);
    low.copy_from_slice(&next().to_le_bytes());
    high.copy_from_slice(&next().to_le_bytes()[6..]);
    InteractionId::new(u64::try_from(started_at_us / 1000).unwrap_or(0), &random)
}

/// What nobody may guess: from the operating system. `None` if it has none; whoever builds the record draws it then.
pub(crate) fn salt() -> Option<Salt> {
    let mut salt = Salt::default();
    getrandom::fill(&mut salt).is_ok().then_some(salt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_of_the_same_microsecond_differ_within_and_between_threads() {
        let draw = || (0..10_000).map(|_| interaction_id(1_000)).collect::<Vec<_>>();
        let other = std::thread::spawn(draw);
        let ids: HashSet<_> = draw().into_iter().chain(other.join().unwrap()).collect();
        assert_eq!(ids.len(), 20_000);
    }
}
