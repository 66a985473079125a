//! Searches the same vectors with other libraries: sqlite-vec, faiss and usearch in Python, and HNSW of pgvector.

use std::{env, fs, path::Path, process::Command, str::FromStr as _};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::PgConnectOptions,
};

use super::{TOP, Vectors, agreement, best};
use crate::{Failed, store::SERVER};
use konstruct_memory::Flat;

const SCRIPT: &str = include_str!("../../data/peers.py");
const PACKAGES: [&str; 5] = ["apsw", "numpy", "faiss-cpu", "usearch", "sqlite-vec"];

/// Measures the other libraries. Returns a row for each.
///
/// # Errors
/// The environment cannot be created, or one of them fails.
pub async fn rows(folder: &Path, vectors: &Vectors) -> Result<Vec<String>, Failed> {
    let mut rows = python(folder, vectors)?;
    if env::var(SERVER).is_ok() {
        rows.push(pgvector(vectors).await?);
    } else {
        rows.push(format!("peer=pgvector-hnsw skipped: {SERVER} is not set"));
    }
    Ok(rows)
}

fn python(folder: &Path, vectors: &Vectors) -> Result<Vec<String>, Failed> {
    let python = folder.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PACKAGES))?;
    }
    let bytes = |numbers: &[f32]| {
        numbers
            .iter()
            .flat_map(|at| at.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let (all, asked) = (folder.join("vectors.f32"), folder.join("queries.f32"));
    fs::write(&all, bytes(&vectors.numbers))?;
    fs::write(&asked, bytes(&vectors.queries.concat()))?;
    let mut command = Command::new(&python);
    command
        .args(["-c", SCRIPT])
        .arg(&all)
        .arg(&asked)
        .arg(vectors.dim.to_string());
    // One thread each, as for our own measurements, and a kernel for the actual processor.
    command
        .env("OMP_NUM_THREADS", "1")
        .env_remove("OPENBLAS_CORETYPE")
        .env_remove("OPENBLAS_L2_SIZE");
    let said = run(&mut command)?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn run(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?} failed: {said}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Measures HNSW with pgvector's defaults. The time of the statement is reported by the server.
async fn pgvector(vectors: &Vectors) -> Result<String, Failed> {
    let server = PgConnectOptions::from_str(&env::var(SERVER)?)?;
    let mut db: PgConnection = server.connect().await?;
    let dim = vectors.dim;
    let run = async |db: &mut PgConnection, sql: String| -> Result<(), Failed> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await?;
        Ok(())
    };
    run(&mut db, format!("create extension if not exists vector; create temp table peer (id int primary key, v vector({dim}))")).await?;
    let rows: Vec<&[f32]> = vectors.rows().collect();
    for (block, rows) in rows.chunks(1000).enumerate() {
        let ids: Vec<i32> = (0..rows.len())
            .map(|at| (block * 1000 + at) as i32)
            .collect();
        let texts: Vec<String> = rows.iter().map(|row| text(row)).collect();
        let insert =
            "insert into peer select i, t::vector from unnest($1::int[], $2::text[]) as new (i, t)";
        sqlx::query(insert)
            .bind(ids)
            .bind(texts)
            .execute(&mut db)
            .await?;
    }
    let begin = std::time::Instant::now();
    run(
        &mut db,
        "create index on peer using hnsw (v vector_cosine_ops); analyze peer".into(),
    )
    .await?;
    let build = begin.elapsed().as_secs_f64();
    let mut flat = Flat::new(dim);
    vectors.rows().for_each(|row| flat.push(row));
    let exact = best(&vectors.queries, |query| flat.top(query, TOP));
    let (mut found, mut times) = (Vec::new(), 0.0);
    for query in &vectors.queries {
        let select = format!(
            "select id from peer order by v <=> '{}' limit {TOP}",
            text(query)
        );
        let hits = sqlx::raw_sql(AssertSqlSafe(select.as_str()))
            .fetch_all(&mut db)
            .await?;
        found.push(
            hits.iter()
                .map(|row| row.try_get::<i32, _>(0).map(|id| id as usize))
                .collect::<Result<_, _>>()?,
        );
        let explain = format!("explain (analyze, timing off, summary on) {select}");
        let lines = sqlx::raw_sql(AssertSqlSafe(explain))
            .fetch_all(&mut db)
            .await?;
        let lines: Vec<String> = lines
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        let time = lines.iter().find_map(|line| {
            line.trim()
                .strip_prefix("Execution Time: ")?
                .strip_suffix(" ms")
        });
        times += time.ok_or("the server reported no time")?.parse::<f64>()?;
    }
    db.close().await?;
    let (ms, recall) = (
        times / vectors.queries.len() as f64,
        agreement(&exact.found, &found),
    );
    Ok(format!(
        "peer=pgvector-hnsw ms={ms:.4} recall@{TOP}={recall:.3} build_ms={:.0}",
        build * 1e3
    ))
}

fn text(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}
