//! From one database to another: every row of every table, compared before it is kept. The tables and columns are listed
//! here; a test holds the list against the tables that the migrations make.

use sha2::{Digest, Sha256};
use tollgate_policy::control::hash_text;

use crate::error::MetastoreError;

/// The kind of a column. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
}

/// A table and its columns.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Kind)],
}

use Kind::{Number, Text};

/// Every table, those that others refer to first.
pub(crate) const TABLES: &[Shape] = &[
    Shape { name: "control", columns: &[("only_row", Number), ("revision", Number)] },
    Shape {
        name: "api_keys",
        columns: &[
            ("id", Text),
            ("hash", Text),
            ("display", Text),
            ("name", Text),
            ("tenant", Text),
            ("project", Text),
            ("team", Text),
            ("created_at_us", Number),
            ("expires_at_us", Number),
            ("revoked_at_us", Number),
            ("user_name", Text),
            ("user_key", Text),
            ("scopes", Text),
            ("models", Text),
            ("sources", Text),
            ("tags", Text),
            ("previous_hash", Text),
            ("previous_until_us", Number),
        ],
    },
    Shape {
        name: "policy_revisions",
        columns: &[
            ("revision", Number),
            ("hash", Text),
            ("name", Text),
            ("yaml", Text),
            ("author", Text),
            ("reason", Text),
            ("created_at_us", Number),
        ],
    },
    Shape {
        name: "login_links",
        columns: &[
            ("hash", Text),
            ("role", Text),
            ("expires_at_us", Number),
            ("redeemed_at_us", Number),
            ("teams", Text),
            ("bound_to", Text),
            ("user_id", Text),
        ],
    },
    Shape {
        name: "sessions",
        columns: &[
            ("hash", Text),
            ("csrf", Text),
            ("role", Text),
            ("expires_at_us", Number),
            ("user_id", Text),
            ("teams", Text),
            ("bound_to", Text),
        ],
    },
    Shape {
        name: "api_tokens",
        columns: &[
            ("id", Text),
            ("hash", Text),
            ("display", Text),
            ("name", Text),
            ("role", Text),
            ("created_at_us", Number),
            ("revoked_at_us", Number),
            ("teams", Text),
            ("bound_to", Text),
        ],
    },
    Shape {
        name: "control_events",
        columns: &[
            ("revision", Number),
            ("at_us", Number),
            ("author", Text),
            ("action", Text),
            ("subject", Text),
            ("detail", Text),
        ],
    },
    Shape { name: "organisations", columns: &[("name", Text), ("created_at_us", Number)] },
    Shape { name: "teams", columns: &[("organisation", Text), ("name", Text), ("created_at_us", Number)] },
    Shape { name: "projects", columns: &[("organisation", Text), ("name", Text), ("created_at_us", Number)] },
    Shape {
        name: "users",
        columns: &[
            ("id", Text),
            ("organisation", Text),
            ("user_name", Text),
            ("user_key", Text),
            ("external_id", Text),
            ("display_name", Text),
            ("emails", Text),
            ("role", Text),
            ("active", Number),
            ("created_at_us", Number),
            ("changed_at_us", Number),
            ("bound_to", Text),
        ],
    },
    Shape { name: "memberships", columns: &[("user_id", Text), ("organisation", Text), ("team", Text)] },
    Shape {
        name: "user_groups",
        columns: &[
            ("id", Text),
            ("organisation", Text),
            ("display_name", Text),
            ("external_id", Text),
            ("created_at_us", Number),
            ("changed_at_us", Number),
        ],
    },
    Shape { name: "group_members", columns: &[("group_id", Text), ("user_id", Text)] },
];

/// One value of one row.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Text(Option<String>),
    Number(Option<i64>),
}

/// Everything in a metastore. It has no `Debug` form: its rows are hashes and names.
#[derive(Clone)]
pub struct Dump {
    /// Rows, in the order of [`TABLES`].
    pub(crate) tables: Vec<Vec<Vec<Cell>>>,
}

/// A table that was copied and compared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CopiedTable {
    /// Its name.
    pub table: &'static str,
    /// Rows on either side.
    pub rows: u64,
    /// SHA-256 over the rows of either side, in an order of their own; hexadecimal.
    pub hash: String,
}

impl Dump {
    /// # Errors
    /// [`MetastoreError::NotEmpty`] if anything was ever put in. A new database holds one row: that nothing was.
    pub(crate) fn must_be_empty(&self, shown: &str) -> Result<(), MetastoreError> {
        for (shape, rows) in TABLES.iter().zip(&self.tables) {
            let is_new = match shape.name {
                "control" => rows.iter().all(|row| row.last() == Some(&Cell::Number(Some(1)))),
                _ => rows.is_empty(),
            };
            if !is_new {
                return Err(MetastoreError::NotEmpty { url: shown.to_owned(), table: shape.name });
            }
        }
        Ok(())
    }

