//! Parts of accounts lent to other gateways. The process that reads the log grants each of them a slice of what is left of
//! its caps, for a term; a gateway spends from its slices alone, says what it spent, and gives back what it does not need.
//! What is lent counts here as held back, so all slices and all spend together never exceed a cap.
//!
//! Every exchange has a number. An exchange that is asked again gets the answer it got, so nothing is lent or entered twice
//! however messages are lost. The first exchange of a session says all that a gateway holds and has spent, and replaces
//! what was known of it.

use std::collections::HashSet;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{Account, Amounts, Books, Buckets, Cap, Reading, Tally, add};

/// How long a gateway may spend from its slices after it sent the exchange that renewed them. Milliseconds.
pub const TERM_MS: u64 = 10_000;
/// How much longer they count as lent: clocks run at different rates.
pub const ALLOWANCE_MS: u64 = 2_000;
/// Calls that one slice is cut for at most.
const MOST_CALLS: i128 = 256;
/// Accounts whose figures one answer brings up to date at most.
const MOST_READINGS: usize = 4_096;

/// One exchange, as a gateway asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// The gateway, by the position of its log: `writer/epoch`.
    pub position: String,
    /// Grows each time the gateway begins anew.
    pub session: u64,
    /// Of the exchange within the session: one more than that of the last one, or the same to ask for its answer again.
    pub number: u64,
    /// Whether the session begins: then `held` and `spent` are everything.
    pub opening: bool,
    /// Whether the gateway stops: whatever it holds is given back.
    pub leaving: bool,
    /// Tallies that accounts below are of.
    pub tallies: Vec<Tally>,
    /// At an opening: what it was lent before and goes on holding.
    pub held: Vec<Lot>,
    /// What it does not need.
    pub returned: Vec<Lot>,
    /// What calls have used up since the last exchange.
    pub spent: Vec<Spent>,
    /// Calls that wait.
    pub wants: Vec<Want>,
}

/// An amount of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Which.
    pub account: Account,
    /// How much.
    pub amounts: Amounts,
}

/// What calls of one bucket of an account have used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Which account.
    pub account: Account,
    /// Beginning of the bucket. Microseconds since 1970, UTC.
    pub bucket_us: i64,
    /// The last of their rows.
    pub seq: u64,
    /// How much.
    pub amounts: Amounts,
    /// The part of it that was lent for it; the rest is over the slice, as calls are that were estimated too low.
    pub taken: Amounts,
}

/// A call that waits for a slice of each of its accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which.
    pub accounts: Vec<Account>,
    /// What the log says at least that was spent in each, where this process does not count it.
    pub floors: Vec<Amounts>,
    /// What the call needs in each.
    pub amounts: Amounts,
    /// What must hold, as for a call made here.
    pub caps: Vec<Cap>,
    /// All steps of the accounts, whether or not they stop this call: a slice for further calls is cut to them.
    pub steps: Vec<Cap>,
}

/// The answer to an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// How long slices may be spent from, from the sending of the request on. Milliseconds.
    pub term_ms: u64,
    /// How much of the gateway's log has been counted.
    pub watermark: u64,
    /// For each want, in their order; none while `waiting`.
    pub grants: Vec<Grant>,
    /// How accounts stand that the gateway spends from.
    pub readings: Vec<(Account, Reading)>,
    /// Why nothing is granted at the moment.
    pub waiting: Option<String>,
}

/// What became of a want.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// So many times its amounts are lent in each account; zero: there was no room.
    pub times: u64,
    /// Of each account afterwards, all gateways and all slices together.
    pub readings: Vec<Reading>,
}

/// The session of a request is not known, or not at this exchange: the gateway opens another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session of slices is not known; open another")]
pub struct UnknownSession;

/// A gateway that holds slices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Position of its log.
    pub position: String,
    /// Accounts that it holds a slice of.
    pub accounts: usize,
}

/// What is lent.
#[derive(Debug, Default)]
pub(super) struct Leases {
    sessions: HashMap<String, Session>,
    accounts: HashMap<String, HashMap<String, Lent>>,
    /// Gateways that may hold slices granted before this process started, and until when.
    awaited: HashMap<String, i64>,
}

#[derive(Debug)]
struct Session {
    session: u64,
    number: u64,
    answer: LeaseAnswer,
    until_us: i64,
    slices: HashMap<String, HashMap<String, Amounts>>,
}

