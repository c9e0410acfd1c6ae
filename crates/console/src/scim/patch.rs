//! `PATCH` (RFC 7644, section 3.5.2), as far as providers use it: attributes at the top, `name` and `emails` by their parts,
//! and members of a group one by one. A path that is not understood is refused, never passed over.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::ConsoleError;

/// Attributes that can be changed, as they are written.
const ATTRIBUTES: &[&str] = &["userName", "externalId", "displayName", "active", "emails", "members", "name"];
/// Operations in one request.
const MAX_OPERATIONS: usize = 100;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Patch {
    #[serde(rename = "Operations", alias = "operations")]
    operations: Vec<Operation>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    op: String,
    path: Option<String>,
    value: Option<Value>,
}

/// Changes `resource` as asked.
///
/// # Errors
/// `parameter_invalid` for an operation or path that is not understood.
pub(super) fn apply(resource: &mut Value, patch: Patch) -> Result<(), ConsoleError> {
    let Some(resource) = resource.as_object_mut() else { return Err(refused("the resource")) };
    if patch.operations.len() > MAX_OPERATIONS {
        return Err(refused("more than 100 operations"));
    }
    patch.operations.into_iter().try_for_each(|operation| operation.apply(resource))
}

/// A truth: `true`, or `"True"` as some providers write it.
///
/// # Errors
/// `parameter_invalid` if it is neither true nor false.
pub(super) fn truth(value: &Value) -> Result<bool, ConsoleError> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(refused(&format!("`active` as {other}"))),
    }
}

impl Operation {
    fn apply(self, resource: &mut Map<String, Value>) -> Result<(), ConsoleError> {
        let op = self.op.to_ascii_lowercase();
        match (op.as_str(), self.path.as_deref(), self.value) {
            ("add" | "replace", None, Some(Value::Object(values))) => {
                values.into_iter().try_for_each(|(name, value)| set(resource, &op, &name, value))
            }
            ("add" | "replace", Some(path), Some(value)) => set(resource, &op, path, value),
            ("remove", Some(path), value) => remove(resource, path, value),
            (op, path, _) => Err(refused(&format!("`{op}` of `{}`", path.unwrap_or_default()))),
        }
    }
}

fn set(resource: &mut Map<String, Value>, op: &str, path: &str, value: Value) -> Result<(), ConsoleError> {
    if let Some(part) = path.strip_prefix("name.") {
        // The display name is the only name kept.
        let formatted = part.eq_ignore_ascii_case("formatted");
        return if formatted { set(resource, op, "displayName", value) } else { Ok(()) };
    }
    if path.starts_with("emails[") && path.ends_with("].value") {
        return set(resource, op, "emails", serde_json::json!([{"value": value, "primary": true}]));
    }
    let name = attribute(path)?;
    match (op, name, value) {
        ("add", "members", Value::Array(more)) => {
            let members = resource.entry("members").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(members) = members {
                members.extend(more);
            }
        }
        (_, "name", Value::Object(parts)) => {
            if let Some(formatted) = parts.get("formatted") {
                resource.insert("displayName".to_owned(), formatted.clone());
            }
        }
        (_, name, value) => {
            resource.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

fn remove(resource: &mut Map<String, Value>, path: &str, value: Option<Value>) -> Result<(), ConsoleError> {
    let one = path.strip_prefix("members[value eq ").and_then(|rest| rest.strip_suffix(']'));
    let gone: Vec<Value> = match (one, value) {
        (Some(quoted), _) => vec![serde_json::from_str(quoted).map_err(|_| refused(&format!("the path `{path}`")))?],
        (None, Some(Value::Array(members))) if path.eq_ignore_ascii_case("members") => {
            members.into_iter().filter_map(|member| member.get("value").cloned()).collect()
        }
        _ => {
            resource.remove(attribute(path)?);
            return Ok(());
        }
    };
    if let Some(Value::Array(members)) = resource.get_mut("members") {
        members.retain(|member| member.get("value").is_none_or(|id| !gone.contains(id)));
    }
    Ok(())
}

fn attribute(path: &str) -> Result<&'static str, ConsoleError> {
    let found = ATTRIBUTES.iter().find(|known| known.eq_ignore_ascii_case(path)).copied();
    found.ok_or_else(|| refused(&format!("the path `{}`", path.chars().take(100).collect::<String>())))
}

fn refused(what: &str) -> ConsoleError {
    ConsoleError::Invalid {
        message: format!("{what} cannot be changed in this way"),
        hint: "`add`, `replace` and `remove` work on userName, externalId, displayName, active, emails and members.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(resource: &Value, operations: Value) -> Result<Value, ConsoleError> {
        let mut resource = resource.clone();
        let patch = serde_json::from_value(json!({"Operations": operations})).unwrap();
        apply(&mut resource, patch).map(|()| resource)
    }

    #[test]
    fn a_user_is_changed_with_a_path_or_without() {
        let user = json!({"userName": "ann", "active": true});
        let changed = patched(
            &user,
            json!([
                {"op": "Replace", "path": "active", "value": "False"},
                {"op": "add", "value": {"displayName": "Ann", "externalId": "7"}},
                {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@acme.test"},
                {"op": "remove", "path": "externalId"},
            ]),
        )
        .unwrap();
        assert_eq!(changed["displayName"], "Ann");
        assert!(!truth(&changed["active"]).unwrap() && changed.get("externalId").is_none());
        assert_eq!(changed["emails"][0]["value"], "a@acme.test");
    }

    #[test]
    fn members_come_and_go_one_by_one() {
        let group = json!({"displayName": "g", "members": [{"value": "a"}, {"value": "b"}, {"value": "c"}]});
        let changed = patched(
            &group,
            json!([
                {"op": "add", "path": "members", "value": [{"value": "d"}]},
                {"op": "remove", "path": "members[value eq \"a\"]"},
                {"op": "remove", "path": "members", "value": [{"value": "b"}]},
            ]),
        )
        .unwrap();
        assert_eq!(changed["members"], json!([{"value": "c"}, {"value": "d"}]));
        assert_eq!(patched(&group, json!([{"op": "remove", "path": "members"}])).unwrap().get("members"), None);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_passed_over() {
        let user = json!({"userName": "ann"});
        for wrong in [
            json!({"op": "replace", "path": "roles", "value": "owner"}),
            json!({"op": "replace", "path": "members[display eq \"x\"]", "value": 1}),
            json!({"op": "move", "path": "active"}),
            json!({"op": "replace", "value": "x"}),
            json!({"op": "add", "value": {"title": "x"}}),
        ] {
            assert_eq!(patched(&user, json!([wrong])).unwrap_err().code(), "parameter_invalid", "{wrong}");
        }
        assert!(truth(&json!("perhaps")).is_err() && truth(&json!(1)).is_err());
    }
}
