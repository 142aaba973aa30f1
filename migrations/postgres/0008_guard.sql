-- The guard for pushes: how many losses it lets through, which ones it has let through, and what it holds.

-- The limits of the guard, as JSON; what is missing is as it is by default.
ALTER TABLE connections ADD COLUMN guard TEXT NOT NULL DEFAULT '{}';

-- Since when what the client has said of it waits for an administrator: that somebody is suspended, that an
-- account or a group is deleted, that some members or this one leave. Until then it is not so.
ALTER TABLE accounts ADD COLUMN suspension_held_at BIGINT;
ALTER TABLE accounts ADD COLUMN deletion_held_at BIGINT;
ALTER TABLE groups ADD COLUMN deletion_held_at BIGINT;
ALTER TABLE groups ADD COLUMN removals_held_at BIGINT;
ALTER TABLE memberships ADD COLUMN removal_held_at BIGINT;

CREATE INDEX accounts_by_held_suspension ON accounts (instance_id, connection_id, id)
    WHERE suspension_held_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX accounts_by_held_deletion ON accounts (instance_id, connection_id, id)
    WHERE deletion_held_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX groups_by_held_deletion ON groups (instance_id, connection_id, id)
    WHERE deletion_held_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX groups_by_held_removals ON groups (instance_id, connection_id, id)
    WHERE removals_held_at IS NOT NULL AND deleted_at IS NULL;
-- Who belongs to which groups is told by this index alone, also to a client that has taken somebody out.
DROP INDEX memberships_by_member;
CREATE INDEX memberships_by_member
    ON memberships (instance_id, member_id, group_id, removal_held_at);
CREATE INDEX memberships_by_held_removal ON memberships (instance_id, group_id, member_id)
    WHERE removal_held_at IS NOT NULL;

-- The losses that came through, each for as long as the longest window.
CREATE TABLE guard_losses (
    instance_id   UUID   NOT NULL,
    connection_id UUID   NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    at            BIGINT NOT NULL,
    id            UUID   NOT NULL,
    losses        BIGINT NOT NULL,
    PRIMARY KEY (instance_id, connection_id, kind, at, id),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
);

CREATE INDEX guard_losses_by_time ON guard_losses (instance_id, at);

-- How much a connection had that can be lost, when it was last counted.
CREATE TABLE guard_totals (
    instance_id   UUID   NOT NULL,
    connection_id UUID   NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    total         BIGINT NOT NULL,
    counted_at    BIGINT NOT NULL,
    PRIMARY KEY (instance_id, connection_id, kind),
    FOREIGN KEY (instance_id, connection_id) REFERENCES connections (instance_id, id)
);
