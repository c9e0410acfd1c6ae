//! The Merkle tree of the proof's log as C2SP `tlog-tiles` lays it out: tiles of 256 hashes, bundles of 256 entries. What is
//! needed to append is the right edge alone: the unfinished tile of every level.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{self, Hash, HashReader};
use tollgate_flush::store::Store;

use crate::error::LakeError;

/// Folder of the log under the root of the store.
pub(crate) const FOLDER: &str = "log";
/// Hashes of a full tile, entries of a full bundle.
const WIDTH: usize = 256;
/// Levels that 2⁶⁴ entries need.
const LEVELS: u32 = 8;
const HASH_BYTES: usize = 32;
/// Requests to the store at the same time.
const REQUESTS_AT_ONCE: usize = 16;

/// Why a tile or a bundle cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{path}` {problem}")]
pub struct TileError {
    /// Relative to the root of the store.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The right edge of a tree: of each level, the hashes of the tile that is not full.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
    /// Entries of the bundle that is not full.
    entries: Vec<Bytes>,
}

/// Objects to be put so that a tree of some size can be read.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

impl Edge {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The RFC 6962 root.
    pub(crate) fn root(&self) -> Hash {
        // From the right: the smallest complete subtrees stand in the lowest level.
        let mut root: Option<Hash> = None;
        for hashes in &self.levels {
            for hash in complete_subtrees(hashes).into_iter().rev() {
                root = Some(root.map_or(hash, |right| tlog::node_hash(hash, right)));
            }
        }
        root.unwrap_or_else(empty_root)
    }

    /// Appends an entry; full tiles and bundles go to `objects`.
    pub(crate) fn push(&mut self, entry: Bytes, objects: &mut Objects) {
        let mut hash = tlog::record_hash(&entry);
        self.entries.push(entry);
        if self.entries.len() == WIDTH {
            objects.insert(entries_path(self.size / WIDTH as u64, WIDTH), bundle(&self.entries));
            self.entries.clear();
        }
        self.size += 1;
        let mut tiles = self.size;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let tile = &mut self.levels[level];
            tile.push(hash);
            tiles /= WIDTH as u64;
            if tile.len() < WIDTH {
                return;
            }
            objects.insert(tile_path(level, tiles - 1, WIDTH), tile_bytes(tile));
            hash = subtree(tile);
            tile.clear();
        }
    }

    /// The unfinished tiles and the unfinished bundle, without which a tree of this size cannot be read.
    pub(crate) fn unfinished(&self, objects: &mut Objects) {
        if !self.entries.is_empty() {
            let index = self.size / WIDTH as u64;
            objects.insert(entries_path(index, self.entries.len()), bundle(&self.entries));
        }
        let mut tiles = self.size;
        for (level, tile) in self.levels.iter().enumerate() {
            tiles /= WIDTH as u64;
            if !tile.is_empty() {
                objects.insert(tile_path(level, tiles, tile.len()), tile_bytes(tile));
            }
        }
    }

    /// Reads the edge of a tree that is in the store; the caller compares its root.
    pub(crate) fn read(store: &Store, size: u64) -> BoxFuture<'_, Result<Result<Edge, TileError>, LakeError>> {
        async move {
            let mut edge = Edge { size, ..Edge::default() };
            for level in 0..LEVELS {
                let in_level = size >> (8 * level);
                if in_level == 0 {
                    break;
                }
                let (index, width) = split(in_level);
                let mut tile = Vec::new();
                if width > 0 {
                    let level = level as usize;
                    match read_first(store, tile_path(level, index, width), tile_path(level, index, WIDTH)).await? {
                        Ok((path, content)) => match hashes_of(&path, &content, width) {
                            Ok(hashes) => tile = hashes,
                            Err(error) => return Ok(Err(error)),
                        },
                        Err(error) => return Ok(Err(error)),
                    }
                }
                edge.levels.push(tile);
            }
            let (index, width) = split(size);
            if width > 0 {
                match read_entries_of(store, index, width).await? {
                    Ok(entries) => edge.entries = entries,
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(edge))
        }
        .boxed()
    }
}

