SELECT t.tgtype FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = pg_catalog.to_regclass(:relation) AND p.proname = :name AND t.tgenabled IN ('O', 'A')
