-- What a pull rests on: where its people come from, the files that were uploaded, and what each run
-- came to.

-- Whether the last complete pull of its own connection had the person.
ALTER TABLE accounts ADD COLUMN in_source BOOLEAN NOT NULL DEFAULT TRUE;

-- What a run has to remember beside its place, as JSON, and who works on it.
ALTER TABLE runs ADD COLUMN detail TEXT;
ALTER TABLE runs ADD COLUMN holder UUID;

-- A connection is pulled by one run at a time, on all replicas together.
CREATE UNIQUE INDEX runs_one_pull ON runs (instance_id, connection_id)
    WHERE kind = 'pull' AND ended_at IS NULL;
CREATE INDEX runs_by_connection ON runs (instance_id, connection_id, id);

-- Where a connection is pulled from, how and when. What is secret is sealed with a key that is not in
-- the database; `last` is what the last complete run found.
CREATE TABLE sources (
    instance_id      UUID    NOT NULL,
    connection_id    UUID    NOT NULL,
    settings         TEXT    NOT NULL,
    password         TEXT,
    account_password TEXT,
    schedule         TEXT,
    next_run_at      BIGINT,
    last             TEXT,
    revision         BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, connection_id),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
);

CREATE INDEX sources_by_next_run ON sources (next_run_at, instance_id, connection_id)
    WHERE next_run_at IS NOT NULL;

-- What a run came to, one row for each person that changed or was refused.
CREATE TABLE run_items (
    instance_id UUID    NOT NULL,
    run_id      UUID    NOT NULL,
    position    BIGINT  NOT NULL,
    outcome     TEXT    NOT NULL,
    line        BIGINT,
    name        TEXT    NOT NULL,
    account_id  UUID,
    detail      TEXT,
    PRIMARY KEY (instance_id, run_id, position)
);

-- Files that were uploaded: the versions of each, and their bytes in parts.
CREATE TABLE documents (
    instance_id UUID    NOT NULL,
    name_key    TEXT COLLATE "C" NOT NULL,
    version     BIGINT  NOT NULL,
    name        TEXT    NOT NULL,
    bytes       BIGINT  NOT NULL,
    checksum    TEXT    NOT NULL,
    author      TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, name_key, version)
);

CREATE TABLE document_parts (
    instance_id UUID    NOT NULL,
    name_key    TEXT COLLATE "C" NOT NULL,
    version     BIGINT  NOT NULL,
    position    BIGINT  NOT NULL,
    content     BYTEA   NOT NULL,
    PRIMARY KEY (instance_id, name_key, version, position),
    FOREIGN KEY (instance_id, name_key, version)
        REFERENCES documents (instance_id, name_key, version) ON DELETE CASCADE
);

-- The password that a person was given with the account, as a hash; for instances that need one.
CREATE TABLE account_passwords (
    instance_id UUID    NOT NULL,
    account_id  UUID    NOT NULL,
    hash        TEXT    NOT NULL,
    set_at      BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, account_id)
);
