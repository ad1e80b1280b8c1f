-- Counts in slots: each connection counts in a slot of its own and waits for no other; what is added in one slot may be taken off
-- in another, so only the sum says how many there are.
ALTER TABLE job_counts ADD COLUMN slot BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job_counts ALTER COLUMN slot DROP DEFAULT;
ALTER TABLE job_counts DROP CONSTRAINT job_counts_pkey;
ALTER TABLE job_counts ADD PRIMARY KEY (owner, kind, priority, state, slot);
CREATE OR REPLACE FUNCTION job_counts_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    here BIGINT := pg_backend_pid();
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.owner, OLD.kind, OLD.priority, OLD.state) = (NEW.owner, NEW.kind, NEW.priority, NEW.state) THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO job_counts AS counts (owner, kind, priority, state, slot, n)
            VALUES (OLD.owner, OLD.kind, OLD.priority, OLD.state, here, -1)
            ON CONFLICT (owner, kind, priority, state, slot) DO UPDATE SET n = counts.n - 1;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO job_counts AS counts (owner, kind, priority, state, slot, n)
            VALUES (NEW.owner, NEW.kind, NEW.priority, NEW.state, here, 1)
            ON CONFLICT (owner, kind, priority, state, slot) DO UPDATE SET n = counts.n + 1;
    END IF;
    RETURN NULL;
END;
$$;