/// One account as far as others use it.
#[derive(Debug, Default)]
pub(super) struct Lent {
    /// In slices.
    pub(super) reserved: Amounts,
    /// Sums of `entries`.
    pub(super) buckets: Buckets,
    entries: Vec<Entry>,
}

/// Spent by a gateway, and not in the last reading of the log.
#[derive(Debug)]
struct Entry {
    position: Arc<str>,
    seq: u64,
    bucket_us: i64,
    amounts: Amounts,
}

impl Amounts {
    /// So many times as much.
    #[must_use]
    pub fn times(&self, count: u64) -> Amounts {
        Amounts {
            usd: tollgate_interaction::Usd::new(self.usd.get().saturating_mul(count.into())),
            tokens: self.tokens.saturating_mul(count),
            calls: self.calls.saturating_mul(count),
        }
    }

    /// The smaller one of each.
    #[must_use]
    pub fn least(&self, other: &Amounts) -> Amounts {
        Amounts {
            usd: self.usd.min(other.usd),
            tokens: self.tokens.min(other.tokens),
            calls: self.calls.min(other.calls),
        }
    }

    /// Whether it is at least as much of each.
    #[must_use]
    pub fn covers(&self, other: &Amounts) -> bool {
        self.usd >= other.usd && self.tokens >= other.tokens && self.calls >= other.calls
    }
}

impl Leases {
    /// What others use of an account.
    pub(super) fn account(&self, tally: &str, scope: &str) -> Option<&Lent> {
        self.accounts.get(tally)?.get(scope)
    }

    pub(super) fn scopes(&self, tally: &str) -> impl Iterator<Item = &String> {
        self.accounts.get(tally).into_iter().flat_map(|accounts| accounts.keys())
    }

    /// Forgets what the log has counted.
    pub(super) fn forget(&mut self, counted: impl Fn(&str) -> u64) {
        self.retain_entries(|entry| entry.seq > counted(&entry.position));
    }

    fn retain_entries(&mut self, keep: impl Fn(&Entry) -> bool) {
        for accounts in self.accounts.values_mut() {
            accounts.retain(|_, lent| {
                let before = lent.entries.len();
                lent.entries.retain(&keep);
                if lent.entries.len() != before {
                    lent.buckets.clear();
                    for entry in &lent.entries {
                        add(&mut lent.buckets, entry.bucket_us, entry.amounts);
                    }
                }
                !lent.is_unused()
            });
        }
    }

    fn lend(&mut self, position: &str, tally: &Tally, scope: &str, amounts: Amounts) {
        let Some(session) = self.sessions.get_mut(position) else { return };
        *session.slices.entry_ref(&tally.id).or_default().entry_ref(scope).or_default() += amounts;
        self.accounts.entry_ref(&tally.id).or_default().entry_ref(scope).or_default().reserved += amounts;
    }

    /// At most what the gateway holds.
    fn take_back(&mut self, position: &str, tally: &Tally, scope: &str, amounts: &Amounts) {
        let slice = self.sessions.get_mut(position).and_then(|session| session.slices.get_mut(&tally.id));
        let Some(slice) = slice.and_then(|slices| slices.get_mut(scope)) else { return };
        let amounts = slice.least(amounts);
        *slice = slice.without(&amounts);
        self.free(&tally.id, scope, &amounts);
    }

    fn free(&mut self, tally: &str, scope: &str, amounts: &Amounts) {
        let Some(accounts) = self.accounts.get_mut(tally) else { return };
        let Some(lent) = accounts.get_mut(scope) else { return };
        lent.reserved = lent.reserved.without(amounts);
        if lent.is_unused() {
            accounts.remove(scope);
        }
    }

    fn enter(&mut self, position: &Arc<str>, tally: &Tally, spent: &Spent) {
        let lent = self.accounts.entry_ref(&tally.id).or_default().entry_ref(&spent.account.scope).or_default();
        let (seq, bucket_us, amounts) = (spent.seq, spent.bucket_us, spent.amounts);
        add(&mut lent.buckets, bucket_us, amounts);
        lent.entries.push(Entry { position: Arc::clone(position), seq, bucket_us, amounts });
    }

