//! A deadline that costs nothing until something has to be waited for, and little after that: one timer per call, moved
//! only when it must ring earlier, or when it rings too early.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// One deadline at a time.
#[derive(Debug)]
pub(crate) struct Patience {
    deadline: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(wait: Duration) -> Self {
        Patience { deadline: Instant::now() + wait, sleep: None }
    }

    /// Until `wait` after `start`.
    pub(crate) fn since(start: std::time::Instant, wait: Duration) -> Self {
        Patience { deadline: Instant::from_std(start) + wait, sleep: None }
    }

    /// Replaces the deadline.
    pub(crate) fn wait_until(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if let Some(sleep) = &mut self.sleep
            && deadline < sleep.deadline()
        {
            sleep.as_mut().reset(deadline);
        }
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_moved_back_or_forth_is_kept() {
        let started = Instant::now();
        let mut patience = Patience::new(Duration::from_millis(10));
        assert!(std::future::poll_fn(|cx| Poll::Ready(patience.poll(cx))).await.is_pending());
        patience.wait_until(started + Duration::from_millis(60));
        std::future::poll_fn(|cx| patience.poll(cx)).await;
        assert!(started.elapsed() >= Duration::from_millis(60));
        patience.wait_until(started + Duration::from_secs(600));
        assert!(std::future::poll_fn(|cx| Poll::Ready(patience.poll(cx))).await.is_pending());
        patience.wait_until(Instant::now() + Duration::from_millis(1));
        std::future::poll_fn(|cx| patience.poll(cx)).await;
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}
