//! Live figures: the sums of the last reading of the log, the calls that ended after it, and what is held back for calls
//! in flight. Nothing is counted twice and nothing is missed, whatever the moment at which a new reading arrives: a settled
//! call carries its sequence number, and a reading says up to which number of this log it has counted.
//!
//! For the instant between the append of a row and [`Books::settle`] a reading may hold the row while its reservation
//! still stands: the sum is then too high by one estimate, never too low.

use std::sync::Arc;

use hashbrown::HashMap;

use super::lease::Leases;
use super::{Account, Amounts, Buckets, Cap, Posting, Reading, Tally, add, within};
use crate::signals::SignalsSnapshot;
use crate::window::Window;

/// Calls remembered one by one per account. Beyond that, neighbours of one bucket are merged: they then count until a
/// reading has passed the later one, which errs on the high side.
const MAX_ENTRIES: usize = 65_536;

/// The books of one process.
#[derive(Debug)]
pub struct Books {
    /// `writer/epoch` of this process's log.
    position: String,
    base: Arc<SignalsSnapshot>,
    /// How much of this log `base` holds.
    watermark: u64,
    /// Of the active bundle.
    tallies: Arc<[Tally]>,
    /// By the id of the tally and the name of the account: such as have entries or reservations.
    live: HashMap<String, HashMap<String, Live>>,
    /// What other gateways were lent and have spent of it.
    pub(super) leases: Leases,
}

#[derive(Debug, Default)]
struct Live {
    /// Of calls settled after the watermark.
    entries: Vec<Entry>,
    /// Their sums.
    buckets: Buckets,
    reserved: Amounts,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    bucket_us: i64,
    amounts: Amounts,
}

/// What is held back for one call, to be given back by [`Books::settle`] or [`Books::release`], once.
#[derive(Debug)]
pub struct Reservation {
    amounts: Amounts,
    /// Which the accounts' tallies are among.
    tallies: Arc<[Tally]>,
    accounts: Vec<Account>,
}

impl Reservation {
    /// What is held back in each account.
    #[must_use]
    pub fn amounts(&self) -> Amounts {
        self.amounts
    }

    /// The accounts, and the tallies that they are of.
    #[must_use]
    pub fn accounts(&self) -> (&Arc<[Tally]>, &[Account]) {
        (&self.tallies, &self.accounts)
    }
}

/// A cap is reached: what the books say of each account, at the moment at which there was no room.
#[derive(Debug)]
pub struct Refused {
    /// In the order of the accounts asked for.
    pub readings: Vec<Reading>,
}

impl Books {
    /// Books of the log at `position` (`writer/epoch`), before anything was read or spent.
    #[must_use]
    pub fn new(position: String) -> Books {
        Books {
            position,
            base: Arc::default(),
            watermark: 0,
            tallies: Arc::new([]),
            live: HashMap::new(),
            leases: Leases::default(),
        }
    }

    /// The reading of the log that figures rest on.
    #[must_use]
    pub fn base(&self) -> &Arc<SignalsSnapshot> {
        &self.base
    }

    /// Takes up the tallies of the active bundle. What is counted for others stays until a reading holds it.
    pub fn follow(&mut self, tallies: &Arc<[Tally]>) {
        if !Arc::ptr_eq(&self.tallies, tallies) {
            self.tallies = Arc::clone(tallies);
        }
    }

    /// Takes up a new reading of the log and forgets what it has counted. False, and nothing is done, if it has counted
    /// less of this log than the one before it: what was forgotten would be missed.
    pub fn advance(&mut self, latest: &Arc<SignalsSnapshot>) -> bool {
        if Arc::ptr_eq(latest, &self.base) {
            return true;
        }
        let watermark = latest.watermarks.get(&self.position).copied().unwrap_or(0);
        if watermark < self.watermark {
            return false;
        }
        self.base = Arc::clone(latest);
        self.watermark = watermark;
        for accounts in self.live.values_mut() {
            accounts.retain(|_, live| {
                live.forget_up_to(watermark);
                !live.entries.is_empty() || live.reserved != Amounts::ZERO
            });
        }
        self.leases.forget(|position| latest.watermarks.get(position).copied().unwrap_or(0));
        true
    }

    /// How much of the log at `position` the last reading has counted.
    pub(super) fn counted_of(&self, position: &str) -> u64 {
        self.base.watermarks.get(position).copied().unwrap_or(0)
    }

    /// What the books say of each account.
    #[must_use]
    pub fn read(&self, accounts: &[Account], now_us: i64) -> Vec<Reading> {
        accounts.iter().map(|account| self.reading(account, now_us)).collect()
    }

    /// What the books say of the account with this name; `None` for a tally that the bundle does not have.
    fn reading(&self, account: &Account, now_us: i64) -> Reading {
        let Some(tally) = self.tallies.get(account.tally) else { return Reading::default() };
        self.reading_of(tally, &account.scope, now_us)
    }

