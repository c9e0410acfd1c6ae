//! The slices that this process was lent of budgets and limits, see [`super::lease`]: what calls hold of them, what they
//! have spent, and what is said about it in the next exchange. Pure: the caller carries exchanges and knows whether the
//! term still runs.
//!
//! A call that fits into what is free of each of its accounts is let through as if it had been made at the last exchange, at
//! which its share was held back already.

use hashbrown::HashMap;

use super::lease::{Grant, LeaseAnswer, LeaseRequest, Lot, Spent, Want};
use super::{Account, Amounts, Cap, Posting, Reading, Tally};

/// Spent amounts remembered one by one; beyond that, those of one bucket are merged: the process that lends may be away for long.
const MAX_ENTRIES: usize = 65_536;

/// The slices of one process.
#[derive(Debug)]
pub struct Slices {
    position: String,
    session: u64,
    /// Of the last exchange that was answered.
    number: u64,
    is_open: bool,
    slices: HashMap<String, HashMap<String, Slice>>,
    unsent: Entries,
    /// Sent, and not counted by the log: what the next session begins with.
    unlogged: Entries,
    /// Sent, and not answered.
    pending: Option<LeaseRequest>,
}

#[derive(Debug)]
struct Slice {
    tally: Tally,
    free: Amounts,
    /// By calls in flight.
    held: Amounts,
    /// Of the whole account at the last exchange, this slice included, and what has ended here since.
    reading: Reading,
    read_at_us: i64,
    /// Not told yet.
    unsent_spent: Amounts,
    unsent_taken: Amounts,
    /// Taken by calls since the last round of returns, and in the one before.
    lately: Amounts,
    before: Amounts,
}

#[derive(Clone, Debug)]
struct Entry {
    tally: Tally,
    scope: String,
    bucket_us: i64,
    seq: u64,
    amounts: Amounts,
    taken: Amounts,
}

/// What was spent, in the order in which it was.
#[derive(Debug, Default)]
struct Entries {
    list: Vec<Entry>,
    /// Merging is of no use below this length.
    merged_to: usize,
}

impl Entries {
    fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.list.extend(entries);
        if self.list.len() > MAX_ENTRIES.max(self.merged_to.saturating_mul(2)) {
            self.merge();
        }
    }

    fn merge(&mut self) {
        self.list = merged(std::mem::take(&mut self.list));
        self.merged_to = self.list.len();
    }
}

impl Slice {
    fn new(tally: &Tally) -> Slice {
        let (free, held) = (Amounts::ZERO, Amounts::ZERO);
        let (unsent_spent, unsent_taken, lately, before) = (free, free, free, free);
        let (tally, reading) = (tally.clone(), Reading::default());
        Slice { tally, free, held, reading, read_at_us: i64::MIN, unsent_spent, unsent_taken, lately, before }
    }

    /// How the account stands without what is free here.
    fn standing(&self) -> Reading {
        Reading { reserved: self.reading.reserved.without(&self.free.least(&self.reading.reserved)), ..self.reading }
    }

    /// Whether the figures are of the window at `now_us`: those of the last month say nothing about this one.
    fn is_of(&self, now_us: i64) -> bool {
        !self.tally.window.is_calendar() || self.tally.window.at(self.read_at_us) == self.tally.window.at(now_us)
    }

    fn read(&mut self, reading: Reading, now_us: i64) {
        self.reading = reading;
        self.read_at_us = now_us;
        // What ended while the answer was on its way.
        self.reading.settled += self.unsent_spent;
        self.reading.reserved = reading.reserved.without(&self.unsent_taken.least(&reading.reserved));
    }

    fn is_unused(&self) -> bool {
        [self.free, self.held, self.unsent_taken].iter().all(|amounts| *amounts == Amounts::ZERO)
    }
}

impl Slices {
    /// None yet, for the gateway whose log is at `position` (`writer/epoch`).
    #[must_use]
    pub fn new(position: String) -> Slices {
        let slices = HashMap::new();
        let (unsent, unlogged) = (Entries::default(), Entries::default());
        Slices { position, session: 1, number: 0, is_open: false, slices, unsent, unlogged, pending: None }
    }

