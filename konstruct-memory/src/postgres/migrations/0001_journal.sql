-- Conversations, events, logs and money. Applied as konstruct_owner, in one transaction, with konstruct first in the path.
--
-- Every table has the tenant first in its key, and gets the one policy from `secure.sql` at the end of each run. Times are
-- microseconds since 1970, as in the rest of Konstruct; 16-byte hashes are `uuid`s, whose comparison is leakproof, so that
-- indexes serve under row-level security. Columns called `sealed` are encrypted; no word of a person is stored elsewhere.
--
-- The functions run with the rights of their caller, so row-level security applies inside them too. They exist to do the work of
-- an operation in one round trip. The names in a `return` are resolved when the function is made; such a function has no `set`, with
-- which PostgreSQL could not inline it and would parse and plan it in every statement.

create function now_us() returns bigint
    language sql volatile parallel safe
    return (extract(epoch from clock_timestamp()) * 1000000)::bigint;

-- The tenant's key, wrapped by the key ring. Its row is locked while events of the tenant are accepted.
create table tenant_keys (
    tenant uuid primary key,
    wrapped bytea not null
);

-- The keys of persons, wrapped by the tenant's key. Deleting one makes unreadable what is sealed to it.
create table person_keys (
    tenant uuid not null,
    person uuid not null,
    key uuid not null,
    wrapped bytea not null,
    primary key (tenant, person)
);
create unique index person_keys_key on person_keys (tenant, key);

-- Under which id the owner of a name is known, where an import brought another one than the hash of the name, or where the address
-- was linked to a person.
create table person_names (
    tenant uuid not null,
    name uuid not null,
    person uuid not null,
    primary key (tenant, name)
);

-- When persons were erased: what they said before and is delivered late is dropped.
create table erased_persons (
    tenant uuid not null,
    person uuid not null,
    at bigint not null,
    primary key (tenant, person)
);

-- In which conversations words of a person may be stored.
create table spoken (
    tenant uuid not null,
    person uuid not null,
    conversation uuid not null,
    primary key (tenant, person, conversation)
);

-- The last numbers of the tenant's feed and ledger. Its row is locked until an append has committed, so that cursors become
-- visible in their order.
create table counters (
    tenant uuid primary key,
    feed bigint not null,
    ledger bigint not null
) with (fillfactor = 50);

-- Where a conversation is held, found by the keyed hash of its name. The place is sealed, to its person where it is an address.
create table conversations (
    tenant uuid not null,
    conversation uuid not null,
    name uuid not null,
    connection uuid not null,
    sealed bytea,
    primary key (tenant, conversation)
);
create unique index conversations_name on conversations (tenant, name);

-- Other names of conversations: all addresses of a person name the same one.
create table place_names (
    tenant uuid not null,
    other uuid not null,
    name uuid not null,
    primary key (tenant, other)
);

