//! The index in its folder: opening it, or starting anew when it is of another version or damaged, and asking it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{BooleanQuery, EmptyQuery, Occur, Query, RangeQuery};
use tantivy::schema::Value;
use tantivy::snippet::SnippetGenerator;
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, Order, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term,
};
use tollgate_interaction::schema::Transcribe;

use crate::error::SearchError;
use crate::fields::{self, Fields};
use crate::progress::Progress;
use crate::query;

/// Memory in which documents are collected before they become a segment.
const WRITER_BYTES: usize = 64 * 1024 * 1024;
/// Characters of a snippet.
const SNIPPET_CHARS: usize = 240;
/// Hits that one question may have.
const MAX_HITS: usize = 200;
/// How far a question may page. The index has to sort all hits before that place.
const MAX_OFFSET: usize = 10_000;
/// File beside the index that says which version it is of.
const VERSION_FILE: &str = "tollgate-index.json";

/// What to look for. Empty fields do not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchQuery {
    /// Words, phrases and filters; see [`crate::query`].
    pub text: String,
    /// Of this team.
    pub team: Option<String>,
    /// Of one of these teams, each after its tenant; `None` for all. The reader's own bounds, not a filter of theirs.
    pub only_teams: Option<Vec<(String, String)>>,
    /// Of this organisation alone; the reader's own bounds, too.
    pub only_tenant: Option<String>,
    /// With this model, requested or served.
    pub model: Option<String>,
    /// Answered by this provider.
    pub provider: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Started at or after this time. Microseconds since 1970, UTC.
    pub from_us: Option<i64>,
    /// Started before this time.
    pub to_us: Option<i64>,
    /// Hits wanted; at most 200 are given. Zero stands for 20.
    pub limit: usize,
    /// Hits to pass over; at most 10 000.
    pub offset: usize,
}

/// The calls found, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchResult {
    /// How many calls match in all.
    pub total: u64,
    /// The part asked for.
    pub hits: Vec<Hit>,
    /// How long it took.
    pub elapsed_us: u64,
}

/// One call found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// Its id.
    pub interaction_id: String,
    /// When it started. Microseconds since 1970, UTC.
    pub started_at_us: i64,
    /// Organisation of the key.
    pub tenant: String,
    /// Team of the key.
    pub team: String,
    /// Model as the caller wrote it.
    pub model: String,
    /// Who answered.
    pub provider: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Who said what the snippet shows: `user`, `assistant`, …; empty if nothing was said.
    pub role: String,
    /// The place that matches, escaped, with `<mark>` around the words found. Contains no other markup.
    pub snippet_html: String,
}

/// How the index stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchStatus {
    /// Calls in it.
    pub documents: u64,
    /// Segments it is made of.
    pub segments: u64,
    /// Last sequence number indexed, by `writer/epoch`.
    pub watermarks: BTreeMap<String, u64>,
}

/// The index. Cheap to share.
pub struct Search {
    dir: PathBuf,
    pub(crate) transcribe: Transcribe,
    opened: RwLock<Arc<Opened>>,
}

/// An index that is open, until it is replaced by an empty one.
pub(crate) struct Opened {
    pub(crate) fields: Fields,
    index: Index,
    reader: IndexReader,
    feed: Mutex<Feed>,
}

/// What only one may use at a time.
struct Feed {
    writer: Option<IndexWriter>,
    progress: Progress,
}

#[derive(Serialize, Deserialize)]
struct Version {
    version: u32,
}

impl Search {
    /// Opens the index in `dir`, creating the folder if need be. `transcribe` tells what was said from the bodies. An
    /// index of another version, or one that cannot be read, is deleted and started anew.
    ///
    /// # Errors
    /// [`SearchError::Folder`] if the folder cannot be created or written.
    pub fn open(dir: impl Into<PathBuf>, transcribe: Transcribe) -> Result<Arc<Self>, SearchError> {
        let dir = dir.into();
        let opened = match Opened::existing(&dir) {
            Some(opened) => opened,
            None => Opened::anew(&dir)?,
        };
        Ok(Arc::new(Search { dir, transcribe, opened: RwLock::new(Arc::new(opened)) }))
    }

