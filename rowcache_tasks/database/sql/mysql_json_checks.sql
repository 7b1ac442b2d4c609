-- JSON of MariaDB is LONGTEXT with such a check.
SELECT check_clause FROM information_schema.check_constraints
WHERE constraint_schema = COALESCE(:schema, DATABASE()) AND table_name = :table
