//! What a bundle says of itself, read without the rest: of bundles of the past too, which this version may not understand any
//! more.

use serde::Deserialize;

#[derive(Deserialize)]
struct Whole {
    bundle: Said,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    version: Option<String>,
}

/// The version that the authors of a bundle gave it; `None` if they gave none, or if the text is no bundle.
#[must_use]
pub fn version_of(yaml: &str) -> Option<String> {
    serde_saphyr::from_str::<Whole>(yaml).ok()?.bundle.version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_whatever_else_the_bundle_says() {
        let of = |about: &str| version_of(&format!("apiVersion: tollgate/v0\nbundle: {{{about}}}\nrules: [1]\n"));
        assert_eq!(of("name: a, version: 2026.11.2").as_deref(), Some("2026.11.2"));
        assert_eq!(of("name: a, version: '7'").as_deref(), Some("7"));
        assert_eq!(of("name: a, version: 7").as_deref(), Some("7"));
        assert_eq!(of("name: a"), None);
        assert_eq!(version_of("- no bundle\n"), None);
    }
}
