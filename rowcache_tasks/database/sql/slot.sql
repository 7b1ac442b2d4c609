SELECT plugin, database = current_database(),
    EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = :publication)
FROM pg_catalog.pg_replication_slots WHERE slot_name = :slot
