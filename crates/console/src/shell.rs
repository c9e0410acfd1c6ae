//! What every page has around its content: who is signed in, where they are, and how the books stand.

use axum::http::HeaderMap;
use tollgate_metastore::{Reach, Role};

use crate::routes::access_of_page;

/// State of the log, for the corner of every page. `u64`s, not sizes: a person reads them at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Books {
    /// Version of the `interactions` table.
    pub lake_version: u64,
    /// Rows that can be queried but are not in that version yet.
    pub hot_rows: u64,
    /// Calls that are missing from the log since it was opened, because the operator lets it fail open.
    pub dropped: u64,
}

/// One entry of the navigation.
#[derive(Clone, Copy, Debug)]
pub struct NavItem {
    /// Where it leads.
    pub href: &'static str,
    /// What it says.
    pub label: &'static str,
    /// Path of a 16 × 16 line drawing.
    pub icon: &'static str,
}

/// Entries under one heading.
#[derive(Clone, Debug)]
pub struct NavGroup {
    /// Heading.
    pub title: &'static str,
    /// Those that the reader may open.
    pub items: Vec<NavItem>,
}

/// The frame of a page.
#[derive(Clone, Debug)]
pub struct Shell {
    /// Title of the page.
    pub title: String,
    /// `href` of the navigation entry that the page belongs to.
    pub active: &'static str,
    /// Role of the reader.
    pub role: Role,
    /// How far that reaches.
    pub reach: Reach,
    /// Token that every form sends back.
    pub csrf: String,
    /// How a command on the gateway's machine begins: `tollgate --config tollgate.yaml`.
    pub program: String,
    /// Whether the reader may see prompts and answers.
    pub may_read_content: bool,
    /// Whether the reader may change keys.
    pub may_manage: bool,
    /// `light` or `dark` if the reader chose one.
    pub theme: Option<&'static str>,
    /// Whether the control plane is away, so that nothing of it can be changed.
    pub is_cut_off: bool,
    /// How the books stand, if the process can tell.
    pub books: Option<Books>,
    /// What does not work as it should, for the head of every page: a sentence each.
    pub alarms: Vec<String>,
}

const LEDGER: &[NavItem] = &[
    NavItem { href: "/", label: "Overview", icon: "M2 13.5h12M4 11V7.5M8 11V3.5M12 11V6" },
    NavItem { href: "/interactions", label: "Interactions", icon: "M2 3.5h12M2 8h12M2 12.5h12" },
    NavItem {
        href: "/costs",
        label: "Costs",
        icon: "M8 1.5v13M11 4.2C10.4 3.5 9.4 3 8 3 6.2 3 5 4 5 5.4c0 3.4 6.2 1.8 6.2 5.2C11.2 12 9.9 13 8 13c-1.5 0-2.6-.5-3.3-1.3",
    },
    NavItem { href: "/budgets", label: "Budgets", icon: "M2 12.5a6 6 0 1 1 12 0M8 12.5 11 7M2 14.5h12" },
    NavItem { href: "/models", label: "Models", icon: "M2 8h4M6 8l3-4.5h5M6 8h8M6 8l3 4.5h5" },
];
const INQUIRY: &[NavItem] = &[
    NavItem { href: "/search", label: "Search", icon: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3 14 14" },
    NavItem { href: "/sql", label: "SQL", icon: "M2.5 4 6 8l-3.5 4M8 12.5h5.5" },
    NavItem { href: "/reports", label: "Reports", icon: "M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3M5.5 8h5M5.5 11h5" },
    NavItem {
        href: "/integrity",
        label: "Integrity",
        icon: "M8 1.5 13 3.5v4c0 3.4-2.2 5.9-5 7-2.8-1.1-5-3.6-5-7v-4zM5.7 8l1.7 1.7 3-3.4",
    },
];
const POLICY: &[NavItem] = &[
    NavItem { href: "/policies", label: "Policies", icon: "M8 1.5v13M3.5 4h9M3.5 4 1.5 9h4zM12.5 4l-2 5h4zM5 14.5h6" },
    NavItem {
        href: "/experiments",
        label: "Experiments",
        icon: "M6 1.5h4M7 1.5v4.2L2.8 13a1 1 0 0 0 .9 1.5h8.6a1 1 0 0 0 .9-1.5L9 5.7V1.5M5 10h6",
    },
];
const ACCESS: &[NavItem] = &[
    NavItem {
        href: "/people",
        label: "People",
        icon: "M6 2.5a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2zM1.5 13.5c0-2.6 2-4.3 4.5-4.3s4.5 1.7 4.5 4.3M10.8 3a2.4 2.4 0 0 1 0 4.4M12 9.6c1.6.6 2.5 2 2.5 3.9",
    },
    NavItem {
        href: "/keys",
        label: "Keys",
        icon: "M4.8 5a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM7.6 7.8h6.9M12 7.8v2.7",
    },
    NavItem { href: "/setup", label: "Setup", icon: "M2 5h7M12 5h2M2 11h2M7 11h7M10.5 3.5v3M5.5 9.5v3" },
];

impl Shell {
    /// The navigation, without what the reader may not open.
    #[must_use]
    pub fn groups(&self) -> Vec<NavGroup> {
        let allowed =
            |item: &&NavItem| access_of_page(item.href).is_some_and(|access| access.admits(self.role, &self.reach));
        [("Ledger", LEDGER), ("Inquiry", INQUIRY), ("Policy", POLICY), ("Access", ACCESS)]
            .into_iter()
            .map(|(title, items)| NavGroup { title, items: items.iter().filter(allowed).copied().collect() })
            .filter(|group| !group.items.is_empty())
            .collect()
    }
}

/// The value of a cookie.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

/// The colours a reader chose, from the cookie that the script sets.
#[must_use]
pub fn theme(headers: &HeaderMap) -> Option<&'static str> {
    match cookie(headers, "tollgate_theme")? {
        "light" => Some("light"),
        "dark" => Some("dark"),
        _ => None,
    }
}
