-- What migrations/sqlite/0003_popular.sql says.
ALTER TABLE popularity ADD COLUMN bytes DOUBLE PRECISION NOT NULL DEFAULT 0;
CREATE TABLE marks (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL
);
