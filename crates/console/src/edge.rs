//! What happens to every request and response of the console: an id, headers that keep browsers strict, and errors as
//! a page for people or as JSON for programs.

use askama::Template;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use crate::error::ErrorNote;
use crate::pages::problem::ProblemPage;
use crate::shell::theme;

/// No script, style or frame from anywhere but here; nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every response. `same-origin` and not `no-referrer`: the latter makes browsers send `Origin: null` with
/// our own forms.
const ALWAYS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Gives a request an id and its response what every response has.
pub async fn edge(request: Request, next: Next) -> Response {
    let request_id = new_request_id();
    let is_scim = request.uri().path().starts_with("/scim/");
    let is_api = request.uri().path().starts_with("/api/") || request.uri().path() == "/metrics";
    let theme = theme(request.headers());
    let mut response = next.run(request).await;
    if let Some(note) = response.extensions_mut().remove::<ErrorNote>() {
        response = if is_scim {
            error_scim(&note)
        } else if is_api {
            error_json(&note, &request_id)
        } else {
            error_page(&note, &request_id, theme)
        };
    }
    harden(response.headers_mut(), &request_id);
    response
}

fn new_request_id() -> String {
    let mut random = [0_u8; 6];
    // An id that is not random is still an id: errors are rare and the log has the time.
    let _ = getrandom::fill(&mut random);
    random.iter().fold("req-".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn harden(headers: &mut HeaderMap, request_id: &str) {
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
}

fn error_json(note: &ErrorNote, request_id: &str) -> Response {
    let body = json!({"error": {
        "code": note.code, "message": note.message, "hint": note.hint, "request_id": request_id,
    }});
    (note.status, Json(body)).into_response()
}

/// RFC 7644, section 3.12.
fn error_scim(note: &ErrorNote) -> Response {
    let kind = match note.code {
        "already_exists" => "uniqueness",
        "parameter_invalid" => "invalidValue",
        _ => "",
    };
    let status = note.status.as_u16().to_string();
    let detail = format!("{} {}", note.message, note.hint);
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": status, "detail": detail.trim(),
    });
    if !kind.is_empty() {
        body["scimType"] = json!(kind);
    }
    (note.status, Json(body)).into_response()
}

fn error_page(note: &ErrorNote, request_id: &str, theme: Option<&'static str>) -> Response {
    let page = ProblemPage {
        theme,
        status: note.status.as_u16(),
        title: title(note).to_owned(),
        message: sentence(&note.message),
        hint: note.hint.clone(),
        code: note.code,
        request_id: request_id.to_owned(),
        links: ways_on(note),
    };
    match page.render() {
        Ok(html) => (note.status, Html(html)).into_response(),
        Err(_) => (note.status, note.message.clone()).into_response(),
    }
}

fn title(note: &ErrorNote) -> &'static str {
    match note.code {
        "signed_out" => "Signed out",
        "role_insufficient" | "reach_insufficient" => "Not yours to open",
        "csrf_refused" => "Not accepted",
        "login_refused" => "That did not sign you in",
        "interaction_not_found" => "No such call",
        "page_not_found" => "No such page",
        "query_timeout" => "That took too long",
        _ if note.status.is_server_error() => "The books cannot be opened right now",
        _ => "That cannot be done",
    }
}

/// Error texts start small and end without a full stop; on a page they are sentences.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first: String = characters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", characters.as_str().trim_end_matches('.'))
}

fn ways_on(note: &ErrorNote) -> Vec<(String, String)> {
    let link = |href: &str, label: &str| (href.to_owned(), label.to_owned());
    match note.code {
        "signed_out" | "login_refused" => vec![link("/login", "Sign in")],
        "interaction_not_found" => vec![link("/interactions", "All interactions"), link("/search", "Search")],
        "role_insufficient" => vec![link("/", "Overview"), link("/login", "Sign in as someone else")],
        "query_timeout" => vec![link("/?range=1h", "The last hour"), link("/interactions?range=1h", "Interactions")],
        _ => vec![link("/", "Overview"), link("/interactions", "Interactions")],
    }
}
