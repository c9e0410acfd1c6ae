//! `tollgate audit`: verify a lake, prove a call, show and rotate the keys.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use fs_err as fs;
use tollgate_config::Config;
use tollgate_flush::keys::Keys;
use tollgate_flush::plan;
use tollgate_interaction::InteractionId;
use tollgate_lake::audit::{self, Disclosure, Verification, VerifySettings};
use tollgate_lake::policy::Policy;
use tollgate_lake::proof;
use tollgate_lake::{Lake, Mode};

use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::terminal;
use crate::wire::{self, open_store};

/// What about the proof.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Reads the whole lake and compares it with its proof; needs the bucket and the log's public key, and no server.
    Verify {
        /// The log's public key, `name+hash+base64`; that of this data directory if it is left out.
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        /// A bucket or folder other than the configured one.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// A checkpoint that was kept elsewhere, which the log must continue.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Whose cosignatures the checkpoint must have: a file in the format of C2SP `tlog-policy`. The logs that it lists
        /// stand in for --key.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Writes a proof of one call that can be checked without the bucket.
    Prove {
        /// The call's id.
        id: String,
        /// File to write; `ID.tlog-proof` if it is left out.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Also show the personal fields.
        #[arg(long)]
        personal: bool,
        /// Also show what was said.
        #[arg(long)]
        content: bool,
    },
    /// Checks such a proof.
    Check {
        /// The `.tlog-proof` file.
        file: PathBuf,
        /// The log's public key; that of this data directory if it is left out.
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        /// Whose cosignatures its checkpoint must have, as with `verify`.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Prints the log's public key, which auditors need.
    Key,
    /// Makes new signing keys, which the old ones sign. A running server takes them with its next checkpoint and restart.
    Rotate {
        /// The log's key, with which checkpoints are signed.
        #[arg(long)]
        log: bool,
        /// The writer's key, with which batches are signed. It is taken at the next start.
        #[arg(long)]
        writer: bool,
    },
}

/// Runs it.
///
/// # Errors
/// If the lake cannot be read, or what was verified contradicts its proof.
pub(crate) async fn run(common: Common, command: AuditCommand) -> anyhow::Result<()> {
    let config = Config::load(common.config.as_deref())?;
    // An auditor's machine has none, and needs none.
    let data = || DataDir::of_command(&common.data);
    match command {
        AuditCommand::Verify { key, store, checkpoint, policy } => {
            let policy = policy.as_deref().map(wire::read_policy_file).transpose()?;
            let keys = keys_of(key, policy.as_ref(), data)?;
            let store = match store {
                Some(url) => tollgate_flush::store::open(&url, &config.store_options())?,
                None => open_store(&config, &data()?)?,
            };
            let older_checkpoint = checkpoint.map(fs::read).transpose()?.map(Into::into);
            let found = audit::verify_store(store, VerifySettings { keys, older_checkpoint, policy }).await?;
            report(&found, common.json)
        }
        AuditCommand::Prove { id, out, personal, content } => {
            let id: InteractionId = id.parse()?;
            let lake = Lake::open(open_store(&config, &data()?)?, Mode::ReadOnly).await?;
            let proof = audit::prove(lake, id, Disclosure { personal, payload: content }).await?;
            let path = out.unwrap_or_else(|| PathBuf::from(format!("{id}.tlog-proof")));
            fs::write(&path, proof)?;
            terminal::line(&format!("{}", path.display()));
            Ok(())
        }
        AuditCommand::Check { file, key, policy } => {
            let proof = fs::read_to_string(&file)?;
            let policy = policy.as_deref().map(wire::read_policy_file).transpose()?;
            let keys = keys_of(key, policy.as_ref(), data)?;
            let proven = audit::check_proof(&proof, &keys, policy.as_ref())?;
            if common.json {
                terminal::line(&serde_json::to_string(&proven)?);
            } else {
                let disclosed = |is_there| if is_there { "disclosed, as committed to" } else { "not in this file" };
                terminal::line(&format!(
                    "ok: record {} of call {} is in batch {}, entry {} of the log, under a checkpoint of size {}\npersonal fields: {}\n\
                     content: {}",
                    proven.commitment,
                    proven.interaction_id,
                    proven.batch,
                    proven.entry,
                    proven.checkpoint_size,
                    disclosed(proven.personal),
                    disclosed(proven.content)
                ));
            }
            Ok(())
        }
        AuditCommand::Key => {
            terminal::line(&own_key(&data()?)?);
            Ok(())
        }
        AuditCommand::Rotate { log, writer } => {
            let (data, both) = (data()?, !log && !writer);
            if log || both {
                let source = wire::log_keys(&data);
                let keys = source.read()?;
                let has_signed = proof::is_signed_with(&data.join("keys/last-checkpoint"), &keys.current);
                refuse_if_waiting("log", &keys, has_signed)?;
                terminal::line(&format!("log     {}", source.rotate()?.current.public));
            }
            if writer || both {
                let source = wire::writer_keys(&data);
                let keys = source.read()?;
                let last_signer = plan::last_signer(&data.join("flush"));
                refuse_if_waiting("writer", &keys, last_signer.as_ref() == Some(&keys.current.public))?;
                terminal::line(&format!("writer  {}", source.rotate()?.current.public));
            }
            Ok(())
        }
    }
}

/// A second rotation would forget the key that signed last before that one has handed over.
fn refuse_if_waiting(which: &str, keys: &Keys, has_signed: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        keys.former.is_none() || has_signed,
        "the last rotation of the {which} key has not been taken over yet: start the server, wait for a checkpoint, then rotate again"
    );
    Ok(())
}

