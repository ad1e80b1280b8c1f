-- The catalog, as migrations/sqlite/0001_catalog.sql has it; what each table is for is said there. Texts compare by their bytes,
-- whatever language the database speaks, so that cursors and orders are the same in both dialects.

CREATE TABLE owners (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    categories TEXT COLLATE "C",
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    last_used_ms BIGINT
);
CREATE INDEX api_keys_of_owner ON api_keys (owner, id);

CREATE TABLE assets (
    category TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    filename TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (category, id)
);
CREATE INDEX assets_of_owner ON assets (owner, category, id);

CREATE TABLE versions (
    category TEXT COLLATE "C" NOT NULL,
    asset TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    blake3 TEXT COLLATE "C" NOT NULL,
    filename TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    profile TEXT COLLATE "C",
    store_key TEXT COLLATE "C" NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    error TEXT COLLATE "C",
    facts TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    uploaded_ms BIGINT NOT NULL,
    PRIMARY KEY (category, asset, version)
);
CREATE INDEX versions_by_age ON versions (category, uploaded_ms);
CREATE INDEX versions_by_key ON versions (store_key);

CREATE TABLE variants (
    category TEXT COLLATE "C" NOT NULL,
    asset TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    variant TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    ms BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    error TEXT COLLATE "C",
    attempts BIGINT NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (category, asset, version, variant)
);

-- `ready` is 1 while a job may be claimed, 2 while it waits for `due_ms`, else 0; `place` is its place among those of its kind
-- and priority.
CREATE TABLE jobs (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    category TEXT COLLATE "C",
    asset TEXT COLLATE "C",
    version TEXT COLLATE "C",
    payload TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    ready BIGINT NOT NULL,
    place BIGINT NOT NULL,
    dedupe TEXT COLLATE "C",
    parent TEXT COLLATE "C",
    done BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    total BIGINT NOT NULL,
    result TEXT COLLATE "C" NOT NULL,
    attempts BIGINT NOT NULL,
    deliveries BIGINT NOT NULL,
    worker TEXT COLLATE "C",
    lease BIGINT NOT NULL,
    lease_until_ms BIGINT,
    cancelling BIGINT NOT NULL,
    timeout_ms BIGINT,
    error TEXT COLLATE "C",
    code TEXT COLLATE "C",
    trace TEXT COLLATE "C",
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
    owner TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (owner, kind, priority, state)
);
CREATE FUNCTION job_counts_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.owner, OLD.kind, OLD.priority, OLD.state) = (NEW.owner, NEW.kind, NEW.priority, NEW.state) THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        UPDATE job_counts SET n = n - 1
            WHERE owner = OLD.owner AND kind = OLD.kind AND priority = OLD.priority AND state = OLD.state;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO job_counts AS counts VALUES (NEW.owner, NEW.kind, NEW.priority, NEW.state, 1)
            ON CONFLICT (owner, kind, priority, state) DO UPDATE SET n = counts.n + 1;
    END IF;
    RETURN NULL;
END;
$$;
CREATE TRIGGER job_counts_change AFTER INSERT OR UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION job_counts_change();

-- The place after the last one that was given to an owner's jobs of a kind and priority; owner '' has the place that was
-- claimed last. Fairness among owners is start-time fair queueing over these.
CREATE TABLE lanes (
    kind TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (kind, priority, owner)
);

CREATE TABLE dead_letters (
    job TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    dead_ms BIGINT NOT NULL
);
CREATE INDEX dead_letters_of_owner ON dead_letters (owner, job);

-- What must leave the catalog: a row goes when its job has been claimed, or when a broker has taken it.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX outbox_by_key ON outbox (key);

-- Append-only.
CREATE TABLE events (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    category TEXT COLLATE "C",
    asset TEXT COLLATE "C",
    version TEXT COLLATE "C",
    job TEXT COLLATE "C",
    data TEXT COLLATE "C" NOT NULL,
    trace TEXT COLLATE "C",
    at_ms BIGINT NOT NULL
);
CREATE INDEX events_of_asset ON events (category, asset, seq);
CREATE INDEX events_of_job ON events (job, seq);
CREATE INDEX events_of_owner ON events (owner, seq);

CREATE TABLE access (
    day BIGINT NOT NULL,
    category TEXT COLLATE "C" NOT NULL,
    asset TEXT COLLATE "C" NOT NULL,
    variant TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (category, asset, variant, day)
);
CREATE INDEX access_by_day ON access (day);

CREATE TABLE popularity (
    category TEXT COLLATE "C" NOT NULL,
    shape TEXT COLLATE "C" NOT NULL,
    n DOUBLE PRECISION NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (category, shape)
);

CREATE TABLE galleries (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    cover_category TEXT COLLATE "C",
    cover_asset TEXT COLLATE "C",
    revision BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX galleries_of_owner ON galleries (owner, id);

CREATE TABLE gallery_items (
    gallery TEXT COLLATE "C" NOT NULL,
    category TEXT COLLATE "C" NOT NULL,
    asset TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (gallery, category, asset)
);
CREATE INDEX gallery_items_in_order ON gallery_items (gallery, place);
CREATE INDEX gallery_items_of_asset ON gallery_items (category, asset);

CREATE TABLE uploads (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    category TEXT COLLATE "C" NOT NULL,
    asset TEXT COLLATE "C" NOT NULL,
    filename TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C",
    bytes BIGINT,
    store_key TEXT COLLATE "C" NOT NULL,
    multipart TEXT COLLATE "C",
    variants TEXT COLLATE "C" NOT NULL,
    priority BIGINT,
    state TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C",
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX uploads_open ON uploads (expires_ms) WHERE state = 'open';

CREATE TABLE idempotency (
    owner TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    answer TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

-- What runs now and then, so that one process of many runs it.
CREATE TABLE schedules (
    name TEXT COLLATE "C" PRIMARY KEY,
    next_ms BIGINT NOT NULL,
    holder TEXT COLLATE "C" NOT NULL
);
