//! `GET /api/v1/openapi.json`: what the API answers, for programs that write clients. Written by hand from one list, so
//! that an address that is missing here is missing in one place.

use axum::Json;
use serde_json::{Map, Value, json};

struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    role: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    content_types: &'static [&'static str],
}

const RANGE: (&str, &str) = ("range", "One of 1h, 24h, 7d, 30d, this-month, last-month.");
const FROM: (&str, &str) = ("from", "First moment: a day, an RFC 3339 time, or microseconds since 1970.");
const TO: (&str, &str) = ("to", "End, not included: a day, an RFC 3339 time, or microseconds since 1970.");
const TEAM: (&str, &str) = ("team", "Only of this team.");
const MODEL: (&str, &str) = ("model", "Only with this model, requested or served.");
const PROVIDER: (&str, &str) = ("provider", "Only answered by this provider.");
const OUTCOME: (&str, &str) = ("outcome", "One of success, denied, failed, cancelled, interrupted, cached.");
const OPERATION: (&str, &str) = ("operation", "Only calls that asked for this: chat, embeddings, rerank, and so on.");
const DIALECT: (&str, &str) =
    ("dialect", "Only written in this format: openai, responses, anthropic, gemini, bedrock.");
const JSON: &str = "application/json";

const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/api/v1/overview",
        summary: "Calls, cost, tokens, latency and errors of a range, against the range before it; over time; by model, team and provider.",
        role: "viewer",
        parameters: &[RANGE, FROM, TO],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/budgets",
        summary: "What scopes have used up of their budgets and limits, those nearest to their limit first; forecasts; alerts.",
        role: "viewer",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/models",
        summary: "Every route with its targets as of now: strategy, health and why one rests, calls in flight, latency, errors, price, quality, and the age of the signals.",
        role: "viewer",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/integrity",
        summary: "Writers, gaps, lag, last commit, last checkpoint, witnesses, and the public key of the log.",
        role: "viewer",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/integrity/verify",
        summary: "Reads the whole lake and compares it with its proof.",
        role: "auditor",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/interactions",
        summary: "Calls, newest first. `next` of an answer is `after` of the next request.",
        role: "viewer",
        parameters: &[
            RANGE,
            FROM,
            TO,
            TEAM,
            MODEL,
            PROVIDER,
            OUTCOME,
            OPERATION,
            DIALECT,
            ("cost", "`unknown`: only such as may have cost something and have no known cost."),
            ("id", "Only ids that start so."),
            ("key", "Only with this virtual key (its id)."),
            ("conversation", "Only of this conversation."),
            ("limit", "Rows wanted, at most 1000."),
            ("after", "Continue after this cursor."),
        ],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/interactions/{id}",
        summary: "One call, whole. Messages and bodies are there for the roles auditor and admin only.",
        role: "viewer",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/interactions/{id}/request",
        summary: "What the caller sent, byte for byte.",
        role: "auditor",
        parameters: &[],
        content_types: &["application/octet-stream"],
    },
    Operation {
        method: "get",
        path: "/api/v1/interactions/{id}/response",
        summary: "What the provider answered, byte for byte: what the caller was sent, unless the call was translated.",
        role: "auditor",
        parameters: &[],
        content_types: &["application/octet-stream"],
    },
    Operation {
        method: "get",
        path: "/api/v1/costs",
        summary: "What a range cost by the last word on it, day by day and split; what has no price, what was corrected, and the providers' own figures.",
        role: "viewer",
        parameters: &[
            RANGE,
            FROM,
            TO,
            ("group", "One of team, model, provider, day, key, project."),
            ("format", "json or csv."),
        ],
        content_types: &[JSON, "text/csv"],
    },
    Operation {
        method: "get",
        path: "/api/v1/experiments",
        summary: "Every experiment of a range: arms, traffic, sample-ratio check, and always-valid intervals on cost, latency, errors, refusals and feedback.",
        role: "viewer",
        parameters: &[RANGE, FROM, TO],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/policies",
        summary: "The active policy bundle as it was written, and every bundle that was put in force, with author and reason.",
        role: "viewer",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/policies/simulate",
        summary: "What a bundle would have decided about calls of the past: decisions, denials, routes, cost and latency (estimates), residency violations, calls to look at, and a verdict against limits. The body is `{bundle, from, to, decided_by, limits}`.",
        role: "auditor",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/search",
        summary: "Calls found by the words of their prompts and answers.",
        role: "auditor",
        parameters: &[
            ("q", "Words, \"a phrase\", -word, word*, a OR b, team:x model:y provider:z outcome:failed."),
            TEAM,
            MODEL,
            PROVIDER,
            OUTCOME,
            FROM,
            TO,
            ("limit", "Hits wanted, at most 200."),
            ("offset", "Hits to pass over."),
        ],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/sql",
        summary: "One statement that reads, over the tables `interactions`, `payloads`, `control_events`, `access_events`, `log_gaps`, `price_corrections`, `feedback` and the view `costs`.",
        role: "auditor",
        parameters: &[("format", "json, csv or arrow."), ("max_rows", "Rows wanted at most.")],
        content_types: &[JSON, "text/csv", "application/vnd.apache.arrow.stream"],
    },
    Operation {
        method: "get",
        path: "/api/v1/reports/record-keeping",
        summary: "Makes a record-keeping pack: its manifest as JSON, or the whole pack as a tar archive.",
        role: "auditor",
        parameters: &[
            FROM,
            TO,
            ("organisation", "Who operates the system."),
            ("system", "The AI system the log belongs to."),
            ("requested_by", "Who asked for the report."),
            ("reference", "On what ground, such as a file number."),
            ("format", "json or tar."),
        ],
        content_types: &[JSON, "application/x-tar"],
    },
    Operation {
        method: "get",
        path: "/api/v1/setup",
        summary: "What each client library and coding tool must be told to reach the gateway, as text to copy; no key is in it.",
        role: "viewer",
        parameters: &[("model", "The model that the texts ask for.")],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/tail",
        summary: "Calls as they settle, as server-sent events: `row`, `skipped`, `pulse`.",
        role: "viewer",
        parameters: &[TEAM, MODEL, PROVIDER, OUTCOME, DIALECT, ("format", "json, html or pulse.")],
        content_types: &["text/event-stream"],
    },
    Operation {
        method: "get",
        path: "/api/v1/keys",
        summary: "Every virtual key, without its secret.",
        role: "auditor",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/keys",
        summary: "Creates a virtual key; its secret is in the answer, this once.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/keys/{id}/rotate",
        summary: "Gives a virtual key another secret, which is in the answer, this once; the one before works for `grace_hours` more (24 unless the body says otherwise).",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "delete",
        path: "/api/v1/keys/{id}",
        summary: "Revokes a virtual key for good.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/people",
        summary: "Who there is: people by name with role, reach, teams, last sign-in and keys; every team and project with its members, keys and budgets; every organisation. Whoever ends at an organisation is told of that one.",
        role: "auditor",
        parameters: &[
            ("q", "Only people with this in their name."),
            ("team", "Only members of this team: TEAM or ORGANISATION/TEAM."),
            ("organisation", "Only people of this organisation."),
            ("limit", "People wanted, at most 500."),
            ("offset", "People to pass over."),
        ],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/people",
        summary: "Puts a person into the directory, with a role if one is given. Only an owner makes owners, and nobody gives more reach than they have.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/people/{id}",
        summary: "One person with their keys, without secrets.",
        role: "auditor",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "patch",
        path: "/api/v1/people/{id}",
        summary: "Changes a person's role, reach, teams, state or display name, all of it or nothing. The last owner stays one (`last_owner`).",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/people/{id}/sign-in-link",
        summary: "Makes a link that signs a person in, once, within three days; it is in the answer, this once, and the one before it works no longer.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/organisations",
        summary: "Makes an organisation, the tenant of calls. Not for whoever ends at one.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/teams",
        summary: "Makes a team. Teams also come to be with the first key that names them.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/projects",
        summary: "Makes a project. Projects also come to be with the first key that names them.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/derived",
        summary: "What this process has derived from the log, to be compared with a rebuild from the lake: sums of spend and targets, digests of the search index.",
        role: "auditor",
        parameters: &[("day", "A UTC day, such as 2026-11-26: its calls in the search index one by one.")],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/control",
        summary: "Keys (as hashes), policy, signals and the name of the price catalogue, for sidecars.",
        role: "sidecar",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/control/prices",
        summary: "The price update in force, for sidecars; empty while the prices that come with the program are.",
        role: "sidecar",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "get",
        path: "/api/v1/cache",
        summary: "Answers that are kept to be given again: how many, what they take, and how often they were.",
        role: "viewer",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/cache/purge",
        summary: "Forgets such answers. The body has `tenant`, `team`, `subject` (a `user_ref` or the id of a key), `model` or `interaction`, or several of them, or `all`.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/control/report",
        summary: "What a sidecar says of itself: the bundle it decides by, and why it is not the active one.",
        role: "sidecar",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/leases",
        summary: "One exchange about slices of budgets and limits, for sidecars with `ledger: leases`.",
        role: "sidecar",
        parameters: &[],
        content_types: &[JSON],
    },
    Operation {
        method: "post",
        path: "/api/v1/prices/reprice",
        summary: "Prices the calls of a range by today's catalogue and appends corrections, or says what they would be. The body has `from`, `to`, `mode` (dry_run or append) and `reason`.",
        role: "admin",
        parameters: &[],
        content_types: &[JSON],
    },
];

