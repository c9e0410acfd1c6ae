//! What was purged lately. A call that was under way then may end with an answer that was to be forgotten: it is not kept.

use std::collections::VecDeque;

use super::Purge;
use super::entry::Card;

/// Longer than any call is under way. In microseconds.
const KEPT_US: i64 = 24 * 3_600 * 1_000_000;
/// Purges remembered at most. When there are more, all answers count as purged that began before the oldest of them.
const MOST: usize = 1_000;

/// Purges, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    purges: VecDeque<(i64, Purge)>,
    /// Calls that began before are not kept, whoever's they are.
    all_before_us: Option<i64>,
}

impl Forgotten {
    /// Remembers `purge`, made at `now_us`.
    pub(super) fn add(&mut self, purge: Purge, now_us: i64) {
        while self.purges.front().is_some_and(|(at_us, _)| *at_us < now_us.saturating_sub(KEPT_US)) {
            self.purges.pop_front();
        }
        self.purges.push_back((now_us, purge));
        if self.purges.len() > MOST
            && let Some((at_us, _)) = self.purges.pop_front()
        {
            self.all_before_us = Some(at_us);
        }
    }

    /// Whether the answer with `card` to a call that began at `began_us` was to be forgotten before it was there.
    pub(super) fn is_about(&self, card: &Card, began_us: i64) -> bool {
        // A call that began in the same microsecond is on the safe side.
        let is_later = |at_us: i64| at_us >= began_us;
        self.all_before_us.is_some_and(is_later)
            || self.purges.iter().any(|(at_us, purge)| is_later(*at_us) && purge.is_about(card))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;

    fn of(tenant: &str) -> Purge {
        Purge { tenant: Some(tenant.to_owned()), ..Purge::default() }
    }

    #[test]
    fn calls_that_began_before_a_purge_that_is_about_them_are_not_kept() {
        let card = entry("acme", b"x").card;
        let mut forgotten = Forgotten::default();
        assert!(!forgotten.is_about(&card, 0));
        forgotten.add(of("acme"), 1_000);
        forgotten.add(of("globex"), 2_000);
        assert!(forgotten.is_about(&card, 999) && forgotten.is_about(&card, 1_000));
        assert!(!forgotten.is_about(&card, 1_001), "it began after");
        assert!(!forgotten.is_about(&entry("initech", b"x").card, 1), "it is another's");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_errs_on_the_safe_side() {
        let mut forgotten = Forgotten::default();
        for at in 0..MOST as i64 + 5 {
            forgotten.add(of("acme"), 100 + at);
        }
        assert_eq!(forgotten.purges.len(), MOST);
        let others = entry("globex", b"x").card;
        assert!(forgotten.is_about(&others, 104) && !forgotten.is_about(&others, 105));
        forgotten.add(of("acme"), 1_000_000 + KEPT_US);
        assert_eq!(forgotten.purges.len(), 1, "of a day ago");
    }
}
