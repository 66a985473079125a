-- Run after the migrations, as often as one likes: row-level security, privileges and owners of all that they made.
-- Tables that are as they should be are left alone: a change would lock them until the end of the transaction.
do $$
declare
    name text;
    as_it_should_be boolean;
    canonical constant text :=
        '(tenant = ( SELECT (NULLIF(current_setting(''konstruct.tenant''::text, true), ''''::text))::uuid AS "nullif"))';
    served constant oid[] := array['konstruct_app'::regrole, 'konstruct_worker'::regrole];
begin
    for name, as_it_should_be in
        select c.relname, c.relrowsecurity and c.relforcerowsecurity
            and (select count(*) = 1 and bool_and(p.polname = 'tenant_rows' and p.polcmd = '*' and p.polpermissive
                    and p.polroles @> served and p.polroles <@ served
                    and pg_get_expr(p.polqual, c.oid) = canonical and pg_get_expr(p.polwithcheck, c.oid) = canonical)
                from pg_policy p where p.polrelid = c.oid)
        from pg_class c
        where c.relnamespace = 'konstruct'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'migrations'
    loop
        if not as_it_should_be then
            execute format('alter table konstruct.%I enable row level security, force row level security', name);
            execute format('drop policy if exists tenant_rows on konstruct.%I', name);
            execute format(
                'create policy tenant_rows on konstruct.%I to konstruct_app, konstruct_worker
                    using (tenant = (select nullif(current_setting(''konstruct.tenant'', true), '''')::uuid))
                    with check (tenant = (select nullif(current_setting(''konstruct.tenant'', true), '''')::uuid))', name);
        end if;
        execute format('revoke all on konstruct.%I from public, konstruct_app, konstruct_worker, konstruct_definer', name);
        -- A partition is only reached through its table.
        if not (select c.relispartition from pg_class c where c.oid = format('konstruct.%I', name)::regclass) then
            execute format('grant select, insert, update, delete on konstruct.%I to konstruct_app, konstruct_worker', name);
        end if;
    end loop;
end
$$;
revoke all on schema konstruct from public;
grant usage on schema konstruct to konstruct_app, konstruct_worker, konstruct_definer;
-- Which migrations there are is nobody's secret, and `connect` checks it.
grant select on konstruct.migrations to konstruct_app, konstruct_worker;

revoke all on all functions in schema konstruct from public;
grant execute on all functions in schema konstruct to konstruct_app, konstruct_worker;

-- The functions that must see all tenants, and no more than what they need.
grant create on schema konstruct to konstruct_definer;
alter function konstruct.claim owner to konstruct_definer;
alter function konstruct.tenants owner to konstruct_definer;
alter function konstruct.behind owner to konstruct_definer;
alter function konstruct.keep_audit owner to konstruct_definer;
revoke create on schema konstruct from konstruct_definer;
grant select, update on konstruct.mailboxes to konstruct_definer;
grant select, insert, update on konstruct.shares to konstruct_definer;
grant execute on function konstruct.is_full(uuid, integer, bigint) to konstruct_definer;
grant select (tenant) on konstruct.tenant_keys to konstruct_definer;
grant select (tenant, feed) on konstruct.counters to konstruct_definer;
grant select (tenant, indexed) on konstruct.memory_heads to konstruct_definer;
grant usage on sequence konstruct.fences to konstruct_definer;
grant execute on function konstruct.now_us() to konstruct_definer;
