//! The classifier of this process, asked on threads that may take their time. As many texts are classified at once as there
//! are processors; others wait for their turn, and their waiting counts. What takes too long is given up between two texts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tollgate_policy::guard::Score;
use tollgate_policy::guard::injection::{Classifier, ClassifierError};

use super::service::Said;

/// Whose turn it is.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(processors))
});

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClassifyError {
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
    #[error("the classifier did not answer within {waited_ms} ms")]
    Timeout { waited_ms: u128 },
    #[error("the classifier broke off")]
    Broken,
}

/// Tells the thread that nobody waits for it any more, however the waiting ended.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How likely the most suspicious of the texts is an injection. What an application tells its model is not asked about: it
/// may say what others may not.
pub(super) async fn ask(
    classifier: &Arc<dyn Classifier>,
    texts: &[&Said],
    patience: Duration,
) -> Result<Score, ClassifyError> {
    let texts: Vec<String> = texts.iter().filter(|said| said.role != "system").map(|said| said.text.clone()).collect();
    if texts.is_empty() {
        return Ok(Score::default());
    }
    let waiting = Waiting(Arc::default());
    let (classifier, is_given_up) = (Arc::clone(classifier), Arc::clone(&waiting.0));
    let classified = async {
        let turn = Arc::clone(&TURNS).acquire_owned().await.map_err(|_| ClassifyError::Broken)?;
        let work = move || {
            let _turn = turn;
            let nobody_waits = || is_given_up.load(Ordering::Relaxed);
            let mut highest = Score::default();
            for text in &texts {
                highest = highest.max(classifier.score(text, &nobody_waits)?);
            }
            Ok::<_, ClassifierError>(highest)
        };
        let told = tokio::task::spawn_blocking(work).await.map_err(|_| ClassifyError::Broken)?;
        Ok(told?)
    };
    let waited_ms = patience.as_millis();
    tokio::time::timeout(patience, classified).await.unwrap_or(Err(ClassifyError::Timeout { waited_ms }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Takes ten milliseconds a text, and fails on one that says so.
    #[derive(Debug, Default)]
    struct Slow(AtomicU32);

    impl Classifier for Slow {
        fn score(&self, text: &str, nobody_waits: &dyn Fn() -> bool) -> Result<Score, ClassifierError> {
            if nobody_waits() {
                return Err(ClassifierError("nobody waits".to_owned()));
            }
            self.0.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(10));
            match text {
                "fail" => Err(ClassifierError("no tokens".to_owned())),
                text => Ok(Score::millionths(text.len() as u32 * 100_000)),
            }
        }

        fn patience(&self) -> Duration {
            Duration::from_secs(1)
        }
    }

    fn said(role: &'static str, text: &str) -> Said {
        Said { role, text: text.to_owned(), is_tool_result: false }
    }

    async fn asked(slow: &Arc<Slow>, texts: &[Said], patience: Duration) -> Result<Score, ClassifyError> {
        let classifier: Arc<dyn Classifier> = Arc::clone(slow) as _;
        ask(&classifier, &texts.iter().collect::<Vec<_>>(), patience).await
    }

    #[tokio::test]
    async fn the_highest_score_counts_and_the_system_s_words_do_not() {
        let slow = Arc::new(Slow::default());
        let texts = [said("conversation", "ab"), said("tool", "abcd"), said("system", "abcdefgh")];
        let score = asked(&slow, &texts, Duration::from_secs(20)).await.unwrap();
        assert_eq!((score, slow.0.load(Ordering::SeqCst)), (Score::millionths(400_000), 2));
        assert_eq!(asked(&slow, &texts[2..], Duration::from_secs(20)).await.unwrap(), Score::default());
        let fails = asked(&slow, &[said("tool", "fail")], Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(fails.to_string(), "the classifier gave no score: no tokens");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up_and_makes_room() {
        let slow = Arc::new(Slow::default());
        let many: Vec<Said> = (0..1_000).map(|_| said("conversation", "a")).collect();
        let late = asked(&slow, &many, Duration::from_millis(60)).await.unwrap_err();
        assert_eq!(late.to_string(), "the classifier did not answer within 60 ms");
        // The thread ends after the text it is at.
        assert!(asked(&slow, &many[..1], Duration::from_secs(20)).await.is_ok());
        assert!(slow.0.load(Ordering::SeqCst) < 500);
    }
}
