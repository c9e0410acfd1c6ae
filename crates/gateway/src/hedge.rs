//! A second attempt beside the first: when nothing has come from one target after a while, another is asked as well, and
//! whoever begins to answer first has the call. The other is broken off, and charged as if its caller had hung up: for the
//! prompt, by an estimate.
//!
//! Each attempt runs by itself here, apart from the call, which takes over the one that wins. When the caller hangs up
//! meanwhile, all of them are broken off.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tollgate_policy::route::HedgeAfter;

use crate::attempt::{self, Order, Outbound, Progress, Worded};
use crate::call::{Aside, Call};
use crate::charge;
use crate::error::CallError;
use crate::health::Permit;
use crate::route::Target;
use crate::upstream::{AnswerHead, ExchangeError, Upstream};

/// Class of an attempt that another one overtook.
pub(crate) const OVERTAKEN: &str = "overtaken";

type Running<'a> = Pin<Box<dyn Future<Output = Result<(Upstream, AnswerHead), CallError>> + Send + 'a>>;

/// One of the attempts.
struct Runner<'a> {
    place: usize,
    aside: Aside,
    permit: Option<Permit>,
    running: Running<'a>,
}

/// After what time without an answer of `target` another is asked; `None` if none is.
pub(crate) fn delay(order: &Order<'_>, target: &Target) -> Option<Duration> {
    match order.hedge?.after {
        HedgeAfter::Fixed(span) => Some(span.duration()),
        HedgeAfter::P95 => {
            let seen = order.signals.targets.get(&target.name).filter(|seen| seen.calls > 0)?;
            Some(Duration::from_millis(seen.p95_ms))
        }
    }
}

/// Lets the target at a place answer and, when it takes longer than the wait, further ones beside it.
///
/// # Errors
/// How many places were tried in vain; what they said is in `progress`.
pub(super) async fn race(
    call: &mut Call,
    outbound: &Outbound<'_>,
    order: &Order<'_>,
    first: (usize, Worded, Duration),
    progress: &mut Progress,
) -> Result<AnswerHead, usize> {
    let (place, worded, wait) = first;
    let mut runners = vec![start(call, outbound, order, place, worded)];
    let mut hedges_left = order.hedge.map_or(0, |hedge| hedge.max);
    let mut next = place + 1;
    let mut due = Box::pin(tokio::time::sleep(wait));
    loop {
        let may_start = hedges_left > 0 && next < order.targets.len() && progress.attempts_left > 0;
        // Which runner has ended and how; `None` when it is time for another.
        let event = poll_fn(|cx| {
            for (at, runner) in runners.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = runner.running.as_mut().poll(cx) {
                    return Poll::Ready(Some((at, outcome)));
                }
            }
            if may_start { due.as_mut().poll(cx).map(|()| None) } else { Poll::Pending }
        });
        match event.await {
            None => {
                hedges_left -= 1;
                if let Some(worded) = attempt::prepare(call, outbound, order, next, progress) {
                    runners.push(start(call, outbound, order, next, worded));
                }
                next += 1;
                due.as_mut().reset(tokio::time::Instant::now() + wait);
            }
            Some((at, outcome)) => {
                let Runner { place: ended, aside, permit, running } = runners.swap_remove(at);
                drop(running);
                call.take_up(aside);
                call.permit = permit;
                call.is_racing = !runners.is_empty();
                let outcome = outcome.map(|(upstream, head)| call.adopt(upstream, head));
                let head = attempt::judge(call, order, ended, outcome, progress).await;
                if head.is_none() && !progress.is_final && !runners.is_empty() {
                    // Of the last one it is entered when the call ends.
                    if let Some(lost) = call.lost.take() {
                        charge::enter(call, &lost);
                    }
                    continue;
                }
                end(call, runners);
                return head.ok_or(next - place);
            }
        }
    }
}

/// Breaks off those that are still running. Their providers have read the prompt and will charge for it.
fn end(call: &mut Call, runners: Vec<Runner<'_>>) {
    let present = call.set_aside();
    for Runner { aside, permit, running, .. } in runners {
        drop((running, permit));
        call.take_up(aside);
        if let Some(lost) = charge::of_unread(call) {
            charge::enter(call, &lost);
        }
        call.note_attempt(None, Some(OVERTAKEN));
    }
    call.take_up(present);
    call.is_racing = false;
}

/// Lets the attempt that has just begun run by itself.
fn start<'a>(
    call: &mut Call,
    outbound: &'a Outbound<'a>,
    order: &Order<'a>,
    place: usize,
    worded: Worded,
) -> Runner<'a> {
    let (aside, permit) = (call.set_aside(), call.permit.take());
    (call.is_racing, call.is_sent) = (true, true);
    let wait = call.waits.per_try.min(call.deadline().saturating_duration_since(Instant::now()));
    let connect = call.gateway.settings.timeouts.connect;
    let (now_us, target) = (call.now_us(), order.targets.get(place).cloned());
    let running: Running<'a> = Box::pin(async move {
        let Some(target) = target else { return Err(CallError::Internal) };
        let provider = target.provider.name.clone();
        match tokio::time::timeout(wait, exchange(outbound, target, worded, connect, now_us)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let (what, waited_ms, setting) = ("begin to answer", wait.as_millis(), "first_byte");
                Err(CallError::UpstreamTimeout { provider, what, waited_ms, setting })
            }
        }
    });
    Runner { place, aside, permit, running }
}

/// Sends the request to `target` and waits for the head of its answer.
async fn exchange(
    outbound: &Outbound<'_>,
    target: Arc<Target>,
    worded: Worded,
    connect: Duration,
    now_us: i64,
) -> Result<(Upstream, AnswerHead), CallError> {
    let provider = &target.provider;
    let Some(pool) = &provider.pool else {
        let mut upstream = attempt::play(outbound, &target, &worded, now_us);
        let head = head(&mut upstream).await.map_err(|_| CallError::Internal)?;
        return Ok((upstream, head));
    };
    let bearer = if provider.wants_token() { provider.bearer(now_us).await? } else { None };
    let request = || attempt::build(outbound, provider, &worded, bearer.as_ref(), now_us);
    let reset = |_| CallError::UpstreamReset { provider: provider.name.clone() };
    if let Some(lease) = pool.idle() {
        let mut upstream = Upstream::Http(lease.send(request()));
        match head(&mut upstream).await {
            Err(ExchangeError::Stale) => {}
            answered => return Ok((upstream, answered.map_err(reset)?)),
        }
    }
    let lease = attempt::connect(provider.name.clone(), connect, pool).await?;
    let mut upstream = Upstream::Http(lease.send(request()));
    let head = head(&mut upstream).await.map_err(reset)?;
    Ok((upstream, head))
}

async fn head(upstream: &mut Upstream) -> Result<AnswerHead, ExchangeError> {
    poll_fn(|cx| upstream.poll_head(cx)).await
}
