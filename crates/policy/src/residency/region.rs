//! Names of places: regions of clouds, countries and groups of countries, and what lies within what. A name that is not
//! in the table is refused: what a place of an unknown name is within, nobody could say.

use std::fmt;

use crate::suggestion;

mod table;

use table::{ALIASES, COUNTRIES, GROUPS, REGIONS};

/// Within one's own walls. It says nothing of the country: a rule that accepts it says so.
pub const ON_PREM: &str = "on_prem";
/// Wherever there is room; within nothing else.
const GLOBAL: &str = "global";

/// A known place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Lower case.
    name: String,
    /// Its country and the groups that it belongs to.
    within: Vec<&'static str>,
}

/// A name that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no known place{advice}")]
pub struct UnknownPlace {
    name: String,
    advice: String,
}

impl Place {
    /// The place of this name; upper case is as good as lower.
    ///
    /// # Errors
    /// [`UnknownPlace`] with the name that was probably meant.
    pub fn parse(name: &str) -> Result<Place, UnknownPlace> {
        let lowered = name.trim().to_lowercase();
        let lowered = ALIASES.iter().find(|(alias, _)| *alias == lowered).map_or(lowered, |(_, of)| (*of).to_owned());
        let is_country = |code: &str| COUNTRIES.split(' ').any(|known| known == code);
        let is_group = GROUPS.iter().any(|(group, _)| *group == lowered) || [ON_PREM, GLOBAL].contains(&&*lowered);
        if let Some((_, country)) = REGIONS.iter().find(|(region, _)| *region == lowered) {
            let within = std::iter::once(*country).chain(groups_of(country)).collect();
            return Ok(Place { name: lowered, within });
        }
        if is_group {
            // What is within the Union is within the Area.
            let within = if lowered == "eu" { vec!["eea"] } else { Vec::new() };
            return Ok(Place { name: lowered, within });
        }
        if is_country(&lowered) {
            let within = groups_of(&lowered).collect();
            return Ok(Place { name: lowered, within });
        }
        let mut advice = suggestion::phrase(&lowered, known_names());
        if advice.is_empty() {
            advice = "; write a cloud's region (`eu-central-1`), a country (`de`), `eu`, `eea`, `apac`, `on_prem` or `global`"
                .to_owned();
        }
        Err(UnknownPlace { name: name.to_owned(), advice })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Whether all of this place lies in `area`.
    #[must_use]
    pub fn is_within(&self, area: &Place) -> bool {
        self.name == area.name || self.within.contains(&area.name.as_str())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)
    }
}

fn groups_of(country: &str) -> impl Iterator<Item = &'static str> {
    let holds = move |members: &str| members.split(' ').any(|member| member == country);
    GROUPS.iter().filter(move |(_, members)| holds(members)).map(|(group, _)| *group)
}

/// Every place there is.
pub(super) fn all_places() -> impl Iterator<Item = Place> {
    known_names().chain(COUNTRIES.split(' ')).filter_map(|name| Place::parse(name).ok())
}

/// Every region and group there is; countries are all those of ISO 3166.
pub fn known_names() -> impl Iterator<Item = &'static str> {
    let regions = REGIONS.iter().map(|(region, _)| *region);
    regions.chain(GROUPS.iter().map(|(group, _)| *group)).chain([ON_PREM, GLOBAL])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::parse(name).unwrap()
    }

    #[test]
    fn a_region_is_within_its_country_and_the_groups_of_that() {
        for (inner, outer) in [
            ("eu-central-1", "EU"),
            ("eu-central-1", "de"),
            ("europe-west4", "nl"),
            ("swedencentral", "eea"),
            ("us-east-1", "us"),
            ("norwayeast", "eea"),
            ("eu", "eea"),
            ("uk", "gb"),
            ("on_prem", "on_prem"),
            ("ap-southeast-2", "apac"),
        ] {
            assert!(place(inner).is_within(&place(outer)), "{inner} in {outer}");
        }
    }

    #[test]
    fn a_name_that_sounds_like_europe_is_not_the_union() {
        for (inner, outer) in [
            ("eu-west-2", "eu"),
            ("eu-central-2", "eea"),
            ("europe-west6", "eu"),
            ("norwayeast", "eu"),
            ("eu", "de"),
            ("global", "eu"),
            ("on_prem", "eu"),
            ("eu", "global"),
        ] {
            assert!(!place(inner).is_within(&place(outer)), "{inner} in {outer}");
        }
    }

    #[test]
    fn an_unknown_place_gets_the_nearest_one() {
        let error = Place::parse("eu-centrl-1").unwrap_err().to_string();
        assert!(error.starts_with("`eu-centrl-1` is no known place; did you mean `eu-central-1`?"), "{error}");
        assert!(Place::parse("xx").is_err() && Place::parse("").is_err());
    }

    #[test]
    fn every_region_of_the_table_lies_in_a_country_and_is_listed_once() {
        let mut seen = std::collections::HashSet::new();
        for (region, country) in REGIONS {
            assert!(COUNTRIES.split(' ').any(|known| known == *country), "{region}: {country}");
            assert!(seen.insert(region), "{region} twice");
        }
        for (group, members) in GROUPS {
            assert!(!COUNTRIES.split(' ').any(|known| known == *group), "{group} is a country as well");
            assert!(members.split(' ').all(|member| COUNTRIES.split(' ').any(|known| known == member)), "{group}");
        }
    }
}
