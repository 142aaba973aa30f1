-- Queries by time, and in the order of time, use an index.
CREATE INDEX accounts_by_created ON accounts (instance_id, created_at, id);
CREATE INDEX accounts_by_modified ON accounts (instance_id, modified_at, id);
CREATE INDEX groups_by_created ON groups (instance_id, created_at, id);
CREATE INDEX groups_by_modified ON groups (instance_id, modified_at, id);

-- Where a walk through the pages of a query goes on: the index of the next page, asked for by the same
-- key, begins behind a resource and not behind a number of them.
CREATE TABLE page_marks (
    instance_id BLOB    NOT NULL,
    key_id      BLOB    NOT NULL,
    query       TEXT    NOT NULL,
    start_index INTEGER NOT NULL,
    mark        TEXT    NOT NULL,
    made_at     INTEGER NOT NULL,
    PRIMARY KEY (instance_id, key_id, query, start_index)
) STRICT, WITHOUT ROWID;
