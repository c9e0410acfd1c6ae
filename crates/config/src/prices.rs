//! The price catalogue in force, for both binaries alike: the files that come with the program, those of an update in
//! their place, which is kept in the data directory, and the operator's own rows before all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_provider::price::{Catalog, CatalogError, CatalogFile, CatalogFiles, CatalogFilesError, builtin_id};

use crate::{Config, ConfigError};

/// Name of the update in a data directory.
pub const PRICES_FILE: &str = "prices.json";

/// The `catalog` section.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PriceSettings {
    /// Your own prices: a YAML file of the catalogue's form, or a folder of such files; a path relative to this file.
    /// Their rows come before those of the same provider and model. A running
    /// server takes up a change of them within seconds; a sidecar reads them at start.
    #[schemars(with = "Option<String>")]
    pub prices: Option<Spanned<String>>,
}

/// Why there are no prices.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// The file that `catalog.prices` names cannot be read.
    #[error(transparent)]
    Named(#[from] ConfigError),
    /// A file or folder cannot be read.
    #[error("the prices in `{}` cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The data directory does not take an update.
    #[error("the price update cannot be kept as `{}`", path.display())]
    Keep {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder without a catalogue.
    #[error("`{}` holds no `.yaml` file; name a file or folder of the form that `crates/provider/catalog` has", path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// The update is damaged.
    #[error(
        "the price update `{}` cannot be used; put it in place again with `tollgate prices update`, or remove it to return \
         to the prices that come with the program", path.display()
    )]
    Update {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: CatalogFilesError,
    },
    /// The operator's own rows make no catalogue.
    #[error("your own prices in `{}` cannot be used", path.display())]
    Own {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: CatalogError,
    },
}

/// The prices in force and where they come from.
#[derive(Clone, Debug)]
pub struct PriceBook {
    /// What calls are priced by.
    pub catalog: Arc<Catalog>,
    /// Files in place of those that come with the program; `None` without an update.
    pub update: Option<CatalogFiles>,
    /// The operator's own.
    pub own: Option<CatalogFiles>,
}

impl PriceBook {
    /// Names the prices by what they say: the files' hash, then, after a `+`, that of the operator's own.
    #[must_use]
    pub fn id(&self) -> String {
        let files = self.update.as_ref().map_or_else(builtin_id, CatalogFiles::id);
        match &self.own {
            Some(own) => format!("{files}+{}", own.id()),
            None => files,
        }
    }
}

impl Config {
    /// The prices in force on the data directory `data`.
    ///
    /// # Errors
    /// [`PricesError`] names the file that cannot be used.
    pub fn price_book(&self, data: &Path) -> Result<PriceBook, PricesError> {
        self.price_book_with(kept_prices(data)?, &data.join(PRICES_FILE))
    }

    /// The file or folder that `catalog.prices` names.
    #[must_use]
    pub fn own_prices(&self) -> Option<PathBuf> {
        self.catalog.prices.as_ref().map(|written| self.folder.join(&written.value))
    }

    /// What is wrong with the file or folder that `catalog.prices` names, at the place where it does.
    fn named_prices(&self, error: PricesError) -> PricesError {
        let cause = match &error {
            PricesError::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        let Some(written) = &self.catalog.prices else { return error };
        let message = format!(
            "the prices that `catalog.prices` names cannot be read: {cause}; a path is relative to this file: correct it, or \
             leave the line out for the prices that come with the program"
        );
        self.mistake_at(written.referenced, message).into()
    }

    /// The prices in force with this update, which stands or will stand at `path`.
    ///
    /// # Errors
    /// [`PricesError`] names the file that cannot be used.
    pub fn price_book_with(&self, update: Option<CatalogFiles>, path: &Path) -> Result<PriceBook, PricesError> {
        let unusable = |source: CatalogError| PricesError::Update { path: path.to_owned(), source: source.into() };
        let mut catalog = Catalog::builtin().map_err(unusable)?;
        if let Some(update) = &update {
            let documents = update.documents().map_err(unusable)?;
            catalog = catalog.with_documents(documents).map_err(unusable)?;
        }
        let mut own = None;
        if let Some(path) = self.own_prices() {
            let files = read_prices(&path).map_err(|error| self.named_prices(error))?;
            let unusable = |source| PricesError::Own { path: path.clone(), source };
            for document in files.documents().map_err(unusable)? {
                catalog = catalog.with_overrides(document).map_err(unusable)?;
            }
            own = Some(files);
        }
        self.check_price_lists(&catalog)?;
        Ok(PriceBook { catalog: Arc::new(catalog), update, own })
    }
}

/// The update that is kept in a data directory, if one is.
///
/// # Errors
/// [`PricesError`] if it cannot be read.
pub fn kept_prices(data: &Path) -> Result<Option<CatalogFiles>, PricesError> {
    let path = data.join(PRICES_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PricesError::Read { path, source }),
    };
    CatalogFiles::from_json(&text).map(Some).map_err(|source| PricesError::Update { path, source })
}

