//! One module per command.

pub mod config;
pub mod demo;
pub mod key;
pub mod mock_provider;
pub mod policy;
pub mod report;
pub mod search;
pub mod serve;
pub mod sql;
pub mod token;
