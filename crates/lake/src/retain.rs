//! Retention: what may go, by class, and what must stay because of a legal hold. Content goes before facts; a day goes
//! when all of it is old enough. Every expiry is announced by a record of the log before anything is taken away, so that
//! whoever verifies the lake later finds the reason for what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt};
use tollgate_flush::parquet_file::day_text;
use tollgate_interaction::schema::Table;

use crate::compact::{Output, level_of};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::snapshot::DataFile;

/// Shortest time that records may be kept: Regulation (EU) 2024/1689, articles 19(1) and 26(6), "at least six months".
pub const RECORDS_FLOOR_DAYS: u32 = 184;

/// `action` of the control event that announces that content goes.
pub const PAYLOADS_EXPIRED: &str = "payloads.expired";
/// `action` of the control event that announces that records go.
pub const RECORDS_EXPIRED: &str = "records.expired";

const US_PER_DAY: i64 = 86_400_000_000;

/// How long the calls of some teams are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionClass {
    /// Its name.
    pub name: String,
    /// Teams it is for; none stands for all that no other class names.
    pub teams: Vec<String>,
    /// Days that what was said is kept; `None` for good.
    pub payload_days: Option<u32>,
    /// Days that records are kept; `None` for good.
    pub record_days: Option<u32>,
}

/// Something that must not expire while it lasts. What is left out means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HoldScope {
    /// Only of this team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Only calls that started then or later. Microseconds since 1970, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_us: Option<i64>,
    /// Only calls that started before. Microseconds since 1970, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_us: Option<i64>,
}

impl HoldScope {
    fn covers(&self, team: &str, started_at_us: i64) -> bool {
        self.team.as_deref().is_none_or(|held| held == team)
            && self.from_us.is_none_or(|from_us| from_us <= started_at_us)
            && self.to_us.is_none_or(|to_us| started_at_us < to_us)
    }
}

/// The rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Classes; a team belongs to the first that names it, else to the one without teams, if there is one.
    pub classes: Vec<RetentionClass>,
    /// Holds that last.
    pub holds: Vec<HoldScope>,
}

/// Rows of one team and day that may go.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Expiry {
    /// `payloads` or `interactions`.
    pub table: &'static str,
    /// UTC day, `2026-11-23`.
    pub day: String,
    /// Whose.
    pub team: String,
    /// The class by which they expire.
    pub class: String,
    /// Rows that go.
    pub rows: u64,
    /// Rows that would go but for a hold.
    pub held: u64,
    #[serde(skip)]
    place: (Table, i32),
}

impl Expiry {
    /// Action of the control event that announces it.
    #[must_use]
    pub fn action(&self) -> &'static str {
        if self.place.0 == Table::Payloads { PAYLOADS_EXPIRED } else { RECORDS_EXPIRED }
    }

    /// Subject of that event.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("team={} day={}", self.team, self.day)
    }
}

/// What an expiry did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ExpireReport {
    /// Rows taken out of the tables.
    pub rows: u64,
    /// Commits made.
    pub commits: u64,
}

impl RetentionPolicy {
    fn class_of(&self, team: &str) -> Option<&RetentionClass> {
        let named = self.classes.iter().find(|class| class.teams.iter().any(|of| of == team));
        named.or_else(|| self.classes.iter().find(|class| class.teams.is_empty()))
    }

    /// The class by which a team's rows of this day have expired, if they have.
    fn expired(&self, table: Table, team: &str, day: i32, now_us: i64) -> Option<&RetentionClass> {
        let class = self.class_of(team)?;
        let days = if table == Table::Payloads { class.payload_days } else { class.record_days }?;
        let ends_us = (i64::from(day) + 1) * US_PER_DAY + i64::from(days) * US_PER_DAY;
        (ends_us <= now_us).then_some(class)
    }

    /// The shortest time that any class keeps rows of a table.
    fn shortest_days(&self, table: Table) -> Option<u32> {
        let days =
            |class: &RetentionClass| if table == Table::Payloads { class.payload_days } else { class.record_days };
        self.classes.iter().filter_map(days).min()
    }

    fn is_held(&self, team: &str, started_at_us: i64) -> bool {
        self.holds.iter().any(|hold| hold.covers(team, started_at_us))
    }
}

