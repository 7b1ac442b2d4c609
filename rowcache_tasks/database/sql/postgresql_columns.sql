-- Domains resolve to the type below them, arrays to their element; "resolved" ends at a type that is neither.
WITH RECURSIVE resolved AS (
    SELECT attnum, attname, atttypid AS oid, 0 AS arrays
    FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass(:relation) AND attnum > 0 AND NOT attisdropped
  UNION ALL
    SELECT attnum, attname,
           CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE element.oid END,
           CASE t.typtype WHEN 'd' THEN arrays ELSE arrays + 1 END
    FROM resolved
    JOIN pg_catalog.pg_type t ON t.oid = resolved.oid
    LEFT JOIN pg_catalog.pg_type element ON element.typarray = t.oid
    WHERE t.typtype = 'd' OR element.oid IS NOT NULL
)
SELECT attname, t.typname, pg_catalog.format_type(t.oid, NULL), t.typtype, arrays,
       t.typnamespace = 'pg_catalog'::regnamespace
FROM resolved JOIN pg_catalog.pg_type t ON t.oid = resolved.oid
WHERE t.typtype <> 'd' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type element WHERE element.typarray = t.oid)
ORDER BY attnum
