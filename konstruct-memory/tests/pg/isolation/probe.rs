//! Probes the guarantees of the catalogue: every table, with a row of each of two tenants, as the serving role.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::database::Database;

const ANN: &str = "11111111-1111-1111-1111-111111111111";
const BOB: &str = "22222222-2222-2222-2222-222222222222";

/// Returns what a tenant can do to another's rows, or cannot do to its own.
pub(super) async fn probe(connection: &mut PgConnection) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant'
         where c.relnamespace = 'konstruct'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    assert!(tables.len() > 15, "missing tables: {tables:?}");
    let mut found = Vec::new();
    for table in &tables {
        for tenant in [ANN, BOB] {
            let row = row(connection, table, tenant).await;
            run(connection, &row).await.unwrap();
        }
    }
    run(connection, "set local role konstruct_app")
        .await
        .unwrap();
    for table in &tables {
        let bobs = row(connection, table, BOB).await;
        let mut expect = async |sql: &str, context: Option<&str>, expected: Outcome| {
            let outcome = attempt(connection, sql, context).await;
            if outcome != expected {
                found.push(format!("{table}: `{sql}` is {outcome:?}, not {expected:?}"));
            }
        };
        let count = format!("select from konstruct.{table}");
        expect(&count, None, Outcome::Rows(0)).await;
        expect(&count, Some(ANN), Outcome::Rows(1)).await;
        let bob = format!("select from konstruct.{table} where tenant = '{BOB}'");
        expect(&bob, Some(ANN), Outcome::Rows(0)).await;
        let update = format!("update konstruct.{table} set tenant = tenant where tenant = '{BOB}'");
        expect(&update, Some(ANN), Outcome::Rows(0)).await;
        let own = format!("update konstruct.{table} set tenant = tenant");
        expect(&own, Some(ANN), Outcome::Rows(1)).await;
        let give =
            format!("update konstruct.{table} set tenant = '33333333-3333-3333-3333-333333333333'");
        expect(&give, Some(ANN), Outcome::Refused).await;
        expect(&bobs, Some(ANN), Outcome::Refused).await;
        expect(&bobs, None, Outcome::Refused).await;
        let delete = format!("delete from konstruct.{table} where tenant = '{BOB}'");
        expect(&delete, Some(ANN), Outcome::Rows(0)).await;
        expect(
            &format!("truncate konstruct.{table}"),
            Some(ANN),
            Outcome::Refused,
        )
        .await;
    }
    run(connection, "reset role").await.unwrap();
    found
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Rows(u64),
    /// By row-level security, or for lack of the privilege on the table.
    Refused,
    Failed(String),
}

/// Runs a statement in a context, and rolls it back.
async fn attempt(connection: &mut PgConnection, sql: &str, context: Option<&str>) -> Outcome {
    let mut tx = connection.begin().await.unwrap();
    let context = context.unwrap_or("");
    run(
        &mut tx,
        &format!("set local konstruct.tenant = '{context}'"),
    )
    .await
    .unwrap();
    let outcome = match run(&mut tx, sql).await {
        Ok(rows) => Outcome::Rows(rows),
        // The error code is not specific enough: a forbidden schema has the same.
        Err(error)
            if error.contains("row-level security policy")
                || error.contains("permission denied for table") =>
        {
            Outcome::Refused
        }
        Err(error) => Outcome::Failed(error),
    };
    tx.rollback().await.unwrap();
    outcome
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(|error| error.to_string())
}

/// Returns an insert of a row with values for all required columns.
async fn row(connection: &mut PgConnection, table: &str, tenant: &str) -> String {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select a.attname::text, format_type(a.atttypid, null) from pg_attribute a
         where a.attrelid = ('konstruct.' || quote_ident($1))::regclass and a.attnum > 0 and not a.attisdropped
             and a.attnotnull and not a.atthasdef",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .unwrap();
    let (names, values): (Vec<_>, Vec<_>) = columns
        .iter()
        .map(|(name, kind)| {
            let value = match kind.as_str() {
                _ if name == "tenant" => tenant,
                "uuid" => "44444444-4444-4444-4444-444444444444",
                "bigint" | "integer" | "smallint" => "1",
                "boolean" => "true",
                "bytea" => "\\x01",
                "uuid[]" => "{}",
                "halfvec" | "vector" => "[1]",
                _ => "text",
            };
            (format!("\"{name}\""), format!("'{value}'"))
        })
        .unzip();
    format!(
        "insert into konstruct.{table} ({}) values ({})",
        names.join(", "),
        values.join(", ")
    )
}

#[tokio::test]
async fn no_tenant_touches_anothers_rows() {
    Database::with(async |database| {
        let mut owner = database.connect("postgres").await;
        let mut tx = owner.begin().await.unwrap();
        let found = probe(&mut tx).await;
        tx.rollback().await.unwrap();
        assert!(found.is_empty(), "{found:#?}");
    })
    .await;
}
