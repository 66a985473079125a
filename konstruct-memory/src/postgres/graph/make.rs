//! Creates graphs, measures their recall, and drops unneeded ones.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use konstruct_core::{Error, ErrorKind, Result, Secret, TenantId};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::{
    super::{
        claim::signed,
        connect::options,
        error::{committed, corrupt, stored},
    },
    Graph, VectorIndex, drop_index,
    moments::Moments,
    use_graphs,
};

/// The advisory lock of index runs: `graphs` in ASCII.
const LOCK: i64 = 0x6772_6170_6873;
/// The number of test questions for a graph, and how many of the nearest vectors it must find.
const QUESTIONS: usize = 40;
const TOP: usize = 10;
/// The number of vectors requested in a test, as a recall does.
const ASKED: usize = 256;

/// The spaces that are large enough.
const LARGE: &str = "
select tenant, space, embedder, min(vector_dims(e)), count(*) from konstruct.vectors
group by tenant, space, embedder having count(*) >= $1 and min(vector_dims(e)) = max(vector_dims(e))
order by tenant, space, embedder";

/// The existing graphs, and whether each is complete.
const EXISTING: &str = "
select c.relname::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = 'konstruct.vectors'::regclass and c.relname like 'graph\\_%'";

/// Creates the graphs of spaces with at least this many vectors, and drops the others.
pub(in crate::postgres) async fn make(url: &Secret, least: u64) -> Result<Vec<VectorIndex>> {
    let mut connection = PgConnection::connect_with(&options(url)?)
        .await
        .map_err(stored)?;
    begin(&mut connection).await?;
    let rows: Vec<(Uuid, Uuid, i64, i32, i64)> = sqlx::query_as(LARGE)
        .bind(signed(least.max(1)))
        .fetch_all(&mut connection)
        .await
        .map_err(stored)?;
    let mut wanted = BTreeMap::new();
    for (tenant, space, embedder, dim, _) in rows {
        let graph = Graph {
            tenant,
            space,
            embedder,
            dim: usize::try_from(dim).map_err(|_| corrupt())?,
        };
        wanted.insert(graph.name(), graph);
    }
    let there = drop_unused(&mut connection, &wanted).await?;
    let mut made = Vec::with_capacity(wanted.len());
    for (name, graph) in wanted {
        if !there.contains(&name) {
            run(&mut connection, graph.create()).await?;
        }
        made.push(evaluate(&mut connection, graph).await?);
    }
    connection.close().await.map_err(stored)?;
    Ok(made)
}

/// Refuses a role that does not see every tenant's rows, and a run concurrent with another.
async fn begin(connection: &mut PgConnection) -> Result<()> {
    let (sees, alone): (bool, bool) = sqlx::query_as(
        "select (select rolsuper or rolbypassrls from pg_roles where rolname = current_user), pg_try_advisory_lock($1)",
    )
    .bind(LOCK)
    .fetch_one(&mut *connection)
    .await
    .map_err(stored)?;
    if !sees {
        return Err(Error::new(
            ErrorKind::Forbidden,
            "row-level security hides the vectors from this role: use a superuser or a role that bypasses it",
        ));
    }
    if !alone {
        return Err(Error::new(
            ErrorKind::Conflict,
            "another run is already indexing the vectors",
        ));
    }
    // Building a graph that does not fit in memory is many times slower.
    run(
        connection,
        AssertSqlSafe("set maintenance_work_mem = '512MB'".to_owned()),
    )
    .await
}

/// Drops incomplete and unneeded graphs, and returns the names of the others.
async fn drop_unused(
    connection: &mut PgConnection,
    wanted: &BTreeMap<String, Graph>,
) -> Result<Vec<String>> {
    let known: Vec<(Uuid, Uuid, i64, i32)> =
        sqlx::query_as("select tenant, space, embedder, dim from konstruct.graphs")
            .fetch_all(&mut *connection)
            .await
            .map_err(stored)?;
    for (tenant, space, embedder, dim) in known {
        let graph = Graph {
            tenant,
            space,
            embedder,
            dim: usize::try_from(dim).map_err(|_| corrupt())?,
        };
        if wanted.get(&graph.name()) != Some(&graph) {
            forget(connection, graph).await?;
        }
    }
    let there: Vec<(String, bool)> = sqlx::query_as(EXISTING)
        .fetch_all(&mut *connection)
        .await
        .map_err(stored)?;
    let mut left = Vec::new();
    for (name, whole) in there {
        if whole && wanted.contains_key(&name) {
            left.push(name);
        } else {
            run(connection, drop_index(&name)).await?;
        }
    }
    Ok(left)
}

