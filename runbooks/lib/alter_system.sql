-- ALTER SYSTEM for a JSON map of names and values in the variable `settings`; null is what there was before anybody said anything.
-- Some hold a list of names, and take a text with a comma in it for one name: they get each name by itself.
select case when value is null or (value = '' and names) then format('alter system reset %I', key)
  when names then format('alter system set %I = %s', key,
    (select string_agg(quote_literal(trim(both '"' from trim(name))), ', ') from regexp_split_to_table(value, ',') name))
  else format('alter system set %I = %L', key, value) end
from json_each_text(:'settings'),
  lateral (select key in ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'temp_tablespaces')) list (names) \gexec
select pg_reload_conf();
