-- The memory: sealed rows, and an index of keyed hashes and vectors. No word stands in it.

-- How often the tenant's memory was committed to, and how far the feed is indexed. A commit locks it.
create table memory_heads (
    tenant uuid primary key,
    revision bigint not null,
    indexed bigint not null default 0,
    -- The last number that was given to a passage. None is given twice as long as the tenant has a memory.
    numbered bigint not null default 0
) with (fillfactor = 50);

create table rows (
    tenant uuid not null,
    kind smallint not null,
    key bytea not null,
    sealed bytea not null,
    primary key (tenant, kind, key)
);

-- What is put in and taken out as a whole: documents, facts, records. `stems` are those of its postings.
create table units (
    tenant uuid not null,
    space uuid not null,
    grp uuid not null,
    item uuid not null,
    what smallint not null,
    version integer not null,
    at bigint not null,
    said_by smallint,
    persons uuid[] not null,
    expires_at bigint,
    before bigint,
    stems uuid[] not null,
    primary key (tenant, space, grp, item)
);
create index units_expiry on units (tenant, expires_at) where expires_at is not null;

create table unit_persons (
    tenant uuid not null,
    person uuid not null,
    space uuid not null,
    grp uuid not null,
    item uuid not null,
    primary key (tenant, person, space, grp, item)
);

create table passages (
    tenant uuid not null,
    space uuid not null,
    grp uuid not null,
    item uuid not null,
    passage integer not null,
    terms integer not null,
    -- Postings and vectors name a passage by number too, so that a search reads and adds up numbers, not keys.
    n bigint not null,
    primary key (tenant, space, grp, item, passage)
);
create unique index passages_number on passages (tenant, n);

-- How many passages a group of a space has, and their terms: what scores are reckoned with.
create table sizes (
    tenant uuid not null,
    space uuid not null,
    grp uuid not null,
    passages bigint not null,
    terms bigint not null,
    primary key (tenant, space, grp)
);

create table postings (
    tenant uuid not null,
    space uuid not null,
    stem uuid not null,
    grp uuid not null,
    item uuid not null,
    passage integer not null,
    text smallint not null,
    heading smallint not null,
    terms integer not null,
    n bigint not null,
    primary key (tenant, space, stem, grp, item, passage)
);

-- Vectors of length 1. Always in the row itself: a scan of a tenant reads nothing else.
create table vectors (
    tenant uuid not null,
    space uuid not null,
    grp uuid not null,
    item uuid not null,
    passage integer not null,
    embedder bigint not null,
    e halfvec not null,
    n bigint not null,
    primary key (tenant, space, grp, item, passage)
);
alter table vectors alter column e set storage plain;

-- The tenants whose index is behind their feed, by id.
create function behind(after uuid, many integer) returns setof uuid
    language sql stable security definer set search_path = konstruct, pg_temp
    begin atomic
        select c.tenant from counters c left join memory_heads h on h.tenant = c.tenant
        where c.tenant > after and c.feed > coalesce(h.indexed, 0) order by c.tenant limit many;
    end;