    /// Takes `amounts` of each account, or of none; the answer is how each stood before. `None` if something is missing, and the
    /// process that lends has to be asked.
    pub fn take(
        &mut self,
        tallies: &[Tally],
        accounts: &[Account],
        amounts: Amounts,
        caps: &[Cap],
        now_us: i64,
    ) -> Option<Vec<Reading>> {
        let mut readings = Vec::with_capacity(accounts.len());
        for account in accounts {
            let slice = self.slices.get(&tallies.get(account.tally)?.id)?.get(&account.scope)?;
            if !slice.is_of(now_us) || !slice.free.covers(&amounts) {
                return None;
            }
            readings.push(slice.standing());
        }
        let holds = |cap: &Cap| readings.get(cap.account).is_none_or(|reading| cap.holds(reading, &amounts));
        if !caps.iter().all(holds) {
            return None;
        }
        for account in accounts {
            let slice = self.slice(&tallies[account.tally], &account.scope);
            slice.free = slice.free.without(&amounts);
            slice.held += amounts;
            slice.lately += amounts;
        }
        Some(readings)
    }

    /// A call has ended that holds `held` in `accounts`; `used` is its row, if it has one, with the row's number.
    pub fn end(&mut self, tallies: &[Tally], accounts: &[Account], held: &Amounts, used: Option<(u64, &Posting<'_>)>) {
        let used = used.filter(|(_, posting)| posting.amounts != Amounts::ZERO);
        for account in accounts {
            let Some(tally) = tallies.get(account.tally) else { continue };
            let entry = used.and_then(|(_, posting)| Some((tally.entry(posting)?, posting.amounts)));
            let spent = entry.filter(|((scope, _), _)| *scope == account.scope).map(|(_, amounts)| amounts);
            let taken = spent.map_or(Amounts::ZERO, |spent| held.least(&spent));
            let slice = self.slice(tally, &account.scope);
            slice.held = slice.held.without(&held.least(&slice.held));
            slice.free += held.without(&taken);
            if let Some(spent) = spent {
                slice.reading.settled += spent;
                slice.reading.reserved = slice.reading.reserved.without(&taken.least(&slice.reading.reserved));
                slice.unsent_spent += spent;
                slice.unsent_taken += taken;
            }
        }
        let Some((seq, posting)) = used else { return };
        for (place, tally) in tallies.iter().enumerate() {
            let Some((scope, bucket_us)) = tally.entry(posting) else { continue };
            let is_held = accounts.iter().any(|account| account.tally == place && account.scope == scope);
            let taken = if is_held { held.least(&posting.amounts) } else { Amounts::ZERO };
            let (tally, amounts) = (tally.clone(), posting.amounts);
            self.unsent.add([Entry { tally, scope, bucket_us, seq, amounts, taken }]);
        }
    }

    /// Whether an exchange was sent and not answered: it is sent again before another is made.
    #[must_use]
    pub fn pending(&self) -> Option<LeaseRequest> {
        self.pending.clone()
    }

    /// The next exchange. `is_round` once in a while: what calls have not taken since the round before the last is given back.
    /// `tallies` are those that `wants` speak of.
    pub fn request(&mut self, tallies: &[Tally], mut wants: Vec<Want>, is_round: bool) -> LeaseRequest {
        let mut request = LeaseRequest {
            position: self.position.clone(),
            session: self.session,
            number: self.number + 1,
            opening: !self.is_open,
            leaving: false,
            tallies: tallies.to_vec(),
            held: Vec::new(),
            returned: Vec::new(),
            spent: Vec::new(),
            wants: Vec::new(),
        };
        for want in &mut wants {
            // A call that waits does so although something is free: that goes into what it asks for.
            for account in &want.accounts {
                let Some(tally) = tallies.get(account.tally) else { continue };
                let slices = self.slices.get_mut(&tally.id);
                if let Some(slice) = slices.and_then(|slices| slices.get_mut(&account.scope)) {
                    give_back(&mut request, slice, &account.scope, slice.free);
                }
            }
        }
        request.wants = wants;
        if is_round {
            for slices in self.slices.values_mut() {
                for (scope, slice) in slices {
                    let mut wanted = slice.lately;
                    wanted += slice.before;
                    give_back(&mut request, slice, scope, slice.free.without(&slice.free.least(&wanted)));
                    (slice.before, slice.lately) = (slice.lately, Amounts::ZERO);
                }
            }
        }
        if request.opening {
            self.say_everything(&mut request);
        } else {
            self.unsent.merge();
            write(&mut request, &self.unsent.list);
            self.unlogged.add(self.unsent.list.drain(..));
        }
        for slice in self.slices.values_mut().flat_map(HashMap::values_mut) {
            (slice.unsent_spent, slice.unsent_taken) = (Amounts::ZERO, Amounts::ZERO);
        }
        for slices in self.slices.values_mut() {
            slices.retain(|_, slice| !slice.is_unused());
        }
        self.pending = Some(request.clone());
        request
    }

    /// Takes up the answer to the exchange that is pending, at the time of day `now_us`. What was granted to each want is held from
    /// here on, to be given back by [`Slices::end`], once.
    pub fn accept(&mut self, answer: &LeaseAnswer, now_us: i64) -> Vec<Option<Grant>> {
        let Some(request) = self.pending.take() else { return Vec::new() };
        self.number = request.number;
        self.is_open = true;
        self.unlogged.list.retain(|entry| entry.seq > answer.watermark);
        for (account, reading) in &answer.readings {
            let Some(tally) = request.tallies.get(account.tally) else { continue };
            let slices = self.slices.get_mut(&tally.id);
            if let Some(slice) = slices.and_then(|slices| slices.get_mut(&account.scope)) {
                slice.read(*reading, now_us);
            }
        }
        for (want, grant) in request.wants.iter().zip(&answer.grants).filter(|(_, grant)| grant.times > 0) {
            for (account, reading) in want.accounts.iter().zip(&grant.readings) {
                let Some(tally) = request.tallies.get(account.tally) else { continue };
                let slice = self.slice(tally, &account.scope);
                slice.free += want.amounts.times(grant.times - 1);
                slice.held += want.amounts;
                slice.lately += want.amounts;
                slice.read(*reading, now_us);
            }
        }
        (0..request.wants.len()).map(|place| answer.grants.get(place).cloned()).collect()
    }

    /// The process that lends does not know the session, or the term has ended: the next exchange opens another. Unless the term
    /// still runs, nothing is free any more.
    pub fn begin_anew(&mut self, term_runs: bool) {
        self.session += 1;
        self.number = 0;
        self.is_open = false;
        self.pending = None;
        if !term_runs {
            for slice in self.slices.values_mut().flat_map(HashMap::values_mut) {
                slice.free = Amounts::ZERO;
            }
        }
    }

    /// Says that this process stops, and all that it has not said.
    pub fn farewell(&mut self) -> LeaseRequest {
        let mut request = self.request(&[], Vec::new(), false);
        request.leaving = true;
        request
    }

    /// Accounts of which something is free or held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slices.values().map(HashMap::len).sum()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn say_everything(&mut self, request: &mut LeaseRequest) {
        self.unlogged.add(self.unsent.list.drain(..));
        self.unlogged.merge();
        for entry in &mut self.unlogged.list {
            entry.taken = Amounts::ZERO;
        }
        write(request, &self.unlogged.list);
        request.returned.clear();
        for slices in self.slices.values() {
            for (scope, slice) in slices {
                let mut amounts = slice.held;
                amounts += slice.free;
                if amounts != Amounts::ZERO {
                    let account = Account { tally: place(&mut request.tallies, &slice.tally), scope: scope.clone() };
                    request.held.push(Lot { account, amounts });
                }
            }
        }
    }

