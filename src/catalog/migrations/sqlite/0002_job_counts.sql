-- Counts in slots: where many transactions run at once, each connection counts in a slot of its own and waits for no other. SQLite
-- has one writer, and one slot.
DROP TRIGGER job_counts_insert;
DROP TRIGGER job_counts_update;
DROP TRIGGER job_counts_delete;
ALTER TABLE job_counts RENAME TO job_counts_before;
CREATE TABLE job_counts (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    priority BIGINT NOT NULL,
    state TEXT NOT NULL,
    slot BIGINT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (owner, kind, priority, state, slot)
);
INSERT INTO job_counts SELECT owner, kind, priority, state, 0, n FROM job_counts_before;
DROP TABLE job_counts_before;
CREATE TRIGGER job_counts_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts VALUES (NEW.owner, NEW.kind, NEW.priority, NEW.state, 0, 1)
        ON CONFLICT (owner, kind, priority, state, slot) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER job_counts_update AFTER UPDATE OF owner, kind, priority, state ON jobs
WHEN OLD.state <> NEW.state OR OLD.kind <> NEW.kind OR OLD.priority <> NEW.priority OR OLD.owner <> NEW.owner BEGIN
    UPDATE job_counts SET n = n - 1
        WHERE owner = OLD.owner AND kind = OLD.kind AND priority = OLD.priority AND state = OLD.state;
    INSERT INTO job_counts VALUES (NEW.owner, NEW.kind, NEW.priority, NEW.state, 0, 1)
        ON CONFLICT (owner, kind, priority, state, slot) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER job_counts_delete AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET n = n - 1
        WHERE owner = OLD.owner AND kind = OLD.kind AND priority = OLD.priority AND state = OLD.state;
END;
