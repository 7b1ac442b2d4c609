#!/bin/bash
# At the first start: a cluster, POSTGRES_DB and the *.sql of /docker-entrypoint-initdb.d, on a server without TCP.
set -Eeo pipefail
mkdir -p "$PGDATA"
chmod 700 "$PGDATA"
if [ "$1" = postgres ] && ! [ -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?}"
    initdb --username=postgres --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    [ "${POSTGRES_DB:-postgres}" = postgres ] || createdb -U postgres "$POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*.sql; do
        psql -v ON_ERROR_STOP=1 --no-psqlrc -U postgres -d "${POSTGRES_DB:-postgres}" -f "$file"
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
