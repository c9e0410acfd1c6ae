//! Control-plane state in SQL: virtual keys, people and what they belong to, policy bundles, logins, API tokens, and the
//! event each change leaves behind.
//! SQLite for one machine, PostgreSQL for several, behind one trait. Of every secret only its SHA-256 is stored. The
//! request path never asks this crate anything: it reads snapshots compiled from [`Metastore::control_document`].

mod bundle;
mod clock;
mod directory;
mod error;
mod key;
mod known_people;
mod migrations;
mod open;
mod permission;
mod postgres;
mod reach;
mod role;
mod secret;
mod session;
mod sql;
mod sqlite;
mod store;
mod transfer;

pub use bundle::BundleRevision;
pub use clock::Clock;
pub use directory::{
    Directory, Group, GroupFacts, Named, NewUser, ParseTeamError, Part, Profile, SignIn, TeamName, Unit, User,
    UserChange, UserFilter,
};
pub use error::MetastoreError;
pub use key::{CreatedKey, KeyListing, NewKey, RotatedKey};
pub use known_people::find_person;
pub use open::{open, open_with_clock};
pub use permission::{PERMISSIONS, Permission};
pub use reach::{Grant, Reach};
pub use role::{ParseRoleError, Role};
pub use session::{ApiTokenListing, INVITATION_S, Session, TokenHolder};
pub use store::{ControlEvent, LOCAL_AUTHOR, LegalHold, Metastore};
pub use transfer::{CopiedTable, Dump};
