//! The same request many times at once: the first goes to the provider, the others wait for its answer. Only where the route
//! says so (`coalesce`), since whoever waits for a stream gets its beginning when the other has its end.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::key::Key;

/// Requests under way whose answers others wait for.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Key, watch::Receiver<()>>>,
}

/// The right to ask first. The others go on when it is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Arc<Flights>,
    key: Key,
    _ends: watch::Sender<()>,
}

/// Whether a call is the first.
pub(super) enum Turn {
    First(Flight),
    /// Resolves when the first is done.
    Wait(watch::Receiver<()>),
}

impl Flights {
    pub(super) fn take_turn(self: &Arc<Self>, key: Key) -> Turn {
        let mut under_way = self.under_way.lock();
        if let Some(first) = under_way.get(&key) {
            return Turn::Wait(first.clone());
        }
        let (ends, waits) = watch::channel(());
        under_way.insert(key, waits);
        Turn::First(Flight { flights: Arc::clone(self), key, _ends: ends })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.under_way.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Parts;
    use super::*;

    #[tokio::test]
    async fn who_comes_second_waits_until_the_first_is_done() {
        let (flights, key) = (Arc::new(Flights::default()), Parts::of_tenant("a").key());
        let Turn::First(first) = flights.take_turn(key) else { panic!("somebody is first") };
        let Turn::Wait(mut waits) = flights.take_turn(key) else { panic!("there is a first") };
        assert!(matches!(flights.take_turn(Parts::of_tenant("b").key()), Turn::First(_)), "another request");
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), waits.changed()).await;
        assert!(waiting.is_err(), "it is not done");
        drop(first);
        assert!(waits.changed().await.is_err(), "its sender is gone");
        assert!(matches!(flights.take_turn(key), Turn::First(_)));
    }
}
