//! The files a page needs besides itself: one style sheet, one script, one icon. They are part of the binary, and their
//! names carry a hash of their content, so a browser may keep them for ever and never shows an old one.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A file under `/static/`.
#[derive(Debug)]
pub struct Asset {
    /// `style.0a1b2c3d4e5f.css`.
    pub file_name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub content: &'static [u8],
}

const STYLE: &str = concat!(
    include_str!("../../../web/static/base.css"),
    include_str!("../../../web/static/layout.css"),
    include_str!("../../../web/static/parts.css"),
    include_str!("../../../web/static/chart.css"),
    include_str!("../../../web/static/pages.css"),
);
const SCRIPT: &str = include_str!("../../../web/static/console.js");
const ICON: &str = include_str!("../../../web/static/icon.svg");

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("style", "css", "text/css; charset=utf-8", STYLE.as_bytes()),
        asset("console", "js", "text/javascript; charset=utf-8", SCRIPT.as_bytes()),
        asset("icon", "svg", "image/svg+xml", ICON.as_bytes()),
    ]
});

fn asset(stem: &str, extension: &str, content_type: &'static str, content: &'static [u8]) -> Asset {
    let hash = Sha256::digest(content);
    let short: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Asset { file_name: format!("{stem}.{short}.{extension}"), content_type, content }
}

/// The asset with exactly this name.
#[must_use]
pub fn find(file_name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.file_name == file_name)
}

/// Address of the style sheet.
#[must_use]
pub fn style_url() -> String {
    format!("/static/{}", ASSETS[0].file_name)
}

/// Address of the script.
#[must_use]
pub fn script_url() -> String {
    format!("/static/{}", ASSETS[1].file_name)
}

/// Address of the icon.
#[must_use]
pub fn icon_url() -> String {
    format!("/static/{}", ASSETS[2].file_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_by_the_name_pages_use_and_by_no_other() {
        let url = style_url();
        let asset = find(url.strip_prefix("/static/").unwrap()).unwrap();
        assert!(asset.content.len() > 1_000);
        assert!(find("style.css").is_none());
    }
}
