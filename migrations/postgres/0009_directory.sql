-- A key without a connection reads the directory of its instance, and does nothing else.
ALTER TABLE api_keys ALTER COLUMN connection_id DROP NOT NULL;

-- Reports are read in the order of their ids, page by page.
DROP INDEX accounts_by_manager;
CREATE INDEX accounts_by_manager ON accounts (instance_id, manager_id, id)
    WHERE manager_id IS NOT NULL;
