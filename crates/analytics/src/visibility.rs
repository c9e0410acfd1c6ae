//! Which rows exist for a reader. Rows of others are left out beneath every report and every query, before anything is
//! counted, so that no figure can tell of them.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use tollgate_interaction::schema::Table;

use crate::barrier::Barrier;

/// The column of the organisation that a row belongs to.
const TENANT: &str = "tenant";

/// All rows, those of one organisation, or those of some teams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility(Bounds);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Bounds {
    #[default]
    None,
    Tenant(Arc<str>),
    Teams(Arc<[(String, String)]>),
}

impl Visibility {
    /// Every row.
    #[must_use]
    pub fn everything() -> Self {
        Visibility(Bounds::None)
    }

    /// The rows of this organisation, in every table.
    #[must_use]
    pub fn of_tenant(tenant: &str) -> Self {
        Visibility(Bounds::Tenant(tenant.into()))
    }

    /// The calls of these teams, each after its tenant. Of no team there is no call.
    #[must_use]
    pub fn of_teams(teams: impl IntoIterator<Item = (String, String)>) -> Self {
        Visibility(Bounds::Teams(teams.into_iter().collect()))
    }

    /// The teams, each after its tenant; `None` if it does not end at teams.
    #[must_use]
    pub fn teams(&self) -> Option<&[(String, String)]> {
        match &self.0 {
            Bounds::Teams(teams) => Some(teams),
            _ => None,
        }
    }

    /// The organisation; `None` if it does not end at one.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match &self.0 {
            Bounds::Tenant(tenant) => Some(tenant),
            _ => None,
        }
    }

    /// The rows of a table that exist.
    pub(crate) fn rows(&self, kind: Table, table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        match &self.0 {
            Bounds::None => Ok(table),
            Bounds::Tenant(tenant) => {
                // What belongs to no organisation, such as a gap in a log, is the installation's.
                let has_tenant = table.schema().column_with_name(TENANT).is_some();
                let condition = if has_tenant { ident(TENANT).eq(lit(&**tenant)) } else { lit(false) };
                Ok(Arc::new(Barrier::new(table, condition)))
            }
            Bounds::Teams(teams) if kind == Table::Interactions => of_teams(teams, table),
            // Reports ask the other tables about calls that they have found, and SQL is refused.
            Bounds::Teams(_) => Ok(table),
        }
    }
}

fn of_teams(teams: &[(String, String)], interactions: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let one = |(tenant, team): &(String, String)| -> Expr {
        ident(TENANT).eq(lit(tenant.clone())).and(ident("team").eq(lit(team.clone())))
    };
    let any = teams.iter().map(one).reduce(Expr::or).unwrap_or_else(|| lit(false));
    let calls = LogicalPlanBuilder::scan(Table::Interactions.folder(), provider_as_source(interactions), None)?;
    Ok(Arc::new(ViewTable::new(calls.filter(any)?.build()?, None)))
}
