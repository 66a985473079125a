-- The journal. Applied as konstruct_owner, in one transaction, with konstruct as the only schema in the path.
--
-- Every table has the tenant first in its key, and gets the one policy from `secure_tables` at the end of each migration.
-- Times are microseconds since 1970, as in the rest of Konstruct; 16-byte hashes are `uuid`s, whose comparison is leakproof,
-- so that indexes serve under row-level security. What is called `sealed` is encrypted; no word of a person stands elsewhere.

create function now_us() returns bigint
    language sql volatile parallel safe set search_path = pg_catalog
    return (extract(epoch from clock_timestamp()) * 1000000)::bigint;

-- The tenant's key, wrapped by the key ring.
create table tenant_keys (
    tenant uuid primary key,
    wrapped bytea not null
);

-- The keys of persons, wrapped by the tenant's key. To delete one is to destroy what was sealed to it.
create table person_keys (
    tenant uuid not null,
    person uuid not null,
    key uuid not null,
    wrapped bytea not null,
    primary key (tenant, person)
);
create unique index person_keys_key on person_keys (tenant, key);

-- When persons were erased: what they said before and comes in late is dropped.
create table erased_persons (
    tenant uuid not null,
    person uuid not null,
    at bigint not null,
    primary key (tenant, person)
);

-- In which conversations words of a person may stand.
create table spoken (
    tenant uuid not null,
    person uuid not null,
    conversation uuid not null,
    primary key (tenant, person, conversation)
);

-- How far the tenant's feed and ledger have come. Its row is locked until an append has committed, so that cursors become
-- visible in their order.
create table counters (
    tenant uuid primary key,
    feed bigint not null,
    ledger bigint not null
) with (fillfactor = 50);

-- Where a conversation is held (sealed), found by the keyed hash of its name.
create table conversations (
    tenant uuid not null,
    conversation uuid not null,
    name uuid not null,
    sealed bytea not null,
    primary key (tenant, conversation)
);
create unique index conversations_name on conversations (tenant, name);

-- A conversation's counters, its timer, and who holds it. No content.
create table mailboxes (
    tenant uuid not null,
    conversation uuid not null,
    len bigint not null default 0,
    last bigint not null default 0,
    consumed bigint not null default 0,
    checkpoint bigint,
    -- Whether a turn is under way: the last append with records was no checkpoint.
    open boolean not null default false,
    timer bigint,
    updated_at bigint not null,
    -- Since when it is ready; null while it is held or has nothing to do.
    ready_at bigint,
    lease_until bigint,
    worker uuid,
    fence bigint not null default 0,
    -- The least event that was changed since the holder loaded.
    changed bigint,
    primary key (tenant, conversation),
    check (ready_at is null or lease_until is null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create index mailboxes_ready on mailboxes (tenant, ready_at, conversation) where ready_at is not null;
-- These two serve `claim` and `next_due` alone, which look for the first of all tenants: they are led by the time.
create index mailboxes_lease on mailboxes (lease_until, tenant, conversation) where lease_until is not null;
create index mailboxes_timer on mailboxes (timer, tenant, conversation)
    where timer is not null and lease_until is null and ready_at is null;

-- Events that were accepted and not consumed.
create table inbox (
    tenant uuid not null,
    conversation uuid not null,
    seq bigint not null,
    accepted_at bigint not null,
    persons uuid[] not null,
    sealed bytea not null,
    primary key (tenant, conversation, seq)
) with (autovacuum_vacuum_scale_factor = 0.05);

-- The log. A record whose content was erased has none.
create table log (
    tenant uuid not null,
    conversation uuid not null,
    index bigint not null,
    cursor bigint not null,
    sealed bytea,
    primary key (tenant, conversation, index)
);
create unique index log_cursor on log (tenant, cursor);

-- The keys by which later events find a conversation.
create table deliveries (
    tenant uuid not null,
    key uuid not null,
    conversation uuid not null,
    primary key (tenant, key)
);
create index deliveries_conversation on deliveries (tenant, conversation);

-- Events that are known.
create table events (
    tenant uuid not null,
    event uuid not null,
    primary key (tenant, event)
);

-- Logical ids that are known, where their event went, and whether it names the employee.
create table twins (
    tenant uuid not null,
    twin uuid not null,
    conversation uuid not null,
    seq bigint not null,
    mention boolean not null,
    primary key (tenant, twin)
);

create table ledger (
    tenant uuid not null,
    number bigint not null,
    sealed bytea not null,
    primary key (tenant, number)
);

-- What was spent and is set aside in a month, such as `2026-11`.
create table budgets (
    tenant uuid not null,
    month text not null,
    spent bigint not null check (spent >= 0),
    reserved bigint not null check (reserved >= 0),
    primary key (tenant, month)
);

create table reservations (
    tenant uuid not null,
    call uuid not null,
    month text not null,
    amount bigint not null check (amount >= 0),
    primary key (tenant, call)
);

create sequence fences;

-- Claims the conversation that is ready the longest, of the tenant that comes after `after`: each caller goes round.
-- The answer holds ids alone.
create function claim(worker uuid, lease bigint, after uuid, given bigint)
    returns table (tenant uuid, conversation uuid, fence bigint)
    language plpgsql volatile security definer set search_path = konstruct, pg_temp
as $$
#variable_conflict use_column
declare
    now bigint := coalesce(given, now_us());
    next record;
begin
    -- A claim that ended without a release leaves its conversation ready.
    update mailboxes m set ready_at = d.lease_until, lease_until = null, worker = null
    from (select o.tenant, o.conversation, o.lease_until from mailboxes o where o.lease_until <= now
          order by o.lease_until limit 64 for update skip locked) d
    where m.tenant = d.tenant and m.conversation = d.conversation;
    update mailboxes m set ready_at = d.timer
    from (select o.tenant, o.conversation, o.timer from mailboxes o
          where o.timer <= now and o.lease_until is null and o.ready_at is null
          order by o.timer limit 64 for update skip locked) d
    where m.tenant = d.tenant and m.conversation = d.conversation;

    select m.tenant, m.conversation into next from mailboxes m
    where m.ready_at is not null and m.tenant > after
    order by m.tenant, m.ready_at, m.conversation limit 1 for update skip locked;
    if not found then
        select m.tenant, m.conversation into next from mailboxes m
        where m.ready_at is not null and m.tenant <= after
        order by m.tenant, m.ready_at, m.conversation limit 1 for update skip locked;
    end if;
    if not found then
        return;
    end if;
    return query
        update mailboxes m
        set ready_at = null, lease_until = now + claim.lease, worker = claim.worker, fence = nextval('fences')
        where m.tenant = next.tenant and m.conversation = next.conversation
        returning m.tenant, m.conversation, m.fence;
end
$$;

-- When the first timer of a conversation is due that nobody holds and that is not ready.
create function next_due() returns bigint
    language sql stable security definer set search_path = konstruct, pg_temp
    begin atomic
        select m.timer from mailboxes m
        where m.timer is not null and m.lease_until is null and m.ready_at is null
        order by m.timer limit 1;
    end;

-- The tenants of which something is stored, by id: for what must be done for each of them, such as wrapping keys anew.
create function tenants(after uuid, many integer) returns setof uuid
    language sql stable security definer set search_path = konstruct, pg_temp
    begin atomic
        select k.tenant from tenant_keys k where k.tenant > after order by k.tenant limit many;
    end;
