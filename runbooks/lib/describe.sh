# describe.sh: what every table of every database of a server holds, as lines DATABASE TABLE ROWS CHECKSUM, for a server of this machine that is AS's.
set -euo pipefail
. lib/postgres.sh
. lib/cluster.sh
sql <<< 'select datname from pg_database where datallowconn order by 1' | while IFS= read -r database; do
  sql --dbname="$database" < lib/tables.sql | sed "s/^/${database//[\/&\\]/_}\t/"
done