    /// Opens the index in `dir` if there is one of this version that can be read; changes nothing.
    #[must_use]
    pub fn open_existing(dir: impl Into<PathBuf>, transcribe: Transcribe) -> Option<Arc<Self>> {
        let dir = dir.into();
        let opened = Opened::existing(&dir)?;
        Some(Arc::new(Search { opened: RwLock::new(Arc::new(opened)), transcribe, dir }))
    }

    /// Throws everything away that is in the index. It is filled again by [`Search::catch_up`].
    ///
    /// # Errors
    /// [`SearchError`] if another process feeds it or its folder cannot be written.
    pub fn clear(&self) -> Result<(), SearchError> {
        // Takes the lock that the process has which feeds it.
        self.opened().add(Vec::new(), &self.dir)?;
        self.start_anew()
    }

    /// The calls that match, newest first. Reads what was committed last, without waiting for anything.
    ///
    /// # Errors
    /// [`SearchError::Query`] if the query cannot be understood, [`SearchError::Index`] if the index cannot be read.
    pub fn find(&self, query: &SearchQuery) -> Result<SearchResult, SearchError> {
        let begun = std::time::Instant::now();
        let opened = self.opened();
        let mut result = opened.find(query)?;
        result.elapsed_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(result)
    }

    /// How the index stands.
    #[must_use]
    pub fn status(&self) -> SearchStatus {
        let opened = self.opened();
        let searcher = opened.reader.searcher();
        SearchStatus {
            documents: searcher.num_docs(),
            segments: searcher.segment_readers().len() as u64,
            watermarks: opened.progress().watermarks().clone(),
        }
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.opened.read())
    }

    /// Replaces a damaged index by an empty one.
    pub(crate) fn start_anew(&self) -> Result<(), SearchError> {
        let mut opened = self.opened.write();
        opened.close();
        *opened = Arc::new(Opened::anew(&self.dir)?);
        Ok(())
    }
}

impl Opened {
    /// The index in `dir`, if it is there, readable and of this version.
    fn existing(dir: &Path) -> Option<Opened> {
        let version: Version = serde_json::from_slice(&fs_err::read(dir.join(VERSION_FILE)).ok()?).ok()?;
        if version.version != fields::VERSION {
            return None;
        }
        let (schema, fields) = Fields::build();
        let index = Index::open_in_dir(dir).ok().filter(|index| index.schema() == schema)?;
        Opened::of(index, fields).ok()
    }

