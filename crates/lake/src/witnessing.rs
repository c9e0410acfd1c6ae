//! The log's side of witnessing: asks the witnesses of a policy to cosign a checkpoint, all at the same time and each within a
//! limit. It touches neither the tables nor the store's objects but to read tiles, so that commits never wait for a witness.
//! A witness that is away costs its cosignature and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, join_all};
use signed_note::{Signature, Verifier};
use tollgate_flush::error_chain;
use tollgate_flush::store::Store;

use crate::cosignature::{CosignatureVerifier, parts_of};
use crate::policy::Policy;
use crate::tree;

/// Longest time that one witness is given, its conversation as a whole.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// A witness is asked once, and once more when it has said which size it knows.
const ATTEMPTS: u32 = 2;

/// Speaks to witnesses; the lake itself links no HTTP.
pub trait WitnessClient: std::fmt::Debug + Send + Sync {
    /// Sends a request to `add-checkpoint` under the URL of a witness. `Err` says why there was no answer.
    fn add_checkpoint(&self, url: &str, request: Vec<u8>) -> BoxFuture<'static, Result<WitnessAnswer, String>>;
}

/// What a witness answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// It cosigned: lines of a note, not verified yet.
    Cosigned(Bytes),
    /// It last cosigned the tree of this size, which is not the one that was assumed, or is another tree.
    Conflict {
        /// Of that tree.
        size: u64,
    },
    /// The proof does not show that the log continues what it cosigned.
    Inconsistent,
    /// It refused for another reason, in its words.
    Refused(String),
}

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct WitnessSettings {
    /// Witnesses with a URL are asked; its quorum is what a checkpoint should have.
    pub policy: Policy,
    /// Speaks to them.
    pub client: Arc<dyn WitnessClient>,
    /// How long each may take.
    pub timeout: Duration,
}

/// How one witness is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitnessStatus {
    /// Of its key.
    pub name: String,
    /// When it last cosigned, by its own clock. Microseconds since 1970, UTC.
    pub cosigned_at_us: Option<i64>,
    /// Why it has not cosigned the newest checkpoint.
    pub problem: Option<String>,
    /// Whether that is because it cosigned something that is not this log's past: an alarm, and no shortage.
    pub saw_another_history: bool,
}

/// Why a witness did not cosign.
#[derive(Debug)]
pub(crate) struct Objection {
    why: String,
    saw_another_history: bool,
}

impl From<String> for Objection {
    fn from(why: String) -> Self {
        Objection { why, saw_another_history: false }
    }
}

impl Objection {
    fn another_history(why: String) -> Self {
        Objection { why, saw_another_history: true }
    }
}

/// The witnesses of a log, and what is known of them.
pub(crate) struct Witnesses {
    settings: WitnessSettings,
    /// In the order of the policy.
    known: Vec<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Of the tree that it cosigned last, as far as is known; it corrects a wrong guess.
    size: u64,
    status: WitnessStatus,
}

/// What came of asking: for each witness that was asked, by its place in the policy.
pub(crate) type Answers = Vec<(usize, Result<Signature, Objection>)>;

/// Asking, which needs nothing of this process but time.
pub(crate) type Asking = BoxFuture<'static, Answers>;

impl Witnesses {
    pub(crate) fn new(settings: WitnessSettings) -> Witnesses {
        let known = settings.policy.witnesses().iter().map(|witness| {
            let unasked = "the policy gives no URL for it, so it is not asked".to_owned();
            let problem = witness.url.is_none().then_some(unasked);
            let name = witness.verifier.name().to_owned();
            Known { size: 0, status: WitnessStatus { name, problem, ..WitnessStatus::default() } }
        });
        let known = known.collect();
        Witnesses { settings, known }
    }

    pub(crate) fn statuses(&self) -> Vec<WitnessStatus> {
        self.known.iter().map(|known| known.status.clone()).collect()
    }

    /// Takes note of the cosignatures of a checkpoint of this size.
    pub(crate) fn look(&mut self, note: &[u8], size: u64) {
        let cosigned = self.settings.policy.cosigned(note);
        for (known, at_s) in self.known.iter_mut().zip(cosigned.at_s) {
            let Some(at_s) = at_s else { continue };
            known.size = size;
            known.status.cosigned_at_us = i64::try_from(at_s).ok().and_then(|at_s| at_s.checked_mul(1_000_000));
            known.status.problem = None;
            known.status.saw_another_history = false;
        }
    }

    /// What a checkpoint lacks by the policy.
    pub(crate) fn shortfall(&self, note: &[u8]) -> Option<String> {
        let policy = &self.settings.policy;
        policy.shortfall(&policy.cosigned(note))
    }

