SELECT lsn::text, data FROM pg_logical_slot_peek_binary_changes(:slot, CAST(:until AS pg_lsn), :limit,
'proto_version', '1', 'publication_names', :names)