    /// An empty index in `dir`. Whatever an index left there is deleted; other files are left alone.
    fn anew(dir: &Path) -> Result<Opened, SearchError> {
        let failed = |source| SearchError::Folder { dir: dir.to_owned(), source };
        fs_err::create_dir_all(dir).map_err(failed)?;
        for entry in fs_err::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if belongs_to_index(&path) {
                fs_err::remove_file(&path).map_err(failed)?;
            }
        }
        let (schema, fields) = Fields::build();
        let index = Index::create_in_dir(dir, schema)?;
        let version = serde_json::to_vec(&Version { version: fields::VERSION }).unwrap_or_default();
        fs_err::write(dir.join(VERSION_FILE), version).map_err(failed)?;
        Opened::of(index, fields)
    }

    fn of(index: Index, fields: Fields) -> Result<Opened, SearchError> {
        fields::register(&index);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let payload = index.load_metas()?.payload;
        let damaged = || TantivyError::InternalError("the progress of the index cannot be read".to_owned());
        let progress = Progress::read(payload.as_deref()).ok_or_else(damaged)?;
        Ok(Opened { fields, index, reader, feed: Mutex::new(Feed { writer: None, progress }) })
    }

    /// How far the index has come, and the documents of just that moment.
    pub(crate) fn at_rest(&self) -> (Progress, Searcher) {
        let feed = self.feed.lock();
        (feed.progress.clone(), self.reader.searcher())
    }

    pub(crate) fn progress(&self) -> Progress {
        self.feed.lock().progress.clone()
    }

    /// Adds documents; they are found after the next [`Opened::commit`].
    pub(crate) fn add(&self, documents: Vec<TantivyDocument>, dir: &Path) -> Result<(), SearchError> {
        self.feed(documents, dir, |_, _| {})
    }

    /// Adds documents in place of those of the same calls.
    pub(crate) fn replace(&self, documents: Vec<TantivyDocument>, dir: &Path) -> Result<(), SearchError> {
        let id = self.fields.interaction_id;
        self.feed(documents, dir, |writer, document| {
            if let Some(value) = document.get_first(id).and_then(|value| value.as_str()) {
                writer.delete_term(Term::from_field_text(id, value));
            }
        })
    }

    fn feed(
        &self,
        documents: Vec<TantivyDocument>,
        dir: &Path,
        before: impl Fn(&IndexWriter, &TantivyDocument),
    ) -> Result<(), SearchError> {
        let mut feed = self.feed.lock();
        if feed.writer.is_none() {
            let in_use = |error| match error {
                TantivyError::LockFailure(..) => SearchError::InUse { dir: dir.to_owned() },
                other => SearchError::Index(other),
            };
            feed.writer = Some(self.index.writer_with_num_threads(1, WRITER_BYTES).map_err(in_use)?);
        }
        if let Some(writer) = &feed.writer {
            for document in documents {
                before(writer, &document);
                writer.add_document(document)?;
            }
        }
        Ok(())
    }

    /// Makes everything added so far visible, and remembers in the same step how far the index has come.
    pub(crate) fn commit(&self, progress: Progress) -> Result<(), SearchError> {
        let mut feed = self.feed.lock();
        if let Some(writer) = &mut feed.writer {
            let mut commit = writer.prepare_commit()?;
            commit.set_payload(&progress.to_payload());
            commit.commit()?;
            self.reader.reload()?;
        }
        feed.progress = progress;
        Ok(())
    }

    /// Forgets documents that were added and not committed.
    pub(crate) fn roll_back(&self) {
        self.close();
    }

    fn close(&self) {
        self.feed.lock().writer = None;
    }

    fn find(&self, query: &SearchQuery) -> Result<SearchResult, SearchError> {
        let words = query::parse(&query.text, &self.fields)?;
        let searcher = self.reader.searcher();
        let limit = if query.limit == 0 { 20 } else { query.limit.min(MAX_HITS) };
        let newest = TopDocs::with_limit(limit).and_offset(query.offset.min(MAX_OFFSET));
        let newest = newest.order_by_fast_field::<i64>("started_at", Order::Desc);
        let narrowed = self.narrowed(words.box_clone(), query);
        let (total, found) = searcher.search(&narrowed, &(Count, newest))?;
        let mut snippets = SnippetGenerator::create(&searcher, words.as_ref(), self.fields.body)?;
        snippets.set_max_num_chars(SNIPPET_CHARS);
        let mut hits = Vec::with_capacity(found.len());
        for (_, address) in found {
            hits.push(self.hit(&searcher, address, &snippets)?);
        }
        Ok(SearchResult { total: total as u64, hits, elapsed_us: 0 })
    }

    fn narrowed(&self, words: Box<dyn Query>, query: &SearchQuery) -> BooleanQuery {
        let mut all = vec![(Occur::Must, words)];
        for (field, value) in [
            (self.fields.team, &query.team),
            (self.fields.model, &query.model),
            (self.fields.provider, &query.provider),
            (self.fields.outcome, &query.outcome),
        ] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                all.push((Occur::Must, query::exactly(field, value)));
            }
        }
        if let Some(teams) = &query.only_teams {
            all.push((Occur::Must, self.of_one(teams)));
        }
        if let Some(tenant) = &query.only_tenant {
            all.push((Occur::Must, query::exactly(self.fields.tenant, tenant)));
        }
        if query.from_us.is_some() || query.to_us.is_some() {
            use std::ops::Bound::{Excluded, Included, Unbounded};
            let time = |time_us| Term::from_field_i64(self.fields.started_at, time_us);
            let from = Included(time(query.from_us.unwrap_or(i64::MIN)));
            let to = query.to_us.map_or(Unbounded, |time_us| Excluded(time(time_us)));
            all.push((Occur::Must, Box::new(RangeQuery::new(from, to))));
        }
        BooleanQuery::new(all)
    }

    /// Calls of one of `teams`; none at all if the list is empty.
    fn of_one(&self, teams: &[(String, String)]) -> Box<dyn Query> {
        if teams.is_empty() {
            return Box::new(EmptyQuery);
        }
        let both = |(tenant, team): &(String, String)| -> Box<dyn Query> {
            let parts = vec![query::exactly(self.fields.tenant, tenant), query::exactly(self.fields.team, team)];
            Box::new(BooleanQuery::intersection(parts))
        };
        Box::new(BooleanQuery::union(teams.iter().map(both).collect()))
    }

    fn hit(&self, searcher: &Searcher, address: DocAddress, snippets: &SnippetGenerator) -> Result<Hit, SearchError> {
        let document: TantivyDocument = searcher.doc(address)?;
        let text = |field| document.get_first(field).and_then(|value| value.as_str()).map(str::to_owned);
        let bodies: Vec<&str> = document.get_all(self.fields.body).filter_map(|value| value.as_str()).collect();
        let (place, snippet_html) = snippet(&bodies, snippets);
        let role = document.get_all(self.fields.role).nth(place).and_then(|value| value.as_str());
        let started_at_us = document.get_first(self.fields.started_at).and_then(|value| value.as_i64());
        Ok(Hit {
            interaction_id: text(self.fields.interaction_id).unwrap_or_default(),
            started_at_us: started_at_us.unwrap_or_default(),
            tenant: text(self.fields.tenant).unwrap_or_default(),
            team: text(self.fields.team).unwrap_or_default(),
            model: text(self.fields.model).unwrap_or_default(),
            provider: text(self.fields.provider),
            outcome: text(self.fields.outcome),
            role: role.unwrap_or_default().to_owned(),
            snippet_html,
        })
    }
}