    /// Asks everybody who has a URL and has not cosigned this checkpoint; `None` if there is nobody to be asked.
    pub(crate) fn ask(&self, store: &Store, size: u64, note: &Bytes) -> Option<Asking> {
        let cosigned = self.settings.policy.cosigned(note);
        let witnesses = self.settings.policy.witnesses().iter().zip(&self.known).zip(cosigned.at_s).enumerate();
        let asked: Vec<_> = witnesses
            .filter_map(|(place, ((witness, known), at_s))| {
                let url = witness.url.clone().filter(|_| at_s.is_none())?;
                let conversation = Conversation {
                    url,
                    verifier: witness.verifier.clone(),
                    client: Arc::clone(&self.settings.client),
                    store: store.clone(),
                    size,
                    note: note.clone(),
                };
                let timeout = self.settings.timeout;
                let known_size = known.size.min(size);
                Some(async move {
                    let answer = tokio::time::timeout(timeout, conversation.hold(known_size)).await;
                    let late = || Err(format!("it did not answer within {} s", timeout.as_secs()).into());
                    (place, answer.unwrap_or_else(|_| late()))
                })
            })
            .collect();
        (!asked.is_empty()).then(|| join_all(asked).boxed())
    }

    /// Adds what was answered to the checkpoint of this size that was asked about.
    pub(crate) fn take(&mut self, answers: Answers, note: &Bytes, size: u64) -> Bytes {
        let mut cosigned = note.to_vec();
        for (place, answer) in answers {
            let Some(known) = self.known.get_mut(place) else { continue };
            match answer {
                Ok(signature) => cosigned.extend(signature.to_bytes()),
                Err(Objection { why: problem, saw_another_history }) => {
                    known.status.saw_another_history = saw_another_history;
                    if known.status.problem.as_ref() != Some(&problem) {
                        let name = &known.status.name;
                        tracing::warn!(witness = %name, problem, "witness `{name}` did not cosign the checkpoint");
                    }
                    known.status.problem = Some(problem);
                }
            }
        }
        self.look(&cosigned, size);
        cosigned.into()
    }
}

/// Everything that one witness is asked with.
struct Conversation {
    url: String,
    verifier: CosignatureVerifier,
    client: Arc<dyn WitnessClient>,
    store: Store,
    size: u64,
    note: Bytes,
}

impl Conversation {
    async fn hold(self, known_size: u64) -> Result<Signature, Objection> {
        let size = self.size;
        let mut old = known_size;
        for _ in 0..ATTEMPTS {
            let request = self.request(old).await?;
            match self.client.add_checkpoint(&self.url, request).await? {
                WitnessAnswer::Cosigned(lines) => return Ok(self.verified(&lines)?),
                WitnessAnswer::Conflict { size: theirs } if theirs > size => {
                    return Err(Objection::another_history(format!(
                        "it cosigned this log with {theirs} entries, and now the log has {size}: the log was rolled back, or there are two"
                    )));
                }
                WitnessAnswer::Conflict { size: theirs } if theirs == old => {
                    let why = format!("it cosigned another tree of {theirs} entries: {REWRITTEN}");
                    return Err(Objection::another_history(why));
                }
                WitnessAnswer::Conflict { size: theirs } => old = theirs,
                WitnessAnswer::Inconsistent => {
                    let why = format!("the {old} entries that it cosigned are not the log's any more: {REWRITTEN}");
                    return Err(Objection::another_history(why));
                }
                WitnessAnswer::Refused(why) => return Err(format!("it refused: {why}").into()),
            }
        }
        Err(format!("it changed its mind about the size that it knows, {old} at last; it is asked again").into())
    }

    async fn request(&self, old: u64) -> Result<Vec<u8>, String> {
        let proof = tree::consistency(&self.store, self.size, old).await;
        let proof = proof.map_err(|error| error_chain(&error))?.map_err(|error| error.to_string())?;
        let mut request = format!("old {old}\n");
        for hash in proof {
            request.push_str(&format!("{hash}\n"));
        }
        request.push('\n');
        Ok([request.as_bytes(), &self.note].concat())
    }

    fn verified(&self, lines: &[u8]) -> Result<Signature, String> {
        let with_answer = [&self.note[..], lines].concat();
        let parts = parts_of(&with_answer).ok_or("its answer is not a line of a note")?;
        let found = self.verifier.find(&parts.0, &parts.1);
        let (signature, _) = found.ok_or("its answer has no cosignature of the key that the policy gives for it")?;
        Ok(signature.clone())
    }
}

const REWRITTEN: &str = "history was rewritten, or there are two logs with one key";
