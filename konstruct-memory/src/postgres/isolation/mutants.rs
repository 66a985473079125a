//! Possible mistakes in a migration: the audit finds each of them, and the probe those that it can test.

use konstruct_core::{Result, Secret};
use sqlx::Connection as _;

use super::{audit::findings, connect, probe::probe_as, run};

/// A mistake that was made in a transaction of its own, and what found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mutant {
    /// The statements.
    pub sql: &'static str,
    /// Whether the audit reports exactly this mistake.
    pub audited: bool,
    /// Whether the probe finds it; `None` where it has no statement that could.
    pub probed: Option<bool>,
}

impl Mutant {
    /// Returns whether everything that should find the mistake did.
    pub fn caught(&self) -> bool {
        self.audited && self.probed != Some(false)
    }
}

/// Makes one mistake after the other in a database, and undoes it.
///
/// # Errors
/// Errors of the database.
pub async fn mutants(owner: &Secret) -> Result<Vec<Mutant>> {
    let mut owner = connect(owner).await?;
    let mut tried = Vec::with_capacity(MUTANTS.len());
    for &(sql, finding, probed) in MUTANTS {
        let mut tx = owner.begin().await.map_err(super::stored)?;
        run(&mut tx, sql).await?;
        let found = findings(&mut tx).await?;
        let probed = match probed {
            true => Some(!probe_as(&mut tx).await?.leaks.is_empty()),
            false => None,
        };
        tx.rollback().await.map_err(super::stored)?;
        tried.push(Mutant {
            sql,
            audited: found.iter().any(|found| found == finding),
            probed,
        });
    }
    Ok(tried)
}

/// A mistake, the finding of the audit, and whether the probe finds it too.
const MUTANTS: &[(&str, &str, bool)] = &[
    (
        "create table konstruct.notes (tenant uuid not null, n integer, primary key (tenant, n));
         grant select, insert, update, delete on konstruct.notes to konstruct_app",
        "no row-level security: konstruct.notes",
        true,
    ),
    (
        "alter table konstruct.log disable row level security",
        "no row-level security: konstruct.log",
        true,
    ),
    (
        "alter table konstruct.log no force row level security",
        "row-level security is not forced: konstruct.log",
        false,
    ),
    (
        "drop policy tenant_rows on konstruct.log; create policy tenant_rows on konstruct.log using (true)",
        "policies: konstruct.log",
        true,
    ),
    (
        "alter policy tenant_rows on konstruct.inbox with check (true)",
        "policies: konstruct.inbox",
        true,
    ),
    (
        "create policy more on konstruct.inbox for select using (true)",
        "policies: konstruct.inbox",
        true,
    ),
    (
        "drop policy tenant_rows on konstruct.ledger;
         create policy tenant_rows on konstruct.ledger for select
             using (tenant = (select nullif(current_setting('konstruct.tenant', true), '')::uuid))",
        "policies: konstruct.ledger",
        true,
    ),
    (
        "alter policy tenant_rows on konstruct.rows using
             (tenant = (select nullif(current_setting('konstruct.tenant', true), '')::uuid)
              or tenant = '22222222-2222-2222-2222-222222222222')",
        "policies: konstruct.rows",
        true,
    ),
    (
        "alter table konstruct.vectors owner to konstruct_app",
        "owner: konstruct.vectors",
        false,
    ),
    (
        "grant truncate on konstruct.postings to konstruct_app",
        "privilege: konstruct_app may TRUNCATE konstruct.postings",
        true,
    ),
    (
        "grant select on konstruct.events_0 to konstruct_app",
        "a partition may be reached: konstruct.events_0",
        false,
    ),
    (
        "create view konstruct.everything as select * from konstruct.log; grant select on konstruct.everything to konstruct_app",
        "a view with its owner's rights: konstruct.everything",
        false,
    ),
    (
        "create materialized view konstruct.copied as select * from konstruct.log",
        "neither table nor view: konstruct.copied",
        false,
    ),
    (
        "create unique index on konstruct.deliveries (key)",
        "index: konstruct.deliveries_key_idx",
        false,
    ),
    (
        "create index on konstruct.log (cursor)",
        "index: konstruct.log_cursor_idx",
        false,
    ),
    (
        "create index graph_00000000000000000000000000000000_0000000000000007 on konstruct.vectors
             using hnsw ((e::halfvec(2)) halfvec_ip_ops)",
        "index: konstruct.graph_00000000000000000000000000000000_0000000000000007",
        false,
    ),
    (
        "create index graph_00000000000000000000000000000000_0000000000000007 on konstruct.vectors
             using hnsw ((e::halfvec(2)) halfvec_ip_ops)
             where tenant is not null and space = '22222222-2222-2222-2222-222222222222' and embedder = 7",
        "index: konstruct.graph_00000000000000000000000000000000_0000000000000007",
        false,
    ),
    (
        "create index near on konstruct.vectors using hnsw ((e::halfvec(2)) halfvec_ip_ops)
             where tenant = '22222222-2222-2222-2222-222222222222'",
        "index: konstruct.near",
        false,
    ),
    (
        "create unique index other on konstruct.log (cursor); alter table konstruct.inbox add column of bigint
             references konstruct.log (cursor)",
        "foreign key: inbox_of_fkey",
        false,
    ),
    (
        "grant konstruct_definer to konstruct_app",
        "role: konstruct_app may become konstruct_definer",
        false,
    ),
    (
        "alter role konstruct_app bypassrls",
        "role: konstruct_app bypasses row-level security",
        true,
    ),
    (
        "alter role konstruct_worker bypassrls",
        "role: konstruct_worker bypasses row-level security",
        true,
    ),
    (
        "grant konstruct_owner to konstruct_worker",
        "role: konstruct_worker may become konstruct_owner",
        false,
    ),
    (
        "grant truncate on konstruct.log to konstruct_worker",
        "privilege: konstruct_worker may TRUNCATE konstruct.log",
        true,
    ),
    (
        "create function konstruct.peek() returns bigint language sql security definer
             return (select count(*) from konstruct.log)",
        "a function with its owner's rights: konstruct.peek()",
        false,
    ),
    (
        "alter function konstruct.tenants(uuid, integer) reset search_path",
        "a function with its owner's rights: konstruct.tenants(uuid,integer)",
        false,
    ),
    (
        "grant usage on sequence konstruct.fences to konstruct_app",
        "sequence: konstruct.fences",
        false,
    ),
    (
        "grant select on konstruct.log to konstruct_definer",
        "konstruct_definer may read content: konstruct.log.sealed",
        false,
    ),
    (
        "create function konstruct.note() returns trigger language plpgsql as 'begin return new; end';
         create trigger note before insert on konstruct.log for each row execute function konstruct.note()",
        "trigger: note",
        false,
    ),
    (
        "grant insert on konstruct.migrations to konstruct_app",
        "a global table may be written: konstruct.migrations",
        false,
    ),
];
