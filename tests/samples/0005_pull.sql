-- A row in every table that 0005_pull made, about the rows of the samples before.
UPDATE accounts SET in_source = FALSE WHERE id = X'01900000000070008000000000000005';
INSERT INTO runs (instance_id, id, kind, connection_id, state, author, seen, changed, leased_until, started_at, detail, holder) VALUES (X'01900000000070008000000000000002', X'0190000000007000800000000000000A', 'pull', X'01900000000070008000000000000003', 'open', 'cli', 0, 0, 1800000000000, 1800000000000, '{}', X'0190000000007000800000000000000B');
INSERT INTO sources (instance_id, connection_id, settings, password, schedule, next_run_at, last, revision) VALUES (X'01900000000070008000000000000002', X'01900000000070008000000000000003', '{}', 'sealed', '{}', 1800000000000, '{}', 1);
INSERT INTO run_items (instance_id, run_id, position, outcome, line, name, account_id, detail) VALUES (X'01900000000070008000000000000002', X'0190000000007000800000000000000A', 0, 'created', 2, 'ann', X'01900000000070008000000000000005', '{}');
INSERT INTO documents (instance_id, name_key, version, name, bytes, checksum, author, created_at) VALUES (X'01900000000070008000000000000002', 'people.csv', 1, 'people.csv', 1, '00', 'cli', 1800000000000);
INSERT INTO document_parts (instance_id, name_key, version, position, content) VALUES (X'01900000000070008000000000000002', 'people.csv', 1, 0, X'41');
INSERT INTO account_passwords (instance_id, account_id, hash, set_at) VALUES (X'01900000000070008000000000000002', X'01900000000070008000000000000005', '$argon2id$', 1800000000000);
