-- Jobs that a broker brings to workers. `handed` is the lease under which a broker has the job's message: equal to `lease` while it has;
-- whatever frees a job again raises `lease`, so the job is to be handed over anew. The row itself is what stands in an outbox.
DROP TABLE outbox;
ALTER TABLE jobs ADD COLUMN handed BIGINT NOT NULL DEFAULT -1;
CREATE INDEX jobs_handed ON jobs (kind, priority) WHERE ready = 1 AND handed = lease;
-- 1 once a broker has the dead letter too.
ALTER TABLE dead_letters ADD COLUMN handed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX dead_letters_to_hand ON dead_letters (dead_ms) WHERE handed = 0;