    fn slice(&mut self, tally: &Tally, scope: &str) -> &mut Slice {
        let slices = self.slices.entry_ref(&tally.id).or_default();
        slices.entry_ref(scope).or_insert_with(|| Slice::new(tally))
    }
}

fn give_back(request: &mut LeaseRequest, slice: &mut Slice, scope: &str, amounts: Amounts) {
    if amounts == Amounts::ZERO {
        return;
    }
    slice.free = slice.free.without(&amounts);
    slice.reading.reserved = slice.reading.reserved.without(&amounts.least(&slice.reading.reserved));
    let account = Account { tally: place(&mut request.tallies, &slice.tally), scope: scope.to_owned() };
    request.returned.push(Lot { account, amounts });
}

fn write(request: &mut LeaseRequest, entries: &[Entry]) {
    for entry in entries {
        let account = Account { tally: place(&mut request.tallies, &entry.tally), scope: entry.scope.clone() };
        let Entry { bucket_us, seq, amounts, taken, .. } = *entry;
        request.spent.push(Spent { account, bucket_us, seq, amounts, taken });
    }
}

fn place(tallies: &mut Vec<Tally>, tally: &Tally) -> usize {
    match tallies.iter().position(|known| known.id == tally.id) {
        Some(place) => place,
        None => {
            tallies.push(tally.clone());
            tallies.len() - 1
        }
    }
}

/// Entries of one bucket as one: it counts until the log has counted the last of them, which errs on the high side.
fn merged(entries: Vec<Entry>) -> Vec<Entry> {
    let mut places: HashMap<(String, String, i64), usize> = HashMap::new();
    let mut merged: Vec<Entry> = Vec::new();
    for entry in entries {
        let name = (entry.tally.id.clone(), entry.scope.clone(), entry.bucket_us);
        match places.get(&name) {
            Some(place) => {
                let known = &mut merged[*place];
                known.seq = known.seq.max(entry.seq);
                known.amounts += entry.amounts;
                known.taken += entry.taken;
            }
            None => {
                places.insert(name, merged.len());
                merged.push(entry);
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests;