/// Index of the tile that a tree with so many hashes in a level ends in, and how many of them are in it.
fn split(in_level: u64) -> (u64, usize) {
    // Below 256.
    (in_level / WIDTH as u64, usize::try_from(in_level % WIDTH as u64).unwrap_or(0))
}

/// SHA-256 of nothing: RFC 6962, section 2.1.
pub(crate) fn empty_root() -> Hash {
    use sha2::{Digest, Sha256};
    Hash(Sha256::digest([]).into())
}

/// Roots of the complete subtrees that these hashes make up, largest first.
fn complete_subtrees(hashes: &[Hash]) -> Vec<Hash> {
    let mut roots = Vec::new();
    let mut rest = hashes;
    while !rest.is_empty() {
        let largest = 1 << rest.len().ilog2();
        let (first, others) = rest.split_at(largest);
        roots.push(subtree(first));
        rest = others;
    }
    roots
}

/// Root over a power of two of hashes.
fn subtree(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            tlog::node_hash(subtree(left), subtree(right))
        }
    }
}

fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn hashes_of(path: &str, content: &[u8], width: usize) -> Result<Vec<Hash>, TileError> {
    let whole = content.len().is_multiple_of(HASH_BYTES) && content.len() >= width * HASH_BYTES;
    if !whole {
        let problem = format!("has {} bytes, of which {width} hashes cannot be read", content.len());
        return Err(TileError { path: path.to_owned(), problem });
    }
    let (hashes, _) = content.as_chunks::<HASH_BYTES>();
    Ok(hashes.iter().take(width).map(|hash| Hash(*hash)).collect())
}

fn bundle(entries: &[Bytes]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        // A header has some 500 bytes; see `commit::check_header`, which refuses what would not fit.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&entry[..usize::from(length)]);
    }
    bytes
}

fn entries_in(path: &str, content: &Bytes, width: usize) -> Result<Vec<Bytes>, TileError> {
    let cut = || TileError { path: path.to_owned(), problem: format!("does not hold {width} entries") };
    let mut entries = Vec::with_capacity(width);
    let mut at = 0;
    while entries.len() < width {
        let length = content.get(at..at + 2).ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let range = at + 2..at + 2 + length;
        if range.end > content.len() {
            return Err(cut());
        }
        at = range.end;
        entries.push(content.slice(range));
    }
    Ok(entries)
}

/// `x001/x234/067`: three digits to a folder.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

fn with_width(path: String, width: usize) -> String {
    if width == WIDTH { path } else { format!("{path}.p/{width}") }
}

fn tile_path(level: usize, index: u64, width: usize) -> String {
    with_width(format!("{FOLDER}/tile/{level}/{}", index_path(index)), width)
}

fn entries_path(index: u64, width: usize) -> String {
    with_width(format!("{FOLDER}/tile/entries/{}", index_path(index)), width)
}

/// Hashes of a tree in the store, by the numbers that `tlog_tiles` gives them: what a proof is made from.
pub(crate) struct Hashes(HashMap<u64, Hash>);

impl Hashes {
    /// Reads what a proof of a tree of this size asks for.
    pub(crate) async fn fetch(
        store: &Store,
        size: u64,
        wanted: &[u64],
    ) -> Result<Result<Hashes, TileError>, LakeError> {
        let mut tiles: HashMap<(u8, u64), (String, Bytes)> = HashMap::new();
        let mut hashes = HashMap::new();
        for index in wanted {
            let tile = Tile::from_index(8, *index);
            let place = (tile.level(), tile.level_index());
            if let Entry::Vacant(vacant) = tiles.entry(place) {
                let level = usize::from(place.0);
                let in_level = size >> (8 * u32::from(place.0));
                let width = usize::try_from(in_level - place.1 * WIDTH as u64).unwrap_or(WIDTH).min(WIDTH);
                let read = read_first(store, tile_path(level, place.1, width), tile_path(level, place.1, WIDTH));
                match read.await? {
                    Ok(tile) => vacant.insert(tile),
                    Err(error) => return Ok(Err(error)),
                };
            }
            let Some((path, content)) = tiles.get(&place) else { continue };
            match tile.hash_at_index(content, *index) {
                Ok(hash) => hashes.insert(*index, hash),
                Err(error) => return Ok(Err(TileError { path: path.clone(), problem: error.to_string() })),
            };
        }
        Ok(Ok(Hashes(hashes)))
    }
}

