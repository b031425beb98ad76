-- Lines TABLE ROWS CHECKSUM for every table that is dumped: the same for the same rows, in whatever order and on whichever
-- server. A checksum is a sum over the rows, so it needs no sorting and no memory.
set search_path = '';
set row_security = off;
set timezone = 'UTC';
set datestyle = 'ISO, YMD';
set intervalstyle = 'iso_8601';
set bytea_output = 'hex';
set extra_float_digits = 3;
select format(
  'select %L, count(*), coalesce(sum((''x'' || substr(md5(runward_row::text), 1, 15))::bit(60)::bigint::numeric), 0) from only %s runward_row',
  replace(replace(c.oid::regclass::text, E'\n', '\n'), E'\t', '\t'), c.oid::regclass)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by c.oid::regclass::text collate "C"
\gexec