    /// Takes back all slices of a gateway; what it has spent stays entered.
    fn close(&mut self, position: &str) {
        let Some(session) = self.sessions.remove(position) else { return };
        for (tally, slices) in session.slices {
            for (scope, amounts) in slices {
                self.free(&tally, &scope, &amounts);
            }
        }
    }
}

impl Lent {
    fn is_unused(&self) -> bool {
        self.entries.is_empty() && self.reserved == Amounts::ZERO
    }
}

impl Books {
    /// Answers a gateway. `uptime_us` is a clock that only runs forward, `now_us` the time of day.
    ///
    /// # Errors
    /// [`UnknownSession`] if the gateway has to open another.
    pub fn lease(
        &mut self,
        request: &LeaseRequest,
        now_us: i64,
        uptime_us: i64,
    ) -> Result<LeaseAnswer, UnknownSession> {
        self.reclaim(uptime_us);
        let known = self.leases.sessions.get(&request.position).filter(|known| known.session == request.session);
        if let Some(known) = known.filter(|known| known.number == request.number) {
            return Ok(known.answer.clone());
        }
        if request.opening {
            self.open(request);
        } else if known.is_none_or(|known| known.number + 1 != request.number) {
            return Err(UnknownSession);
        }
        let position: Arc<str> = request.position.as_str().into();
        let watermark = self.counted_of(&request.position);
        for Lot { account, amounts } in &request.returned {
            let Some(tally) = request.tallies.get(account.tally) else { continue };
            self.leases.take_back(&position, tally, &account.scope, amounts);
        }
        for spent in &request.spent {
            let Some(tally) = request.tallies.get(spent.account.tally) else { continue };
            self.leases.take_back(&position, tally, &spent.account.scope, &spent.taken);
            if spent.seq > watermark {
                self.leases.enter(&position, tally, spent);
            }
        }
        if request.leaving {
            self.leases.close(&position);
            return Ok(LeaseAnswer { watermark, ..LeaseAnswer::default() });
        }
        let waiting = self.waiting(uptime_us);
        let grants = if waiting.is_some() { Vec::new() } else { self.grant_all(request, now_us) };
        let readings = self.readings_of(request, now_us);
        let answer = LeaseAnswer { term_ms: TERM_MS, watermark, grants, readings, waiting };
        if let Some(session) = self.leases.sessions.get_mut(&request.position) {
            session.number = request.number;
            session.answer = answer.clone();
            session.until_us = uptime_us.saturating_add(micros(TERM_MS + ALLOWANCE_MS));
        }
        Ok(answer)
    }

    /// Takes back the slices of gateways that have not been heard of for a term.
    pub fn reclaim(&mut self, uptime_us: i64) {
        self.leases.awaited.retain(|_, until_us| *until_us > uptime_us);
        let late = self.leases.sessions.iter().filter(|(_, session)| session.until_us <= uptime_us);
        let late: Vec<String> = late.map(|(position, _)| position.clone()).collect();
        late.iter().for_each(|position| self.leases.close(position));
    }

    /// Grants nothing until these gateways, which a process before this one lent to, have said what they hold or their
    /// slices have ended.
    pub fn await_holders(&mut self, positions: impl IntoIterator<Item = String>, uptime_us: i64) {
        let until_us = uptime_us.saturating_add(micros(TERM_MS + ALLOWANCE_MS));
        self.leases.awaited.extend(positions.into_iter().map(|position| (position, until_us)));
    }

    /// Why nothing can be granted, or decided here, at the moment.
    #[must_use]
    pub fn waiting(&self, uptime_us: i64) -> Option<String> {
        let last_us = self.leases.awaited.values().max()?;
        let seconds = (last_us - uptime_us).max(0) / 1_000_000 + 1;
        let mut names: Vec<&str> = self.leases.awaited.keys().map(String::as_str).collect();
        names.sort_unstable();
        Some(format!(
            "slices of budgets were lent before this process started, and {} has not said yet what it holds: at most {seconds} s more",
            names.join(", ")
        ))
    }

