//! How far a role reaches: across the whole installation, or no further than one organisation.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::directory::TeamName;
use crate::role::Role;

/// How far a role reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Every organisation, and what is nobody's: policy, prices, the log itself.
    #[default]
    Installation,
    /// This organisation; nothing else exists.
    Organisation(String),
}

/// What a link or a token makes of whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What they may do.
    pub role: Role,
    /// Teams they belong to, which matter where the role is bound to teams.
    pub teams: Vec<TeamName>,
    /// How far the role reaches.
    pub reach: Reach,
}

impl Grant {
    /// A role of no team, across the installation.
    #[must_use]
    pub fn of(role: Role) -> Grant {
        Grant { role, teams: Vec::new(), reach: Reach::Installation }
    }

    /// The same for members of these teams.
    #[must_use]
    pub fn in_teams(self, teams: &[TeamName]) -> Grant {
        Grant { teams: teams.to_vec(), ..self }
    }

    /// The same as far as `reach`.
    #[must_use]
    pub fn within(self, reach: Reach) -> Grant {
        Grant { reach, ..self }
    }
}

impl Reach {
    /// The organisation it ends at.
    #[must_use]
    pub fn organisation(&self) -> Option<&str> {
        match self {
            Reach::Installation => None,
            Reach::Organisation(name) => Some(name),
        }
    }

    /// Whether what belongs to `organisation` exists for it.
    #[must_use]
    pub fn covers(&self, organisation: &str) -> bool {
        self.organisation().is_none_or(|own| own == organisation)
    }

    /// Whether whoever reaches as far as `self` may decide about somebody who reaches as far as `other`.
    #[must_use]
    pub fn includes(&self, other: &Reach) -> bool {
        *self == Reach::Installation || self == other
    }

    /// As it is stored.
    pub(crate) fn of_column(bound_to: Option<String>) -> Reach {
        bound_to.map_or(Reach::Installation, Reach::Organisation)
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Installation => f.write_str("the installation"),
            Reach::Organisation(name) => write!(f, "organisation `{name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reaches_an_organisation_decides_about_nobody_beyond_it() {
        let acme = Reach::Organisation("acme".into());
        assert!(acme.covers("acme") && !acme.covers("globex"));
        assert!(Reach::Installation.includes(&acme) && acme.includes(&acme));
        assert!(!acme.includes(&Reach::Installation) && !acme.includes(&Reach::Organisation("globex".into())));
    }
}
