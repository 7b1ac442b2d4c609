SELECT pg_replication_slot_advance(:slot, greatest(CAST(:until AS pg_lsn), confirmed_flush_lsn))
FROM pg_catalog.pg_replication_slots WHERE slot_name = :slot