/// The message with the most words found and the part of it that shows them; without words, the end of the conversation.
fn snippet(bodies: &[&str], snippets: &SnippetGenerator) -> (usize, String) {
    let mut best: Option<(usize, usize, String)> = None;
    for (place, body) in bodies.iter().enumerate() {
        let mut found = snippets.snippet(body);
        let words = found.highlighted().len();
        // Of equals the last: a conversation repeats itself, and its end is what the call added.
        if words > 0 && best.as_ref().is_none_or(|(_, most, _)| words >= *most) {
            found.set_snippet_prefix_postfix("<mark>", "</mark>");
            best = Some((place, words, found.to_html()));
        }
    }
    if let Some((place, _, html)) = best {
        return (place, html);
    }
    let Some(last) = bodies.iter().rposition(|body| !body.trim().is_empty()) else { return (0, String::new()) };
    let start: String = bodies[last].chars().take(SNIPPET_CHARS).collect();
    (last, escaped(&start))
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#x27;"),
            other => html.push(other),
        }
    }
    html
}

/// Whether a file in the folder was put there by an index.
fn belongs_to_index(path: &Path) -> bool {
    const ENDINGS: &[&str] = &["idx", "term", "pos", "store", "fast", "fieldnorm", "del", "temp"];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    matches!(name, VERSION_FILE | "meta.json" | ".managed.json" | ".tantivy-writer.lock" | ".tantivy-meta.lock")
        || ENDINGS.contains(&ending)
        || name.starts_with(".tmp")
}
