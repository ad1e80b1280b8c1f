-- What migrations/sqlite/0005_owners_and_stages.sql says.
ALTER TABLE popularity ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE popularity ALTER COLUMN owner DROP DEFAULT;
ALTER TABLE popularity DROP CONSTRAINT popularity_pkey;
ALTER TABLE popularity ADD PRIMARY KEY (owner, category, shape);
CREATE INDEX popularity_by_category ON popularity (category);
ALTER TABLE versions ADD COLUMN inspect_ms BIGINT;
ALTER TABLE versions ADD COLUMN mezzanine_bytes BIGINT NOT NULL DEFAULT 0;
