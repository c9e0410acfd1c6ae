//! How many of the last calls failed, in steps of a tenth of the time that is looked back on.

use std::time::Duration;

const SLOTS: usize = 10;

/// Counts of the last calls.
#[derive(Debug)]
pub(super) struct Window {
    slot_us: i64,
    /// Number of the slot, calls, errors.
    slots: [(i64, u32, u32); SLOTS],
}

impl Window {
    pub(super) fn new(length: Duration) -> Window {
        let slot_us = i64::try_from(length.as_micros() / SLOTS as u128).unwrap_or(i64::MAX).max(1);
        Window { slot_us, slots: [(i64::MIN, 0, 0); SLOTS] }
    }

    pub(super) fn count(&mut self, now_us: i64, is_error: bool) {
        let number = now_us.div_euclid(self.slot_us);
        let place = usize::try_from(number.rem_euclid(SLOTS as i64)).unwrap_or(0);
        let slot = &mut self.slots[place];
        if slot.0 != number {
            *slot = (number, 0, 0);
        }
        slot.1 = slot.1.saturating_add(1);
        slot.2 = slot.2.saturating_add(u32::from(is_error));
    }

    /// Calls and errors.
    pub(super) fn sums(&self, now_us: i64) -> (u32, u32) {
        let newest = now_us.div_euclid(self.slot_us);
        let first = newest.saturating_sub(SLOTS as i64 - 1);
        let live = self.slots.iter().filter(|(number, ..)| (first..=newest).contains(number));
        live.fold((0_u32, 0_u32), |(calls, errors), slot| (calls.saturating_add(slot.1), errors.saturating_add(slot.2)))
    }

    pub(super) fn forget(&mut self) {
        self.slots = [(i64::MIN, 0, 0); SLOTS];
    }
}
