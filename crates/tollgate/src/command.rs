//! One module per command.

pub(crate) mod audit;
pub(crate) mod cache;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod key;
pub(crate) mod lake;
pub(crate) mod metastore;
pub(crate) mod mock_provider;
pub(crate) mod people;
pub(crate) mod policy;
pub(crate) mod prices;
pub(crate) mod rebuild;
pub(crate) mod report;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod token;
pub(crate) mod witness;
