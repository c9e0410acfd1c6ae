//! What a person sees instead of a page: what happened, what to do, and where to go.

use askama::Template;

/// The page.
#[derive(Debug, Template)]
#[template(path = "pages/problem.html")]
pub struct ProblemPage {
    /// Colours the reader chose.
    pub theme: Option<&'static str>,
    /// HTTP status.
    pub status: u16,
    /// Heading.
    pub title: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Stable name of the error.
    pub code: &'static str,
    /// Names the request in the server's log.
    pub request_id: String,
    /// Address and label of ways on; the first is the best.
    pub links: Vec<(String, String)>,
}
