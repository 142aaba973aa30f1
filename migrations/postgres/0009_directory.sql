-- A key without a connection reads the directory of its instance, and does nothing else.
ALTER TABLE api_keys ALTER COLUMN connection_id DROP NOT NULL;
