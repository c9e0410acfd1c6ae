//! `/scim/v2/Groups`.

use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_metastore::{Group, GroupFacts, MetastoreError, Part, Reach};

use super::resource::Kind;
use super::{Asked, meta};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::state::ConsoleState;

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A group as a provider writes one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    display_name: String,
    external_id: Option<String>,
    #[serde(default)]
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    value: String,
}

impl From<Written> for GroupFacts {
    fn from(written: Written) -> Self {
        GroupFacts {
            display_name: written.display_name,
            external_id: written.external_id.filter(|id| !id.is_empty()),
            members: written.members.into_iter().map(|member| member.value).collect(),
        }
    }
}

/// Groups.
#[derive(Debug)]
pub enum Groups {}

impl Kind for Groups {
    const NOUN: &'static str = "group";
    const FILTERS: &'static [&'static str] = &["displayName"];
    type Written = Written;
    type Facts = GroupFacts;
    type Kept = Group;

    fn facts(written: Written) -> Result<GroupFacts, ConsoleError> {
        Ok(written.into())
    }

    fn resource(group: &Group) -> Value {
        let members: Vec<Value> = group.members.iter().map(|id| json!({"value": id})).collect();
        let mut resource = json!({
            "schemas": [SCHEMA], "id": group.id, "displayName": group.display_name, "members": members,
            "meta": meta("Group", &group.id, group.created_at_us, group.changed_at_us),
        });
        if let Some(id) = &group.external_id {
            resource["externalId"] = json!(id);
        }
        resource
    }

    fn organisation(group: &Group) -> &str {
        &group.organisation
    }

    /// A group may give its members a role: whoever ends at an organisation has none with members who reach beyond it.
    async fn must_be_the_readers(
        state: &ConsoleState,
        reader: &Reader,
        group: Option<&Group>,
        facts: Option<&GroupFacts>,
    ) -> Result<(), ConsoleError> {
        if reader.reach == Reach::Installation {
            return Ok(());
        }
        let before = group.into_iter().flat_map(|group| &group.members);
        for id in before.chain(facts.into_iter().flat_map(|facts| &facts.members)) {
            if let Some(user) = state.metastore.user(id).await? {
                reader.must_reach_as_far_as(&user)?;
            }
        }
        Ok(())
    }

    async fn list(state: &ConsoleState, organisation: &str, asked: &Asked) -> Result<Part<Group>, MetastoreError> {
        let name = asked.filter.as_ref().map(|(_, value)| value.as_str());
        state.metastore.list_groups(organisation, name, asked.offset, asked.count).await
    }

    async fn find(state: &ConsoleState, id: &str) -> Result<Option<Group>, MetastoreError> {
        state.metastore.group(id).await
    }

    async fn create(
        state: &ConsoleState,
        reader: &Reader,
        organisation: &str,
        facts: GroupFacts,
    ) -> Result<Group, MetastoreError> {
        state.metastore.create_group(organisation, facts, &reader.author).await
    }

    async fn put(state: &ConsoleState, reader: &Reader, id: &str, facts: GroupFacts) -> Result<Group, MetastoreError> {
        state.metastore.put_group(id, facts, &reader.author).await
    }

    async fn delete(state: &ConsoleState, reader: &Reader, id: &str) -> Result<(), MetastoreError> {
        state.metastore.delete_group(id, &reader.author).await
    }
}
