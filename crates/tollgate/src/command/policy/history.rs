//! Which bundle was in force before which. A rollback brings a revision back as a new one, so that the log goes on; going back
//! once more goes on from the revision that was brought back, not from the one that was left.

use anyhow::bail;
use tollgate_metastore::BundleRevision;

/// What a rollback goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier<'a> {
    /// A bundle that was put.
    Revision(&'a BundleRevision),
    /// The one that was in force before any was put.
    BuiltIn,
}

/// The revision that put a text for its own sake, of which `revision` may be the return.
pub(super) fn origin<'a>(revisions: &'a [BundleRevision], revision: &'a BundleRevision) -> Earlier<'a> {
    let mut found = revision;
    while let Some(earlier) = found.restores {
        // Numbers fall with each step, so this ends.
        match revisions.iter().find(|known| known.revision == earlier && earlier < found.revision) {
            Some(known) => found = known,
            None if earlier == 0 => return Earlier::BuiltIn,
            None => break,
        }
    }
    Earlier::Revision(found)
}

/// The bundle before the active one, the first of `revisions`, which are sorted from the newest to the oldest. Where the active
/// one was itself brought back, what was in force before it was first put.
///
/// # Errors
/// If there is none further back.
pub(super) fn before_active(revisions: &[BundleRevision]) -> anyhow::Result<Earlier<'_>> {
    let Some(active) = revisions.first() else { return Ok(Earlier::BuiltIn) };
    let Earlier::Revision(put) = origin(revisions, active) else {
        bail!(
            "the built-in bundle is in force, and none was before it; `tollgate policy list` shows every revision, and `tollgate \
             policy rollback --to REVISION` brings one back"
        )
    };
    let before = revisions.iter().find(|other| other.revision < put.revision && other.hash != active.hash);
    Ok(before.map_or(Earlier::BuiltIn, |before| origin(revisions, before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history, oldest first: each a letter for its text and what it brings back.
    struct History(Vec<BundleRevision>);

    impl History {
        fn put(&mut self, text: &str, restores: Option<u64>) {
            let revision = BundleRevision {
                // Other changes of the control plane take numbers too.
                revision: 10 * (self.0.len() as u64 + 1),
                hash: text.to_owned(),
                name: text.to_owned(),
                version: None,
                author: "ada".to_owned(),
                reason: "why".to_owned(),
                created_at_us: 0,
                restores,
            };
            self.0.insert(0, revision);
        }

        /// As the command does; the text that is in force then.
        fn roll_back(&mut self) -> String {
            let (text, restores) = match before_active(&self.0) {
                Ok(Earlier::Revision(revision)) => (revision.hash.clone(), revision.revision),
                Ok(Earlier::BuiltIn) => ("built-in".to_owned(), 0),
                Err(error) => return error.to_string(),
            };
            self.put(&text, Some(restores));
            text
        }
    }

    #[test]
    fn each_rollback_goes_one_further_back_and_the_last_says_what_to_do() {
        let mut history = History(Vec::new());
        for text in ["a", "b", "c"] {
            history.put(text, None);
        }
        assert_eq!([(); 3].map(|()| history.roll_back()), ["b", "a", "built-in"]);
        let refused = history.roll_back();
        assert!(
            refused.contains("none was before it") && refused.contains("`tollgate policy rollback --to REVISION`"),
            "{refused}"
        );
        assert_eq!(history.0.len(), 6, "a refusal puts nothing");
    }

    #[test]
    fn a_bundle_that_was_put_after_a_rollback_is_taken_back_to_what_it_replaced() {
        let mut history = History(Vec::new());
        history.put("a", None);
        history.put("b", None);
        assert_eq!(history.roll_back(), "a");
        history.put("c", None);
        assert_eq!([(); 2].map(|()| history.roll_back()), ["a", "built-in"], "`b` had been taken back already");
    }

    #[test]
    fn a_bundle_that_was_put_again_on_purpose_is_no_rollback() {
        let mut history = History(Vec::new());
        for text in ["a", "b", "a"] {
            history.put(text, None);
        }
        assert_eq!([(); 3].map(|()| history.roll_back()), ["b", "a", "built-in"]);
    }

    #[test]
    fn going_forth_to_a_revision_by_its_number_goes_back_from_there() {
        let mut history = History(Vec::new());
        for text in ["a", "b", "c"] {
            history.put(text, None);
        }
        assert_eq!([(); 2].map(|()| history.roll_back()), ["b", "a"]);
        history.put("c", Some(30));
        assert_eq!(history.roll_back(), "b");
        // A rollback of what was brought back leads to where the text was put, not to its last return.
        let listed = history.0.clone();
        let returned = listed.iter().find(|revision| revision.restores == Some(20)).unwrap();
        assert!(matches!(origin(&listed, returned), Earlier::Revision(put) if put.revision == 20));
    }
}
