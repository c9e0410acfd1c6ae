//! What each role may do, written down once. A permission names a kind of act; which address needs which permission is
//! the console's table. Roles are not a ladder: finance changes prices and reads no content, an auditor reads content and
//! changes nothing.

use serde::{Deserialize, Serialize};

use crate::role::Role;

/// A kind of act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See figures: who called which model when, how it went and what it cost.
    ReadFigures,
    /// See the costs by team, key and project, budgets and forecasts.
    ReadCosts,
    /// See what was said, leaving an access event with a purpose.
    ReadContent,
    /// Ask free questions in SQL. The tables hold content.
    Query,
    /// Have the log verified and evidence put together.
    Audit,
    /// See the policy in force, its history and what another one would have done.
    ReadPolicy,
    /// Put a policy in force.
    ChangePolicy,
    /// Have calls priced again.
    ChangePrices,
    /// See virtual keys, without their secrets.
    ReadKeys,
    /// Create, rotate and revoke virtual keys.
    ChangeKeys,
    /// See organisations, teams, projects, users and groups.
    ReadPeople,
    /// Change them, and what roles users have; the role `owner` excepted.
    ChangePeople,
    /// Make and unmake owners.
    ChangeOwners,
    /// Download keys, policy, prices and signals, as a sidecar does.
    Control,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Permission; 14] = [
        Permission::ReadFigures,
        Permission::ReadCosts,
        Permission::ReadContent,
        Permission::Query,
        Permission::Audit,
        Permission::ReadPolicy,
        Permission::ChangePolicy,
        Permission::ChangePrices,
        Permission::ReadKeys,
        Permission::ChangeKeys,
        Permission::ReadPeople,
        Permission::ChangePeople,
        Permission::ChangeOwners,
        Permission::Control,
    ];

    /// For the sentence "the role may not …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Permission::ReadFigures => "read the log",
            Permission::ReadCosts => "read costs and budgets",
            Permission::ReadContent => "read what was said",
            Permission::Query => "ask questions in SQL",
            Permission::Audit => "verify the log or make reports",
            Permission::ReadPolicy => "read the policy",
            Permission::ChangePolicy => "change the policy",
            Permission::ChangePrices => "have calls priced again",
            Permission::ReadKeys => "read the list of keys",
            Permission::ChangeKeys => "change keys",
            Permission::ReadPeople => "read the directory of people",
            Permission::ChangePeople => "change people and their roles",
            Permission::ChangeOwners => "make or unmake owners",
            Permission::Control => "download the control plane",
        }
    }
}

/// The table: each role with its own set.
pub const PERMISSIONS: &[(Role, &[Permission])] = &[
    (Role::Owner, &Permission::ALL),
    (
        Role::Admin,
        &[
            Permission::ReadFigures,
            Permission::ReadCosts,
            Permission::ReadContent,
            Permission::Query,
            Permission::Audit,
            Permission::ReadPolicy,
            Permission::ChangePolicy,
            Permission::ChangePrices,
            Permission::ReadKeys,
            Permission::ChangeKeys,
            Permission::ReadPeople,
            Permission::ChangePeople,
            Permission::Control,
        ],
    ),
    (
        Role::Auditor,
        &[
            Permission::ReadFigures,
            Permission::ReadCosts,
            Permission::ReadContent,
            Permission::Query,
            Permission::Audit,
            Permission::ReadPolicy,
            Permission::ReadKeys,
            Permission::ReadPeople,
        ],
    ),
    (
        Role::Finance,
        &[Permission::ReadFigures, Permission::ReadCosts, Permission::ReadPolicy, Permission::ChangePrices],
    ),
    // Within the teams it is given: see [`Role::is_bound_to_teams`].
    (
        Role::Developer,
        &[Permission::ReadFigures, Permission::ReadCosts, Permission::ReadContent, Permission::ReadPolicy],
    ),
    (Role::Viewer, &[Permission::ReadFigures, Permission::ReadCosts]),
    (Role::Sidecar, &[Permission::Control]),
];

impl Role {
    /// Whether whoever has this role may do it.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        PERMISSIONS.iter().any(|(role, permissions)| *role == self && permissions.contains(&permission))
    }

    /// Whether rows of other teams than the reader's own do not exist for this role.
    #[must_use]
    pub const fn is_bound_to_teams(self) -> bool {
        matches!(self, Role::Developer)
    }

    /// Whether whoever has role `self` may give someone the role `other`, or take it away.
    #[must_use]
    pub fn may_assign(self, other: Role) -> bool {
        self.may(Permission::ChangePeople) && (other != Role::Owner || self.may(Permission::ChangeOwners))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn every_role_has_one_line_and_no_two_the_same_set() {
        let listed: Vec<Role> = PERMISSIONS.iter().map(|(role, _)| *role).collect();
        assert_eq!(listed, Role::ALL);
        let sets: HashSet<BTreeSet<&str>> = PERMISSIONS
            .iter()
            .map(|(_, permissions)| permissions.iter().map(|permission| permission.words()).collect())
            .collect();
        assert_eq!(sets.len(), Role::ALL.len());
    }

    #[test]
    fn who_may_do_what_most_needs_care() {
        let who = |permission: Permission| -> Vec<&str> {
            Role::ALL.into_iter().filter(|role| role.may(permission)).map(Role::as_str).collect()
        };
        assert_eq!(who(Permission::ReadContent), ["owner", "admin", "auditor", "developer"]);
        assert_eq!(who(Permission::Query), ["owner", "admin", "auditor"]);
        assert_eq!(who(Permission::ChangeKeys), ["owner", "admin"]);
        assert_eq!(who(Permission::ChangePrices), ["owner", "admin", "finance"]);
        assert_eq!(who(Permission::ChangeOwners), ["owner"]);
        assert_eq!(who(Permission::Control), ["owner", "admin", "sidecar"]);
    }

    #[test]
    fn an_admin_makes_admins_and_no_owners() {
        assert!(Role::Admin.may_assign(Role::Admin) && !Role::Admin.may_assign(Role::Owner));
        assert!(Role::Owner.may_assign(Role::Owner) && !Role::Auditor.may_assign(Role::Viewer));
    }
}
