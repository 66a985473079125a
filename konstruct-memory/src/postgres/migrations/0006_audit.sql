-- The rows named `audit` are a log: they are added, and go only with their tenant, whose key is then gone when the transaction ends.
create function keep_audit() returns trigger language plpgsql security definer set search_path = konstruct, pg_temp as $$
begin
    if tg_op = 'UPDATE' or exists (select from tenant_keys k where k.tenant = old.tenant) then
        raise exception 'the audit log is append-only' using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;
create constraint trigger keep_audit after update or delete on app_rows
    deferrable initially deferred
    for each row when (old.name = 'audit') execute function keep_audit();
