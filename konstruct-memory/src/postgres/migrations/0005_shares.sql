-- The tenants' shares of the workers, and the claims that keep to them.

-- A row without a weight has no share of its own: `claim` locks it to count the claims of its tenant.
create table shares (
    tenant uuid primary key,
    weight integer check (weight > 0),
    -- The most valid claims; null is no limit.
    most integer check (most > 0)
);

create index mailboxes_held on mailboxes (tenant) where lease_until is not null;

-- Whether a tenant has as many valid claims as it may.
create function is_full(of uuid, most integer, now bigint) returns boolean
    language sql volatile
    return (select count(*) from (
        select from konstruct.mailboxes m where m.tenant = of and m.lease_until is not null and m.lease_until > now limit most
    ) held) >= most;

-- Claims the conversation that is ready the longest, of the next tenant after `after` (or of itself, if it has `more` in its turn)
-- that is not skipped and has not all the claims that it may: each caller goes round. The answer holds only ids and the weight of the
-- tenant's share, which is the given one unless the tenant has its own. Where nothing can be claimed, it is one row with the time at
-- which the next timer of a conversation is due that nobody holds.
--
-- Claims of a tenant with a limit wait for each other, so that the count is exact. One that holds the lock of a tenant waits for
-- no other: two could wait for each other.
create function claim(worker uuid, lease bigint, after uuid, more boolean, given bigint, skip uuid[], given_weight integer,
        given_most integer)
    returns table (tenant uuid, conversation uuid, fence bigint, weight integer, next_due bigint)
    language plpgsql volatile security definer set search_path = konstruct, pg_temp
as $$
#variable_conflict use_column
declare
    now bigint := coalesce(given, now_us());
    candidate uuid := after;
    same boolean := more;
    wrapped boolean := false;
    locks boolean := false;
    contended boolean := false;
    own_weight integer;
    own_most integer;
    found_conversation uuid;
begin
    -- A claim that ended without a release leaves its conversation ready.
    update mailboxes m set ready_at = d.lease_until, lease_until = null, worker = null, changed = null
    from (select o.tenant, o.conversation, o.lease_until from mailboxes o where o.lease_until <= now
          order by o.lease_until limit 64 for update skip locked) d
    where m.tenant = d.tenant and m.conversation = d.conversation;
    update mailboxes m set ready_at = d.due
    from (select o.tenant, o.conversation, o.due from mailboxes o
          where o.due <= now and o.lease_until is null and o.ready_at is null
          order by o.due limit 64 for update skip locked) d
    where m.tenant = d.tenant and m.conversation = d.conversation;

    loop
        if same then
            same := false;
        else
            -- From one tenant to the next, whatever is ready of those that are passed over.
            select m.tenant into candidate from mailboxes m
            where m.ready_at is not null and m.tenant > candidate order by m.tenant limit 1;
            if candidate is null or (wrapped and candidate > after) then
                exit when wrapped;
                wrapped := true;
                candidate := '00000000-0000-0000-0000-000000000000';
                continue;
            end if;
        end if;
        continue when candidate = any(skip);
        select s.weight, s.most into own_weight, own_most from shares s where s.tenant = candidate;
        if own_weight is null then
            own_weight := given_weight;
            own_most := given_most;
        end if;
        if own_most is not null then
            continue when is_full(candidate, own_most, now);
            if locks then
                perform from shares s where s.tenant = candidate for update skip locked;
                contended := contended or not found;
                continue when not found;
            else
                insert into shares (tenant) values (candidate) on conflict do nothing;
                perform from shares s where s.tenant = candidate for update;
                locks := true;
            end if;
            continue when is_full(candidate, own_most, now);
        end if;
        select m.conversation into found_conversation from mailboxes m
        where m.ready_at is not null and m.tenant = candidate
        order by m.ready_at, m.conversation limit 1 for update skip locked;
        exit when found;
    end loop;
    if found_conversation is null then
        return query
            select null::uuid, null::uuid, null::bigint, null::integer, case when contended then now else
                (select m.due from mailboxes m where m.due is not null and m.lease_until is null and m.ready_at is null
                 order by m.due limit 1) end;
        return;
    end if;
    return query
        update mailboxes m
        set ready_at = null, lease_until = now + claim.lease, worker = claim.worker, fence = nextval('fences')
        where m.tenant = candidate and m.conversation = found_conversation
        returning m.tenant, m.conversation, m.fence, own_weight, null::bigint;
end
$$;
