-- What the provisioning rules rest on: one column for each fact about a person, the settings of a
-- connection, the licence of an instance, and the work that is left to do.

ALTER TABLE accounts ADD COLUMN in_scope BOOLEAN NOT NULL DEFAULT TRUE;
-- The administrator's last word, and when the identity provider's next one took its place.
ALTER TABLE accounts ADD COLUMN hand TEXT;
ALTER TABLE accounts ADD COLUMN hand_at BIGINT;
ALTER TABLE accounts ADD COLUMN hand_overtaken_at BIGINT;
ALTER TABLE accounts ADD COLUMN protected BOOLEAN NOT NULL DEFAULT FALSE;
-- Since when a person waits for a seat.
ALTER TABLE accounts ADD COLUMN queued_at BIGINT;
-- The required attributes that the identity provider has not sent, as a JSON array; NULL if none.
ALTER TABLE accounts ADD COLUMN missing TEXT;
-- Why a reference to a manager is linked to nobody.
ALTER TABLE accounts ADD COLUMN manager_wait TEXT;
-- The directory fields: what the mapping made of the document, and what administrators wrote.
ALTER TABLE accounts ADD COLUMN fields TEXT NOT NULL DEFAULT '{}';
ALTER TABLE accounts ADD COLUMN local_fields TEXT NOT NULL DEFAULT '{}';

-- The queue for a seat, in the order of arrival.
CREATE INDEX accounts_by_queue ON accounts (instance_id, queued_at, id)
    WHERE queued_at IS NOT NULL;
CREATE INDEX accounts_by_protection ON accounts (instance_id, id)
    WHERE protected;
CREATE INDEX accounts_by_missing ON accounts (instance_id, id)
    WHERE missing IS NOT NULL;
CREATE INDEX accounts_by_manager_wait ON accounts (instance_id, id)
    WHERE manager_wait IS NOT NULL;
CREATE INDEX accounts_by_tombstone ON accounts (instance_id, user_name_key)
    WHERE deleted_at IS NOT NULL;

-- Whether the group enters the directory, by the rule of its connection.
ALTER TABLE groups ADD COLUMN entered BOOLEAN NOT NULL DEFAULT TRUE;

ALTER TABLE connections ADD COLUMN scope TEXT NOT NULL DEFAULT 'all';
ALTER TABLE connections ADD COLUMN pick_up TEXT NOT NULL DEFAULT 'by_user_name';
ALTER TABLE connections ADD COLUMN entering TEXT NOT NULL DEFAULT 'all';
ALTER TABLE connections ADD COLUMN entering_pattern TEXT;
-- The required attributes, as a JSON array of paths, and what happens without them.
ALTER TABLE connections ADD COLUMN required TEXT NOT NULL DEFAULT '["userName"]';
ALTER TABLE connections ADD COLUMN incomplete TEXT NOT NULL DEFAULT 'refuse';
-- The version of the mapping that is in force; 0 is the default mapping.
ALTER TABLE connections ADD COLUMN mapping_version BIGINT NOT NULL DEFAULT 0;

-- The groups whose direct and nested members are in the scope of a connection.
CREATE TABLE sync_groups (
    instance_id   UUID    NOT NULL,
    connection_id UUID    NOT NULL,
    group_id      UUID    NOT NULL,
    PRIMARY KEY (instance_id, connection_id, group_id),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
);

CREATE INDEX sync_groups_by_group ON sync_groups (instance_id, group_id);

-- A row only where there is a limit. Who gives or frees a seat locks it and keeps the count.
CREATE TABLE licences (
    instance_id UUID    NOT NULL,
    seats_max   BIGINT  NOT NULL,
    seats_taken BIGINT  NOT NULL,
    policy      TEXT    NOT NULL,
    PRIMARY KEY (instance_id)
);

-- Local accounts and groups that a connection wants to pick up, for an administrator to decide. What
-- the client has said about them meanwhile is kept here; `target_name` is what it was called when asked.
CREATE TABLE claims (
    instance_id   UUID    NOT NULL,
    id            UUID    NOT NULL,
    connection_id UUID    NOT NULL,
    target_id     UUID    NOT NULL,
    target_kind   TEXT    NOT NULL,
    target_name   TEXT    NOT NULL,
    name_key      TEXT COLLATE "C" NOT NULL,
    external_id   TEXT COLLATE "C",
    document      TEXT    NOT NULL,
    members       TEXT,
    state         TEXT    NOT NULL,
    version       BIGINT  NOT NULL,
    asked_at      BIGINT  NOT NULL,
    modified_at   BIGINT  NOT NULL,
    decided_at    BIGINT ,
    PRIMARY KEY (instance_id, connection_id, target_id),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
);

CREATE UNIQUE INDEX claims_by_id ON claims (instance_id, id);
CREATE INDEX claims_by_target ON claims (instance_id, target_id);
CREATE INDEX claims_by_name ON claims (instance_id, connection_id, name_key)
    WHERE state = 'waiting';
CREATE INDEX claims_by_external_id ON claims (instance_id, connection_id, external_id)
    WHERE state = 'waiting';

-- Text fields that an instance adds to those of the directory.
CREATE TABLE fields (
    instance_id UUID    NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    label       TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, name)
);

-- The mappings that a connection has had, from version 1.
CREATE TABLE mappings (
    instance_id   UUID    NOT NULL,
    connection_id UUID    NOT NULL,
    version       BIGINT  NOT NULL,
    rows          TEXT    NOT NULL,
    author        TEXT    NOT NULL,
    note          TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, connection_id, version),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
);

-- The entries of look-up tables: the folded text on the left, the text on the right.
CREATE TABLE lookups (
    instance_id UUID    NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    value_key   TEXT COLLATE "C" NOT NULL,
    value       TEXT    NOT NULL,
    result      TEXT    NOT NULL,
    PRIMARY KEY (instance_id, name, value_key)
);

-- Values that a look-up table was asked for on behalf of an account, and does not have.
CREATE TABLE lookup_misses (
    instance_id UUID    NOT NULL,
    account_id  UUID    NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    value_key   TEXT COLLATE "C" NOT NULL,
    value       TEXT COLLATE "C" NOT NULL,
    missed_at   BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, account_id, name, value_key)
);

CREATE INDEX lookup_misses_by_value ON lookup_misses (instance_id, name, value_key);

-- Work that goes through all people of an instance in steps, and where it has got to.
CREATE TABLE runs (
    instance_id   UUID    NOT NULL,
    id            UUID    NOT NULL,
    kind          TEXT    NOT NULL,
    connection_id UUID,
    state         TEXT    NOT NULL,
    author        TEXT    NOT NULL,
    checkpoint    UUID,
    seen          BIGINT  NOT NULL,
    changed       BIGINT  NOT NULL,
    note          TEXT,
    leased_until  BIGINT  NOT NULL,
    started_at    BIGINT  NOT NULL,
    ended_at      BIGINT,
    PRIMARY KEY (instance_id, id)
);

CREATE INDEX runs_by_state ON runs (state, instance_id, id)
    WHERE ended_at IS NULL;

ALTER TABLE audit_events ADD COLUMN run_id UUID;

CREATE INDEX audit_events_by_run ON audit_events (instance_id, run_id, id)
    WHERE run_id IS NOT NULL;
