-- What an instance adds to the schemas, and the values that only one of its resources may have.

ALTER TABLE instances ADD COLUMN schemas_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN password TEXT NOT NULL DEFAULT 'accepted';

CREATE TABLE schemas (
    instance_id   BLOB    NOT NULL,
    urn_key       TEXT    NOT NULL,
    resource_type TEXT    NOT NULL,
    definition    TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    modified_at   INTEGER NOT NULL,
    PRIMARY KEY (instance_id, urn_key)
) STRICT;

-- The attribute is the folded URN and name; the value is folded unless the attribute is case-exact.
CREATE TABLE unique_values (
    instance_id BLOB    NOT NULL,
    attribute   TEXT    NOT NULL,
    value_key   TEXT    NOT NULL,
    resource_id BLOB    NOT NULL,
    PRIMARY KEY (instance_id, attribute, value_key)
) STRICT;

