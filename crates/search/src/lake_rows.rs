//! Which facts of the lake belong to a file of payloads.

use futures::TryStreamExt;
use tollgate_lake::{DataFile, Lake, LakeSnapshot};

use crate::cells::{self, FACT_COLUMNS, Facts};
use crate::error::SearchError;

/// The facts of the calls that may stand in a payload file: those of the fact files with the same part of the log, or of
/// the same day if the file was merged from several.
pub(crate) async fn facts_for(lake: &Lake, snapshot: &LakeSnapshot, payload: &DataFile) -> Result<Facts, SearchError> {
    let mut facts = Facts::new();
    for file in snapshot.interactions.files.iter().filter(|file| overlap(file, payload)) {
        let mut rows = lake.read_columns(file, Some(FACT_COLUMNS)).await?;
        while let Some(batch) = rows.try_next().await? {
            cells::add_facts(&batch, &file.path, &mut facts)?;
        }
    }
    Ok(facts)
}

fn overlap(facts: &DataFile, payload: &DataFile) -> bool {
    if facts.day != payload.day {
        return false;
    }
    match (&facts.range, &payload.range) {
        (Some(facts), Some(payload)) => {
            facts.writer == payload.writer
                && facts.epoch == payload.epoch
                && facts.first_seq <= payload.last_seq
                && payload.first_seq <= facts.last_seq
        }
        _ => true,
    }
}