/// Removes a graph from use.
async fn forget(connection: &mut PgConnection, graph: Graph) -> Result<()> {
    for sql in [
        "delete from konstruct.graphs where tenant = $1 and space = $2 and embedder = $3",
        "delete from konstruct.moments where tenant = $1 and space = $2 and embedder = $3",
    ] {
        sqlx::query(sql)
            .bind(graph.tenant)
            .bind(graph.space)
            .bind(graph.embedder)
            .execute(&mut *connection)
            .await
            .map_err(stored)?;
    }
    Ok(())
}

/// Computes the moments of a graph's vectors, and measures its recall. Searches use the graph if it found everything.
async fn evaluate(connection: &mut PgConnection, graph: Graph) -> Result<VectorIndex> {
    let mut moments = Moments::new(graph.dim);
    let mut sample: Vec<Vec<f32>> = Vec::new();
    // Passage numbers are assigned in sequence, so this sample is as good as random.
    let mut step = 1;
    {
        let mut vectors = sqlx::query_scalar::<_, Vec<f32>>(
            "select e::real[] from konstruct.vectors where tenant = $1 and space = $2 and embedder = $3",
        )
        .bind(graph.tenant)
        .bind(graph.space)
        .bind(graph.embedder)
        .fetch(&mut *connection);
        while let Some(vector) = vectors.try_next().await.map_err(stored)? {
            if moments.count().is_multiple_of(step) {
                sample.push(vector.clone());
            }
            moments.add(&vector);
            if sample.len() > 2 * QUESTIONS {
                let mut keep = false;
                sample.retain(|_| {
                    keep = !keep;
                    keep
                });
                step *= 2;
            }
        }
    }
    let recall = measure_recall(connection, graph, &sample).await?;
    let used = recall >= 1.0;
    let mut tx = connection.begin().await.map_err(stored)?;
    forget(&mut tx, graph).await?;
    if used {
        keep(&mut tx, graph, &moments).await?;
    }
    tx.commit().await.map_err(committed)?;
    Ok(VectorIndex {
        tenant: TenantId::from_bytes(*graph.tenant.as_bytes()),
        vectors: moments.count(),
        recall,
        used,
    })
}

async fn keep(connection: &mut PgConnection, graph: Graph, moments: &Moments) -> Result<()> {
    let dim = i32::try_from(graph.dim).map_err(|_| corrupt())?;
    sqlx::query(
        "with moments as (
             insert into konstruct.moments (tenant, space, embedder, row, e)
             select $1, $2, $3, r.row, ($6::real[])[r.row * $4 + 1 : (r.row + 1) * $4]::vector
             from generate_series(0, $4) r(row)
         )
         insert into konstruct.graphs (tenant, space, embedder, dim, vectors) values ($1, $2, $3, $4, $5)",
    )
    .bind(graph.tenant)
    .bind(graph.space)
    .bind(graph.embedder)
    .bind(dim)
    .bind(signed(moments.count()))
    .bind(moments.rows())
    .execute(connection)
    .await
    .map(drop)
    .map_err(stored)
}

/// Queries points between existing vectors with the graph and with a full scan. Returns the share of the nearest that the graph
/// found.
async fn measure_recall(
    connection: &mut PgConnection,
    graph: Graph,
    sample: &[Vec<f32>],
) -> Result<f64> {
    let (mut wanted, mut found) = (0_u32, 0_u32);
    for pair in sample.windows(2).take(QUESTIONS) {
        let question: Vec<f32> = pair[0]
            .iter()
            .zip(&pair[1])
            .map(|(a, b)| a + 0.5 * b)
            .collect();
        let exact = asked(connection, graph, &question, false).await?;
        let near = asked(connection, graph, &question, true).await?;
        let enough = near.len() >= exact.len();
        for one in exact.iter().take(TOP) {
            wanted += 1;
            // Vectors of equal distance are interchangeable.
            let last = near
                .get(TOP - 1)
                .or(near.last())
                .map_or(f32::INFINITY, |last| last.1);
            let there = near.iter().take(TOP).any(|other| other.0 == one.0);
            found += u32::from(enough && (there || one.1 <= last));
        }
    }
    Ok(f64::from(found) / f64::from(wanted.max(1)))
}

async fn asked(
    connection: &mut PgConnection,
    graph: Graph,
    question: &[f32],
    by: bool,
) -> Result<Vec<(i64, f32)>> {
    let mut tx = connection.begin().await.map_err(stored)?;
    if by {
        run(&mut tx, use_graphs(ASKED)).await?;
    } else {
        let exact = "set local enable_indexscan = off".to_owned();
        run(&mut tx, AssertSqlSafe(exact)).await?;
    }
    let found = sqlx::query_as(graph.near(ASKED))
        .persistent(false)
        .bind(question)
        .fetch_all(&mut *tx)
        .await
        .map_err(stored)?;
    tx.rollback().await.map_err(stored)?;
    Ok(found)
}

async fn run(connection: &mut PgConnection, sql: AssertSqlSafe<String>) -> Result<()> {
    sqlx::raw_sql(sql)
        .execute(connection)
        .await
        .map(drop)
        .map_err(stored)
}