-- A conversation's counters, its state and timers, and who holds it. No content.
create table mailboxes (
    tenant uuid not null,
    conversation uuid not null,
    len bigint not null default 0,
    last bigint not null default 0,
    consumed bigint not null default 0,
    checkpoint bigint,
    -- Whether a turn is under way: the last append with records was no checkpoint.
    open boolean not null default false,
    -- What outlives a turn: JSON without words.
    state text not null default '{}',
    -- Timers by name, and when the first is due.
    timers jsonb not null default '{}',
    due bigint,
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
-- These two only serve `claim`, which looks for the first of all tenants: they are led by the time.
create index mailboxes_lease on mailboxes (lease_until, tenant, conversation) where lease_until is not null;
create index mailboxes_due on mailboxes (due, tenant, conversation)
    where due is not null and lease_until is null and ready_at is null;

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

-- Open items. They hold no words, and are sealed all the same.
create table items (
    tenant uuid not null,
    conversation uuid not null,
    item text collate "C" not null,
    sealed bytea not null,
    primary key (tenant, conversation, item)
);
create index items_item on items (tenant, item);

-- Messages that were sent or are about to be: the record that first sends one, how far it came, and whether the outcome of its
-- send is known.
create table deliveries (
    tenant uuid not null,
    key uuid not null,
    conversation uuid not null,
    index bigint not null,
    state smallint,
    settled boolean not null default false,
    primary key (tenant, key)
);
create index deliveries_conversation on deliveries (tenant, conversation, index);

-- Event ids that are known, and logical ids with where their event went and whether it mentions the employee. There is a
-- partition for each month of a third of a year, so that old months are removed at once: see `Postgres::prune`.
create table events (
    tenant uuid not null,
    event uuid not null,
    month smallint not null,
    primary key (tenant, event, month)
) partition by list (month);

create table twins (
    tenant uuid not null,
    twin uuid not null,
    month smallint not null,
    conversation uuid not null,
    seq bigint not null,
    mention boolean not null,
    primary key (tenant, twin, month)
) partition by list (month);

do $$
begin
    for month in 0..3 loop
        execute format('create table events_%1$s partition of events for values in (%1$s)', month);
        execute format('create table twins_%1$s partition of twins for values in (%1$s)', month);
    end loop;
end
$$;

-- The partition of a time: the months of a year are whole rounds of four.
create function month_of(at bigint) returns smallint
    language sql immutable parallel safe
    return (extract(month from to_timestamp(at / 1000000) at time zone 'UTC')::integer % 4)::smallint;

-- The invoice. A row is sealed to its token.
create table ledger (
    tenant uuid not null,
    number bigint not null,
    token uuid not null,
    sealed bytea not null,
    primary key (tenant, number)
);

-- What is spent and reserved in a period that ends at `until`: in the tenant's months, and in the periods of every sum with a cap,
-- which are pruned. `scope` is the hash of the sum's name, `name` the sealed name, `cap` the one of the latest reservation, and
-- `level` 1, 2 or 3 if 80, 95 or 100 % of it are spent.
create table budgets (
    tenant uuid not null,
    pruned boolean not null,
    until bigint not null,
    scope uuid not null,
    name bytea not null,
    spent bigint not null check (spent >= 0),
    reserved bigint not null check (reserved >= 0),
    cap bigint,
    level smallint not null default 0,
    primary key (tenant, pruned, until, scope)
);

-- The first of the sums is the tenant's month.
create table reservations (
    tenant uuid not null,
    call uuid not null,
    amount bigint not null check (amount >= 0),
    scopes uuid[] not null,
    untils bigint[] not null,
    primary key (tenant, call)
);

create sequence fences;

-- The ids of the keys that sealed bytes need: a version, a count of two bytes, and the ids. To be called in `from`.
create function key_ids(sealed bytea) returns setof uuid
    language sql immutable parallel safe
    begin atomic
        select encode(substring(sealed from 4 + 16 * n for 16), 'hex')::uuid
        from generate_series(0, get_byte(sealed, 1) * 256 + get_byte(sealed, 2) - 1) n;
    end;

-- Looks up what is known of events by their names, if the tenant's key is still the one whose row is given, and notes their ids.
-- Persons who are new get the keys that are given. Nobody else accepts events of the tenant until the transaction ends.
--
-- Here and below `offset 0` has a table looked up by its key for each row before it. Without it the planner may read all of the
-- tenant's rows: a plan is made once for each connection, when the table may be small.
create function look_up(of uuid, of_wrapped bytea, given bigint, event_names uuid[], twin_names uuid[],
        delivery_names uuid[], conversation_names uuid[], targets uuid[], person_names uuid[], new_keys uuid[], new_wrapped bytea[])
    returns table (kind integer, id uuid, other uuid, number bigint, more bigint, flag boolean, bytes bytea)
    language plpgsql volatile
as $$
#variable_conflict use_column
declare
    known uuid[];
    this_month smallint := konstruct.month_of(coalesce(given, konstruct.now_us()));
begin
    perform from konstruct.tenant_keys k where k.tenant = of and k.wrapped = of_wrapped for no key update;
    if not found then
        return;
    end if;
    return query select 0, null::uuid, null::uuid, 0::bigint, 0::bigint, false, null::bytea;
    return query
        insert into konstruct.events as e (tenant, event, month)
        select of, n.event, this_month from unnest(event_names) n(event)
        where not exists (select from konstruct.events k where k.tenant = of and k.event = n.event offset 0)
        on conflict do nothing
        returning 1, e.event, null::uuid, 0::bigint, 0::bigint, false, null::bytea;
    if cardinality(new_keys) > 0 then
        insert into konstruct.person_keys as k (tenant, person, key, wrapped)
        select of, n.person, n.key, n.wrapped from unnest(person_names, new_keys, new_wrapped) n(person, key, wrapped)
        where n.key is not null
            and not exists (select from konstruct.erased_persons e where e.tenant = of and e.person = n.person offset 0)
            and not exists (select from konstruct.person_names a where a.tenant = of and a.name = n.person offset 0)
        order by n.person on conflict (tenant, person) do nothing;
    end if;
    known := person_names || array(
        select a.person from konstruct.person_names a where a.tenant = of and a.name = any(person_names));
    return query
        select 2, e.person, null::uuid, e.at, 0::bigint, false, null::bytea
        from konstruct.erased_persons e where e.tenant = of and e.person = any(known)
        union all
        select 3, t.twin, t.conversation, t.seq, 0, t.mention, null
        from konstruct.twins t where t.tenant = of and t.twin = any(twin_names)
        union all
        select 4, d.key, d.conversation, d.state::bigint, 0, d.settled, null
        from konstruct.deliveries d where d.tenant = of and d.key = any(delivery_names)
        union all
        select 6, k.person, k.key, 0, 0, false, k.wrapped
        from konstruct.person_keys k where k.tenant = of and k.person = any(known)
        union all
        select 7, a.name, a.person, 0, 0, false, null
        from konstruct.person_names a where a.tenant = of and a.name = any(person_names)
        union all
        select 9, p.other, p.name, 0, 0, false, null
        from konstruct.place_names p where p.tenant = of and p.other = any(conversation_names);
    return query
        with held as (
            select c.name, c.conversation, c.sealed is null as open from konstruct.conversations c
            where c.tenant = of and c.name = any(conversation_names || array(
                select p.name from konstruct.place_names p where p.tenant = of and p.other = any(conversation_names)))
        ), wanted as (
            select h.conversation from held h union select unnest(targets)
            union select d.conversation from konstruct.deliveries d where d.tenant = of and d.key = any(delivery_names)
        )
        select 5, h.name, h.conversation, 0::bigint, 0::bigint, h.open, null::bytea from held h
        union all
        select 8, m.conversation, null, m.last, m.consumed, false, null
        from konstruct.mailboxes m where m.tenant = of and m.conversation = any(array(select w.conversation from wanted w));
end
$$;

-- How much of a cap is spent.
create function alert_level(spent bigint, cap bigint) returns smallint
    language sql immutable parallel safe
    return case
        when cap is null then 0
        when spent >= cap then 3
        when spent::numeric * 100 >= cap::numeric * 95 then 2
        when spent::numeric * 100 >= cap::numeric * 80 then 1
        else 0
    end;

-- The end of the hour (1), day (2) or month (3) of a time.
create function period_end(at bigint, period smallint) returns bigint
    language sql immutable parallel safe
    return case period
        when 1 then (at / 3600000000 + 1) * 3600000000
        when 2 then (at / 86400000000 + 1) * 86400000000
        else (extract(epoch from
            (date_trunc('month', to_timestamp(at / 1000000) at time zone 'UTC') + interval '1 month') at time zone 'UTC')
            * 1000000)::bigint
    end;

-- Settles and reserves. Returns 0, or which of the sums has no room for the reservation: of several, the one whose period ends
-- last. It is only marked if `marks`. The first of the sums is the tenant's month. A `cap` of null is none, an `amount` of null is
-- no reservation. The caller has locked the tenant's counters.
create function account(of uuid, now bigint, settled_calls uuid[], costs bigint[], reserved_call uuid, amount bigint,
        scopes uuid[], names bytea[], periods smallint[], caps bigint[], marks boolean)
    returns integer
    language plpgsql volatile
as $$
declare
    most constant bigint := 9223372036854775807;
    no_room integer;
begin
    if cardinality(settled_calls) > 0 then
        with settled as (
            select s.call, sum(s.cost) as cost from unnest(settled_calls, costs) s(call, cost) group by s.call
        ), freed as (
            delete from konstruct.reservations r using settled s where r.tenant = of and r.call = s.call
            returning r.call, r.amount, r.scopes, r.untils
        ), moved as (
            select b.n > 1 as pruned, b.until, b.scope, s.cost, f.amount as freed
            from settled s join freed f on f.call = s.call
                cross join unnest(f.scopes, f.untils) with ordinality b(scope, until, n)
            union all
            select false, konstruct.period_end(now, 3::smallint), scopes[1], s.cost, 0
            from settled s where not exists (select from freed f where f.call = s.call)
        ), sums as (
            select m.pruned, m.until, m.scope, least(sum(m.cost), most)::bigint as cost, sum(m.freed) as freed
            from moved m group by 1, 2, 3
        ), created as (
            insert into konstruct.budgets (tenant, pruned, until, scope, name, spent, reserved)
            select of, false, s.until, s.scope, names[1], s.cost, 0 from sums s where not s.pruned
            on conflict do nothing
        )
        -- Sees nothing of what was just created.
        update konstruct.budgets b set
            spent = least(b.spent::numeric + s.cost, most)::bigint,
            reserved = greatest(b.reserved - s.freed, 0)::bigint,
            level = greatest(b.level, konstruct.alert_level(least(b.spent::numeric + s.cost, most)::bigint, b.cap))
        from sums s
        where b.tenant = of and b.pruned = s.pruned and b.until = s.until and b.scope = s.scope;
    end if;
    if reserved_call is null or exists (select from konstruct.reservations r where r.tenant = of and r.call = reserved_call) then
        return 0;
    end if;
    -- Sums of periods that ended more than an hour ago, or 40 days ago if a call was never settled.
    delete from konstruct.budgets b
    where b.tenant = of and b.pruned and b.until < now - 3600000000 and (b.reserved = 0 or b.until < now - 3456000000000);
    select w.n into no_room
    from unnest(scopes, periods, caps) with ordinality w(scope, period, cap, n)
        cross join lateral (select konstruct.period_end(now, w.period) as until) e
        left join lateral (
            select b.spent, b.reserved from konstruct.budgets b
            where b.tenant = of and b.pruned = (w.n > 1) and b.until = e.until and b.scope = w.scope
            offset 0) b on true
    where coalesce(b.spent, 0)::numeric + coalesce(b.reserved, 0) + amount > coalesce(w.cap, most)
    order by e.until desc, w.n limit 1;
    if no_room is not null and not marks then
        return no_room;
    end if;
    insert into konstruct.budgets as b (tenant, pruned, until, scope, name, spent, reserved, cap, level)
    select of, w.n > 1, konstruct.period_end(now, w.period), w.scope, w.name, 0,
        case when no_room is null then amount else 0 end, w.cap,
        case when no_room is null then konstruct.alert_level(0, w.cap) else 3 end
    from unnest(scopes, names, periods, caps) with ordinality w(scope, name, period, cap, n)
    where no_room is null or w.n = no_room
    on conflict (tenant, pruned, until, scope) do update set
        reserved = b.reserved + excluded.reserved,
        cap = excluded.cap,
        level = case
            when no_room is not null then 3
            when b.cap is distinct from excluded.cap then konstruct.alert_level(b.spent, excluded.cap)
            else b.level
        end;
    if no_room is not null then
        return no_room;
    end if;
    insert into konstruct.reservations (tenant, call, amount, scopes, untils)
    values (of, reserved_call, amount, scopes,
        array(select konstruct.period_end(now, p.period) from unnest(periods) with ordinality p(period, n) order by p.n));
    return 0;
end
$$;

-- Moves money that belongs to no conversation, and writes rows of the ledger. Returns what `account` returns.
create function charge(of uuid, given bigint, settled_calls uuid[], costs bigint[], reserved_call uuid, amount bigint,
        scopes uuid[], names bytea[], periods smallint[], caps bigint[], tokens uuid[], rows bytea[])
    returns integer
    language plpgsql volatile
as $$
declare
    last bigint;
begin
    insert into konstruct.counters as c (tenant, feed, ledger) values (of, 0, cardinality(tokens))
    on conflict (tenant) do update set ledger = c.ledger + excluded.ledger
    returning c.ledger - cardinality(tokens) into last;
    insert into konstruct.ledger (tenant, number, token, sealed)
    select of, last + r.n, r.token, r.sealed from unnest(tokens, rows) with ordinality r(token, sealed, n);
    return konstruct.account(of, coalesce(given, konstruct.now_us()), settled_calls, costs, reserved_call, amount,
        scopes, names, periods, caps, true);
end
$$;

-- The timers of a conversation after a change. The name `*` stands for every timer that there is, and comes first.
create function changed_timers(timers jsonb, set_timers jsonb, clear_timers text[]) returns jsonb
    language sql immutable parallel safe set search_path = pg_catalog
as $$
    select (case
        when '*' = any(clear_timers) then '{}'::jsonb
        when set_timers ? '*' then
            (select coalesce(jsonb_object_agg(t.name, set_timers -> '*'), '{}') from jsonb_object_keys(timers) t(name))
        else timers
    end || (set_timers - '*'::text)) - clear_timers
$$;

-- Appends to the log of a claimed conversation. Locks are taken in one order by all: keys of persons, the mailbox, the
-- tenant's counters. The outcome is 0 appended, 1 lost, 2 lost because something below `consume` was changed (the claim is
-- ended), 4 the key of a person is not the one that is given, 5 the same of the tenant's, and 10 more than which of the sums has no
-- room for the reservation. Only after 0 and 2 does the caller commit.
create function append(of uuid, of_wrapped bytea, at uuid, by_fence bigint, by_worker uuid, given bigint, expected bigint,
        persons uuid[], keys uuid[], records bytea[], is_checkpoint boolean, consume bigint, lease bigint, new_state text,
        set_timers jsonb, clear_timers text[], put_items text[], item_rows bytea[], close_items text[],
        send_keys uuid[], send_indices bigint[], settled_sends uuid[],
        settled_calls uuid[], costs bigint[], reserved_call uuid, amount bigint, scopes uuid[], names bytea[], periods smallint[],
        caps bigint[], tokens uuid[], ledger_rows bytea[])
    returns integer
    language plpgsql volatile