/// The document.
pub async fn show() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the console shows, for programs. Times are microseconds since 1970 (UTC), amounts are exact decimals as strings, and an unknown figure is null, never zero.",
        },
        "security": [{"bearer": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API token: `tollgate token create --role auditor`."},
                "session": {"type": "apiKey", "in": "cookie", "name": crate::access::SESSION_COOKIE, "description": "Changes also need the header `x-csrf-token`."},
            },
            "schemas": {
                "Error": error_schema(), "Query": query_schema(), "NewKey": key_schema(), "NewPerson": person_schema(),
                "PersonChange": change_schema(), "NewOrganisation": organisation_schema(), "NewUnit": unit_schema(),
            },
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let content =
        |kinds: &[&str]| -> Map<String, Value> { kinds.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect() };
    let mut described = json!({
        "summary": operation.summary,
        "description": format!("Needs at least the role `{}`.", operation.role),
        "parameters": parameters(operation),
        "responses": {
            "200": {"description": "The answer.", "content": content(operation.content_types)},
            "default": {
                "description": "An error.",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    });
    let schema = match (operation.method, operation.path) {
        ("post", "/api/v1/sql") => Some("Query"),
        ("post", "/api/v1/keys") => Some("NewKey"),
        ("post", "/api/v1/people") => Some("NewPerson"),
        ("patch", "/api/v1/people/{id}") => Some("PersonChange"),
        ("post", "/api/v1/organisations") => Some("NewOrganisation"),
        ("post", "/api/v1/teams" | "/api/v1/projects") => Some("NewUnit"),
        _ => None,
    };
    if let Some(schema) = schema {
        let schema = json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}});
        described["requestBody"] = json!({"required": true, "content": {JSON: schema}});
    }
    described
}

