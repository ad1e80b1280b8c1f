-- The catalog. What is said here holds in every dialect: times are milliseconds since 1970, ids and owners are texts, documents
-- are JSON as text, truth is 0 or 1. Statements elsewhere name their parameters $1, $2, … and use nothing but what SQLite
-- and PostgreSQL both take; what differs (AUTOINCREMENT, triggers) stands in the dialect's own migrations alone.

CREATE TABLE owners (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    role TEXT NOT NULL,
    categories TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    last_used_ms BIGINT
);
CREATE INDEX api_keys_of_owner ON api_keys (owner, id);

CREATE TABLE assets (
    category TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    version TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    state TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (category, id)
);
CREATE INDEX assets_of_owner ON assets (owner, category, id);

CREATE TABLE versions (
    category TEXT NOT NULL,
    asset TEXT NOT NULL,
    version TEXT NOT NULL,
    owner TEXT NOT NULL,
    number BIGINT NOT NULL,
    blake3 TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    format TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    profile TEXT,
    store_key TEXT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    facts TEXT NOT NULL,
    job TEXT NOT NULL,
    uploaded_ms BIGINT NOT NULL,
    PRIMARY KEY (category, asset, version)
);
CREATE INDEX versions_by_age ON versions (category, uploaded_ms);
CREATE INDEX versions_by_key ON versions (store_key);

CREATE TABLE variants (
    category TEXT NOT NULL,
    asset TEXT NOT NULL,
    version TEXT NOT NULL,
    variant TEXT NOT NULL,
    owner TEXT NOT NULL,
    url TEXT NOT NULL,
    content_type TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    attempts BIGINT NOT NULL,
    job TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (category, asset, version, variant)
);

-- `ready` is 1 while a job may be claimed, 2 while it waits for `due_ms`, else 0; `place` is its place among those of its kind
-- and priority.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    priority BIGINT NOT NULL,
    category TEXT,
    asset TEXT,
    version TEXT,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    ready BIGINT NOT NULL,
    place BIGINT NOT NULL,
    dedupe TEXT,
    parent TEXT,
    done BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    total BIGINT NOT NULL,
    result TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    deliveries BIGINT NOT NULL,
    worker TEXT,
    lease BIGINT NOT NULL,
    lease_until_ms BIGINT,
    cancelling BIGINT NOT NULL,
    timeout_ms BIGINT,
    error TEXT,
    code TEXT,
    trace TEXT,
    due_ms BIGINT NOT NULL,
    queued_ms BIGINT NOT NULL,
    started_ms BIGINT,
    completed_ms BIGINT,
    revision BIGINT NOT NULL
);
CREATE INDEX jobs_ready ON jobs (kind, priority, place, id) WHERE ready = 1;
CREATE INDEX jobs_oldest ON jobs (queued_ms) WHERE ready = 1;
CREATE INDEX jobs_due ON jobs (due_ms) WHERE ready = 2;
CREATE INDEX jobs_leased ON jobs (lease_until_ms) WHERE state = 'processing';
CREATE UNIQUE INDEX jobs_deduped ON jobs (owner, dedupe) WHERE dedupe IS NOT NULL;
CREATE INDEX jobs_of_parent ON jobs (parent, id) WHERE parent IS NOT NULL;
CREATE INDEX jobs_of_owner ON jobs (owner, id);
CREATE INDEX jobs_of_asset ON jobs (category, asset, id);
CREATE INDEX jobs_ended ON jobs (completed_ms) WHERE completed_ms IS NOT NULL;

-- How many jobs there are, kept by triggers, so that depth and bounds cost the same however long the queue is.
CREATE TABLE job_counts (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    priority BIGINT NOT NULL,
    state TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (owner, kind, priority, state)
);
CREATE TRIGGER job_counts_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts VALUES (NEW.owner, NEW.kind, NEW.priority, NEW.state, 1)
        ON CONFLICT (owner, kind, priority, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER job_counts_update AFTER UPDATE OF owner, kind, priority, state ON jobs
WHEN OLD.state <> NEW.state OR OLD.kind <> NEW.kind OR OLD.priority <> NEW.priority OR OLD.owner <> NEW.owner BEGIN
    UPDATE job_counts SET n = n - 1
        WHERE owner = OLD.owner AND kind = OLD.kind AND priority = OLD.priority AND state = OLD.state;
    INSERT INTO job_counts VALUES (NEW.owner, NEW.kind, NEW.priority, NEW.state, 1)
        ON CONFLICT (owner, kind, priority, state) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER job_counts_delete AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET n = n - 1
        WHERE owner = OLD.owner AND kind = OLD.kind AND priority = OLD.priority AND state = OLD.state;
END;

-- The place after the last one that was given to an owner's jobs of a kind and priority; owner '' has the place that was
-- claimed last. Fairness among owners is start-time fair queueing over these.
CREATE TABLE lanes (
    kind TEXT NOT NULL,
    priority BIGINT NOT NULL,
    owner TEXT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (kind, priority, owner)
);

CREATE TABLE dead_letters (
    job TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    reason TEXT NOT NULL,
    dead_ms BIGINT NOT NULL
);
CREATE INDEX dead_letters_of_owner ON dead_letters (owner, job);

-- What must leave the catalog: a row goes when its job has been claimed, or when a broker has taken it.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX outbox_by_key ON outbox (key);

-- Append-only.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    category TEXT,
    asset TEXT,
    version TEXT,
    job TEXT,
    data TEXT NOT NULL,
    trace TEXT,
    at_ms BIGINT NOT NULL
);
CREATE INDEX events_of_asset ON events (category, asset, seq);
CREATE INDEX events_of_job ON events (job, seq);
CREATE INDEX events_of_owner ON events (owner, seq);

CREATE TABLE access (
    day BIGINT NOT NULL,
    category TEXT NOT NULL,
    asset TEXT NOT NULL,
    variant TEXT NOT NULL,
    owner TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (category, asset, variant, day)
);
CREATE INDEX access_by_day ON access (day);

CREATE TABLE popularity (
    category TEXT NOT NULL,
    shape TEXT NOT NULL,
    n DOUBLE PRECISION NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (category, shape)
);

CREATE TABLE galleries (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    cover_category TEXT,
    cover_asset TEXT,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX galleries_of_owner ON galleries (owner, id);

CREATE TABLE gallery_items (
    gallery TEXT NOT NULL,
    category TEXT NOT NULL,
    asset TEXT NOT NULL,
    owner TEXT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (gallery, category, asset)
);
CREATE INDEX gallery_items_in_order ON gallery_items (gallery, place);
CREATE INDEX gallery_items_of_asset ON gallery_items (category, asset);

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    category TEXT NOT NULL,
    asset TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT,
    bytes BIGINT,
    store_key TEXT NOT NULL,
    multipart TEXT,
    variants TEXT NOT NULL,
    priority BIGINT,
    state TEXT NOT NULL,
    job TEXT,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX uploads_open ON uploads (expires_ms) WHERE state = 'open';

CREATE TABLE idempotency (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

-- What runs now and then, so that one process of many runs it.
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    next_ms BIGINT NOT NULL,
    holder TEXT NOT NULL
);
