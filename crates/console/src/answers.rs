//! Answers that the process keeps to give them again, as the console passes them on: how many there are, and that some are to
//! be forgotten. What is kept and to whom it is given is the gateway's.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answers that this process keeps.
pub trait Answers: Send + Sync {
    /// How they stand: a JSON object of counts.
    fn look(&self) -> Value;
    /// Forgets answers and says in the log that it did; returns how many there were.
    ///
    /// # Errors
    /// Says why it could not be done: then they may still be there.
    fn purge(&self, order: PurgeOrder) -> BoxFuture<'static, Result<u64, String>>;
}

/// Which answers are to be forgotten: those for which everything holds that is said here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeOrder {
    /// Of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// First given to a call of this team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// First given to this end user (`user_ref` in the log) or this virtual key (its id).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Asked for under this name of a model or alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// First given to the call with this id (`cached_from` in the log of those who got it again).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interaction: Option<String>,
    /// Whether all are meant where nothing else is said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Who wants it, for the log.
    #[serde(skip)]
    pub actor: String,
}

impl PurgeOrder {
    /// Whether it says which answers it means.
    #[must_use]
    pub fn names_some(&self) -> bool {
        let PurgeOrder { tenant, team, subject, model, interaction, all: _, actor: _ } = self;
        [tenant, team, subject, model, interaction].iter().any(|named| named.is_some())
    }
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// How many answers.
    pub answers: u64,
}
