-- A key as 0009_directory allows it, about the rows of the samples before.
INSERT INTO api_keys (instance_id, id, connection_id, name, token_hash, created_at) VALUES (X'01900000000070008000000000000002', X'0190000000007000800000000000000E', NULL, 'intranet', 'cd', 1800000000000);
