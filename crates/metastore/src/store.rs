//! What the control plane can be asked and told. Every change is one transaction: the change itself, the next control
//! revision, and an event that says who did what.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tollgate_policy::control::ControlDocument;

use crate::bundle::BundleRevision;
use crate::directory::Directory;
use crate::error::MetastoreError;
use crate::key::{CreatedKey, KeyListing, NewKey, RotatedKey};
use crate::reach::Grant;
use crate::role::Role;
use crate::session::{ApiTokenListing, Session, TokenHolder};
use crate::transfer::{CopiedTable, Dump};

/// The author of changes made at the machine itself: the command line, and the server at its start.
pub const LOCAL_AUTHOR: &str = "local";

/// One change of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlEvent {
    /// The control revision it led to.
    pub revision: u64,
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Who did it.
    pub author: String,
    /// What: `key.created`, `key.rotated`, `key.expiry_set`, `key.revoked`, `bundle.activated`,
    /// `bundle.rolled_back`, `token.created`, `token.revoked`, `login.offered`, `login.redeemed`, `hold.placed`, `hold.released`, `prices.updated`,
    /// `organisation.created`, `team.created`, `project.created`, `user.created`, `user.changed`, `user.deleted`,
    /// `user.role_set`, `user.reach_set`, `user.teams_set`, `user.invited`, `user.signed_in`, `group.created`, `group.changed`, `group.deleted`.
    pub action: String,
    /// To what: an id or a hash, never a secret and never a person's name.
    pub subject: String,
    /// For a person.
    pub detail: String,
}

/// A legal hold: what it covers does not expire until it is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegalHold {
    /// The matter it is for; its name.
    pub matter: String,
    /// What it covers, as the lake understands it (JSON).
    pub scope: String,
    /// Who placed it.
    pub author: String,
    /// Microseconds since 1970, UTC.
    pub placed_at_us: i64,
}

/// `action` of the event that places a hold.
pub(crate) const HOLD_PLACED: &str = "hold.placed";
/// `action` of the event that releases one.
pub(crate) const HOLD_RELEASED: &str = "hold.released";

/// Control-plane state.
///
/// # Errors
/// Every method fails with [`MetastoreError::Query`] if the database does; what else can go wrong is said at the method.
#[async_trait]
pub trait Metastore: Directory {
    /// Grows with every change, by whichever process. Cheap: meant to be polled for the changes of other processes.
    async fn revision(&self) -> Result<u64, MetastoreError>;

    /// The last revision this process has made or seen ([`Metastore::revision`]).
    fn changes(&self) -> watch::Receiver<u64>;

    /// Everything a proxy needs, at one revision. The built-in bundle stands in until one was put.
    async fn control_document(&self) -> Result<ControlDocument, MetastoreError>;

    /// The latest changes, newest first.
    async fn control_events(&self, limit: u32) -> Result<Vec<ControlEvent>, MetastoreError>;

    /// Places a legal hold on what `scope` (JSON) covers. The events are the state: a hold lasts until it is released.
    /// [`MetastoreError::Unacceptable`] if the matter is empty, too long, or has a hold already.
    async fn place_hold(&self, matter: &str, scope: &str, author: &str) -> Result<(), MetastoreError>;

    /// Releases a hold. [`MetastoreError::UnknownHold`] if there is none of this name.
    async fn release_hold(&self, matter: &str, author: &str) -> Result<(), MetastoreError>;

    /// The holds that last, oldest first.
    async fn list_holds(&self) -> Result<Vec<LegalHold>, MetastoreError>;

    /// Records a change of something that stands elsewhere than in this database, such as the price catalogue.
    async fn record_change(
        &self,
        action: &'static str,
        subject: &str,
        detail: &str,
        author: &str,
    ) -> Result<(), MetastoreError>;

    /// Creates a key; its secret is returned this once. [`MetastoreError::Unacceptable`] if a name is empty or too long.
    async fn create_key_by(&self, key: NewKey, author: &str) -> Result<CreatedKey, MetastoreError>;

    /// [`Metastore::create_key_by`] the [`LOCAL_AUTHOR`].
    async fn create_key(&self, key: NewKey) -> Result<CreatedKey, MetastoreError> {
        self.create_key_by(key, LOCAL_AUTHOR).await
    }

    /// Gives a key a new secret, which is returned this once; the present one works for `grace_us` more microseconds, the one
    /// before it no longer. `key` is an id, or a name that one key alone has. [`MetastoreError::UnknownKey`] if there is no
    /// such key or it was revoked.
    async fn rotate_key(&self, key: &str, grace_us: i64, author: &str) -> Result<RotatedKey, MetastoreError>;

