-- What migrations/sqlite/0004_handed.sql says.
DROP TABLE outbox;
ALTER TABLE jobs ADD COLUMN handed BIGINT NOT NULL DEFAULT -1;
CREATE INDEX jobs_handed ON jobs (kind, priority) WHERE ready = 1 AND handed = lease;
ALTER TABLE dead_letters ADD COLUMN handed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX dead_letters_to_hand ON dead_letters (dead_ms) WHERE handed = 0;
