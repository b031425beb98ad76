-- ALTER SYSTEM for a JSON map of names and values in the variable `settings`; null is what there was before anybody said anything.
select case when value is null then format('alter system reset %I', key) else format('alter system set %I = %L', key, value) end
from json_each_text(:'settings') \gexec
select pg_reload_conf();
