//! What `tollgate witness` takes from the file.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_policy::bundle::BundleError as SourceError;

use super::{mistake, unwritten};

/// The `witness` section; only `tollgate witness` reads it.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Witness {
    /// Address to listen on, `HOST:PORT`; port 0 picks a free one.
    #[schemars(with = "String")]
    pub listen: Spanned<String>,
    /// Public keys of the logs to cosign, as `tollgate audit key` prints them. After a log's key was rotated, both of its keys.
    pub logs: Vec<String>,
}

impl Default for Witness {
    fn default() -> Self {
        Witness { listen: unwritten("127.0.0.1:8085"), logs: Vec::new() }
    }
}

impl Witness {
    pub(super) fn check(&self) -> Result<(), SourceError> {
        self.listen.value.parse::<SocketAddr>().map(|_| ()).map_err(|_| {
            let message =
                format!("`{}` is not an address; write HOST:PORT, such as `127.0.0.1:8085`", self.listen.value);
            mistake(self.listen.referenced, message)
        })
    }
}
