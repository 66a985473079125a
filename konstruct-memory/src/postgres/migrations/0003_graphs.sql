-- Graphs (HNSW) over the vectors of large spaces, which the owner makes: each is a partial index of one space of one tenant.

-- The graphs that a search may use, and how many vectors each had when it was looked at last.
create table graphs (
    tenant uuid not null,
    space uuid not null,
    embedder bigint not null,
    dim integer not null,
    vectors bigint not null,
    primary key (tenant, space, embedder)
);

-- What the z-score of a cosine is reckoned with where not every vector is read: row 0 is the mean of the space's vectors, and row i
-- the mean of each times its i-th number.
create table moments (
    tenant uuid not null,
    space uuid not null,
    embedder bigint not null,
    row integer not null,
    e vector not null,
    primary key (tenant, space, embedder, row)
);
alter table moments alter column e set storage main;
