-- The trail of an instance is a chain: each event gets the next position once it is committed, and a hash
-- over all before it. Who finds out that an event waits for its link reads the queue, not the trail.
ALTER TABLE audit_events ADD COLUMN client TEXT;
ALTER TABLE audit_events ADD COLUMN erased_at BIGINT;

CREATE INDEX audit_events_by_request ON audit_events (instance_id, request_id, id)
    WHERE request_id IS NOT NULL;
CREATE INDEX audit_events_by_category ON audit_events (instance_id, category, id)
    WHERE category <> 'UserSync';

CREATE TABLE audit_unsealed (
    instance_id UUID NOT NULL,
    event_id    UUID NOT NULL,
    PRIMARY KEY (instance_id, event_id)
);

INSERT INTO audit_unsealed (instance_id, event_id) SELECT instance_id, id FROM audit_events;

CREATE TABLE audit_links (
    instance_id UUID   NOT NULL,
    position    BIGINT NOT NULL,
    event_id    UUID   NOT NULL,
    salt        BYTEA,
    said        BYTEA  NOT NULL,
    hash        BYTEA  NOT NULL,
    PRIMARY KEY (instance_id, position)
);

CREATE UNIQUE INDEX audit_links_by_event ON audit_links (instance_id, event_id);

CREATE TABLE audit_heads (
    instance_id UUID   NOT NULL PRIMARY KEY,
    position    BIGINT NOT NULL,
    hash        BYTEA  NOT NULL
);
