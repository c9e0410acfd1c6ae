//! Which statements may be planned. What is not known to read only is refused by its name, before any planning.

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{SetExpr, Statement as Sql};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use crate::error::SqlError;

/// Parses one statement that only reads.
///
/// # Errors
/// [`SqlError::Empty`], [`SqlError::Several`], [`SqlError::Syntax`] or [`SqlError::Refused`].
pub(crate) fn read_only(sql: &str) -> Result<Statement, SqlError> {
    let parser = DFParserBuilder::new(sql).with_dialect(&GenericDialect {}).build();
    let statements = parser.and_then(|mut parser| parser.parse_statements()).map_err(SqlError::of_planning);
    let mut statements = match statements {
        Ok(statements) => statements,
        // The parser knows fewer forms than a user may try: name what was refused rather than where it gave up.
        Err(SqlError::Syntax { .. }) if changes_something(sql) => return Err(refused(sql)),
        Err(error) => return Err(error),
    };
    if statements.len() > 1 {
        return Err(SqlError::Several { count: statements.len() });
    }
    let statement = statements.pop_front().ok_or(SqlError::Empty)?;
    if reads_only(&statement) { Ok(statement) } else { Err(refused(&statement.to_string())) }
}

/// Whether a statement asks how another one would be answered.
pub(crate) fn explains(statement: &Statement) -> bool {
    match statement {
        Statement::Explain(_) => true,
        Statement::Statement(sql) => matches!(**sql, Sql::Explain { .. }),
        _ => false,
    }
}

fn reads_only(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(sql) => sql_reads_only(sql),
        Statement::Explain(explain) => reads_only(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

fn sql_reads_only(sql: &Sql) -> bool {
    match sql {
        Sql::Query(query) => body_reads_only(&query.body),
        Sql::Explain { statement, .. } => sql_reads_only(statement),
        Sql::ExplainTable { .. }
        | Sql::ShowTables { .. }
        | Sql::ShowColumns { .. }
        | Sql::ShowFunctions { .. }
        | Sql::ShowVariable { .. } => true,
        _ => false,
    }
}

fn body_reads_only(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => body_reads_only(&query.body),
        SetExpr::SetOperation { left, right, .. } => body_reads_only(left) && body_reads_only(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        _ => false,
    }
}

fn refused(text: &str) -> SqlError {
    SqlError::Refused { statement: name_of(text) }
}

/// First word of a statement, in capitals; with `CREATE`, `DROP` and `ALTER` also what they are about.
fn name_of(text: &str) -> String {
    let mut words =
        text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_uppercase();
    match first.as_str() {
        "CREATE" | "DROP" | "ALTER" => match words.next() {
            Some(second) if second.chars().all(char::is_alphabetic) => format!("{first} {}", second.to_uppercase()),
            _ => first,
        },
        "SELECT" | "WITH" => "SELECT INTO".to_owned(),
        "EXPLAIN" => words
            .map(str::to_uppercase)
            .find(|word| word != "ANALYZE" && changes_something(word))
            .unwrap_or_else(|| "EXPLAIN of a statement that writes".to_owned()),
        _ => first,
    }
}

/// Whether the text begins with a word that no reading statement begins with.
fn changes_something(text: &str) -> bool {
    const WRITING: &[&str] = &[
        "ALTER",
        "ANALYZE",
        "ATTACH",
        "BEGIN",
        "CALL",
        "COMMIT",
        "COPY",
        "CREATE",
        "DEALLOCATE",
        "DELETE",
        "DROP",
        "EXECUTE",
        "GRANT",
        "INSERT",
        "INSTALL",
        "LOAD",
        "MERGE",
        "PRAGMA",
        "PREPARE",
        "REPLACE",
        "RESET",
        "REVOKE",
        "ROLLBACK",
        "SET",
        "START",
        "TRUNCATE",
        "UPDATE",
        "USE",
        "VACUUM",
    ];
    let first = text.trim_start().split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
    WRITING.iter().any(|word| word.eq_ignore_ascii_case(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(sql: &str) -> String {
        match read_only(sql) {
            Err(SqlError::Refused { statement }) => statement,
            other => panic!("`{sql}` gave {other:?}"),
        }
    }

    #[test]
    fn a_statement_that_would_write_is_refused_by_its_name() {
        for (sql, name) in [
            ("COPY interactions TO '/tmp/out.parquet'", "COPY"),
            ("copy (select 1) to 's3://x/y' stored as csv", "COPY"),
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL"),
            ("create view v as select 1", "CREATE VIEW"),
            ("CREATE TABLE t AS SELECT 1", "CREATE TABLE"),
            ("SET datafusion.execution.batch_size = 1", "SET"),
            ("RESET datafusion.execution.batch_size", "RESET"),
            ("INSERT INTO interactions SELECT * FROM interactions", "INSERT"),
            ("DELETE FROM interactions", "DELETE"),
            ("UPDATE interactions SET team = 'x'", "UPDATE"),
            ("DROP TABLE interactions", "DROP TABLE"),
            ("SELECT * INTO t FROM interactions", "SELECT INTO"),
            ("EXPLAIN ANALYZE INSERT INTO interactions SELECT 1", "INSERT"),
            ("EXPLAIN COPY (select 1) TO '/tmp/x.csv'", "COPY"),
            ("PREPARE p AS SELECT 1", "PREPARE"),
            ("BEGIN", "BEGIN"),
            ("INSTALL httpfs", "INSTALL"),
        ] {
            assert_eq!(refusal(sql), name);
        }
    }

    #[test]
    fn a_statement_that_reads_is_planned() {
        for sql in [
            "SELECT 1",
            "with a as (select 1) select * from a union all select 2",
            "EXPLAIN ANALYZE SELECT * FROM interactions",
            "SHOW TABLES",
            "DESCRIBE interactions",
            "VALUES (1), (2);",
        ] {
            assert!(read_only(sql).is_ok(), "`{sql}` gave {:?}", read_only(sql));
        }
    }

    #[test]
    fn several_statements_and_none_are_refused() {
        assert!(matches!(read_only("SELECT 1; DROP TABLE t"), Err(SqlError::Several { count: 2 })));
        assert!(matches!(read_only(" -- nothing\n"), Err(SqlError::Empty)));
        assert!(matches!(read_only("SELEC 1"), Err(SqlError::Syntax { .. })));
    }
}
