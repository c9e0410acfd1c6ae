//! What can go wrong with the control plane. No text holds a secret: URLs are shown without their password.

use tollgate_policy::bundle::BundleError;
use tollgate_policy::key::LimitError;

/// Why the control plane could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MetastoreError {
    /// The URL names no database that is supported.
    #[error("`{url}` is not a metastore; write `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`")]
    UnknownUrl {
        /// Without its password.
        url: String,
    },
    /// The folder of the SQLite file cannot be made.
    #[error("the folder of the metastore `{path}` cannot be created; check that it is writable")]
    Folder {
        /// Of the database file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The database does not answer.
    #[error("the metastore `{url}` cannot be opened; check that it exists and is reachable")]
    Open {
        /// Without its password.
        url: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The tables could not be brought to this version.
    #[error("the tables of the metastore `{url}` cannot be migrated; was it written by a newer version of tollgate?")]
    Migrate {
        /// Without its password.
        url: String,
        /// What the driver said.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("the metastore failed to {action}")]
    Query {
        /// What was being done.
        action: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The database does not answer.
    #[error("the metastore does not answer, so it could not {action}; try again once it is back")]
    Unavailable {
        /// What was to be done.
        action: &'static str,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes for a new secret")]
    Random {
        /// What the operating system said.
        #[source]
        source: getrandom::Error,
    },
    /// A row holds what this version never writes.
    #[error("the metastore holds `{value}` as the {what} of `{subject}`; it was changed by hand or by a newer version")]
    Corrupt {
        /// The column.
        what: &'static str,
        /// The row.
        subject: String,
        /// What it holds.
        value: String,
    },
    /// A name cannot be used.
    #[error("`{value}` cannot be the {what}; use 1 to 100 printable characters")]
    Unacceptable {
        /// Which name.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// A key cannot be limited in this way.
    #[error(transparent)]
    KeyLimits {
        /// Which limit means nothing.
        source: LimitError,
    },
    /// There is one of this name already.
    #[error("there is a {what} `{name}` already; choose another name")]
    Exists {
        /// What: `team`, `user`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such thing.
    #[error("there is no {what} `{name}`; see the list of {what}s, or create it first")]
    Unknown {
        /// What: `team`, `user`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// Nobody is called so.
    #[error("there is no user `{name}`{place}{advice}")]
    UnknownUser {
        /// What was asked for.
        name: String,
        /// ` in organisation …`, or nothing if that was left open.
        place: String,
        /// Who may have been meant, as the rest of a sentence.
        advice: String,
    },
    /// Several people are called so.
    #[error("`{name}` names several people: {people}; use the id of one of them")]
    AmbiguousUser {
        /// What was asked for.
        name: String,
        /// Their ids, with who they are.
        people: String,
    },
    /// Nobody would be left who can make owners.
    #[error("user `{id}` is the only owner; make another user an owner first")]
    LastOwner {
        /// The owner.
        id: String,
    },
    /// A role can reach no further than the installation, and no other organisation than its holder's.
    #[error("what a user of `{organisation}` may do can reach `{organisation}` or the installation, not `{other}`")]
    ForeignReach {
        /// Of the user.
        organisation: String,
        /// What was asked for.
        other: String,
    },
    /// A link was to be made for somebody whom it would give nothing.
    #[error("user `{id}` has no role of their own, and a link knows no groups; give them a role first")]
    NoRole {
        /// The user.
        id: String,
    },
    /// A provider vouches for someone who may not come in here.
    #[error("{why}; ask an administrator")]
    SignInRefused {
        /// Why not.
        why: &'static str,
    },
    /// What was to be filled is not empty.
    #[error("the metastore `{url}` is not empty: its table `{table}` has rows; give a new database")]
    NotEmpty {
        /// Without its password.
        url: String,
        /// A table with rows in it.
        table: &'static str,
    },
    /// A copy is not what it was copied from.
    #[error("table `{table}` came out different ({expected} rows before, {found} after); nothing was written")]
    CopyDiffers {
        /// Which table.
        table: &'static str,
        /// Rows in the source.
        expected: u64,
        /// Rows in the target.
        found: u64,
    },
    /// There is no such key.
    #[error("there is no key `{id}`; see the list of keys for their ids")]
    UnknownKey {
        /// What was asked for.
        id: String,
    },
    /// Several keys have this name.
    #[error("several keys are called `{name}`; use the id of one of them")]
    AmbiguousKey {
        /// What was asked for.
        name: String,
    },
    /// The matter has a hold.
    #[error("the matter `{matter}` has a legal hold already; release it first, or give this one another name")]
    HoldExists {
        /// Its name.
        matter: String,
    },
    /// There is no such hold.
    #[error("there is no legal hold `{matter}`; see the list of holds for their names")]
    UnknownHold {
        /// What was asked for.
        matter: String,
    },
    /// There is no such API token.
    #[error("there is no API token `{id}`; see the list of tokens for their ids")]
    UnknownToken {
        /// What was asked for.
        id: String,
    },
    /// The bundle does not load: its own error says where and why.
    #[error(transparent)]
    Bundle {
        /// What is wrong, and where.
        source: BundleError,
    },
    /// A test of the bundle fails.
    #[error("the policy bundle is refused: its test `{name}` on line {line} fails: {failure}")]
    BundleTest {
        /// Which test.
        name: String,
        /// Where it stands.
        line: u64,
        /// What was different.
        failure: String,
    },
    /// A login token does not work (any more). Which of the three it is stays unsaid.
    #[error("this login link is unknown, was used already or is too old; ask for a new one")]
    LoginRefused,
}

impl MetastoreError {
    /// Whether the caller can mend it: a wrong name, id, bundle or link, as against a failing database.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        use MetastoreError as E;
        matches!(
            self,
            E::Unacceptable { .. }
                | E::KeyLimits { .. }
                | E::Exists { .. }
                | E::Unknown { .. }
                | E::UnknownUser { .. }
                | E::AmbiguousUser { .. }
                | E::LastOwner { .. }
                | E::ForeignReach { .. }
                | E::NoRole { .. }
                | E::SignInRefused { .. }
                | E::NotEmpty { .. }
                | E::UnknownKey { .. }
                | E::AmbiguousKey { .. }
                | E::UnknownToken { .. }
                | E::HoldExists { .. }
                | E::UnknownHold { .. }
                | E::Bundle { .. }
                | E::BundleTest { .. }
                | E::LoginRefused
        )
    }
}

/// A database URL without what stands between `//` and `@`.
pub(crate) fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(without_password("postgres://me:s3cr@t@db:5432/gate"), "postgres://db:5432/gate");
        assert_eq!(without_password("sqlite:data/meta.db"), "sqlite:data/meta.db");
    }
}
