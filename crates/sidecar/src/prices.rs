//! The sidecar's copy of the price catalogue: what its control plane prices by, kept in the data directory in the same form,
//! and the rows of its own configuration before it. A sidecar that cannot download keeps the copy it has.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tollgate_config::{Config, PriceBook, keep_prices, kept_prices};
use tollgate_gateway::Gateway;
use tollgate_provider::price::CatalogFiles;

use crate::snapshot::ControlPlane;

/// What a control plane calls the prices that come with the program.
const BUILTIN: &str = "builtin";

/// The copy on disk.
#[derive(Clone, Debug)]
pub(crate) struct PriceCopy {
    pub(crate) config: Config,
    pub(crate) data: PathBuf,
}

impl PriceCopy {
    /// The prices in force.
    ///
    /// # Errors
    /// If the copy or the configured rows cannot be used.
    pub(crate) fn book(&self) -> anyhow::Result<PriceBook> {
        Ok(self.config.price_book(&self.data)?)
    }

    /// Brings the copy to what the control plane last named; whether that made it another.
    ///
    /// # Errors
    /// If it cannot be downloaded or is no catalogue: the copy stays as it was.
    pub(crate) async fn catch_up(&self, plane: &ControlPlane) -> anyhow::Result<bool> {
        // A control plane of an earlier version names none.
        let Some(wanted) = plane.prices() else { return Ok(false) };
        let here = kept_prices(&self.data)?.map_or_else(|| BUILTIN.to_owned(), |kept| kept.id());
        if wanted == here {
            return Ok(false);
        }
        let downloaded = plane.download_prices().await?;
        if downloaded.is_empty() {
            keep_prices(&self.data, None)?;
            return Ok(true);
        }
        let update = CatalogFiles::from_json(&downloaded).context("the control plane's prices are not usable")?;
        self.config.price_book_with(Some(update.clone()), &self.data)?;
        keep_prices(&self.data, Some(&update))?;
        Ok(true)
    }

    /// Lets `gateway` price by what the control plane prices by.
    ///
    /// # Errors
    /// As [`PriceCopy::catch_up`]; the gateway keeps its prices.
    pub(crate) async fn keep_up(&self, plane: &ControlPlane, gateway: &Gateway) -> anyhow::Result<()> {
        if self.catch_up(plane).await? {
            let book = self.book()?;
            gateway.use_prices(Arc::clone(&book.catalog));
            tracing::info!(catalog.id = book.id(), "calls are priced by another catalogue from now on");
        }
        Ok(())
    }
}
