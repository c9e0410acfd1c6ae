//! `/scim/v2`: an identity provider keeps people and groups up to date (SCIM 2.0, RFC 7643 and 7644). It never gives roles:
//! those follow from groups by the configuration, or are an administrator's to give. Filters are equality of one attribute,
//! which is what providers ask; anything else is refused by name.

mod groups;
mod patch;
mod resource;
mod users;

pub use groups::Groups;
pub use resource::{Kind, create, delete, list as list_of, modify, replace, show};
pub use users::Users;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollgate_metastore::{MetastoreError, Part};

use crate::access::Reader;
use crate::error::{ConsoleError, own};
use crate::params::Params;
use crate::state::ConsoleState;

/// Most resources in one answer.
const MAX_COUNT: usize = 200;
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// Answers `GET /scim/v2/ServiceProviderConfig`: what of SCIM there is.
pub async fn config() -> Response {
    let no = json!({"supported": false});
    answer(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "filter": {"supported": true, "maxResults": MAX_COUNT},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "changePassword": no, "sort": no, "etag": no,
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "API token",
            "description": "Made by `tollgate token create --role admin`.",
        }],
    }))
}

/// The organisation whose people are kept: the one that the reader ends at, or else the identity provider's.
fn organisation(state: &ConsoleState, reader: &Reader) -> String {
    let usual = || state.sso.as_ref().map_or(state.settings.tenant.as_str(), |sso| sso.organisation());
    reader.reach.organisation().unwrap_or_else(usual).to_owned()
}

/// The same, made if it is not there.
async fn make_organisation(state: &ConsoleState, reader: &Reader) -> Result<String, ConsoleError> {
    let name = organisation(state, reader);
    match state.metastore.create_organisation(&name, &reader.author).await {
        Ok(()) | Err(MetastoreError::Exists { .. }) => Ok(name),
        Err(error) => Err(error.into()),
    }
}

/// What is asked of a list.
pub struct Asked {
    /// The one attribute that is compared, and with what.
    filter: Option<(String, String)>,
    offset: u32,
    count: u32,
}

impl Asked {
    fn read(params: &Params, attributes: &[&str]) -> Result<Asked, ConsoleError> {
        let filter = params.get("filter").map(|text| equality(text, attributes)).transpose()?;
        let start = params.number("startIndex")?.unwrap_or(1).max(1);
        let count = params.number("count")?.unwrap_or(MAX_COUNT).min(MAX_COUNT);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Asked { filter, offset: number(start - 1), count: number(count) })
    }
}

/// Reads `attribute eq "value"`. Names of attributes have no case (RFC 7643, section 2.1).
fn equality(text: &str, attributes: &[&str]) -> Result<(String, String), ConsoleError> {
    let refused = || ConsoleError::Invalid {
        message: format!("the filter `{}` is not understood", text.chars().take(200).collect::<String>()),
        hint: "It is one attribute and a text, such as `userName eq \"ann\"`.",
    };
    let mut parts = text.splitn(3, ' ');
    let (Some(name), Some(operator), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refused());
    };
    let attribute = attributes.iter().find(|known| known.eq_ignore_ascii_case(name)).ok_or_else(refused)?;
    let value: String = serde_json::from_str(value.trim()).map_err(|_| refused())?;
    if operator.eq_ignore_ascii_case("eq") { Ok(((*attribute).to_owned(), value)) } else { Err(refused()) }
}

fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ConsoleError> {
    serde_json::from_slice(bytes).map_err(|error| ConsoleError::Invalid {
        message: format!("the body cannot be used: {error}"),
        hint: "Send a SCIM resource or PATCH request as JSON.",
    })
}

fn answer(resource: Value) -> Response {
    let mut response = resource.to_string().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
    response
}

fn created(resource: Value) -> Response {
    let mut response = answer(resource);
    *response.status_mut() = own::CREATED;
    response
}

fn gone() -> Response {
    own::NO_CONTENT.into_response()
}

fn list<T>(part: Part<T>, asked: &Asked, resource: impl Fn(&T) -> Value) -> Response {
    let resources: Vec<Value> = part.items.iter().map(resource).collect();
    answer(json!({
        "schemas": [LIST], "totalResults": part.total, "startIndex": asked.offset + 1,
        "itemsPerPage": resources.len(), "Resources": resources,
    }))
}

fn meta(kind: &str, id: &str, created_at_us: i64, changed_at_us: i64) -> Value {
    let time = |time_us: i64| {
        let time = chrono::DateTime::from_timestamp_micros(time_us).unwrap_or_default();
        time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    let (made, changed) = (time(created_at_us), time(changed_at_us));
    json!({"resourceType": kind, "created": made, "lastModified": changed, "location": format!("/scim/v2/{kind}s/{id}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_one_equality_or_refused() {
        let read = |text: &str| equality(text, &["userName", "externalId"]);
        assert_eq!(read(r#"username EQ "a \"b\" c""#).unwrap(), ("userName".to_owned(), r#"a "b" c"#.to_owned()));
        for wrong in
            ["", "userName", r#"userName sw "a""#, r#"title eq "a""#, "userName eq a", r#"userName eq "a" and x"#]
        {
            assert_eq!(read(wrong).unwrap_err().code(), "parameter_invalid", "{wrong}");
        }
    }
}
