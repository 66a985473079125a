-- Rows of the application. The operator's are those of the tenant nil.
create table app_rows (
    tenant uuid not null,
    name text collate "C" not null,
    key text collate "C" not null,
    sealed bytea not null,
    primary key (tenant, name, key)
) with (fillfactor = 80);
