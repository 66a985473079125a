//! Probes the guarantees of the catalogue: every table, with a row of each tenant, as the roles that serve.

use konstruct_core::{Result, Secret};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::{connect, run, stored};

/// The roles that serve.
const ROLES: [&str; 2] = ["konstruct_app", "konstruct_worker"];

/// The result of probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probed {
    /// The number of statements that were tried.
    pub probes: u64,
    /// What a tenant could do to another's rows, or could not do to its own.
    pub leaks: Vec<String>,
}

impl Probed {
    fn count(&mut self, role: &str, probe: &Probe, outcome: &Outcome) {
        self.probes += 1;
        if *outcome != probe.expected {
            self.leaks.push(format!(
                "{role}: `{}` is {outcome:?}, not {:?}",
                probe.sql, probe.expected
            ));
        }
    }
}

/// Tries every verb on every table, in the contexts of two tenants and of none. Writes nothing.
///
/// # Errors
/// Errors of the database.
pub async fn probe(owner: &Secret) -> Result<Probed> {
    let mut owner = connect(owner).await?;
    let mut tx = owner.begin().await.map_err(stored)?;
    let probed = probe_as(&mut tx).await?;
    tx.rollback().await.map_err(stored)?;
    Ok(probed)
}

/// Probes in a transaction of the owner.
pub(super) async fn probe_as(connection: &mut PgConnection) -> Result<Probed> {
    let (tables, tenants) = (tables(connection).await?, tenants(2));
    for table in &tables {
        for tenant in &tenants {
            run(connection, &table.insert(*tenant)).await?;
        }
    }
    let mut probed = Probed::default();
    for role in ROLES {
        run(connection, &format!("set local role {role}")).await?;
        for table in &tables {
            for probe in table.probes(tenants[0], tenants[1]) {
                let mut savepoint = connection.begin().await.map_err(stored)?;
                let outcome = probe.attempt(&mut savepoint, "").await?;
                savepoint.rollback().await.map_err(stored)?;
                probed.count(role, &probe, &outcome);
            }
        }
    }
    run(connection, "reset role").await?;
    Ok(probed)
}

/// Tries `count` random verbs on random tables, each in the context of a random one `among` so many tenants and aimed at the rows
/// of another one. The rows of the tenants stay in the database.
///
/// # Errors
/// Errors of the database.
///
/// # Panics
/// With fewer than two tenants.
pub async fn probe_randomly(owner: &Secret, among: usize, count: u64, seed: u64) -> Result<Probed> {
    assert!(among >= 2, "a tenant needs another one");
    let mut connection = connect(owner).await?;
    let (tables, tenants) = (tables(&mut connection).await?, tenants(among));
    for table in &tables {
        for tenant in &tenants {
            run(&mut connection, &table.insert(*tenant)).await?;
        }
    }
    let mut state = seed;
    let mut below = |n: usize| {
        // SplitMix64, whose remainder is random enough for a few tables.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default() % n
    };
    let mut probed = Probed::default();
    while probed.probes < count {
        let role = ROLES[below(ROLES.len())];
        let own = below(tenants.len());
        let other = (own + 1 + below(tenants.len() - 1)) % tenants.len();
        let table = &tables[below(tables.len())];
        let mut probes = table.probes(tenants[own], tenants[other]);
        let probe = probes.swap_remove(below(probes.len()));
        let begin = format!("begin; set local role {role}; ");
        let outcome = probe.attempt(&mut connection, &begin).await?;
        run(&mut connection, "rollback").await?;
        probed.count(role, &probe, &outcome);
    }
    Ok(probed)
}

/// Returns the ids of the probe's tenants.
fn tenants(count: usize) -> Vec<Uuid> {
    let id = |n: u128| Uuid::from_u128(n * 0x1111_1111_1111_1111_1111_1111_1111_1111);
    (1..=count as u128).map(id).collect()
}

/// A table, and the columns and values of a row apart from its tenant.
#[derive(Debug)]
struct Table {
    name: String,
    columns: String,
    values: String,
}

