//! Removes the ids that serve only to recognise late deliveries, a month at a time, by truncating a partition.

use konstruct_core::{Result, Secret};
use sqlx::{Connection as _, PgConnection};

use super::{connect::options, error::stored};

/// The partition that the next month will use, which contains the month three months ago. Tests may pass a time.
const PARTITION: &str = "
select ((konstruct.month_of(coalesce($1, konstruct.now_us())) + 1) % 4)::smallint";

/// One statement for each partition, because statements are constants.
const EMPTY: [&str; 4] = [
    "truncate konstruct.events_0, konstruct.twins_0",
    "truncate konstruct.events_1, konstruct.twins_1",
    "truncate konstruct.events_2, konstruct.twins_2",
    "truncate konstruct.events_3, konstruct.twins_3",
];

/// Truncates the partition that the next month will use.
pub(super) async fn prune(url: &Secret, now: Option<i64>) -> Result<()> {
    let mut connection = PgConnection::connect_with(&options(url)?)
        .await
        .map_err(stored)?;
    let partition: i16 = sqlx::query_scalar(PARTITION)
        .bind(now)
        .fetch_one(&mut connection)
        .await
        .map_err(stored)?;
    let sql = usize::try_from(partition).ok().and_then(|at| EMPTY.get(at));
    if let Some(sql) = sql {
        sqlx::raw_sql(*sql)
            .execute(&mut connection)
            .await
            .map_err(stored)?;
    }
    connection.close().await.map_err(stored)
}
