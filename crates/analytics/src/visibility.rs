//! Which rows exist for a reader. Rows of other teams are left out beneath every report, before anything is counted, so
//! that no figure of a page can tell of them.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use tollgate_interaction::schema::Table;

/// All rows, or those of some teams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility(Option<Arc<[(String, String)]>>);

impl Visibility {
    /// Every row.
    #[must_use]
    pub fn everything() -> Self {
        Visibility(None)
    }

    /// The rows of these teams, each after its tenant. Of no team there is no row.
    #[must_use]
    pub fn of_teams(teams: impl IntoIterator<Item = (String, String)>) -> Self {
        Visibility(Some(teams.into_iter().collect()))
    }

    /// The teams, each after its tenant; `None` for every row.
    #[must_use]
    pub fn teams(&self) -> Option<&[(String, String)]> {
        self.0.as_deref()
    }

    /// The calls that exist.
    pub(crate) fn calls(&self, interactions: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let Some(teams) = self.teams() else { return Ok(interactions) };
        let one = |(tenant, team): &(String, String)| -> Expr {
            ident("tenant").eq(lit(tenant.clone())).and(ident("team").eq(lit(team.clone())))
        };
        let any = teams.iter().map(one).reduce(Expr::or).unwrap_or_else(|| lit(false));
        let calls = LogicalPlanBuilder::scan(Table::Interactions.folder(), provider_as_source(interactions), None)?;
        Ok(Arc::new(ViewTable::new(calls.filter(any)?.build()?, None)))
    }
}
