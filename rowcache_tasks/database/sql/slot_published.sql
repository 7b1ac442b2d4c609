SELECT pg_catalog.to_regclass(format('%I.%I', schemaname, tablename))::oid::bigint
FROM pg_catalog.pg_publication_tables WHERE pubname = :publication
