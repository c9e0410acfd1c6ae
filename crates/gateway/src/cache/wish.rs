//! What a caller wishes of the cache, in `cache-control` (RFC 9111 §5.2.1). What is not understood is not acted on.

use std::time::Duration;

use http::{HeaderMap, header};

/// What a caller wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Nothing is given again, and nothing kept.
    pub(super) no_store: bool,
    /// Nothing is given again; what is answered is kept.
    pub(super) no_cache: bool,
    /// Nothing older is given again.
    pub(super) max_age: Option<Duration>,
}

impl Wish {
    pub(super) fn of(headers: &HeaderMap) -> Wish {
        let mut wish = Wish::default();
        let said = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in said.flat_map(|value| value.split(',')).map(str::trim) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            if name.eq_ignore_ascii_case("no-store") {
                wish.no_store = true;
            } else if name.eq_ignore_ascii_case("no-cache") {
                wish.no_cache = true;
            } else if name.eq_ignore_ascii_case("max-age") {
                // A quoted number is read as well, as the standard advises. An age that is none is the strictest one.
                let seconds = argument.trim().trim_matches('"').parse().unwrap_or(0);
                let age = Duration::from_secs(seconds);
                wish.max_age = Some(wish.max_age.map_or(age, |known| known.min(age)));
            }
        }
        wish
    }
}

/// Whether whoever answers does not want the answer to be kept.
pub(super) fn forbids_keeping(headers: &HeaderMap) -> bool {
    Wish::of(headers).no_store
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(values: &[&'static str]) -> Wish {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CACHE_CONTROL, http::HeaderValue::from_static(value));
        }
        Wish::of(&headers)
    }

    #[test]
    fn wishes_are_read_wherever_they_stand() {
        assert_eq!(wish(&[]), Wish::default());
        assert!(wish(&["no-Store"]).no_store && wish(&["private, no-store"]).no_store);
        assert!(wish(&["max-age=5", "no-cache"]).no_cache);
        assert_eq!(wish(&["max-age=60, max-age=5"]).max_age, Some(Duration::from_secs(5)));
        assert_eq!(wish(&["max-age=\"60\""]).max_age, Some(Duration::from_secs(60)));
        assert_eq!(wish(&["max-age=soon"]).max_age, Some(Duration::ZERO));
        assert_eq!(wish(&["no-storeroom, stale-while-revalidate=1"]), Wish::default());
    }
}
