-- Whose assets were asked for: empty where they have no owners, as in a category over a plain source.
CREATE TABLE popularity_by_owner (
    owner TEXT NOT NULL,
    category TEXT NOT NULL,
    shape TEXT NOT NULL,
    n DOUBLE PRECISION NOT NULL,
    at_ms BIGINT NOT NULL,
    bytes DOUBLE PRECISION NOT NULL DEFAULT 0,
    PRIMARY KEY (owner, category, shape)
);
INSERT INTO popularity_by_owner (owner, category, shape, n, at_ms, bytes)
    SELECT '', category, shape, n, at_ms, bytes FROM popularity;
DROP TABLE popularity;
ALTER TABLE popularity_by_owner RENAME TO popularity;
CREATE INDEX popularity_by_category ON popularity (category);

-- How long it took to look at an original, and how many bytes its reduced forms have.
ALTER TABLE versions ADD COLUMN inspect_ms BIGINT;
ALTER TABLE versions ADD COLUMN mezzanine_bytes BIGINT NOT NULL DEFAULT 0;
