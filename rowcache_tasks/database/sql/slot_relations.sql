SELECT pg_catalog.to_regclass(:relation)::oid::bigint
UNION SELECT relid::oid::bigint FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(:relation))