as $$
declare
    now bigint := coalesce(given, konstruct.now_us());
    many bigint := cardinality(records);
    known bigint;
    fed bigint;
    rows bigint;
    no_room integer;
begin
    if not exists (select from konstruct.tenant_keys k where k.tenant = of and k.wrapped = of_wrapped) then
        return 5;
    end if;
    if cardinality(persons) > 0 then
        select count(*) into known
        from (select p.person, p.key from unnest(persons, keys) p(person, key) order by p.person) p cross join lateral (
            select from konstruct.person_keys k where k.tenant = of and k.person = p.person and k.key = p.key
            offset 0 for key share) k;
    end if;
    update konstruct.mailboxes m set
        len = m.len + many,
        checkpoint = case when is_checkpoint and m.len + many > 0 then m.len + many - 1 else m.checkpoint end,
        open = case when many > 0 then not is_checkpoint else m.open end,
        consumed = greatest(m.consumed, least(coalesce(consume, 0), m.last)),
        state = coalesce(new_state, m.state),
        timers = case when set_timers is null then m.timers else
            konstruct.changed_timers(m.timers, set_timers, clear_timers) end,
        due = case when set_timers is null then m.due else
            (select min(t.value::bigint) from jsonb_each_text(konstruct.changed_timers(m.timers, set_timers, clear_timers)) t) end,
        lease_until = coalesce(now + lease, m.lease_until),
        updated_at = now
    where m.tenant = of and m.conversation = at and m.fence = by_fence and m.worker = by_worker and m.lease_until > now
        and (many = 0 or m.len = expected) and (m.changed is null or m.changed > coalesce(consume, 0));
    if not found then
        update konstruct.mailboxes m set lease_until = null, worker = null, changed = null, ready_at = now
        where m.tenant = of and m.conversation = at and m.fence = by_fence and m.worker = by_worker and m.lease_until > now
            and (many = 0 or m.len = expected) and m.changed <= consume;
        return case when found then 2 else 1 end;
    end if;
    if known < cardinality(persons) then
        return 4;
    end if;
    if many > 0 or cardinality(tokens) > 0 or cardinality(settled_calls) > 0 or reserved_call is not null then
        insert into konstruct.counters as c (tenant, feed, ledger) values (of, many, cardinality(tokens))
        on conflict (tenant) do update set feed = c.feed + excluded.feed, ledger = c.ledger + excluded.ledger
        returning c.feed - many, c.ledger - cardinality(tokens) into fed, rows;
        if cardinality(settled_calls) > 0 or reserved_call is not null then
            no_room := konstruct.account(
                of, now, settled_calls, costs, reserved_call, amount, scopes, names, periods, caps, false);
            if no_room > 0 then
                return 10 + no_room;
            end if;
        end if;
        if many > 0 then
            insert into konstruct.log (tenant, conversation, index, cursor, sealed)
            select of, at, expected + r.n - 1, fed + r.n, r.sealed from unnest(records) with ordinality r(sealed, n);
        end if;
        if cardinality(tokens) > 0 then
            insert into konstruct.ledger (tenant, number, token, sealed)
            select of, rows + r.n, r.token, r.sealed from unnest(tokens, ledger_rows) with ordinality r(token, sealed, n);
        end if;
    end if;
    if cardinality(persons) > 0 then
        insert into konstruct.spoken (tenant, person, conversation)
        select of, p.person, at from unnest(persons) p(person) on conflict do nothing;
    end if;
    if consume is not null then
        delete from konstruct.inbox i where i.tenant = of and i.conversation = at and i.seq <= consume;
    end if;
    if cardinality(close_items) > 0 then
        delete from konstruct.items i where i.tenant = of and i.conversation = at and i.item = any(close_items);
    end if;
    if cardinality(put_items) > 0 then
        insert into konstruct.items (tenant, conversation, item, sealed)
        select of, at, p.item, p.sealed from unnest(put_items, item_rows) p(item, sealed)
        on conflict (tenant, conversation, item) do update set sealed = excluded.sealed;
    end if;
    if cardinality(send_keys) > 0 then
        insert into konstruct.deliveries (tenant, key, conversation, index)
        select of, s.key, at, s.index from unnest(send_keys, send_indices) s(key, index) on conflict do nothing;
    end if;
    if cardinality(settled_sends) > 0 then
        update konstruct.deliveries d set settled = true where d.tenant = of and d.key = any(settled_sends);
    end if;
    return 0;
end
$$;

-- The tenants of which something is stored, by id: for what must be done for each of them, such as wrapping keys again.
create function tenants(after uuid, many integer) returns setof uuid
    language sql stable security definer set search_path = konstruct, pg_temp
    begin atomic
        select k.tenant from tenant_keys k where k.tenant > after order by k.tenant limit many;
    end;
