//! Control-plane state in SQL: virtual keys, policy bundles, logins, API tokens, and the event each change leaves behind.
//! SQLite for one machine, PostgreSQL for several, behind one trait. Of every secret only its SHA-256 is stored. The
//! request path never asks this crate anything: it reads snapshots compiled from [`Metastore::control_document`].

mod bundle;
mod clock;
mod error;
mod key;
mod migrations;
mod open;
mod postgres;
mod role;
mod secret;
mod session;
mod sql;
mod sqlite;
mod store;

pub use bundle::BundleRevision;
pub use clock::Clock;
pub use error::MetastoreError;
pub use key::{CreatedKey, KeyListing, NewKey};
pub use open::{open, open_with_clock};
pub use role::{ParseRoleError, Role};
pub use session::{ApiTokenListing, Session};
pub use store::{ControlEvent, LOCAL_AUTHOR, LegalHold, Metastore};
