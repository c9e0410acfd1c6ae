//! Why an address is closed to somebody whose role would do, but ends at an organisation or at teams: what stands there is
//! everybody's. Said of each address in its own words, because "you may not read the log" is untrue of who reads all of the log
//! that is theirs.

use crate::access::{Access, Reader};
use crate::error::ConsoleError;

/// What stands at an address that is answered for the whole installation, as the rest of "…, and".
const EVERYBODYS: &[(&str, &str)] = &[
    ("/models", "`/models` shows the routes, targets and health of the whole installation"),
    ("/api/v1/models", "the routes, targets and their health are those of the whole installation"),
    ("/policies", "one policy is in force for all organisations, and may name any of them"),
    ("/policies/simulate", "a back-test replays the calls of all organisations"),
    ("/api/v1/policies", "one policy is in force for all organisations, and may name any of them"),
    ("/api/v1/policies/simulate", "a back-test replays the calls of all organisations"),
    ("/reports", "an evidence pack holds the calls of all organisations"),
    ("/api/v1/reports/record-keeping", "an evidence pack holds the calls of all organisations"),
    ("/integrity", "the log and its proof are one for all organisations"),
    ("/api/v1/integrity", "the log and its proof are one for all organisations"),
    ("/api/v1/integrity/verify", "the log and its proof are one for all organisations"),
    ("/api/v1/prices/reprice", "calls of all organisations would be priced again"),
    ("/api/v1/cache", "the answers kept to be given again are counted over all organisations"),
    ("/api/v1/cache/purge", "answers kept for other organisations would be forgotten, too"),
    ("/people/organisations", "another organisation would lie beyond it"),
    ("/api/v1/organisations", "another organisation would lie beyond it"),
    ("/api/v1/derived", "what is derived from the log is of all organisations"),
    ("/api/v1/control", "the control plane holds the keys and the policy of all organisations"),
    ("/api/v1/control/prices", "the control plane is one for all organisations"),
    ("/api/v1/control/report", "the control plane is one for all organisations"),
    ("/api/v1/leases", "the control plane is one for all organisations"),
];

/// The same for addresses that are answered for one organisation, and not for some of its teams.
const ORGANISATIONS: &[(&str, &str)] = &[
    ("/budgets", "`/budgets` shows what all teams may spend"),
    ("/api/v1/budgets", "budgets are told for all teams together"),
    ("/experiments", "experiments are counted over the calls of all teams"),
    ("/api/v1/experiments", "experiments are counted over the calls of all teams"),
];

/// Why the address `path` is closed to whoever has a role that would do and ends before that.
pub(crate) fn why(path: &str) -> Option<&'static str> {
    EVERYBODYS.iter().chain(ORGANISATIONS).find(|(known, _)| *known == path).map(|(_, why)| *why)
}

/// The refusal of `reader` at the address `path`; `None` if they may come in.
pub(crate) fn refusal(access: Access, path: &'static str, reader: &Reader) -> Option<ConsoleError> {
    let what = access.words();
    if !access.allows(reader.role) {
        let is_bound = access.is_granted_to(reader.role) && reader.role.is_bound_to_teams();
        return Some(match why(path).filter(|_| is_bound) {
            Some(why) => ConsoleError::OutOfTeams { role: reader.role, why },
            None => ConsoleError::Forbidden { role: reader.role, what },
        });
    }
    if !access.admits(reader.role, &reader.reach) {
        let why = why(path).unwrap_or("this address is answered for the whole installation").to_owned();
        return Some(ConsoleError::OutOfReach { reach: reader.reach.clone(), why });
    }
    None
}

#[cfg(test)]
mod tests {
    use tollgate_metastore::Role;

    use super::*;
    use crate::routes::table;

    #[test]
    fn every_address_that_is_closed_to_some_who_have_the_role_says_why() {
        for route in table() {
            let is_closed_to_organisations = matches!(route.access, Access::Needs(_));
            let is_closed_to_teams = Role::ALL
                .into_iter()
                .any(|role| role.is_bound_to_teams() && route.access.is_granted_to(role) && !route.access.allows(role));
            let is_told = why(route.path).is_some();
            assert_eq!(is_told, is_closed_to_organisations || is_closed_to_teams, "{} {}", route.method, route.path);
        }
    }
}
