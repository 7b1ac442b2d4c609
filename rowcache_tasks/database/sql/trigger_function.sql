-- Notifies `rowcache follow` of changed rows of {relation}. To remove it: DROP FUNCTION {function}() CASCADE;
BEGIN;
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' AS $rowcache$
DECLARE
    keys text[];
    item text;
    payload text := '';
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(k) INTO keys FROM ({new}) AS found;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(k) INTO keys FROM ({old}) AS found;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(k) INTO keys FROM (({new}) UNION ({old})) AS found;
    END IF;
    IF TG_OP = 'TRUNCATE' OR cardinality(keys) > {max_rows} THEN
        PERFORM pg_notify({channel}, '{many}');
        RETURN NULL;
    END IF;
    FOREACH item IN ARRAY coalesce(keys, '{{}}') LOOP
        IF octet_length(item) > {max_bytes} THEN
            PERFORM pg_notify({channel}, '{many}');
            CONTINUE;
        END IF;
        IF octet_length(payload) + octet_length(item) >= {max_bytes} THEN
            PERFORM pg_notify({channel}, '[' || payload || ']');
            payload := '';
        END IF;
        payload := payload || CASE payload WHEN '' THEN '' ELSE ',' END || item;
    END LOOP;
    IF payload <> '' THEN
        PERFORM pg_notify({channel}, '[' || payload || ']');
    END IF;
    RETURN NULL;
END $rowcache$;
