-- It takes as long as there are people: a session gives a statement 60 s.
SET LOCAL statement_timeout = 0;

-- What the first page of a walk counts: who is there, and whose they are, told by these indexes alone.
CREATE INDEX accounts_by_sight ON accounts (instance_id, id, connection_id, deletion_held_at)
    WHERE deleted_at IS NULL;
CREATE INDEX groups_by_sight ON groups (instance_id, id, connection_id, deletion_held_at)
    WHERE deleted_at IS NULL;