    /// Who holds slices, by name; those who may hold some from before included.
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        let of_session = |(position, session): (&String, &Session)| Holder {
            position: position.clone(),
            accounts: session.slices.values().flat_map(HashMap::values).filter(|held| **held != Amounts::ZERO).count(),
        };
        let awaited = self.leases.awaited.keys().map(|position| Holder { position: position.clone(), accounts: 0 });
        let mut holders: Vec<Holder> = self.leases.sessions.iter().map(of_session).chain(awaited).collect();
        holders.sort_unstable_by(|one, other| one.position.cmp(&other.position));
        holders
    }

    fn open(&mut self, request: &LeaseRequest) {
        let position = request.position.as_str();
        self.leases.close(position);
        self.leases.retain_entries(|entry| &*entry.position != position);
        self.leases.awaited.remove(position);
        let session = Session {
            session: request.session,
            number: request.number,
            answer: LeaseAnswer::default(),
            until_us: i64::MAX,
            slices: HashMap::new(),
        };
        self.leases.sessions.insert(position.to_owned(), session);
        for Lot { account, amounts } in &request.held {
            let Some(tally) = request.tallies.get(account.tally) else { continue };
            self.leases.lend(position, tally, &account.scope, *amounts);
        }
    }

    fn grant_all(&mut self, request: &LeaseRequest, now_us: i64) -> Vec<Grant> {
        // Accounts that a slice for further calls was cut of in this exchange: others that wait come first.
        let mut cut = HashSet::new();
        request.wants.iter().map(|want| self.grant(request, want, &mut cut, now_us)).collect()
    }

    fn grant<'a>(
        &mut self,
        request: &'a LeaseRequest,
        want: &'a Want,
        cut: &mut HashSet<(usize, &'a str)>,
        now_us: i64,
    ) -> Grant {
        let readings = self.wanted(request, want, now_us);
        let holds = |cap: &Cap| readings.get(cap.account).is_none_or(|reading| cap.holds(reading, &want.amounts));
        if !want.caps.iter().all(holds) {
            return Grant { times: 0, readings };
        }
        let is_first = want.accounts.iter().fold(true, |all, Account { tally, scope }| {
            let is_new = cut.insert((*tally, scope.as_str()));
            all && is_new
        });
        let times = if is_first { self.share(want, &readings) } else { 1 };
        for Account { tally, scope } in &want.accounts {
            let Some(tally) = request.tallies.get(*tally) else { continue };
            self.leases.lend(&request.position, tally, scope, want.amounts.times(times));
        }
        Grant { times, readings: self.wanted(request, want, now_us) }
    }

    /// For how many calls like this one a slice is cut: half of what is left to the next step, divided among all gateways.
    fn share(&self, want: &Want, readings: &[Reading]) -> u64 {
        let gateways = i128::try_from(self.leases.sessions.len()).unwrap_or(i128::MAX).saturating_add(1);
        let calls = want.caps.iter().chain(&want.steps).filter_map(|cap| {
            let left = cap.ceiling.saturating_sub(readings.get(cap.account)?.used(cap.unit));
            let one = want.amounts.get(cap.unit);
            (left > 0 && one > 0).then(|| left / gateways.saturating_mul(2) / one)
        });
        let calls = calls.min().unwrap_or(MOST_CALLS).clamp(1, MOST_CALLS);
        u64::try_from(calls).unwrap_or(1)
    }

    fn wanted(&self, request: &LeaseRequest, want: &Want, now_us: i64) -> Vec<Reading> {
        let read = |(place, account): (usize, &Account)| {
            let Some(tally) = request.tallies.get(account.tally) else { return Reading::default() };
            let mut reading = self.reading_of(tally, &account.scope, now_us);
            // The bundle here has no such tally, or not yet: the gateway knows more of the log.
            if let (None, Some(floor)) = (reading.age_s, want.floors.get(place)) {
                reading.settled += floor.without(&floor.least(&reading.settled));
            }
            reading
        };
        want.accounts.iter().enumerate().map(read).collect()
    }

    fn readings_of(&self, request: &LeaseRequest, now_us: i64) -> Vec<(Account, Reading)> {
        let mut seen = HashSet::new();
        let accounts = request.spent.iter().map(|spent| &spent.account);
        let fresh = accounts.filter(|account| seen.insert((account.tally, account.scope.as_str())));
        let session = self.leases.sessions.get(&request.position);
        let read = |account: &Account| {
            let tally = request.tallies.get(account.tally)?;
            session?.slices.get(&tally.id)?.get(&account.scope)?;
            Some((account.clone(), self.reading_of(tally, &account.scope, now_us)))
        };
        fresh.filter_map(read).take(MOST_READINGS).collect()
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}
