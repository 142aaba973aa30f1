-- How long what was deleted can come back, and what finds it when it is to be removed for good.

ALTER TABLE instances ADD COLUMN retention_days BIGINT NOT NULL DEFAULT 30;

-- Only who asks for "> 0" gets these: nobody who looks for a name among the deleted walks through all.
CREATE INDEX accounts_by_deletion ON accounts (instance_id, deleted_at, id) WHERE deleted_at > 0;
CREATE INDEX groups_by_deletion ON groups (instance_id, deleted_at, id) WHERE deleted_at > 0;
CREATE INDEX unique_values_by_resource ON unique_values (instance_id, resource_id);

-- What happens when a connection creates somebody again whom it has deleted.
ALTER TABLE connections ADD COLUMN recreate TEXT NOT NULL DEFAULT 'new';
-- After how many days whom the source suspends is deleted; never without a number.
ALTER TABLE connections ADD COLUMN delete_after_days BIGINT;

-- Since when somebody is suspended by the source: disabled, out of scope or missing, without a break.
ALTER TABLE accounts ADD COLUMN suspended_at BIGINT;
UPDATE accounts SET suspended_at = modified_at WHERE deleted_at IS NULL AND status_reason IN
    ('disabled in the identity provider', 'in no sync group', 'missing from source');

CREATE INDEX accounts_by_suspension ON accounts (instance_id, connection_id, suspended_at, id)
    WHERE suspended_at IS NOT NULL;

-- What the reports of runs say of a person, for who erases it.
CREATE INDEX run_items_by_account ON run_items (instance_id, account_id)
    WHERE account_id IS NOT NULL;