impl Lake {
    /// Lists what may go by these rules; takes nothing away. Reads the teams and times of the days concerned.
    ///
    /// # Errors
    /// [`LakeError`] if the lake cannot be read.
    pub fn expired<'a>(
        &'a self,
        policy: &'a RetentionPolicy,
        now_us: i64,
    ) -> BoxFuture<'a, Result<Vec<Expiry>, LakeError>> {
        async move {
            let snapshot = self.snapshot();
            let mut expiries = Vec::new();
            for table in [Table::Payloads, Table::Interactions] {
                let Some(days) = policy.shortest_days(table) else { continue };
                let newest_day = (now_us / US_PER_DAY) - i64::from(days) - 1;
                let files = snapshot.files(table).files.iter().filter(|file| i64::from(file.day) <= newest_day);
                let mut counts: BTreeMap<(i32, String), (u64, u64)> = BTreeMap::new();
                for file in files {
                    let mut batches = self.read_columns(file, Some(&["team", "started_at"])).await?;
                    while let Some(batch) = batches.try_next().await? {
                        for (team, started_at_us) in teams_and_times(&batch) {
                            if policy.expired(table, team, file.day, now_us).is_some() {
                                let held = policy.is_held(team, started_at_us);
                                let (goes, stays) = counts.entry((file.day, team.to_owned())).or_default();
                                *(if held { stays } else { goes }) += 1;
                            }
                        }
                    }
                }
                for ((day, team), (rows, held)) in counts {
                    let class =
                        policy.expired(table, &team, day, now_us).map_or_else(String::new, |class| class.name.clone());
                    let place = (table, day);
                    expiries.push(Expiry { table: table.folder(), day: day_text(day), team, class, rows, held, place });
                }
            }
            Ok(expiries)
        }
        .boxed()
    }

    /// Takes away what was listed and announced, as far as it may still go: a hold that was placed meanwhile counts.
    ///
    /// # Errors
    /// [`LakeError`]; a file is replaced as a whole or not at all.
    pub fn expire<'a>(
        &'a self,
        policy: &'a RetentionPolicy,
        expiries: &'a [Expiry],
        now_us: i64,
    ) -> BoxFuture<'a, Result<ExpireReport, LakeError>> {
        async move {
            let mut report = ExpireReport::default();
            let mut places: BTreeMap<(Table, i32), BTreeSet<&str>> = BTreeMap::new();
            for expiry in expiries.iter().filter(|expiry| expiry.rows > 0) {
                places.entry(expiry.place).or_default().insert(expiry.team.as_str());
            }
            for ((table, day), teams) in places {
                let goes = |team: &str, started_at_us: i64| {
                    teams.contains(team)
                        && policy.expired(table, team, day, now_us).is_some()
                        && !policy.is_held(team, started_at_us)
                };
                let files = self
                    .snapshot()
                    .files(table)
                    .files
                    .iter()
                    .filter(|file| file.day == day)
                    .cloned()
                    .collect::<Vec<_>>();
                for file in files {
                    let rows = self.rewrite_without(table, &file, &goes).await?;
                    report.rows += rows;
                    report.commits += u64::from(rows > 0);
                }
            }
            Ok(report)
        }
        .boxed()
    }

    /// Replaces a file by one without the rows that go; gives their number.
    async fn rewrite_without(
        &self,
        table: Table,
        file: &Arc<DataFile>,
        goes: &(impl Fn(&str, i64) -> bool + Sync),
    ) -> Result<u64, LakeError> {
        let mut output = Output::of(table, level_of(file), file.day, file.min_started_at_us.unwrap_or(0));
        let mut written = Vec::new();
        let mut gone = 0;
        let mut batches = self.read_columns(file, None).await?;
        while let Some(batch) = batches.try_next().await? {
            let stays: BooleanArray =
                teams_and_times(&batch).map(|(team, time_us)| Some(!goes(team, time_us))).collect();
            gone += stays.false_count() as u64;
            let kept = filter_record_batch(&batch, &stays).map_err(|source| LakeError::Merge { source })?;
            if kept.num_rows() > 0
                && let Some(full) = output.write(&kept)?
            {
                written.push(self.put(full).await?);
            }
        }
        if gone == 0 {
            return Ok(0);
        }
        if let Some(last) = output.finish()? {
            written.push(self.put(last).await?);
        }
        let replaced = self.replace(table, std::slice::from_ref(file), &written, true, "DELETE").await?;
        // A compaction was faster: its file is looked at the next time.
        Ok(if replaced { gone } else { 0 })
    }
}

fn teams_and_times(batch: &RecordBatch) -> impl Iterator<Item = (&str, i64)> {
    let teams = batch.column_by_name("team").and_then(|column| column.as_string_opt::<i32>());
    let times =
        batch.column_by_name("started_at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let both = teams.zip(times);
    let rows = if both.is_some() { batch.num_rows() } else { 0 };
    (0..rows).filter_map(move |row| both.map(|(teams, times)| (teams.value(row), times.value(row))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetentionPolicy {
        let class = |name: &str, teams: &[&str], payload_days| RetentionClass {
            name: name.to_owned(),
            teams: teams.iter().map(|team| (*team).to_owned()).collect(),
            payload_days,
            record_days: None,
        };
        RetentionPolicy {
            classes: vec![class("hr", &["hr"], Some(90)), class("default", &[], Some(30))],
            holds: vec![],
        }
    }

    #[test]
    fn a_day_expires_for_each_team_by_its_class_once_all_of_it_is_old_enough() {
        let policy = policy();
        let day_us = |day: i64| day * US_PER_DAY;
        assert!(policy.expired(Table::Payloads, "kyc", 100, day_us(131) - 1).is_none());
        assert_eq!(policy.expired(Table::Payloads, "kyc", 100, day_us(131)).unwrap().name, "default");
        assert!(policy.expired(Table::Payloads, "hr", 100, day_us(131)).is_none());
        assert_eq!(policy.expired(Table::Payloads, "hr", 100, day_us(191)).unwrap().name, "hr");
        assert!(policy.expired(Table::Interactions, "kyc", 100, day_us(9_000)).is_none(), "records are kept for good");
    }

    #[test]
    fn a_hold_covers_what_it_names() {
        let hold = HoldScope { team: Some("kyc".into()), from_us: Some(10), to_us: Some(20) };
        assert!(hold.covers("kyc", 10) && !hold.covers("kyc", 20) && !hold.covers("hr", 15));
        assert!(HoldScope::default().covers("anybody", 0));
    }
}
