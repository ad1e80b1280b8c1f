-- The mean length of a shape's bodies, so that what a new asset's variants will take can be told before they are made.
ALTER TABLE popularity ADD COLUMN bytes DOUBLE PRECISION NOT NULL DEFAULT 0;

-- What was last seen of something that changes outside of the catalog, such as a category's settings, so that one process of
-- many notices a change, once.
CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
