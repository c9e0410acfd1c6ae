//! Who may come in while the database of the control plane is away: those whom it has let in before, for as long as their
//! session lasts, or for an hour after a token was last looked up. They read; they change nothing. Everybody else waits.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tollgate_metastore::MetastoreError;

/// Sessions and tokens kept in mind.
const MAX_KNOWN: usize = 10_000;
/// How long a token is good for after it was last looked up. Microseconds.
const TOKEN_US: i64 = 3_600_000_000;
/// How often a database that is away is tried again. In between nobody waits for it. Microseconds.
const PAUSE_US: i64 = 2_000_000;

/// What a session or token was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// What it was.
    pub what: T,
    /// Whether the database was away and this is from memory.
    pub is_remembered: bool,
}

/// What was looked up, by the hash of the secret.
#[derive(Debug)]
pub struct Standing<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    known: HashMap<[u8; 32], (T, i64)>,
    /// When the database was last found to be away; `None` while it answers.
    failed_at_us: Option<i64>,
}

impl<T> Default for Standing<T> {
    fn default() -> Self {
        Standing { state: Mutex::new(State { known: HashMap::new(), failed_at_us: None }) }
    }
}

impl<T: Clone> Standing<T> {
    /// Whether the database was away when it was last asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failed_at_us.is_some()
    }

    /// Looks `secret` up by `ask`, or in memory while the database is away. `until_us` says how long an answer can be
    /// good at most, where it says so itself.
    ///
    /// # Errors
    /// What `ask` says, if memory cannot help.
    pub async fn look_up(
        &self,
        secret: &str,
        now_us: i64,
        ask: impl Future<Output = Result<Option<T>, MetastoreError>>,
        until_us: impl Fn(&T) -> Option<i64>,
    ) -> Result<Option<Found<T>>, MetastoreError> {
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        if let Some(found) = self.while_away(&hash, now_us) {
            return Ok(Some(found));
        }
        match ask.await {
            Ok(answer) => {
                self.learn(hash, now_us, answer.as_ref().map(|what| (what.clone(), until_us(what))));
                Ok(answer.map(|what| Found { what, is_remembered: false }))
            }
            Err(error) if error.is_callers() => Err(error),
            Err(error) => {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).failed_at_us = Some(now_us);
                self.remembered(&hash, now_us).map(Some).ok_or(error)
            }
        }
    }

    /// From memory, if the database was away a moment ago.
    fn while_away(&self, hash: &[u8; 32], now_us: i64) -> Option<Found<T>> {
        let failed_at_us = self.state.lock().unwrap_or_else(PoisonError::into_inner).failed_at_us?;
        if (0..PAUSE_US).contains(&(now_us - failed_at_us)) { self.remembered(hash, now_us) } else { None }
    }

    fn remembered(&self, hash: &[u8; 32], now_us: i64) -> Option<Found<T>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (what, until_us) = state.known.get(hash)?;
        (now_us < *until_us).then(|| Found { what: what.clone(), is_remembered: true })
    }

    fn learn(&self, hash: [u8; 32], now_us: i64, answer: Option<(T, Option<i64>)>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed_at_us = None;
        let Some((what, until_us)) = answer else {
            state.known.remove(&hash);
            return;
        };
        if state.known.len() >= MAX_KNOWN {
            state.known.retain(|_, (_, until_us)| now_us < *until_us);
        }
        if state.known.len() < MAX_KNOWN || state.known.contains_key(&hash) {
            state.known.insert(hash, (what, until_us.unwrap_or(now_us.saturating_add(TOKEN_US))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> MetastoreError {
        MetastoreError::Unavailable { action: "look a session up" }
    }

    async fn ask(
        standing: &Standing<u8>,
        secret: &str,
        now_us: i64,
        answer: Result<Option<u8>, MetastoreError>,
    ) -> Option<(u8, bool)> {
        let found = standing.look_up(secret, now_us, async { answer }, |_| Some(100_000_000)).await;
        found.ok().flatten().map(|found| (found.what, found.is_remembered))
    }

    #[tokio::test]
    async fn who_was_let_in_stays_in_to_the_end_and_nobody_else_comes_in() {
        let standing = Standing::default();
        assert_eq!(ask(&standing, "ann", 0, Ok(Some(7))).await, Some((7, false)));
        assert_eq!(ask(&standing, "ann", 10, Err(away())).await, Some((7, true)));
        assert!(standing.is_away());
        assert_eq!(ask(&standing, "bob", 20, Err(away())).await, None, "never seen before");
        // Nobody waits for a database that was away a moment ago, whatever it would say.
        assert_eq!(ask(&standing, "ann", 30, Ok(None)).await, Some((7, true)));
        assert_eq!(ask(&standing, "ann", 100_000_000, Err(away())).await, None, "the session has ended");
    }

    #[tokio::test]
    async fn who_was_put_out_before_it_went_away_is_not_remembered() {
        let standing = Standing::default();
        ask(&standing, "ann", 0, Ok(Some(7))).await;
        assert_eq!(ask(&standing, "ann", 1, Ok(None)).await, None);
        assert_eq!(ask(&standing, "ann", 2, Err(away())).await, None);
        assert_eq!(ask(&standing, "ann", 3_000_000, Ok(Some(7))).await, Some((7, false)));
        assert!(!standing.is_away(), "it answers again");
    }
}