impl HashReader for Hashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        indexes.iter().map(|index| self.0.get(index).copied().ok_or(tlog::Error::IndexesNotInTree)).collect()
    }
}

/// Answers a proof's question with nothing and keeps the question.
#[derive(Default)]
struct Asked(RefCell<Vec<u64>>);

impl HashReader for Asked {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        self.0.borrow_mut().extend_from_slice(indexes);
        Err(tlog::Error::IndexesNotInTree)
    }
}

/// The numbers of the hashes that a proof needs, which it asks for all at once.
fn needed(prove: impl FnOnce(&Asked) -> Result<Vec<Hash>, tlog::Error>) -> Vec<u64> {
    let asked = Asked::default();
    // It fails for want of hashes; what it wanted is what this is about.
    let _ = prove(&asked);
    asked.0.into_inner()
}

/// The inclusion path of an entry in the tree of this size.
pub(crate) async fn inclusion(store: &Store, size: u64, entry: u64) -> Result<Result<Vec<Hash>, TileError>, LakeError> {
    let wanted = needed(|asked| tlog::prove_record(size, entry, asked));
    let fetched = Hashes::fetch(store, size, &wanted).await?;
    Ok(fetched.and_then(|hashes| tlog::prove_record(size, entry, &hashes).map_err(|error| unprovable(size, &error))))
}

/// The proof that the tree of size `old` is the beginning of that of size `size`.
pub(crate) async fn consistency(store: &Store, size: u64, old: u64) -> Result<Result<Vec<Hash>, TileError>, LakeError> {
    if old == 0 || old == size {
        return Ok(Ok(Vec::new()));
    }
    let wanted = needed(|asked| tlog::prove_tree(size, old, asked));
    let fetched = Hashes::fetch(store, size, &wanted).await?;
    Ok(fetched.and_then(|hashes| tlog::prove_tree(size, old, &hashes).map_err(|error| unprovable(size, &error))))
}

fn unprovable(size: u64, error: &tlog::Error) -> TileError {
    TileError { path: format!("{FOLDER}/tile"), problem: format!("gives no proof in a tree of size {size} ({error})") }
}