    /// Every key, oldest first, revoked ones included.
    async fn list_keys(&self) -> Result<Vec<KeyListing>, MetastoreError>;

    /// Revokes a key for good; once more does nothing. [`MetastoreError::UnknownKey`] if there never was one.
    async fn revoke_key_by(&self, id: &str, author: &str) -> Result<(), MetastoreError>;

    /// [`Metastore::revoke_key_by`] the [`LOCAL_AUTHOR`].
    async fn revoke_key(&self, id: &str) -> Result<(), MetastoreError> {
        self.revoke_key_by(id, LOCAL_AUTHOR).await
    }

    /// Lets a key end at a time (microseconds since 1970, UTC), or never. [`MetastoreError::UnknownKey`] if there is
    /// none or it was revoked.
    async fn set_key_expiry(&self, id: &str, expires_at_us: Option<i64>, author: &str) -> Result<(), MetastoreError>;

    /// Makes a bundle the active one, after loading it and running its tests; the text that is active already changes
    /// nothing. [`MetastoreError::Bundle`] or [`MetastoreError::BundleTest`] if it is not fit to be.
    async fn put_bundle(&self, yaml: &str, author: &str, reason: &str) -> Result<BundleRevision, MetastoreError>;

    /// [`Metastore::put_bundle`] of the text of an earlier revision, which is noted with it; 0 for the built-in bundle.
    async fn put_bundle_back(
        &self,
        revision: u64,
        yaml: &str,
        author: &str,
        reason: &str,
    ) -> Result<BundleRevision, MetastoreError>;

    /// Every bundle that was ever put, newest (the active one) first.
    async fn list_bundles(&self) -> Result<Vec<BundleRevision>, MetastoreError>;

    /// The text of the bundle with this hash, as a row of the log names it; `None` if it was never put here.
    async fn bundle_yaml(&self, hash: &str) -> Result<Option<String>, MetastoreError>;

    /// A token that logs an administrator in once, within fifteen minutes.
    async fn create_login_link(&self) -> Result<String, MetastoreError> {
        self.create_login_link_for(&Grant::of(Role::Admin), LOCAL_AUTHOR).await
    }

    /// A token that logs someone in with what it grants, once, within fifteen minutes.
    async fn create_login_link_for(&self, grant: &Grant, author: &str) -> Result<String, MetastoreError>;

    /// A token that logs a person in, once, within three days, with what they may do at that time.
    /// [`MetastoreError::Unknown`] if there is no such person; [`MetastoreError::NoRole`] if they have no role of their own.
    async fn invite_user(&self, id: &str, author: &str) -> Result<String, MetastoreError>;

    /// Opens a session. [`MetastoreError::LoginRefused`] if the token is unknown, used or too old.
    async fn redeem_login(&self, token: &str) -> Result<Session, MetastoreError>;

    /// The session with this id, unless it has ended.
    async fn session(&self, id: &str) -> Result<Option<Session>, MetastoreError>;

    /// Ends a session; once more does nothing.
    async fn delete_session(&self, id: &str) -> Result<(), MetastoreError>;

    /// Creates an API token; it is returned this once.
    async fn create_api_token_by(&self, grant: &Grant, name: &str, author: &str) -> Result<String, MetastoreError>;

    /// [`Metastore::create_api_token_by`] the [`LOCAL_AUTHOR`], without a name and for no team.
    async fn create_api_token(&self, role: Role) -> Result<String, MetastoreError> {
        self.create_api_token_by(&Grant::of(role), "", LOCAL_AUTHOR).await
    }

    /// What the holder of this API token may do; `None` if it is unknown or revoked.
    async fn api_token(&self, secret: &str) -> Result<Option<TokenHolder>, MetastoreError>;

    /// Every API token, oldest first, revoked ones included.
    async fn list_api_tokens(&self) -> Result<Vec<ApiTokenListing>, MetastoreError>;

    /// Revokes an API token for good; once more does nothing. [`MetastoreError::UnknownToken`] if there never was one.
    async fn revoke_api_token(&self, id: &str, author: &str) -> Result<(), MetastoreError>;

    /// Everything in it, to be put into another one.
    async fn dump(&self) -> Result<Dump, MetastoreError>;

    /// Puts everything of another one into this one, which must be empty, and compares row by row before it is kept.
    /// [`MetastoreError::NotEmpty`] or [`MetastoreError::CopyDiffers`] if that cannot be.
    async fn fill(&self, dump: &Dump) -> Result<Vec<CopiedTable>, MetastoreError>;
}
