-- A key without a connection reads the directory of its instance, and does nothing else. SQLite cannot
-- allow NULL in a column that is there: the table is made anew.
CREATE TABLE api_keys_anew (
    instance_id   BLOB    NOT NULL,
    id            BLOB    NOT NULL,
    connection_id BLOB,
    name          TEXT    NOT NULL,
    token_hash    TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER,
    last_used_at  INTEGER,
    last_used_ip  TEXT,
    PRIMARY KEY (instance_id, id),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
) STRICT;

INSERT INTO api_keys_anew (instance_id, id, connection_id, name, token_hash, created_at, expires_at,
    revoked_at, last_used_at, last_used_ip)
    SELECT instance_id, id, connection_id, name, token_hash, created_at, expires_at, revoked_at,
    last_used_at, last_used_ip FROM api_keys;

DROP TABLE api_keys;

ALTER TABLE api_keys_anew RENAME TO api_keys;
