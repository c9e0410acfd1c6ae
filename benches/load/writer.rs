//! A writer and a committer of their own, without a gateway: calls go into a log, the flusher turns them into files, the
//! committer makes them rows of a lake. What the suites about the lake have in common.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_flush::flusher::{Committed, FlushSettings, FlushStatus, Flusher};
use tollgate_flush::hot::HotBuffer;
use tollgate_flush::keys::KeySource;
use tollgate_flush::store::{self, Store, StoreOptions};
use tollgate_interaction::{Event, Interaction, Opened, Outcome, Settled};
use tollgate_lake::{Lake, Mode, ProofSettings};
use tollgate_wal::{Wal, WalSettings};

use crate::dataset::Call;

/// Between two looks at how far the lake is.
const POLL: Duration = Duration::from_millis(2);
/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longer than any benchmark takes.
const NEVER: Duration = Duration::from_secs(86_400);

/// Folders of one writer and its lake.
#[derive(Clone, Debug)]
pub(crate) struct Folders(PathBuf);

impl Folders {
    /// Within `folder`.
    pub(crate) fn in_folder(folder: PathBuf) -> Folders {
        Folders(folder)
    }

    /// The lake.
    pub(crate) fn lake(&self) -> PathBuf {
        self.0.join("lake")
    }

    /// Opens the log.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open_log(&self) -> anyhow::Result<Arc<Wal>> {
        Ok(Arc::new(Wal::open(WalSettings::new(self.0.join("wal")))?))
    }

    /// Flushing as it is by default.
    pub(crate) fn flush_settings(&self) -> FlushSettings {
        FlushSettings::new(self.0.join("spool"))
    }

    /// Opens the lake for a committer that keeps its proof.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) async fn open_lake(&self) -> anyhow::Result<Arc<Lake>> {
        Ok(Lake::open_proven(open_store(&self.lake())?, self.proof_settings()).await?)
    }

    /// Opens the lake for a reader.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) async fn read_lake(&self) -> anyhow::Result<Arc<Lake>> {
        Ok(Lake::open(open_store(&self.lake())?, Mode::ReadOnly).await?)
    }

    /// The public key of the lake's log.
    ///
    /// # Errors
    /// If no committer has made one.
    pub(crate) fn public_key(&self) -> anyhow::Result<String> {
        Ok(self.log_key().read()?.current.public)
    }

    fn log_key(&self) -> KeySource {
        KeySource::File(self.0.join("spool/log.key"))
    }

    fn proof_settings(&self) -> ProofSettings {
        let spool = self.0.join("spool");
        ProofSettings {
            keys: self.log_key(),
            last_signed: spool.join("last-checkpoint"),
            interval: Duration::from_secs(1),
            witnesses: None,
        }
    }
}

fn open_store(folder: &Path) -> anyhow::Result<Store> {
    let folder = folder.to_str().context("the folder's name is not UTF-8")?;
    Ok(store::open(folder, &StoreOptions::default())?)
}

/// A flusher and a committer at work.
pub(crate) struct Writer {
    pub(crate) wal: Arc<Wal>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) hot: Arc<HotBuffer>,
    pub(crate) status: watch::Receiver<FlushStatus>,
    tasks: JoinSet<()>,
    stop_flushing: CancellationToken,
    stop_committing: CancellationToken,
}

impl Writer {
    /// Starts both over the log.
    ///
    /// # Errors
    /// If the lake does not open.
    pub(crate) async fn start(folders: &Folders, wal: Arc<Wal>, settings: FlushSettings) -> anyhow::Result<Writer> {
        let lake = folders.open_lake().await?;
        let notify = Arc::new(Notify::new());
        let committed = Committed::InLake(lake.watermarks());
        let flusher = Flusher::new(settings, Arc::clone(&wal), lake.store().clone(), committed, Arc::clone(&notify))?;
        let (hot, status) = (flusher.hot(), flusher.status());
        let (stop_flushing, stop_committing) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(flusher.run(stop_flushing.clone()));
        let (holder, poll) = (wal.writer().clone(), Duration::from_secs(1));
        tasks.spawn(Arc::clone(&lake).run_committer(holder, notify, poll, stop_committing.clone()));
        Ok(Writer { wal, lake, hot, status, tasks, stop_flushing, stop_committing })
    }

    /// Waits until so many calls are rows.
    ///
    /// # Errors
    /// If it takes too long; what the flusher has to say is in the message.
    pub(crate) async fn committed(&self, rows: u64) -> anyhow::Result<()> {
        let arrived = async {
            while self.lake.snapshot().interactions.rows() < rows {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
            bail!("{rows} calls are not rows after {PATIENCE:?}: {:?}", *self.status.borrow());
        }
        Ok(())
    }

    /// Ends both; the last rows and the last checkpoint are in the lake then.
    ///
    /// # Errors
    /// If a task panicked.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_flushing.cancel();
        self.tasks.join_next().await.transpose()?;
        self.stop_committing.cancel();
        self.tasks.join_next().await.transpose()?;
        self.wal.close()?;
        Ok(())
    }
}

/// The two records of a call. What an `Opened` says of the outcome is what replay would make of it.
pub(crate) fn events(call: Call) -> (Event, Event) {
    let Call { interaction, request, response } = call;
    let opened = Interaction { outcome: Outcome::Interrupted, ..interaction.clone() };
    let salt = salt_of(&interaction);
    let settled = Settled { interaction, request: None, response, salt: Some(salt) };
    (Event::Opened(Box::new(Opened { interaction: opened, request })), Event::Settled(Box::new(settled)))
}

/// As random as what the gateway draws, and the same in every run.
fn salt_of(interaction: &Interaction) -> [u8; 32] {
    let id = interaction.interaction_id.to_string();
    let seed = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    crate::dataset::Random::new(seed).bytes()
}

/// Makes a lake of these calls, handing over `rows_at_once` at a time, as a gateway does that flushes every few seconds.
///
/// # Errors
/// If a call is not taken or does not become a row.
pub(crate) async fn make_lake(
    folders: &Folders,
    calls: impl Iterator<Item = Call>,
    rows_at_once: u64,
) -> anyhow::Result<u64> {
    // Due by rows alone: what is handed over together does not depend on how fast this machine is.
    let max_rows = usize::try_from(rows_at_once)?;
    let settings = FlushSettings { interval: NEVER, max_rows, ..folders.flush_settings() };
    let writer = Writer::start(folders, folders.open_log()?, settings).await?;
    let appender = writer.wal.appender();
    let mut made = 0;
    for call in calls {
        let (opened, settled) = events(call);
        appender.append_written(&opened)?;
        appender.append_written(&settled)?;
        made += 1;
        if made % rows_at_once == 0 {
            writer.committed(made).await?;
        }
    }
    let lake = Arc::clone(&writer.lake);
    writer.stop().await?;
    let rows = lake.snapshot().interactions.rows();
    if rows != made {
        bail!("{made} calls were recorded, and {rows} are rows");
    }
    Ok(made)
}

/// Runs this on a runtime of its own with as many threads as there are processors, as a server has one.
///
/// # Errors
/// Those of `work`; that the runtime does not start.
pub(crate) fn on_all_processors<T: Send>(work: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let worked = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(work)
        });
        worked.join().ok().context("the thread that measures has panicked")?
    })
}
