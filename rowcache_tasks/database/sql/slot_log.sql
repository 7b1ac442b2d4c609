SELECT slot_name, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
    ELSE pg_current_wal_lsn() END, restart_lsn), wal_status
FROM pg_replication_slots WHERE database = current_database()