/// Reads the first of two objects that is there; the full tile serves for a partial one.
async fn read_first(
    store: &Store,
    partial: String,
    full: String,
) -> Result<Result<(String, Bytes), TileError>, LakeError> {
    for path in [&partial, &full] {
        let failed = |source| LakeError::Io { path: path.clone(), source };
        match store.object_store.get(&Path::from(path.as_str())).await {
            Ok(found) => return Ok(Ok((path.clone(), found.bytes().await.map_err(failed)?))),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(Err(TileError { path: partial, problem: "is missing".to_owned() }))
}

async fn read_entries_of(store: &Store, index: u64, width: usize) -> Result<Result<Vec<Bytes>, TileError>, LakeError> {
    let read = read_first(store, entries_path(index, width), entries_path(index, WIDTH)).await?;
    Ok(read.and_then(|(path, content)| entries_in(&path, &content, width)))
}

/// Every entry of a tree of this size, in order. An unreadable bundle stands as its error, once, in the place of its entries.
pub(crate) async fn read_entries(store: &Store, size: u64) -> Result<Vec<Result<Vec<Bytes>, TileError>>, LakeError> {
    let (full, rest) = split(size);
    let widths = (0..full).map(|index| (index, WIDTH)).chain((rest > 0).then_some((full, rest)));
    let reads = widths.map(|(index, width)| read_entries_of(store, index, width));
    let mut read = futures::stream::iter(reads).buffered(REQUESTS_AT_ONCE);
    let mut bundles = Vec::new();
    while let Some(bundle) = read.next().await {
        bundles.push(bundle?);
    }
    Ok(bundles)
}

/// Puts the objects; each is a function of the log's history, so putting one again changes nothing.
pub(crate) async fn put(store: &Store, objects: Objects) -> Result<(), LakeError> {
    let puts = objects.into_iter().map(|(path, content)| async move {
        let put = store.object_store.put(&Path::from(path.as_str()), content.into()).await;
        put.map_err(|source| LakeError::Io { path, source })
    });
    let mut done = futures::stream::iter(puts).buffer_unordered(REQUESTS_AT_ONCE);
    while let Some(put) = done.next().await {
        put?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tollgate_flush::batch_header;
    use tollgate_flush::store::{StoreOptions, open};

    use super::*;

    fn entry(number: u64) -> Bytes {
        format!("entry {number}").into()
    }

    fn grown(size: u64) -> (Edge, Objects) {
        let (mut edge, mut objects) = (Edge::default(), Objects::new());
        for number in 0..size {
            edge.push(entry(number), &mut objects);
        }
        edge.unfinished(&mut objects);
        (edge, objects)
    }

    /// The root by the definition of RFC 6962.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                tlog::node_hash(defined(left), defined(right))
            }
        }
    }

    #[test]
    fn the_edge_has_the_root_that_rfc_6962_defines() {
        let leaves: Vec<Hash> = (0..65_537).map(|number| Hash(batch_header::leaf_hash(&entry(number)))).collect();
        for size in [0, 1, 2, 3, 7, 255, 256, 257, 511, 513, 65_537] {
            assert_eq!(grown(size).0.root(), defined(&leaves[..usize::try_from(size).unwrap()]), "{size}");
        }
    }

    #[tokio::test]
    async fn an_edge_reads_back_from_its_tiles_and_grows_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
        let (edge, objects) = grown(600);
        assert!(objects.contains_key("log/tile/0/002.p/88") && objects.contains_key("log/tile/1/000.p/2"));
        put(&store, objects).await.unwrap();
        let mut read = Edge::read(&store, 600).await.unwrap().unwrap();
        assert_eq!(read, edge);
        for number in 600..700 {
            read.push(entry(number), &mut Objects::new());
        }
        assert_eq!(read, grown(700).0);
        let entries: Vec<Bytes> =
            read_entries(&store, 600).await.unwrap().into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(entries, (0..600).map(entry).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_missing_or_short_tile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
        put(&store, grown(300).1).await.unwrap();
        std::fs::write(folder.path().join("log/tile/0/001.p/44"), [1; 40]).unwrap();
        let error = Edge::read(&store, 300).await.unwrap().unwrap_err();
        assert_eq!(error.path, "log/tile/0/001.p/44");
        std::fs::remove_file(folder.path().join("log/tile/0/001.p/44")).unwrap();
        let error = Edge::read(&store, 300).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("is missing"), "{error}");
    }

    #[tokio::test]
    async fn proofs_from_tiles_hold_and_those_of_another_entry_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
        let (edge, objects) = grown(600);
        put(&store, objects).await.unwrap();
        for place in [0, 255, 256, 599] {
            let path = inclusion(&store, 600, place).await.unwrap().unwrap();
            let leaf = |number| Hash(batch_header::leaf_hash(&entry(number)));
            tlog::check_record(&path, 600, edge.root(), place, leaf(place)).unwrap();
            assert!(tlog::check_record(&path, 600, edge.root(), place, leaf(place + 1)).is_err());
        }
        let (older, objects) = grown(300);
        put(&store, objects).await.unwrap();
        let proof = consistency(&store, 600, 300).await.unwrap().unwrap();
        tlog::check_tree(&proof, 600, edge.root(), 300, older.root()).unwrap();
    }

    #[test]
    fn large_indexes_have_folders() {
        assert_eq!(index_path(7), "007");
        assert_eq!(index_path(1_234_067), "x001/x234/067");
    }
}
