//! Where answers are kept for aliases and routes that want them given again (`cache`), and how many. Whether any is kept is
//! said there: without such an alias or route, this section changes nothing.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_gateway::CacheSettings;
use tollgate_policy::bundle::BundleError as SourceError;

use super::{Config, mistake};

const MIB: u64 = 1024 * 1024;
/// Less would be used up by the library's own pages.
const LEAST_BYTES: u64 = 4 * MIB;

/// The `cache` section.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Directory of the answers, a path relative to this file. It holds what was said, in the clear. Default: `cache` in the
    /// data directory.
    pub directory: Option<PathBuf>,
    /// What all answers may take together, in bytes, from 4 MiB. Those given least recently make room. Default: 512 MiB.
    #[schemars(with = "Option<u64>")]
    pub max_bytes: Option<Spanned<u64>>,
    /// Longest answer that is kept, in bytes. Default: 2 MiB.
    #[schemars(with = "Option<u64>")]
    pub max_answer_bytes: Option<Spanned<u64>>,
}

impl Config {
    pub(super) fn check_cache(&self) -> Result<(), SourceError> {
        let Cache { max_bytes, max_answer_bytes, .. } = &self.cache;
        if let Some(max) = max_bytes.as_ref().filter(|max| max.value < LEAST_BYTES) {
            let message = format!("`cache.max_bytes` is {}; write at least {LEAST_BYTES}, which is 4 MiB", max.value);
            return Err(mistake(max.referenced, message));
        }
        let (whole, answer) = self.cache_bytes();
        match max_answer_bytes {
            Some(max) if answer == 0 || answer > whole / 4 => {
                let message = format!(
                    "`cache.max_answer_bytes` is {answer}; write 1 to {}, a quarter of `cache.max_bytes`",
                    whole / 4
                );
                Err(mistake(max.referenced, message))
            }
            _ => Ok(()),
        }
    }

    fn cache_bytes(&self) -> (u64, u64) {
        let Cache { max_bytes, max_answer_bytes, .. } = &self.cache;
        let whole = max_bytes.as_ref().map_or(512 * MIB, |max| max.value);
        (whole, max_answer_bytes.as_ref().map_or((2 * MIB).min(whole / 4), |max| max.value))
    }

    /// Where the answers of a process are kept whose data directory is `data`.
    #[must_use]
    pub fn cache_settings(&self, data: &Path) -> CacheSettings {
        let folder = match &self.cache.directory {
            Some(directory) => self.folder.join(directory),
            None => data.join("cache"),
        };
        let (max_bytes, max_answer_bytes) = self.cache_bytes();
        CacheSettings {
            folder,
            max_bytes,
            max_entry_bytes: usize::try_from(max_answer_bytes).unwrap_or(usize::MAX),
            patience: CacheSettings::PATIENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_policy::cache::Per;

    use super::*;

    fn parsed(yaml: &str) -> Result<Config, SourceError> {
        Config::parse(yaml, PathBuf::from("/etc/tollgate"), |_| None)
    }

    #[test]
    fn answers_are_kept_with_the_data_unless_a_place_is_named() {
        let settings = parsed("").unwrap().cache_settings(Path::new("/data"));
        assert_eq!(settings.folder, Path::new("/data/cache"));
        assert_eq!((settings.max_bytes, settings.max_entry_bytes), (512 << 20, 2 << 20));
        let config = parsed("cache: {directory: answers, max_bytes: 4194304}\n").unwrap();
        let settings = config.cache_settings(Path::new("/data"));
        assert_eq!(settings.folder, Path::new("/etc/tollgate/answers"));
        assert_eq!((settings.max_bytes, settings.max_entry_bytes), (4 << 20, 1 << 20));
    }

    #[test]
    fn sizes_that_leave_no_room_are_refused_with_their_place() {
        let error = parsed("cache:\n  max_bytes: 1000\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 14), "{error}");
        let error = parsed("cache:\n  max_answer_bytes: 999999999\n").unwrap_err();
        assert!(error.to_string().contains("a quarter of"), "{error}");
        let error = parsed("cache: {max_byte: 5}\n").unwrap_err();
        assert!(error.to_string().contains("did you mean `max_bytes`?"), "{error}");
    }

    fn alias(cache: &str) -> Result<Config, SourceError> {
        let providers =
            "providers:\n  upstream: {dialect: openai, base_url: 'http://127.0.0.1:1/v1', models: [a, embed]}\n";
        parsed(&format!("{providers}models:\n  faq:\n    targets: [upstream/a]\n    cache: {cache}\n"))
    }

    #[test]
    fn an_alias_says_for_whom_and_how_long_answers_are_kept() {
        let config =
            alias("{ttl: 10m, per: user, coalesce: true, semantic: {model: upstream/embed, threshold: 0.9}}").unwrap();
        let settings = config.gateway_settings([0; 32], String::new());
        let rule = settings.models[0].conduct.cache.as_ref().unwrap();
        assert_eq!((rule.ttl.duration(), rule.per, rule.coalesce), (Duration::from_secs(600), Per::User, true));
        assert_eq!(rule.semantic.as_ref().unwrap().model.name, "upstream/embed");
    }

    #[test]
    fn what_an_alias_cannot_mean_is_refused_with_its_place() {
        for (cache, column, message) in [
            ("{ttl: 0s}", 18, "`0s` is not how long"),
            ("{ttl: 1h, semantic: {model: upstream/embed, threshold: 1.1}}", 0, "is not a share"),
            ("{ttl: 1h, semantic: {model: upstrem/embed, threshold: 0.9}}", 40, "did you mean `upstream`?"),
            ("{ttl: 1h, semantic: {model: faqq, threshold: 0.9}}", 40, "did you mean `faq`?"),
            ("{ttl: 1h, semantc: {}}", 0, "did you mean `semantic`?"),
        ] {
            let error = alias(cache).unwrap_err();
            assert_eq!(error.line, 6, "{cache}: {error}");
            assert!(error.message.contains(message), "{cache}: {error}");
            if column > 0 {
                assert_eq!(error.column, column, "{cache}: {error}");
            }
        }
    }
    #[test]
    fn a_route_of_a_bundle_names_an_embedding_model_that_is_served_here() {
        let config = alias("{ttl: 1h}").unwrap();
        let check = |model: &str| {
            let head = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess: [{id: all, when: 'true', allow: {}}]\n";
            let cache = format!("cache: {{ttl: 1h, semantic: {{model: {model}, threshold: 0.9}}}}");
            let yaml = format!("{head}routes:\n  - {{id: r, alias: fast, targets: [upstream/a], {cache}}}\n");
            config.check_routes(&tollgate_policy::bundle::load(&yaml).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(check("upstream/embed"), Ok(()));
        let error = check("upstream/embd").unwrap_err();
        assert!(error.starts_with("line 5, column 84: `upstream/embd`"), "{error}");
        assert!(error.contains("did you mean `upstream/embed`?"), "{error}");
    }
}
