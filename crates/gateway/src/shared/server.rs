//! The words spoken with the Redis or Valkey server: one script that reserves, pipelines that settle, and a sign of life.
//! One server (with its replicas, if it has any); a cluster would put the accounts of one call on several.

use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tokio_util::task::TaskTracker;

use super::encryption::Encryption;
use super::{Asked, Ended, cap_words};
use crate::settings::LedgerSettings;
use crate::trust::TrustError;

/// How long the server may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long it may take to connect.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// A process that has not been heard of for this long is gone, and what it held with it.
const LIFE_S: u64 = 10;

/// Why the server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The URL is none that is understood.
    #[error("the URL of the shared ledger cannot be used: {0}")]
    Url(#[source] RedisError),
    /// Whom to believe about it cannot be set up.
    #[error("TLS to the shared ledger cannot be set up: {0}")]
    Trust(#[from] TrustError),
    /// It is not reached, or is not who it should be.
    #[error("the shared ledger cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    /// It does not answer as it should.
    #[error("the shared ledger does not answer: {0}")]
    Failed(#[from] RedisError),
}

/// The server.
pub(super) struct Server {
    client: Client,
    encryption: Option<Encryption>,
    connection: Mutex<Option<MultiplexedConnection>>,
    reserve: Script,
    prefix: String,
    replica: String,
    /// Whose end is not waited for: they carry connections.
    tasks: TaskTracker,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its URL may hold a password.
        f.debug_struct("Server").field("replica", &self.replica).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(settings: &LedgerSettings, replica: &str) -> Result<Server, ServerError> {
        let (url, encryption) = Encryption::of(settings)?;
        Ok(Server {
            client: Client::open(url).map_err(ServerError::Url)?,
            encryption,
            connection: Mutex::new(None),
            reserve: Script::new(include_str!("reserve.lua")),
            prefix: settings.prefix.clone(),
            replica: replica.replace('|', "_"),
            tasks: TaskTracker::new(),
        })
    }

    /// The name of an account on the server.
    pub(super) fn key(&self, account: &str) -> String {
        format!("{}|{account}", self.prefix)
    }

    fn life(&self, replica: &str) -> String {
        format!("{}|alive|{replica}", self.prefix)
    }

    /// The name of this process in an incarnation.
    fn name(&self, incarnation: u64) -> String {
        format!("{}#{incarnation}", self.replica)
    }

    /// Whether there was room, and for each account what was spent and what is held, by unit.
    pub(super) async fn reserve(
        &self,
        asked: &[Asked],
        amounts: [i64; 3],
        incarnation: u64,
    ) -> Result<(bool, Vec<[[i64; 3]; 2]>), ServerError> {
        let mut invocation = self.reserve.prepare_invoke();
        invocation.arg(self.name(incarnation)).arg(self.life(""));
        amounts.iter().for_each(|amount| {
            invocation.arg(*amount);
        });
        for account in asked {
            invocation.key(&account.key);
            invocation.arg(account.from_us).arg(account.bucket_us).arg(account.expires_s);
            account.floor.iter().for_each(|amount| {
                invocation.arg((*amount).max(0));
            });
            invocation.arg(account.caps.len());
            account.caps.iter().flat_map(cap_words).for_each(|word| {
                invocation.arg(word);
            });
        }
        let mut connection = self.connection().await?;
        let answer: Result<Vec<i64>, RedisError> = invocation.invoke_async(&mut connection).await;
        let answer = answer.map_err(|error| self.broken(error))?;
        let (has_room, figures) = answer.split_first().map_or((false, &[][..]), |(room, rest)| (*room == 1, rest));
        let figures = figures.chunks_exact(6).map(|six| [[six[0], six[1], six[2]], [six[3], six[4], six[5]]]);
        Ok((has_room, figures.collect()))
    }

    /// Gives back what calls held, and enters what they used up.
    pub(super) async fn end(&self, batch: &[Ended]) -> Result<(), ServerError> {
        let mut pipe = redis::pipe();
        for ended in batch {
            let name = self.name(ended.held_as.0);
            for key in &ended.accounts {
                for (unit, held) in (1..).zip(ended.held).filter(|(_, held)| *held != 0) {
                    pipe.hincr(key, format!("r|{name}|{unit}"), -held).ignore();
                }
            }
            for (key, bucket_us) in &ended.entries {
                for (unit, used) in (1..).zip(ended.used).filter(|(_, used)| *used != 0) {
                    pipe.hincr(key, format!("s|{bucket_us}|{unit}"), used).ignore();
                }
            }
        }
        let mut connection = self.connection().await?;
        let done: Result<(), RedisError> = pipe.query_async(&mut connection).await;
        done.map_err(|error| self.broken(error))
    }

    /// Says that this process lives.
    pub(super) async fn beat(&self, incarnation: u64, was_down: bool) -> Result<(), ServerError> {
        if was_down {
            *self.connection.lock() = None;
        }
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("SET");
        command.arg(self.life(&self.name(incarnation))).arg(1).arg("EX").arg(LIFE_S);
        let done: Result<(), RedisError> = command.query_async(&mut connection).await;
        done.map_err(|error| self.broken(error))
    }

    /// Says that this process ends, so that what it held is free at once.
    pub(super) async fn leave(&self, incarnation: u64) {
        let Ok(mut connection) = self.connection().await else { return };
        let done: Result<(), RedisError> =
            redis::cmd("DEL").arg(self.life(&self.name(incarnation))).query_async(&mut connection).await;
        if let Err(error) = done {
            tracing::debug!(%error, "the shared ledger was not told that this process ends");
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, ServerError> {
        if let Some(known) = self.connection.lock().clone() {
            return Ok(known);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WAIT))
            .set_response_timeout(Some(ANSWER_WAIT));
        let made = match &self.encryption {
            None => self.client.get_multiplexed_async_connection_with_config(&config).await?,
            Some(encryption) => {
                let known = self.client.get_connection_info();
                let stream = tokio::time::timeout(CONNECT_WAIT, encryption.connect(known.addr()))
                    .await
                    .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
                let opening = MultiplexedConnection::new_with_config(known.redis_settings(), stream, config);
                let (made, driver) = opening.await?;
                // Ends with the last handle on the connection.
                self.tasks.spawn(driver);
                made
            }
        };
        *self.connection.lock() = Some(made.clone());
        Ok(made)
    }

    fn broken(&self, error: RedisError) -> ServerError {
        *self.connection.lock() = None;
        ServerError::Failed(error)
    }
}
