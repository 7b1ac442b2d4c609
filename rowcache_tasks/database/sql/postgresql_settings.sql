SELECT set_config('transaction_read_only', 'on', true),
       set_config('statement_timeout', '{timeout_ms}', true),
       set_config('client_encoding', 'UTF8', true),
       set_config('TimeZone', 'UTC', true),
       set_config('DateStyle', 'ISO, MDY', true),
       set_config('IntervalStyle', 'iso_8601', true),
       set_config('extra_float_digits', '3', true)
