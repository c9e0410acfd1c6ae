//! Events beside the calls: who changed what, who read what was said, what the log itself could not keep, and what a call
//! costs by a later catalogue, how good its answer was. They go through the same write-ahead log as calls, into tables of their own, and under the
//! same proof.

use minicbor::{Decode, Encode};

use crate::id::{InteractionId, WriterId};
use crate::money::Usd;
use crate::share::Score;

/// A change of the control plane: a key made or revoked, a bundle activated, a budget changed, a login, an export, content
/// that expired.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ControlEvent {
    /// Identifies the event for good: the same change told twice has the same one.
    #[n(0)]
    pub event_id: String,
    /// When. Microseconds since 1970, UTC.
    #[n(1)]
    pub at_us: i64,
    /// Organisation concerned; empty if all are.
    #[n(2)]
    pub tenant: String,
    /// Who: a role, a token's id, `configuration`, `local`, `retention`.
    #[n(3)]
    pub actor: String,
    /// What was done, such as `key.created`.
    #[n(4)]
    pub action: String,
    /// To what: its kind and id, such as a key's id.
    #[n(5)]
    pub subject: String,
    /// More about it, for a person; no secrets and no prompt text.
    #[n(6)]
    pub detail: String,
}

/// Content of calls was shown to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AccessEvent {
    /// Identifies the event for good.
    #[n(0)]
    pub event_id: String,
    /// When. Microseconds since 1970, UTC.
    #[n(1)]
    pub at_us: i64,
    /// Organisation whose content it is; empty if it may be any.
    #[n(2)]
    pub tenant: String,
    /// Who: a role and the id of a session or a token.
    #[n(3)]
    pub actor: String,
    /// How: `view`, `search`, `sql`, `report`.
    #[n(4)]
    pub action: String,
    /// What was asked for: the call's id, the query, the report's name.
    #[n(5)]
    pub subject: String,
    /// Why, in the reader's words; empty if they gave none.
    #[n(6)]
    pub purpose: String,
    /// Rows with content that were shown, if that is known.
    #[n(7)]
    pub rows: Option<u64>,
}

/// Numbers of the log whose events are lost, or events that it could not take.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct GapEvent {
    /// When it was noticed. Microseconds since 1970, UTC.
    #[n(0)]
    pub at_us: i64,
    /// The log.
    #[n(1)]
    pub writer: WriterId,
    /// Its epoch.
    #[n(2)]
    pub epoch: u64,
    /// First number concerned.
    #[n(3)]
    pub first_seq: u64,
    /// Last number known to be concerned.
    #[n(4)]
    pub last_seq: u64,
    /// Whether events after that may be missing too.
    #[n(5)]
    pub more_may_be_missing: bool,
    /// `damaged`, `missing`, `unreadable`, `dropped`.
    #[n(6)]
    pub reason: String,
    /// Calls whose beginning was dropped, if that is the reason.
    #[n(7)]
    pub dropped_opened: Option<u64>,
    /// Calls whose end was dropped, if that is the reason.
    #[n(8)]
    pub dropped_settled: Option<u64>,
}

impl GapEvent {
    /// Whether both tell of the same loss, whenever it was noticed.
    #[must_use]
    pub fn is_same_loss(&self, other: &GapEvent) -> bool {
        (&self.writer, self.epoch, self.first_seq, self.last_seq, &self.reason)
            == (&other.writer, other.epoch, other.first_seq, other.last_seq, &other.reason)
    }
}

/// What a call costs by a later price catalogue than the one it was recorded with. The call's own row stays as it is; of
/// several corrections of a call the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PriceCorrection {
    /// Identifies the event for good.
    #[n(0)]
    pub event_id: String,
    /// When it was corrected. Microseconds since 1970, UTC.
    #[n(1)]
    pub at_us: i64,
    /// Organisation of the call.
    #[n(2)]
    pub tenant: String,
    /// Who had it corrected: a role and the id of a session or a token.
    #[n(3)]
    pub actor: String,
    /// Why, in their words.
    #[n(4)]
    pub reason: String,
    /// The call.
    #[n(5)]
    pub interaction_id: InteractionId,
    /// When the call started. Microseconds since 1970, UTC.
    #[n(6)]
    pub call_started_at_us: i64,
    /// Team of the call.
    #[n(7)]
    pub team: String,
    /// What counted before: the recorded cost, or that of the correction before this one; `None` if it was not known.
    #[n(8)]
    pub old_cost_usd: Option<Usd>,
    /// What counts from now on.
    #[n(9)]
    pub new_cost_usd: Usd,
    /// Row of the catalogue that gives it.
    #[n(10)]
    pub price_id: String,
    /// The catalogue, by the hash of its text.
    #[n(11)]
    pub catalog_id: String,
}

/// What somebody thought of the answer of a call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Feedback {
    /// Identifies the event for good.
    #[n(0)]
    pub feedback_id: String,
    /// When it was given. Microseconds since 1970, UTC.
    #[n(1)]
    pub at_us: i64,
    /// Organisation it was given in. The call itself may belong to another or to none: the log is not asked.
    #[n(2)]
    pub tenant: String,
    /// The call it is about.
    #[n(3)]
    pub interaction_id: InteractionId,
    /// What was judged, such as `helpful` or `correct`.
    #[n(4)]
    pub name: String,
    /// The judgement.
    #[n(5)]
    pub score: Score,
    /// Why, in their words.
    #[n(6)]
    pub comment: Option<String>,
    /// Which door it came in by: `gateway`, `console`.
    #[n(7)]
    pub source: String,
    /// Who gave it: the id of a virtual key, or a role and the id of a session or a token.
    #[n(8)]
    pub given_by: String,
}

/// One event beside the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Governance {
    /// Somebody changed something.
    Control(ControlEvent),
    /// Somebody read content.
    Access(AccessEvent),
    /// Something is missing.
    Gap(GapEvent),
    /// A call costs something else than was recorded.
    Price(PriceCorrection),
    /// Somebody judged an answer.
    Feedback(Feedback),
}

impl Governance {
    /// When it happened. Microseconds since 1970, UTC.
    #[must_use]
    pub fn at_us(&self) -> i64 {
        match self {
            Governance::Control(event) => event.at_us,
            Governance::Access(event) => event.at_us,
            Governance::Gap(event) => event.at_us,
            Governance::Price(event) => event.at_us,
            Governance::Feedback(event) => event.at_us,
        }
    }
}

impl<C> Encode<C> for WriterId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for WriterId {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        decoder.str()?.parse().map_err(minicbor::decode::Error::message)
    }
}
