//! `tollgate key`: virtual keys. Works beside a running server, which notices within a second.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use tollgate_metastore::{KeyListing, LOCAL_AUTHOR, NewKey};
use tollgate_policy::key::KeyLimits;

use super::people::sign_in_name;
use crate::cli::Common;
use crate::data_dir::DataDir;
use crate::{terminal, wire};
use tollgate_config::Config;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Creates a key and prints it, once.
    Create(Box<CreateArgs>),
    /// Lists the keys, without their secrets.
    List,
    /// Gives a key another secret and prints it, once; for a while both work.
    Rotate {
        /// Name or id of the key.
        key: String,
        /// How long the present secret goes on working: `90m`, `24h`, `7d`, or `0s` for not at all.
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = length_of_time)]
        grace: Duration,
    },
    /// Revokes a key, at once and for good.
    Revoke {
        /// Id of the key, as listed.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What a person calls it.
    name: String,
    /// Team whose budget it draws on.
    #[arg(long, default_value = "default")]
    team: String,
    /// Organisation.
    #[arg(long, alias = "organisation", default_value = "default")]
    tenant: String,
    /// Project.
    #[arg(long)]
    project: Option<String>,
    /// The one person whose calls its calls are: the name they sign in by, or their e-mail or display name where that is theirs
    /// alone. Where the directory has people of the organisation, it has to be one of them.
    #[arg(long)]
    user: Option<String>,
    /// When it stops working, from now on: `12h`, `90d`. Default: never.
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    expires: Option<Duration>,
    /// Operation (`chat`) or format (`anthropic`) it is for; may be repeated. Default: all.
    #[arg(long = "scope", value_name = "NAME")]
    scopes: Vec<String>,
    /// Model it is for, or the beginning of several and `*`; may be repeated. Default: all.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Address, or range of them (`10.0.0.0/8`), it may be used from; may be repeated. Default: any.
    #[arg(long = "source", value_name = "ADDRESS")]
    sources: Vec<String>,
    /// Label of every call made with it; may be repeated.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
}

pub(crate) async fn run(common: Common, command: KeyCommand) -> anyhow::Result<()> {
    let data = DataDir::of_command(&common.data)?;
    let config = Config::load(common.config.as_deref())?;
    let metastore = wire::open_metastore(&config, &data).await?;
    match command {
        KeyCommand::Create(args) => {
            let mut key = args.key()?;
            if let Some(user) = key.user.take() {
                key.user = Some(sign_in_name(metastore.as_ref(), &key.tenant, user).await?);
            }
            let created = metastore.create_key(key).await?;
            if common.json {
                terminal::line(&serde_json::json!({"id": created.id, "key": created.secret}).to_string());
            } else {
                terminal::line(&created.secret);
                terminal::note(&format!("key `{}`; it is shown this once and only its hash is kept", created.id));
            }
        }
        KeyCommand::List => {
            let keys = metastore.list_keys().await?;
            if common.json {
                terminal::line(&serde_json::to_string(&keys)?);
            } else {
                keys.iter().for_each(|key| terminal::line(&as_line(key)));
            }
        }
        KeyCommand::Rotate { key, grace } => {
            let grace_us = i64::try_from(grace.as_micros())?;
            let rotated = metastore.rotate_key(&key, grace_us, LOCAL_AUTHOR).await?;
            if common.json {
                let (id, until_us) = (&rotated.id, rotated.previous_until_us);
                let json = serde_json::json!({"id": id, "key": rotated.secret, "previous_until_us": until_us});
                terminal::line(&json.to_string());
            } else {
                terminal::line(&rotated.secret);
                let until = day_and_time(rotated.previous_until_us);
                terminal::note(&format!("key `{}`; the secret before it works until {until}", rotated.id));
            }
        }
        KeyCommand::Revoke { id } => {
            metastore.revoke_key(&id).await?;
            terminal::note(&format!("key `{id}` is revoked"));
        }
    }
    Ok(())
}

impl CreateArgs {
    fn key(self: Box<Self>) -> anyhow::Result<NewKey> {
        let now_us = chrono::Utc::now().timestamp_micros();
        let ends_us = |length: Duration| i64::try_from(length.as_micros()).map(|us| now_us.saturating_add(us));
        Ok(NewKey {
            name: self.name,
            tenant: self.tenant,
            project: self.project,
            team: self.team,
            user: self.user,
            expires_at_us: self.expires.map(ends_us).transpose()?,
            limits: KeyLimits { scopes: self.scopes, models: self.models, sources: self.sources },
            tags: self.tags.into_iter().collect::<BTreeMap<_, _>>(),
        })
    }
}

fn as_line(key: &KeyListing) -> String {
    let KeyLimits { scopes, models, sources } = &key.limits;
    let mut line = format!("{}  {}  team {}", key.id, key.name, key.team);
    if let Some(user) = &key.user {
        line.push_str(&format!("  user {user}"));
    }
    for (what, names) in [("for", scopes), ("models", models), ("from", sources)] {
        if !names.is_empty() {
            line.push_str(&format!("  {what} {}", names.join(", ")));
        }
    }
    if let Some(ends_us) = key.expires_at_us {
        line.push_str(&format!("  until {}", day_and_time(ends_us)));
    }
    match (key.enabled, key.user_inactive) {
        (false, _) => line.push_str("  (revoked)"),
        (true, true) => line.push_str("  (its user is not active)"),
        (true, false) => {}
    }
    line
}

fn day_and_time(time_us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(time_us)
        .map_or_else(|| "the end of time".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// `90m` and the like.
fn length_of_time(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is no length of time; write a whole number and `s`, `m`, `h` or `d`, such as `24h`");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no label; write NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_listed_with_its_user() {
        let mut key = KeyListing { id: "key-1".into(), name: "ci".into(), team: "kyc".into(), ..KeyListing::default() };
        key.enabled = true;
        assert_eq!(as_line(&key), "key-1  ci  team kyc");
        key.user = Some("ann@acme.example".into());
        assert_eq!(as_line(&key), "key-1  ci  team kyc  user ann@acme.example");
    }

    #[test]
    fn a_length_of_time_has_a_number_and_a_unit() {
        assert_eq!(length_of_time("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(length_of_time("0s"), Ok(Duration::ZERO));
        for wrong in ["", "24", "h", "-1h", "1w", "1.5h", "1é"] {
            assert!(length_of_time(wrong).unwrap_err().contains(&format!("`{wrong}`")), "{wrong}");
        }
    }
}
