//! A real OpenID provider (`tests/clients/oidc_provider.mjs`) and a browser that follows its forms, cookies and all.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use ureq::Agent;

use super::free_port;

/// The provider, which ends with this value.
pub(crate) struct OidcProvider {
    child: Child,
    /// Held: what it says later goes nowhere otherwise, and it would end.
    _said: BufReader<ChildStdout>,
    pub(crate) issuer: String,
}

impl OidcProvider {
    /// One that knows `people` (a JSON object, name to claims) and sends them back to `redirect_uri`.
    pub(crate) fn start(secret: &str, redirect_uri: &str, people: &str) -> OidcProvider {
        let modules = std::env::var("TOLLGATE_TOOLS_NODE_IDENTITY")
            .expect("TOLLGATE_TOOLS_NODE_IDENTITY is not set; run the tests by `cargo xtask test`");
        let program = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("clients/oidc_provider.mjs");
        let mut child = Command::new("node")
            .arg(program)
            .env("NODE_MODULES", modules)
            .env("PORT", free_port().to_string())
            .env("CLIENT_SECRET", secret)
            .env("REDIRECT_URI", redirect_uri)
            .env("PEOPLE", people)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut said, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        said.read_line(&mut line).unwrap();
        let listening: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it said: {line}"));
        OidcProvider { child, _said: said, issuer: listening["issuer"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page, or where it leads.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) text: String,
    /// Where a redirect leads; empty for a page.
    pub(crate) location: String,
}

/// Somebody's browser. Cookies are kept by port, which is more than browsers do.
pub(crate) struct Browser {
    agent: Agent,
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    pub(crate) fn new() -> Browser {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .max_redirects(0)
            .build()
            .new_agent();
        Browser { agent, cookies: BTreeMap::new() }
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|((_, found), _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn get(&mut self, url: &str) -> Page {
        let request = self.agent.get(url).header("cookie", self.sent_to(url));
        let response = request.call().unwrap();
        self.read(url, response)
    }

    pub(crate) fn post(&mut self, url: &str, form: &str) -> Page {
        let request = self.agent.post(url).header("cookie", self.sent_to(url));
        let response = request.header("content-type", "application/x-www-form-urlencoded").send(form).unwrap();
        self.read(url, response)
    }

    fn read(&mut self, url: &str, mut response: ureq::http::Response<ureq::Body>) -> Page {
        let origin = origin(url).to_owned();
        for set in response.headers().get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert((origin.clone(), name.to_owned()), value.to_owned());
        }
        let location = response.headers().get("location").map_or("", |to| to.to_str().unwrap());
        let location = if location.starts_with('/') { format!("{origin}{location}") } else { location.to_owned() };
        let status = response.status().as_u16();
        Page { status, text: response.body_mut().read_to_string().unwrap(), location }
    }

    fn sent_to(&self, url: &str) -> String {
        let origin = origin(url);
        let mine = self.cookies.iter().filter(|((of, _), value)| of == origin && !value.is_empty());
        mine.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Fills in the provider's forms, begun at `url`, as `name`, and returns where it sends the browser back to.
    pub(crate) fn sign_in_at_provider(&mut self, url: &str, name: &str) -> String {
        let provider = origin(url).to_owned();
        let mut at = url.to_owned();
        let mut forms = [format!("prompt=login&login={name}&password=x"), "prompt=consent".to_owned()].into_iter();
        for _ in 0..10 {
            let page = match at.contains("/interaction/") {
                true => self.post(&at, &forms.next().expect("the provider asks twice")),
                false => self.get(&at),
            };
            assert!(!page.location.is_empty(), "{at}: {} {}", page.status, page.text);
            at = page.location;
            if origin(&at) != provider {
                return at;
            }
        }
        panic!("the provider never sends the browser back");
    }
}

/// `http://host:port` of a URL.
fn origin(url: &str) -> &str {
    let path = url.find("://").map_or(0, |at| at + 3);
    url[path..].find(['/', '?']).map_or(url, |end| &url[..path + end])
}
