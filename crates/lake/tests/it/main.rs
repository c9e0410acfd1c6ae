//! From the log to the table and back, with real files: what is recorded is in the lake once, wherever a process dies.

mod crash;
mod fault;
mod inbox;
mod reading;
mod s3;
mod writer;
