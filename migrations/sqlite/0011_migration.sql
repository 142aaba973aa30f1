-- What a move from one directory to another rests on: the names that people had before, and the lines
-- of a migration that are still to be done.

-- A name that an account had, since when and until when; the same account has each of them once.
CREATE TABLE account_aliases (
    instance_id BLOB    NOT NULL,
    name_key    TEXT    NOT NULL,
    account_id  BLOB    NOT NULL,
    name        TEXT    NOT NULL,
    since_at    INTEGER NOT NULL,
    until_at    INTEGER NOT NULL,
    PRIMARY KEY (instance_id, name_key, account_id)
) STRICT;

CREATE INDEX account_aliases_by_account ON account_aliases (instance_id, account_id, until_at);

-- What a migration has still to do, in the order in which it is done; a circle of names has one number.
CREATE TABLE migration_lines (
    instance_id   BLOB    NOT NULL,
    run_id        BLOB    NOT NULL,
    position      INTEGER NOT NULL,
    circle        INTEGER,
    line          INTEGER NOT NULL,
    account_id    BLOB    NOT NULL,
    name          TEXT    NOT NULL,
    new_name      TEXT,
    moves         INTEGER NOT NULL,
    connection_id BLOB,
    PRIMARY KEY (instance_id, run_id, position)
) STRICT;

-- An instance migrates by one file at a time, on all replicas together.
CREATE UNIQUE INDEX runs_one_migration ON runs (instance_id)
    WHERE kind = 'migration' AND ended_at IS NULL;
