-- A row in every table that 0004_rules made, about the rows of the samples before.
UPDATE accounts SET in_scope = TRUE, hand = 'suspended', hand_at = 1800000000000, missing = '["name.familyName"]', fields = '{"job_title":"Clerk"}' WHERE id = X'01900000000070008000000000000005';
UPDATE connections SET scope = 'groups', pick_up = 'never' WHERE id = X'01900000000070008000000000000003';
INSERT INTO sync_groups (instance_id, connection_id, group_id) VALUES (X'01900000000070008000000000000002', X'01900000000070008000000000000003', X'01900000000070008000000000000006');
INSERT INTO licences (instance_id, seats_max, seats_taken, policy) VALUES (X'01900000000070008000000000000002', 5, 1, 'block');
INSERT INTO claims (instance_id, id, connection_id, target_id, target_kind, target_name, name_key, document, state, version, asked_at, modified_at) VALUES (X'01900000000070008000000000000002', X'01900000000070008000000000000009', X'01900000000070008000000000000003', X'01900000000070008000000000000006', 'group', 'Staff', 'staff', '{}', 'waiting', 1, 1800000000000, 1800000000000);
INSERT INTO fields (instance_id, name, label, created_at) VALUES (X'01900000000070008000000000000002', 'badge', 'Badge', 1800000000000);
INSERT INTO mappings (instance_id, connection_id, version, rows, author, note, created_at) VALUES (X'01900000000070008000000000000002', X'01900000000070008000000000000003', 1, '[]', 'cli', '', 1800000000000);
INSERT INTO lookups (instance_id, name, value_key, value, result) VALUES (X'01900000000070008000000000000002', 'titles', 'clerk', 'Clerk', 'JOB-1');
INSERT INTO lookup_misses (instance_id, account_id, name, value_key, value, missed_at) VALUES (X'01900000000070008000000000000002', X'01900000000070008000000000000005', 'titles', 'chief', 'Chief', 1800000000000);
INSERT INTO runs (instance_id, id, kind, state, author, seen, changed, leased_until, started_at) VALUES (X'01900000000070008000000000000002', X'01900000000070008000000000000008', 'scope', 'open', 'cli', 0, 0, 1800000000000, 1800000000000);
