-- Times are epoch milliseconds. A column that ends in _key holds the folded form of its neighbour.
-- Keys of owned rows start with instance_id, so that the schema distributes by instance.
-- Accounts and groups have no foreign key to their instance: PostgreSQL would lock that one row in
-- every write.

CREATE TABLE signing_keys (
    id         UUID    NOT NULL PRIMARY KEY,
    secret     TEXT    NOT NULL,
    created_at BIGINT  NOT NULL
);

CREATE TABLE tenants (
    id         UUID    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    name_key   TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT  NOT NULL
);

CREATE TABLE instances (
    id         UUID    NOT NULL PRIMARY KEY,
    tenant_id  UUID    NOT NULL REFERENCES tenants (id),
    name       TEXT    NOT NULL,
    name_key   TEXT COLLATE "C" NOT NULL,
    created_at BIGINT  NOT NULL,
    UNIQUE (tenant_id, name_key)
);

CREATE TABLE connections (
    instance_id   UUID    NOT NULL REFERENCES instances (id),
    id            UUID    NOT NULL,
    kind          TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    name_key      TEXT COLLATE "C" NOT NULL,
    directory_key TEXT COLLATE "C" NOT NULL,
    status        TEXT    NOT NULL,
    profile       TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, id),
    UNIQUE (instance_id, name_key),
    UNIQUE (instance_id, directory_key)
);

CREATE TABLE api_keys (
    instance_id   UUID    NOT NULL,
    id            UUID    NOT NULL,
    connection_id UUID    NOT NULL,
    name          TEXT    NOT NULL,
    token_hash    TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT,
    last_used_at  BIGINT,
    last_used_ip  TEXT,
    PRIMARY KEY (instance_id, id),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
);

CREATE TABLE accounts (
    instance_id     UUID    NOT NULL,
    id              UUID    NOT NULL,
    connection_id   UUID,
    user_name       TEXT    NOT NULL,
    user_name_key   TEXT COLLATE "C" NOT NULL,
    external_id     TEXT COLLATE "C",
    display_name    TEXT,
    display_name_key TEXT COLLATE "C",
    employee_number TEXT COLLATE "C",
    active          BOOLEAN NOT NULL,
    status          TEXT    NOT NULL,
    status_reason   TEXT,
    manager_ref     TEXT,
    manager_ref_key TEXT COLLATE "C",
    manager_id      UUID,
    document        TEXT    NOT NULL,
    version         BIGINT  NOT NULL,
    created_at      BIGINT  NOT NULL,
    modified_at     BIGINT  NOT NULL,
    deleted_at      BIGINT,
    PRIMARY KEY (instance_id, id)
);

-- A deleted account keeps its row, so that it can be restored, and leaves its name to others.
CREATE UNIQUE INDEX accounts_by_user_name ON accounts (instance_id, user_name_key)
    WHERE deleted_at IS NULL;
-- Look-ups are answered in the order of ids: an index that ends with the id serves both.
CREATE INDEX accounts_by_external_id ON accounts (instance_id, external_id, id)
    WHERE external_id IS NOT NULL;
CREATE INDEX accounts_by_display_name ON accounts (instance_id, display_name_key, id)
    WHERE display_name_key IS NOT NULL;
CREATE INDEX accounts_by_employee_number ON accounts (instance_id, employee_number)
    WHERE employee_number IS NOT NULL;
CREATE INDEX accounts_by_manager_ref ON accounts (instance_id, manager_ref_key)
    WHERE manager_ref_key IS NOT NULL;
CREATE INDEX accounts_by_manager ON accounts (instance_id, manager_id)
    WHERE manager_id IS NOT NULL;

CREATE TABLE account_emails (
    instance_id UUID    NOT NULL,
    account_id  UUID    NOT NULL,
    position    BIGINT  NOT NULL,
    value_key   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (instance_id, account_id, position),
    FOREIGN KEY (instance_id, account_id) REFERENCES accounts (instance_id, id)
);

CREATE INDEX account_emails_by_value ON account_emails (instance_id, value_key);

CREATE TABLE groups (
    instance_id      UUID    NOT NULL,
    id               UUID    NOT NULL,
    connection_id    UUID,
    display_name     TEXT    NOT NULL,
    display_name_key TEXT COLLATE "C" NOT NULL,
    external_id      TEXT COLLATE "C",
    document         TEXT    NOT NULL,
    version          BIGINT  NOT NULL,
    created_at       BIGINT  NOT NULL,
    modified_at      BIGINT  NOT NULL,
    deleted_at       BIGINT,
    PRIMARY KEY (instance_id, id)
);

CREATE UNIQUE INDEX groups_by_display_name ON groups (instance_id, display_name_key)
    WHERE deleted_at IS NULL;
CREATE INDEX groups_by_external_id ON groups (instance_id, external_id, id)
    WHERE external_id IS NOT NULL;

CREATE TABLE memberships (
    instance_id UUID    NOT NULL,
    group_id    UUID    NOT NULL,
    member_id   UUID    NOT NULL,
    member_kind TEXT    NOT NULL,
    PRIMARY KEY (instance_id, group_id, member_id),
    FOREIGN KEY (instance_id, group_id) REFERENCES groups (instance_id, id)
);

CREATE INDEX memberships_by_member ON memberships (instance_id, member_id, group_id);

CREATE TABLE audit_events (
    instance_id   UUID    NOT NULL,
    id            UUID    NOT NULL,
    at            BIGINT  NOT NULL,
    category      TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    actor         TEXT    NOT NULL,
    connection_id UUID,
    key_id        UUID,
    target_kind   TEXT    NOT NULL,
    target_id     UUID    NOT NULL,
    member_id     UUID,
    before        TEXT,
    after         TEXT,
    rule          TEXT,
    request_id    TEXT,
    PRIMARY KEY (instance_id, id)
);

CREATE INDEX audit_events_by_target ON audit_events (instance_id, target_id, id);
CREATE INDEX audit_events_by_member ON audit_events (instance_id, member_id, id)
    WHERE member_id IS NOT NULL;
