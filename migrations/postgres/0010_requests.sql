-- What connections asked and were answered, kept for some days; none is kept where the days are 0.
ALTER TABLE instances ADD COLUMN requests_days BIGINT NOT NULL DEFAULT 7;

-- One exchange of a connection with the protocol. A body without a text was empty, was no JSON, or was erased.
CREATE TABLE exchanges (
    instance_id   UUID    NOT NULL,
    id            UUID    NOT NULL,
    at            BIGINT  NOT NULL,
    connection_id UUID    NOT NULL,
    key_id        UUID    NOT NULL,
    client        TEXT,
    request_id    TEXT    COLLATE "C" NOT NULL,
    method        TEXT    NOT NULL,
    path          TEXT    NOT NULL,
    query         TEXT,
    if_match      TEXT,
    status        BIGINT  NOT NULL,
    scim_type     TEXT,
    ms            BIGINT  NOT NULL,
    target_kind   TEXT,
    target_id     UUID,
    name_key      TEXT COLLATE "C",
    request_body  TEXT,
    request_bytes BIGINT  NOT NULL,
    request_cut   BOOLEAN NOT NULL,
    answer_body   TEXT,
    answer_bytes  BIGINT  NOT NULL,
    answer_cut    BOOLEAN NOT NULL,
    erased_at     BIGINT,
    PRIMARY KEY (instance_id, id)
);

CREATE INDEX exchanges_by_time ON exchanges (instance_id, at, id);
CREATE INDEX exchanges_by_request ON exchanges (instance_id, request_id, id);
CREATE INDEX exchanges_by_target ON exchanges (instance_id, target_id, id) WHERE target_id IS NOT NULL;
CREATE INDEX exchanges_by_name ON exchanges (instance_id, name_key, id) WHERE name_key IS NOT NULL;
-- Most exchanges succeed; who looks for those that failed does not walk through the others.
CREATE INDEX exchanges_by_failure ON exchanges (instance_id, id) WHERE status >= 400;

-- How many exchanges were not kept, and when that was noted: there was no room for them.
CREATE TABLE exchanges_missed (
    instance_id UUID    NOT NULL,
    at          BIGINT  NOT NULL,
    missed      BIGINT  NOT NULL,
    PRIMARY KEY (instance_id, at)
);
