//! Every dialect to every other, over the same scenarios (`golden/<dialect>/<scenario>/`): the caller's request becomes the
//! provider's, the provider's answer and stream become the caller's. What comes out stands beside the caller's files in
//! `to_<provider's dialect>/` and is compared byte by byte; `TOLLGATE_BLESS=1` writes it anew, to be read before it is
//! committed. A stream is replayed as recorded, one byte at a time and all at once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod costs;
mod golden;
mod scenario;
mod second_turn;
mod streams;