    /// Whether both hold the same rows, in whatever order.
    #[must_use]
    pub fn holds_the_same(&self, other: &Dump) -> bool {
        self.compare(other).is_ok()
    }

    /// Compares with what `copy` holds.
    ///
    /// # Errors
    /// [`MetastoreError::CopyDiffers`] at the first table that is different.
    pub(crate) fn compare(&self, copy: &Dump) -> Result<Vec<CopiedTable>, MetastoreError> {
        let mut compared = Vec::with_capacity(TABLES.len());
        for (at, shape) in TABLES.iter().enumerate() {
            let (from, to) = (rows_of(&self.tables, at), rows_of(&copy.tables, at));
            let hash = hash_of(from);
            if from.len() != to.len() || hash != hash_of(to) {
                let (expected, found) = (from.len() as u64, to.len() as u64);
                return Err(MetastoreError::CopyDiffers { table: shape.name, expected, found });
            }
            compared.push(CopiedTable { table: shape.name, rows: from.len() as u64, hash });
        }
        Ok(compared)
    }
}

fn rows_of(tables: &[Vec<Vec<Cell>>], at: usize) -> &[Vec<Cell>] {
    tables.get(at).map_or(&[], Vec::as_slice)
}

/// Each row with the lengths of its values before them, the rows sorted: two databases sort texts differently.
fn hash_of(rows: &[Vec<Cell>]) -> String {
    let mut encoded: Vec<Vec<u8>> = rows.iter().map(|row| encode(row)).collect();
    encoded.sort();
    let mut hash = Sha256::new();
    for row in encoded {
        hash.update((row.len() as u64).to_be_bytes());
        hash.update(row);
    }
    hash_text(&hash.finalize().into())
}

fn encode(row: &[Cell]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in row {
        match cell {
            Cell::Text(None) | Cell::Number(None) => bytes.push(0),
            Cell::Number(Some(number)) => {
                bytes.push(1);
                bytes.extend(number.to_be_bytes());
            }
            Cell::Text(Some(text)) => {
                bytes.push(2);
                bytes.extend((text.len() as u64).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

/// Reads and writes every table of one kind of database.
macro_rules! implement_transfer {
    ($database:ty) => {
        async fn read_tables(transaction: &mut Transaction<'static, $database>) -> Result<Dump, sqlx::Error> {
            use $crate::transfer::{Cell, Kind, TABLES};
            let mut tables = Vec::with_capacity(TABLES.len());
            for shape in TABLES {
                let names: Vec<&str> = shape.columns.iter().map(|(name, _)| *name).collect();
                let select = format!("SELECT {} FROM {}", names.join(", "), shape.name);
                let found = sqlx::query(sqlx::AssertSqlSafe(select)).fetch_all(&mut **transaction).await?;
                let mut rows = Vec::with_capacity(found.len());
                for row in found {
                    let mut cells = Vec::with_capacity(shape.columns.len());
                    for (name, kind) in shape.columns {
                        cells.push(match kind {
                            Kind::Text => Cell::Text(row.try_get(*name)?),
                            Kind::Number => Cell::Number(row.try_get(*name)?),
                        });
                    }
                    rows.push(cells);
                }
                tables.push(rows);
            }
            Ok(Dump { tables })
        }

        async fn write_tables(
            transaction: &mut Transaction<'static, $database>,
            dump: &Dump,
        ) -> Result<(), sqlx::Error> {
            use $crate::transfer::{Cell, TABLES};
            sqlx::query("DELETE FROM control").execute(&mut **transaction).await?;
            for (shape, rows) in TABLES.iter().zip(&dump.tables) {
                let names: Vec<&str> = shape.columns.iter().map(|(name, _)| *name).collect();
                let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
                let (name, names, places) = (shape.name, names.join(", "), places.join(", "));
                for row in rows {
                    let insert = format!("INSERT INTO {name} ({names}) VALUES ({places})");
                    let mut insert = sqlx::query(sqlx::AssertSqlSafe(insert));
                    for cell in row {
                        insert = match cell {
                            Cell::Text(text) => insert.bind(text),
                            Cell::Number(number) => insert.bind(number),
                        };
                    }
                    insert.execute(&mut **transaction).await?;
                }
            }
            Ok(())
        }
    };
}

pub(crate) use implement_transfer;