/// Keeps `update` in a data directory, or with `None` returns to the prices that come with the program. After a crash the
/// old update is there, or the new one.
///
/// # Errors
/// [`PricesError::Keep`] if the disk does not take it.
pub fn keep_prices(data: &Path, update: Option<&CatalogFiles>) -> Result<(), PricesError> {
    let path = data.join(PRICES_FILE);
    let failed = |source| PricesError::Keep { path: path.clone(), source };
    match update {
        Some(update) => {
            write_in_place(&path, &update.to_json().map_err(|error| failed(error.into()))?).map_err(failed)?
        }
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        },
    }
    fs::File::open(data).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn write_in_place(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let temporary = path.with_extension("json.new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// The catalogue files at `path`: the file, or the `.yaml` files of the folder. Their text is not looked at.
///
/// # Errors
/// [`PricesError::Read`] or [`PricesError::NoFiles`].
pub fn read_prices(path: &Path) -> Result<CatalogFiles, PricesError> {
    let failed = |source| PricesError::Read { path: path.to_owned(), source };
    let paths = if fs::metadata(path).map_err(failed)?.is_dir() {
        let entries: Result<Vec<PathBuf>, std::io::Error> =
            fs::read_dir(path).map_err(failed)?.map(|entry| Ok(entry?.path())).collect();
        let is_yaml = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        entries.map_err(failed)?.into_iter().filter(is_yaml).collect()
    } else {
        vec![path.to_owned()]
    };
    if paths.is_empty() {
        return Err(PricesError::NoFiles { path: path.to_owned() });
    }
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|source| PricesError::Read { path: path.clone(), source })?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.push(CatalogFile { name, text });
    }
    Ok(CatalogFiles::new(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPDATE: &str = "provider: groq\nsource: s\nchecked: 2026-11-01\nmodels:\n  - {id: m, prices: [{from: release, input: \"7\"}]}\n";

    fn files(name: &str, text: &str) -> CatalogFiles {
        CatalogFiles::new(vec![CatalogFile { name: name.to_owned(), text: text.to_owned() }])
    }

    fn price(book: &PriceBook, model: &str) -> Option<String> {
        book.catalog.input_price("groq", model).map(|price| price.to_string())
    }

    #[test]
    fn an_update_takes_the_place_of_its_providers_file_until_it_is_taken_away() {
        let data = tempfile::tempdir().unwrap();
        let config = Config::default();
        let builtin = config.price_book(data.path()).unwrap();
        assert_eq!((price(&builtin, "m"), builtin.update.is_none()), (None, true));
        keep_prices(data.path(), Some(&files("groq.yaml", UPDATE))).unwrap();
        let updated = config.price_book(data.path()).unwrap();
        assert_eq!(price(&updated, "m").as_deref(), Some("7.00"));
        assert!(updated.catalog.input_price("openai", "gpt-5").is_some(), "other providers keep their prices");
        assert_ne!(updated.id(), builtin.id());
        keep_prices(data.path(), None).unwrap();
        assert_eq!(config.price_book(data.path()).unwrap().id(), builtin.id());
    }

    #[test]
    fn the_operators_own_rows_come_before_an_update() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("own.yaml"), UPDATE.replace("\"7\"", "\"5\"")).unwrap();
        let config = Config::parse("catalog: {prices: own.yaml}", data.path().to_owned(), |_| None).unwrap();
        let book = config.price_book_with(Some(files("groq.yaml", UPDATE)), Path::new("prices.json")).unwrap();
        assert_eq!(price(&book, "m").as_deref(), Some("5.00"));
        assert!(book.id().contains('+'));
    }

    #[test]
    fn own_prices_that_cannot_be_read_are_told_by_their_place() {
        let data = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let text = format!("server: {{}}\ncatalog:\n  prices: {name}\n");
            let config = Config::parse(&text, data.path().to_owned(), |_| None).unwrap();
            config.price_book(data.path()).unwrap_err()
        };
        let missing = named("nowhere.yaml").to_string();
        assert!(missing.contains("line 3, column 11") && missing.contains("nowhere.yaml"), "{missing}");
        let empty = tempfile::tempdir_in(data.path()).unwrap();
        let empty = named(&empty.path().file_name().unwrap().to_string_lossy()).to_string();
        assert!(empty.contains("line 3, column 11") && empty.contains("holds no `.yaml` file"), "{empty}");
        std::fs::write(
            data.path().join("own.yaml"),
            "provider: groq\nsource: s\nmodels: [{id: m, prices: [{from: release, inptu: \"1\"}]}]\n",
        )
        .unwrap();
        let broken = named("own.yaml");
        let cause = std::error::Error::source(&broken).unwrap().to_string();
        assert!(cause.contains("`own.yaml`, line 3, column") && cause.contains("inptu"), "{cause}");
        std::fs::write(data.path().join("own.yaml"), "provider: [groq\n").unwrap();
        let cause = std::error::Error::source(&named("own.yaml")).unwrap().to_string();
        assert!(cause.contains("`own.yaml`, line ") && !cause.contains('\n'), "{cause}");
    }

    #[test]
    fn a_damaged_update_and_a_folder_without_prices_are_named() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(PRICES_FILE), "{").unwrap();
        let error = Config::default().price_book(data.path()).unwrap_err();
        assert!(error.to_string().contains(PRICES_FILE), "{error}");
        let error = read_prices(&data.path().join("none")).unwrap_err();
        assert!(matches!(error, PricesError::Read { .. }), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(read_prices(empty.path()), Err(PricesError::NoFiles { .. })));
    }
}
