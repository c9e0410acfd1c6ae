//! Where a provider is, as written: the four places that its calls touch, and how well that is known.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tollgate_policy::bundle::BundleError as SourceError;
use tollgate_policy::residency::{Evidence, Place, Places};

use crate::mistake;

/// The section `places` of a provider. A place is a region of a cloud (`eu-central-1`, `europe-west4`, `swedencentral`), a
/// country (`de`), `eu`, `eea`, `apac`, `on_prem` or `global`.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlacesWritten {
    /// Where the model runs. Default: the provider's `region`, where that is a known place.
    #[schemars(with = "Option<String>")]
    pub inference: Option<Spanned<String>>,
    /// Where prompts and answers are kept, if only for a while.
    #[schemars(with = "Option<String>")]
    pub storage: Option<Spanned<String>>,
    /// Where keys, accounts and routing are administered.
    #[schemars(with = "Option<String>")]
    pub control_plane: Option<Spanned<String>>,
    /// Whose law the operator is under: a country or a group of countries.
    #[schemars(with = "Option<String>")]
    pub operator: Option<Spanned<String>>,
    /// How well that is known.
    #[schemars(with = "Option<EvidenceNames>")]
    pub evidence: Evidence,
}

/// Names for the schema.
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "stands in the published schema for a type of another crate")]
enum EvidenceNames {
    /// The provider, or you, say so.
    Declared,
    /// A contract binds the provider to it.
    Contract,
    /// Each answer says where it was made.
    Header,
}

impl PlacesWritten {
    /// Refuses a place that is none.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        let PlacesWritten { inference, storage, control_plane, operator, .. } = self;
        for written in [inference, storage, control_plane, operator].into_iter().flatten() {
            Place::parse(&written.value).map_err(|error| mistake(written.referenced, error.to_string()))?;
        }
        Ok(())
    }

    /// The places of a provider in `region`. What was not understood, [`PlacesWritten::check`] has refused.
    pub(crate) fn places(&self, region: Option<&str>) -> Places {
        let place = |written: Option<&str>| written.and_then(|name| Place::parse(name).ok());
        let of = |written: &Option<Spanned<String>>| place(written.as_ref().map(|name| name.value.as_str()));
        Places {
            inference: of(&self.inference).or_else(|| place(region)),
            storage: of(&self.storage),
            control_plane: of(&self.control_plane),
            operator: of(&self.operator),
            evidence: self.evidence,
        }
    }
}

/// Those of the sandbox, which is this very program.
pub(crate) fn of_sandbox() -> Places {
    let here = Place::parse(tollgate_policy::residency::ON_PREM).ok();
    Places {
        inference: here.clone(),
        storage: here.clone(),
        control_plane: here.clone(),
        operator: here,
        evidence: Evidence::Header,
    }
}