/// A statement in the context of a tenant or of none, and its expected outcome.
#[derive(Debug)]
struct Probe {
    sql: String,
    context: Option<Uuid>,
    expected: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Rows(u64),
    /// By row-level security, or because the role lacks the privilege on the table.
    Refused,
    Failed(String),
}

impl Table {
    fn insert(&self, tenant: Uuid) -> String {
        let Self {
            name,
            columns,
            values,
        } = self;
        format!("insert into konstruct.{name} (tenant{columns}) values ('{tenant}'{values})")
    }

    /// Returns every verb, in the context of `own` or of no tenant.
    fn probes(&self, own: Uuid, other: Uuid) -> Vec<Probe> {
        use Outcome::{Refused, Rows};
        let name = &self.name;
        let nobody = Uuid::max();
        let all = format!("select from konstruct.{name}");
        let probes = [
            (all.clone(), None, Rows(0)),
            (all.clone(), Some(own), Rows(1)),
            (
                format!("{all} where tenant = '{other}'"),
                Some(own),
                Rows(0),
            ),
            (
                format!("update konstruct.{name} set tenant = tenant where tenant = '{other}'"),
                Some(own),
                Rows(0),
            ),
            (
                format!("update konstruct.{name} set tenant = tenant"),
                Some(own),
                Rows(1),
            ),
            (
                format!("update konstruct.{name} set tenant = '{nobody}'"),
                Some(own),
                Refused,
            ),
            (self.insert(other), Some(own), Refused),
            (self.insert(other), None, Refused),
            (
                format!("delete from konstruct.{name} where tenant = '{other}'"),
                Some(own),
                Rows(0),
            ),
            (format!("delete from konstruct.{name}"), Some(own), Rows(1)),
            (format!("delete from konstruct.{name}"), None, Rows(0)),
            (format!("truncate konstruct.{name}"), Some(own), Refused),
        ];
        let probe = |(sql, context, expected)| Probe {
            sql,
            context,
            expected,
        };
        probes.map(probe).into()
    }
}

impl Probe {
    /// Runs the statement after `begin`, in the transaction that is then open.
    async fn attempt(&self, connection: &mut PgConnection, begin: &str) -> Result<Outcome> {
        let context = self.context.map_or_else(String::new, |id| id.to_string());
        let sql = format!(
            "{begin}set local konstruct.tenant = '{context}'; {}",
            self.sql
        );
        match sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await {
            Ok(done) => Ok(Outcome::Rows(done.rows_affected())),
            Err(sqlx::Error::Database(error)) => {
                let message = error.message();
                // The error code is not specific enough: a forbidden schema has the same.
                let refused = message.contains("row-level security policy")
                    || message.contains("permission denied for table");
                Ok(match refused {
                    true => Outcome::Refused,
                    false => Outcome::Failed(message.to_owned()),
                })
            }
            Err(error) => Err(stored(error)),
        }
    }
}

/// Returns the tables with a tenant, each with values for all required columns.
async fn tables(connection: &mut PgConnection) -> Result<Vec<Table>> {
    let names: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant'
         where c.relnamespace = 'konstruct'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(stored)?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let required: Vec<(String, String)> = sqlx::query_as(
            "select a.attname::text, format_type(a.atttypid, null) from pg_attribute a
             where a.attrelid = ('konstruct.' || quote_ident($1))::regclass and a.attnum > 0 and not a.attisdropped
                 and a.attnotnull and not a.atthasdef and a.attname <> 'tenant'",
        )
        .bind(&name)
        .fetch_all(&mut *connection)
        .await
        .map_err(stored)?;
        let (mut columns, mut values) = (String::new(), String::new());
        for (column, kind) in required {
            let value = match kind.as_str() {
                "uuid" => "44444444-4444-4444-4444-444444444444",
                "bigint" | "integer" | "smallint" | "double precision" => "1",
                "boolean" => "true",
                "bytea" => "\\x01",
                "jsonb" => "{}",
                kind if kind.ends_with("[]") => "{}",
                "halfvec" | "vector" => "[1]",
                _ => "text",
            };
            columns.push_str(&format!(", \"{column}\""));
            values.push_str(&format!(", '{value}'"));
        }
        tables.push(Table {
            name,
            columns,
            values,
        });
    }
    Ok(tables)
}
