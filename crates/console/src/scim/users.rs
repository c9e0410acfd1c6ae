//! `/scim/v2/Users`.

use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_metastore::{MetastoreError, NewUser, Part, Profile, User, UserFilter};

use super::resource::Kind;
use super::{Asked, meta, patch};
use crate::access::Reader;
use crate::error::ConsoleError;
use crate::state::ConsoleState;

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// A user as a provider writes one. What is not kept here is not refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    user_name: String,
    external_id: Option<String>,
    display_name: Option<String>,
    #[serde(default)]
    name: Name,
    #[serde(default)]
    emails: Vec<Email>,
    active: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Name {
    formatted: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Email {
    value: String,
    #[serde(default)]
    primary: bool,
}

impl Written {
    fn profile(self) -> Result<Profile, ConsoleError> {
        let Name { formatted, given_name, family_name } = self.name;
        let joined: Vec<String> = given_name.into_iter().chain(family_name).collect();
        let mut emails = self.emails;
        emails.sort_by_key(|email| !email.primary);
        Ok(Profile {
            user_name: self.user_name,
            external_id: self.external_id.filter(|id| !id.is_empty()),
            display_name: self.display_name.or(formatted).unwrap_or_else(|| joined.join(" ")),
            emails: emails.into_iter().map(|email| email.value).collect(),
            active: self.active.as_ref().map_or(Ok(true), patch::truth)?,
        })
    }
}

/// By what a person is found at a sign-in.
fn signs_in_by(profile: &Profile) -> (&str, Option<&str>, &[String]) {
    (&profile.user_name, profile.external_id.as_deref(), &profile.emails)
}

/// Users.
#[derive(Debug)]
pub enum Users {}

impl Kind for Users {
    const NOUN: &'static str = "user";
    const FILTERS: &'static [&'static str] = &["userName", "externalId"];
    type Written = Written;
    type Facts = Profile;
    type Kept = User;

    fn facts(written: Written) -> Result<Profile, ConsoleError> {
        written.profile()
    }

    fn resource(user: &User) -> Value {
        let emails: Vec<Value> = user
            .profile
            .emails
            .iter()
            .enumerate()
            .map(|(at, value)| json!({"value": value, "primary": at == 0}))
            .collect();
        let groups: Vec<Value> = user.groups.iter().map(|group| json!({"display": group})).collect();
        let mut resource = json!({
            "schemas": [SCHEMA], "id": user.id, "userName": user.profile.user_name,
            "displayName": user.profile.display_name, "active": user.profile.active, "emails": emails, "groups": groups,
            "meta": meta("User", &user.id, user.created_at_us, user.changed_at_us),
        });
        if let Some(id) = &user.profile.external_id {
            resource["externalId"] = json!(id);
        }
        resource
    }

    fn organisation(user: &User) -> &str {
        &user.organisation
    }

    async fn must_be_the_readers(
        _: &ConsoleState,
        reader: &Reader,
        user: Option<&User>,
        facts: Option<&Profile>,
    ) -> Result<(), ConsoleError> {
        // Of the whole installation a provider keeps everybody, owners too: it is where they come from. But by what somebody
        // is known there they sign in here, so whoever may make no owner may make no owner of somebody else either.
        let Some(user) = user else { return Ok(()) };
        let becomes_another = facts.is_some_and(|facts| signs_in_by(facts) != signs_in_by(&user.profile));
        match becomes_another {
            true => reader.must_be_able_to_change(user),
            false => reader.must_reach_as_far_as(user),
        }
    }

    async fn list(state: &ConsoleState, organisation: &str, asked: &Asked) -> Result<Part<User>, MetastoreError> {
        let mut filter = UserFilter::default();
        match &asked.filter {
            Some((name, value)) if name == "userName" => filter.user_name = Some(value.clone()),
            Some((_, value)) => filter.external_id = Some(value.clone()),
            None => {}
        }
        state.metastore.list_users(Some(organisation), &filter, asked.offset, asked.count).await
    }

    async fn find(state: &ConsoleState, id: &str) -> Result<Option<User>, MetastoreError> {
        state.metastore.user(id).await
    }

    async fn create(
        state: &ConsoleState,
        reader: &Reader,
        organisation: &str,
        profile: Profile,
    ) -> Result<User, MetastoreError> {
        let (organisation, reach) = (organisation.to_owned(), reader.reach.clone());
        let user = NewUser { organisation, profile, reach, ..NewUser::default() };
        state.metastore.add_user(user, &reader.author).await
    }

    async fn put(state: &ConsoleState, reader: &Reader, id: &str, profile: Profile) -> Result<User, MetastoreError> {
        state.metastore.put_user(id, profile, &reader.author).await
    }

    async fn delete(state: &ConsoleState, reader: &Reader, id: &str) -> Result<(), MetastoreError> {
        state.metastore.delete_user(id, &reader.author).await
    }
}
