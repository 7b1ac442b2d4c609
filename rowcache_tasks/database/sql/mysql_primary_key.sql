-- That of a system-versioned table has the end of the row's period too, in a column that may be hidden.
SELECT k.column_name FROM information_schema.key_column_usage k
JOIN information_schema.columns c USING (table_schema, table_name, column_name)
WHERE k.table_schema = COALESCE(:schema, DATABASE()) AND k.table_name = :table AND k.constraint_name = 'PRIMARY'
  AND COALESCE(c.generation_expression, '') <> 'ROW END'
ORDER BY k.ordinal_position
