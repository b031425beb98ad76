# Sourced by the steps of the runbooks for Postgres. Where the server is and who asks is in the environment of the step
# (PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSFILE), which every program of Postgres reads; no password is ever an argument.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# installed PROGRAM ...
installed() {
  local tool missing=()
  for tool in "$@"; do command -v "$tool" > /dev/null || missing+=("$tool"); done
  [ "${#missing[@]}" = 0 ] || fail "not installed: ${missing[*]} (apt-get install postgresql-client coreutils gzip)"
}

# The server's programs, which Debian keeps out of the PATH, of the version that the server is.
of_server() {
  local bin
  bin=/usr/lib/postgresql/$(($(sql <<< 'show server_version_num') / 10000))/bin
  [ ! -d "$bin" ] || PATH=$bin:$PATH
}

# SQL from standard input. It stops at the first error and says so with its exit code, which psql does not do by itself;
# rows are lines, with tabs between the columns. Values: `sql -v name="$VALUE"`, and :'name' or :"name" in the text.
sql() { psql --no-psqlrc --no-align --tuples-only --quiet --field-separator=$'\t' -v ON_ERROR_STOP=1 "$@"; }

# Whether there is a database of this name.
exists() { [ "$(sql --dbname=postgres -v name="$1" <<< "select count(*) from pg_database where datname = :'name'")" = 1 ]; }

# newest FOLDER PREFIX SUFFIX: the file PREFIX-YYYYMMDDTHHMMSSZSUFFIX with the latest time in its name, if there is one.
newest() {
  local file stamp best=
  for file in "$1/$2"-*Z"$3"; do
    stamp=${file#"$1/$2-"}
    if [[ ${stamp%"$3"} =~ ^[0-9]{8}T[0-9]{6}Z$ && -f $file ]]; then best=$file; fi
  done
  printf '%s' "$best"
}

# What every table of a database holds, as lines TABLE ROWS CHECKSUM, the same on every server. `described > FILE`
described() { sql --file=lib/tables.sql; }

# whole DUMP: it has its checksums beside it, they are right, and it has its end.
whole() {
  # Asked in a condition, it goes on after what fails: so nothing may fail unnoticed.
  . lib/whole.sh && unchanged "$1" tables || fail "$1 was not looked at: the runbook has no lib/whole.sh among its files"
  ended < <(gzip -dc -- "$1" | tail -n 10) || fail "$1 has no end: pg_dump was cut off when it was made. Take an older dump."
}

# Whether what comes in is the end of a dump.
ended() { grep -qx -e '-- PostgreSQL database dump complete'; }

# load DUMP DATABASE [LIKE]: into a new database of that name, all of it or nothing. Owner, encoding and sorting are those of the
# database LIKE where there is one.
load() {
  sql --dbname=postgres -v name="$2" -v like="${3:-}" << 'END'
select coalesce((select format('create database %I template template0 owner %I encoding %L lc_collate %L lc_ctype %L',
    :'name', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)
    -- Who sorts, and how, has other columns in each version.
    || case d ->> 'datlocprovider' when 'c' then ' locale_provider libc'
      when 'i' then format(' locale_provider icu icu_locale %L', coalesce(d ->> 'daticulocale', d ->> 'datlocale'))
      when 'b' then format(' locale_provider builtin builtin_locale %L', d ->> 'datlocale') else '' end
    || case when d ->> 'daticurules' is null then '' else format(' icu_rules %L', d ->> 'daticurules') end
  from pg_database, to_jsonb(pg_database) d where datname = :'like'), format('create database %I template template0', :'name')) \gexec
END
  # One transaction, stopped by its first error: psql alone goes on after errors and ends with 0.
  if ! gzip -dc -- "$1" | PGDATABASE=$2 sql --single-transaction --output=/dev/null; then
    fail "the dump cannot be loaded (the first error is above); nothing of it is kept"
  fi
}

# away DATABASE: it is deleted if it is there, whoever is connected.
away() { sql --dbname=postgres -v name="$1" <<< 'set client_min_messages = warning; drop database if exists :"name" with (force)'; }
