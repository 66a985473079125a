-- What of the catalogue could let one tenant see another's rows. Each row is a finding; there must be none.
with canonical as (
    select '(tenant = ( SELECT (NULLIF(current_setting(''konstruct.tenant''::text, true), ''''::text))::uuid AS "nullif"))' as policy
), login(name) as (
    values ('konstruct_app'), ('konstruct_worker')
), app as (
    -- The roles that serve.
    select oid, rolname::text as name from pg_roles where rolname in (select name from login)
), definer as (
    select oid from pg_roles where rolname = 'konstruct_definer'
), global(name) as (
    -- Tables of nobody: to be read alone.
    values ('migrations')
), across(name) as (
    -- Functions that see all tenants, and give ids and times alone.
    values ('claim'), ('tenants'), ('behind'), ('keep_audit')
), relation as (
    select c.oid, c.relname::text as name, n.nspname || '.' || c.relname as path, c.relkind, c.relowner, c.relrowsecurity,
        c.relforcerowsecurity, c.relispartition, c.reloptions
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
), held as (
    select r.*, exists (select from global g where g.name = r.name and r.path = 'konstruct.' || r.name) as global
    from relation r where r.relkind in ('r', 'p', 'v', 'm', 'f')
), kept as (
    select * from held where relkind in ('r', 'p') and not global
)
select 'role: ' || name || ' is missing' from login where name not in (select name from app)
union all
select 'role: ' || r.rolname || ' ' || what from pg_roles r join app using (oid), unnest(array[
        case when r.rolsuper then 'is a superuser' end, case when r.rolbypassrls then 'bypasses row-level security' end,
        case when r.rolcreaterole then 'makes roles' end, case when r.rolreplication then 'replicates' end]) what
    where what is not null
union all
select 'role: ' || app.name || ' may become ' || r.rolname from pg_roles r, app
    where r.oid <> app.oid and pg_has_role(app.oid, r.oid, 'MEMBER')
union all
select 'role: ' || r.rolname || ' ' || what from pg_roles r, unnest(array[
        case when r.rolsuper then 'is a superuser' end, case when r.rolcanlogin then 'logs in' end]) what
    where r.rolname in ('konstruct_owner', 'konstruct_definer') and what is not null
union all
select 'schema: ' || app.name || ' may create in ' || n.nspname from pg_namespace n, app
    where n.nspname in ('konstruct', 'public') and has_schema_privilege(app.oid, n.oid, 'CREATE')
union all
select 'owner: ' || path from relation, app where relowner = app.oid
union all
select 'no row-level security: ' || path from kept where not relrowsecurity
union all
select 'row-level security is not forced: ' || path from kept where not relforcerowsecurity
union all
select 'policies: ' || path from kept k, canonical
    where (select count(*) from pg_policy p where p.polrelid = k.oid) <> 1
        or not exists (select from pg_policy p where p.polrelid = k.oid and p.polpermissive and p.polcmd = '*'
            and p.polroles <@ array(select oid from app) and p.polroles @> array(select oid from app) and pg_get_expr(p.polqual, k.oid) = canonical.policy
            and pg_get_expr(p.polwithcheck, k.oid) = canonical.policy)
union all
select 'no tenant: ' || path from kept k
    where not exists (select from pg_attribute a where a.attrelid = k.oid and a.attname = 'tenant' and a.attnotnull
        and a.atttypid = 'uuid'::regtype and not a.attisdropped)
union all
select 'a global table may be written: ' || path from held h, app
    where h.global and has_table_privilege(app.oid, h.oid, 'INSERT, UPDATE, DELETE')
union all
select 'privilege: ' || app.name || ' may ' || privilege || ' ' || path
    from held h, app, unnest(array['TRUNCATE', 'REFERENCES', 'TRIGGER']) privilege
    where has_table_privilege(app.oid, h.oid, privilege)
union all
-- A partition is reached through its table, whose policy holds then.
select 'a partition may be reached: ' || path from relation r, app
    where r.relispartition and has_table_privilege(app.oid, r.oid, 'SELECT, INSERT, UPDATE, DELETE')
union all
select 'a view with its owner''s rights: ' || path from held
    where relkind = 'v' and not coalesce(reloptions @> array['security_invoker=true'], false)
union all
select 'neither table nor view: ' || path from held where relkind in ('m', 'f')
union all
select 'index: ' || i.indexrelid::regclass from pg_index i join kept k on k.oid = i.indrelid
    where (select a.attname from pg_attribute a where a.attrelid = i.indrelid and a.attnum = i.indkey[0]) is distinct from 'tenant'
        and (i.indisunique or i.indexrelid::regclass::text not in ('konstruct.mailboxes_lease', 'konstruct.mailboxes_due'))
        and not exists (
            -- A graph serves one tenant alone, and cannot be used without naming it.
            select from pg_class g join pg_am a on a.oid = g.relam
            where g.oid = i.indexrelid and k.name = 'vectors' and a.amname = 'hnsw' and not i.indisunique
                and g.relname ~ '^graph_[0-9a-f]{32}_[0-9a-f]{16}$'
                and pg_get_expr(i.indpred, i.indrelid) ~ ('^\(\(tenant = ''[0-9a-f-]{36}''::uuid\)'
                    || ' AND \(space = ''[0-9a-f-]{36}''::uuid\) AND \(embedder = ''?-?[0-9]+''?(::bigint)?\)\)$'))
union all
select 'foreign key: ' || c.conname from pg_constraint c
    where c.contype = 'f' and not exists (
        select from unnest(c.conkey, c.confkey) k(here, there)
            join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.here and a.attname = 'tenant'
            join pg_attribute b on b.attrelid = c.confrelid and b.attnum = k.there and b.attname = 'tenant')
        and exists (select from relation r where r.oid = c.conrelid)
union all
select 'trigger: ' || t.tgname from pg_trigger t join relation r on r.oid = t.tgrelid where not t.tgisinternal and t.tgname <> 'keep_audit'
union all
select 'rule: ' || w.rulename || ' on ' || k.path from pg_rewrite w join kept k on k.oid = w.ev_class
union all
select 'sequence: ' || path from relation r, app
    where relkind = 'S' and has_sequence_privilege(app.oid, r.oid, 'USAGE, SELECT, UPDATE')
union all
select 'a function with its owner''s rights: ' || p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')
        and not (n.nspname = 'konstruct' and p.proname in (select name from across)
            and p.proowner = (select oid from definer) and coalesce(p.proconfig @> array['search_path=konstruct, pg_temp'], false))
union all
select 'a function owned by ' || app.name || ': ' || p.oid::regprocedure from pg_proc p, app where p.proowner = app.oid
union all
select 'konstruct_definer may read content: ' || k.path || '.' || a.attname
    from kept k join pg_attribute a on a.attrelid = k.oid and a.attnum > 0 and not a.attisdropped, definer
    where a.atttypid in ('bytea'::regtype, 'halfvec'::regtype, 'vector'::regtype) and has_column_privilege(definer.oid, k.oid, a.attnum, 'SELECT')
union all
select 'konstruct_definer may ' || privilege || ' ' || k.path
    from kept k, definer, unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) privilege
    where has_table_privilege(definer.oid, k.oid, privilege) and (k.path, privilege) not in (('konstruct.mailboxes', 'UPDATE'), ('konstruct.shares', 'UPDATE'), ('konstruct.shares', 'INSERT'))