    /// What the books say of one account of a tally.
    #[must_use]
    pub fn reading_of(&self, tally: &Tally, scope: &str, now_us: i64) -> Reading {
        let live = self.live.get(&tally.id).and_then(|accounts| accounts.get(scope));
        let lent = self.leases.account(&tally.id, scope);
        let mut reserved = live.map_or(Amounts::ZERO, |live| live.reserved);
        reserved += lent.map_or(Amounts::ZERO, |lent| lent.reserved);
        if tally.window == Window::InFlight {
            return Reading { reserved, age_s: Some(0), ..Reading::default() };
        }
        let span = tally.window.at(now_us);
        let counted = self.base.budgets.tallies.get(&tally.id);
        let logged = counted.and_then(|accounts| accounts.get(scope));
        let counted_by_log = logged.map_or(Amounts::ZERO, |buckets| within(buckets, span));
        let mut settled = counted_by_log;
        let mut oldest = first_of(logged, span.from_us);
        for buckets in live.map(|live| &live.buckets).into_iter().chain(lent.map(|lent| &lent.buckets)) {
            settled += within(buckets, span);
            oldest = match (oldest, first_of(Some(buckets), span.from_us)) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        let age_s = counted.filter(|_| !self.base.id.is_empty()).map(|_| self.base.age_s(now_us));
        let frees_at_us = oldest.map(|bucket_us| tally.window.forgets_at(bucket_us));
        Reading { settled, reserved, age_s, frees_at_us, logged: counted_by_log }
    }

    /// Holds back `amounts` in every account, or in none: all caps have to hold at this moment.
    ///
    /// # Errors
    /// [`Refused`] if one does not.
    pub fn reserve(
        &mut self,
        accounts: &[Account],
        amounts: Amounts,
        caps: &[Cap],
        now_us: i64,
    ) -> Result<Reservation, Refused> {
        let is_free = |cap: &Cap| {
            let Some(account) = accounts.get(cap.account) else { return true };
            cap.holds(&self.reading(account, now_us), &amounts)
        };
        if !caps.iter().all(is_free) {
            return Err(Refused { readings: self.read(accounts, now_us) });
        }
        let tallies = Arc::clone(&self.tallies);
        for account in accounts {
            let Some(tally) = tallies.get(account.tally) else { continue };
            self.live(&tally.id, &account.scope).reserved += amounts;
        }
        Ok(Reservation { amounts, tallies, accounts: accounts.to_vec() })
    }

    /// Turns a reservation into what the row with sequence number `seq` used up.
    pub fn settle(&mut self, reservation: Reservation, seq: u64, posting: &Posting<'_>) {
        self.release(reservation);
        if seq <= self.watermark || posting.amounts == Amounts::ZERO {
            return;
        }
        for tally in Arc::clone(&self.tallies).iter() {
            let Some((scope, bucket_us)) = tally.entry(posting) else { continue };
            self.live(&tally.id, &scope).push(Entry { seq, bucket_us, amounts: posting.amounts });
        }
    }

    /// Gives a reservation back: there is no row, or none that counts.
    pub fn release(&mut self, reservation: Reservation) {
        for Account { tally, scope } in &reservation.accounts {
            let tally = reservation.tallies.get(*tally).map(|tally| tally.id.as_str());
            let Some(accounts) = tally.and_then(|tally| self.live.get_mut(tally)) else { continue };
            let Some(live) = accounts.get_mut(scope) else { continue };
            live.reserved = live.reserved.without(&reservation.amounts);
            if live.entries.is_empty() && live.reserved == Amounts::ZERO {
                accounts.remove(scope);
            }
        }
    }

    /// The accounts of a tally that the log or this process knows of.
    #[must_use]
    pub fn scopes(&self, tally: &Tally) -> Vec<String> {
        let logged = self.base.budgets.tallies.get(&tally.id).into_iter().flat_map(|accounts| accounts.keys());
        let live = self.live.get(&tally.id).into_iter().flat_map(|accounts| accounts.keys());
        let mut scopes: Vec<String> = logged.chain(live).chain(self.leases.scopes(&tally.id)).cloned().collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }

    /// Names are copied for new accounts alone.
    fn live(&mut self, tally: &str, scope: &str) -> &mut Live {
        self.live.entry_ref(tally).or_default().entry_ref(scope).or_default()
    }
}

fn first_of(buckets: Option<&Buckets>, from_us: i64) -> Option<i64> {
    buckets?.iter().map(|(bucket_us, _)| *bucket_us).find(|bucket_us| *bucket_us >= from_us)
}

impl Live {
    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        add(&mut self.buckets, entry.bucket_us, entry.amounts);
        if self.entries.len() > MAX_ENTRIES {
            self.merge_neighbours();
        }
    }

    fn forget_up_to(&mut self, watermark: u64) {
        self.entries.retain(|entry| entry.seq > watermark);
        self.buckets.clear();
        for entry in &self.entries {
            add(&mut self.buckets, entry.bucket_us, entry.amounts);
        }
    }

    fn merge_neighbours(&mut self) {
        self.entries.sort_unstable_by_key(|entry| (entry.bucket_us, entry.seq));
        let mut merged: Vec<Entry> = Vec::with_capacity(self.entries.len() / 2 + 1);
        let mut is_pair = false;
        for entry in self.entries.drain(..) {
            match merged.last_mut() {
                Some(last) if !is_pair && last.bucket_us == entry.bucket_us => {
                    last.seq = entry.seq;
                    last.amounts += entry.amounts;
                    is_pair = true;
                }
                _ => {
                    merged.push(entry);
                    is_pair = false;
                }
            }
        }
        self.entries = merged;
    }
}

#[cfg(test)]
mod tests;