/// Method, address and role of every operation.
#[cfg(test)]
pub(crate) fn roles() -> Vec<(String, &'static str, &'static str)> {
    let named = OPERATIONS.iter().filter(|operation| !operation.role.is_empty());
    named.map(|operation| (operation.method.to_uppercase(), operation.path, operation.role)).collect()
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_query = |(name, description): &(&str, &str)| {
        let kind = if matches!(*name, "limit" | "offset" | "max_rows") { "integer" } else { "string" };
        json!({"name": name, "in": "query", "description": description, "schema": {"type": kind}})
    };
    let mut parameters: Vec<Value> = operation.parameters.iter().map(in_query).collect();
    if operation.path.contains("{id}") {
        parameters.push(json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}));
    }
    parameters
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "message", "hint", "request_id"],
            "properties": {
                "code": {"type": "string", "description": "Stable name of the error."},
                "message": {"type": "string", "description": "What happened, for a person."},
                "hint": {"type": "string", "description": "What to do about it; may be empty."},
                "request_id": {"type": "string", "description": "Names the request in the server's log."},
            },
        }},
    })
}

fn query_schema() -> Value {
    json!({
        "type": "object",
        "required": ["query"],
        "properties": {
            "query": {"type": "string", "examples": ["SELECT count(*) FROM interactions"]},
            "format": {"type": "string", "enum": ["json", "csv", "arrow"]},
            "max_rows": {"type": "integer"},
        },
    })
}

fn key_schema() -> Value {
    json!({
        "type": "object",
        "required": ["name", "team"],
        "properties": {
            "name": {"type": "string"},
            "team": {"type": "string"},
            "tenant": {"type": "string"},
            "project": {"type": "string"},
        },
        "additionalProperties": false,
    })
}

/// Roles that people can have.
const PEOPLES_ROLES: [&str; 6] = ["owner", "admin", "auditor", "finance", "developer", "viewer"];

fn person_schema() -> Value {
    json!({
        "type": "object",
        "required": ["user_name"],
        "properties": {
            "user_name": {"type": "string", "description": "The name they sign in by; unique in the organisation, whatever its case."},
            "organisation": {"type": "string", "description": "Default: the reader's own."},
            "display_name": {"type": "string"},
            "email": {"type": "string"},
            "role": {"type": ["string", "null"], "enum": roles_or_none(), "description": "Without one, what their groups say."},
            "reach": {"type": "string", "enum": ["installation", "organisation"], "description": "Default: as far as the reader's own."},
            "teams": {"type": "array", "items": {"type": "string"}, "description": "TEAM or ORGANISATION/TEAM."},
        },
        "additionalProperties": false,
    })
}

fn change_schema() -> Value {
    json!({
        "type": "object",
        "description": "What is not there stays as it is.",
        "properties": {
            "role": {"type": ["string", "null"], "enum": roles_or_none(), "description": "null: what their groups say."},
            "reach": {"type": "string", "enum": ["installation", "organisation"]},
            "teams": {"type": "array", "items": {"type": "string"}, "description": "These and no others."},
            "active": {"type": "boolean", "description": "False: they are signed out, and their keys are refused."},
            "display_name": {"type": "string"},
        },
        "additionalProperties": false,
    })
}

fn roles_or_none() -> Vec<Value> {
    PEOPLES_ROLES.iter().map(|role| json!(role)).chain([Value::Null]).collect()
}

fn organisation_schema() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}},
        "additionalProperties": false,
    })
}

fn unit_schema() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "organisation": {"type": "string", "description": "Default: the reader's own."},
        },
        "additionalProperties": false,
    })
}