fn own_key(data: &DataDir) -> anyhow::Result<String> {
    Ok(wire::log_keys(data).read().context("looking for the log's public key; --key gives another")?.current.public)
}

/// The key that was given, or else the policy's, or else this data directory's.
fn keys_of(
    key: Option<String>,
    policy: Option<&Policy>,
    data: impl FnOnce() -> anyhow::Result<DataDir>,
) -> anyhow::Result<Vec<String>> {
    if let Some(key) = key {
        return Ok(vec![key]);
    }
    let Some([first, others @ ..]) = policy.map(Policy::logs) else { return Ok(vec![own_key(&data()?)?]) };
    let name = |key: &String| key.split('+').next().map(str::to_owned);
    let is_one = others.iter().all(|other| name(other) == name(first));
    anyhow::ensure!(is_one, "the policy lists several logs; say with --key which of them this is");
    Ok([std::slice::from_ref(first), others].concat())
}

fn report(found: &Verification, json: bool) -> anyhow::Result<()> {
    if json {
        terminal::line(&serde_json::to_string_pretty(found)?);
    } else {
        for problem in &found.problems {
            terminal::line(&problem.to_string());
        }
        terminal::line(&summary(found));
    }
    anyhow::ensure!(found.ok, "the lake contradicts its proof");
    Ok(())
}

fn summary(found: &Verification) -> String {
    let Verification { records, batches, checkpoint_size, uncovered_batches, payloads, payloads_missing, .. } = found;
    let mut lines = vec![format!(
        "{records} records in {batches} batches and {payloads} contents agree with what was committed to"
    )];
    if !found.ok {
        let problems = found.problems.len() as u64 + found.unlisted_problems;
        lines = vec![format!(
            "{problems} contradictions among {records} records in {batches} batches; put what is named back from the bucket's versions \
             and verify again (docs/proof.md says how each is found)"
        )];
    }
    lines.push(format!(
        "the checkpoint covers {checkpoint_size} entries; {uncovered_batches} batches are not covered yet"
    ));
    if *payloads_missing > 0 {
        lines.push(format!("{payloads_missing} contents expired or were erased, as records of the log say"));
    }
    if found.expired_batches > 0 {
        lines.push(format!("{} batches have records that expired, as records of the log say", found.expired_batches));
    }
    if found.unproven_records > 0 {
        lines.push(format!("{} records were written by a version without proofs", found.unproven_records));
    }
    lines.join("\n")
}
