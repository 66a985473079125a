-- Passages have numbers. Postings and vectors name them by number too, so that a search reads and adds up numbers, not keys.

-- The rows of all tenants are numbered: the owner sees them until row-level security is forced again, at the end of the run.
alter table memory_heads no force row level security;
alter table passages no force row level security;
alter table postings no force row level security;
alter table vectors no force row level security;

-- The last number that was given. None is given twice as long as the tenant has a memory.
alter table memory_heads add column numbered bigint not null default 0;
alter table passages add column n bigint;
alter table postings add column n bigint;
alter table vectors add column n bigint;

update passages p set n = o.n
from (select tenant, space, grp, item, passage, row_number() over (partition by tenant order by space, grp, item, passage) as n
      from passages) o
where p.tenant = o.tenant and p.space = o.space and p.grp = o.grp and p.item = o.item and p.passage = o.passage;
update postings s set n = p.n from passages p
where s.tenant = p.tenant and s.space = p.space and s.grp = p.grp and s.item = p.item and s.passage = p.passage;
update vectors v set n = p.n from passages p
where v.tenant = p.tenant and v.space = p.space and v.grp = p.grp and v.item = p.item and v.passage = p.passage;
update memory_heads h set numbered = coalesce((select max(p.n) from passages p where p.tenant = h.tenant), 0);

alter table passages alter column n set not null;
alter table postings alter column n set not null;
alter table vectors alter column n set not null;
create unique index passages_number on passages (tenant, n);
