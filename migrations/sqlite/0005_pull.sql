-- What a pull rests on: where its people come from, the files that were uploaded, and what each run
-- came to.

-- Whether the last complete pull of its own connection had the person.
ALTER TABLE accounts ADD COLUMN in_source INTEGER NOT NULL DEFAULT 1;

-- What a run has to remember beside its place, as JSON, and who works on it.
ALTER TABLE runs ADD COLUMN detail TEXT;
ALTER TABLE runs ADD COLUMN holder BLOB;

-- A connection is pulled by one run at a time, on all replicas together.
CREATE UNIQUE INDEX runs_one_pull ON runs (instance_id, connection_id)
    WHERE kind = 'pull' AND ended_at IS NULL;
CREATE INDEX runs_by_connection ON runs (instance_id, connection_id, id);

-- Where a connection is pulled from, how and when. What is secret is sealed with a key that is not in
-- the database; `last` is what the last complete run found.
CREATE TABLE sources (
    instance_id      BLOB    NOT NULL,
    connection_id    BLOB    NOT NULL,
    settings         TEXT    NOT NULL,
    password         TEXT,
    account_password TEXT,
    schedule         TEXT,
    next_run_at      INTEGER,
    last             TEXT,
    revision         INTEGER  NOT NULL,
    PRIMARY KEY (instance_id, connection_id),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
) STRICT;

CREATE INDEX sources_by_next_run ON sources (next_run_at, instance_id, connection_id)
    WHERE next_run_at IS NOT NULL;

-- What a run came to, one row for each person that changed or was refused.
CREATE TABLE run_items (
    instance_id BLOB    NOT NULL,
    run_id      BLOB    NOT NULL,
    position    INTEGER  NOT NULL,
    outcome     TEXT    NOT NULL,
    line        INTEGER,
    name        TEXT    NOT NULL,
    account_id  BLOB,
    detail      TEXT,
    PRIMARY KEY (instance_id, run_id, position)
) STRICT;

-- Files that were uploaded: the versions of each, and their bytes in parts.
CREATE TABLE documents (
    instance_id BLOB    NOT NULL,
    name_key    TEXT NOT NULL,
    version     INTEGER  NOT NULL,
    name        TEXT    NOT NULL,
    bytes       INTEGER  NOT NULL,
    checksum    TEXT    NOT NULL,
    author      TEXT    NOT NULL,
    created_at  INTEGER  NOT NULL,
    PRIMARY KEY (instance_id, name_key, version)
) STRICT;

CREATE TABLE document_parts (
    instance_id BLOB    NOT NULL,
    name_key    TEXT NOT NULL,
    version     INTEGER  NOT NULL,
    position    INTEGER  NOT NULL,
    content     BLOB   NOT NULL,
    PRIMARY KEY (instance_id, name_key, version, position),
    FOREIGN KEY (instance_id, name_key, version)
        REFERENCES documents (instance_id, name_key, version) ON DELETE CASCADE
) STRICT;

-- The password that a person was given with the account, as a hash; for instances that need one.
CREATE TABLE account_passwords (
    instance_id BLOB    NOT NULL,
    account_id  BLOB    NOT NULL,
    hash        TEXT    NOT NULL,
    set_at      INTEGER  NOT NULL,
    PRIMARY KEY (instance_id, account_id)
) STRICT;
