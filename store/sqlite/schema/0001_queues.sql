-- The first schema. Everything of ours is called webhook_…, since the host's own
-- tables may live in the same file. Names and texts that came from outside are
-- BLOBs: they are any bytes. Instants are microseconds since 1970, UTC.

-- One row. Ids are counted here and not by SQLite, which would give the id of a
-- purged row away again.
CREATE TABLE webhook_file (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    id       TEXT    NOT NULL, -- what makes delivery ids unique over all files
    event    INTEGER NOT NULL, -- next id of webhook_event
    delivery INTEGER NOT NULL, -- next id of webhook_delivery
    turn     INTEGER NOT NULL, -- next webhook_lane.served
    leased   INTEGER NOT NULL  -- no lease ends later
);

INSERT INTO webhook_file (one, id, event, delivery, turn, leased)
VALUES (1, lower(hex(randomblob(8))), 1, 1, 1, 0);

CREATE TABLE webhook_queue (
    id   INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE
);

-- Counters are kept by the commits that change them, so that nobody counts rows.
CREATE TABLE webhook_destination (
    id         INTEGER PRIMARY KEY,
    queue      INTEGER NOT NULL,
    name       BLOB    NOT NULL,
    queued     INTEGER NOT NULL DEFAULT 0,
    processing INTEGER NOT NULL DEFAULT 0,
    dead       INTEGER NOT NULL DEFAULT 0,
    blocked    INTEGER NOT NULL DEFAULT 0, -- ordering keys whose head is dead
    failing    INTEGER,                    -- first failure after the last success
    held       INTEGER NOT NULL DEFAULT 0, -- not claimed before; the latest of its holds
    UNIQUE (queue, name)
);

-- A lane is what is served in turn: a destination and a tenant.
CREATE TABLE webhook_lane (
    id          INTEGER PRIMARY KEY,
    queue       INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    tenant      BLOB    NOT NULL,
    next        INTEGER NOT NULL,           -- nothing in it can be claimed before; may be too early, never too late
    served      INTEGER NOT NULL DEFAULT 0, -- the turn in which it was served last
    UNIQUE (destination, tenant)
);

-- What is due: of a queue, and of the destinations that a claim names.
CREATE INDEX webhook_lane_queue ON webhook_lane (queue, next);
CREATE INDEX webhook_lane_destination ON webhook_lane (destination, next);

-- An event as it was received. Head is NULL once it is erased.
CREATE TABLE webhook_event (
    id       INTEGER PRIMARY KEY,
    queue    INTEGER NOT NULL,
    nonce    BLOB    NOT NULL,
    keys     BLOB    NOT NULL, -- its keys in webhook_known, 32 bytes each, the identity first
    digest   BLOB    NOT NULL,
    received INTEGER NOT NULL,
    known    INTEGER NOT NULL, -- its keys are known until then at least
    named    TEXT    NOT NULL, -- the destinations it ever had: [[destination, delivery], …]
    tenant   BLOB    NOT NULL,
    source   BLOB    NOT NULL,
    event    BLOB    NOT NULL, -- the sender's id
    type     BLOB    NOT NULL,
    subject  BLOB    NOT NULL,
    time     INTEGER,
    trace    BLOB    NOT NULL,
    head     BLOB,
    body     BLOB
);

-- Events for nobody are found by this when they are purged.
CREATE INDEX webhook_event_bare ON webhook_event (queue, known) WHERE named = '[]';

-- What stays of a purged event while its keys are known.
CREATE TABLE webhook_past (
    id       INTEGER PRIMARY KEY, -- that of the event
    queue    INTEGER NOT NULL,
    nonce    BLOB    NOT NULL,
    keys     BLOB    NOT NULL,
    digest   BLOB    NOT NULL,
    received INTEGER NOT NULL,
    known    INTEGER NOT NULL,
    named    TEXT    NOT NULL
);

CREATE INDEX webhook_past_known ON webhook_past (queue, known);

-- Under which keys an event is known: its identity and its replay keys. The id is
-- one of webhook_event or, once that is purged, of webhook_past.
CREATE TABLE webhook_known (
    key   BLOB PRIMARY KEY,
    event INTEGER NOT NULL
) WITHOUT ROWID;

-- An event on its way to a destination; ids follow the order of the commits.
CREATE TABLE webhook_delivery (
    id          INTEGER PRIMARY KEY,
    event       INTEGER NOT NULL,
    queue       INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    lane        INTEGER NOT NULL,
    state       TEXT    NOT NULL, -- queued, processing, processed, dead, discarded
    token       INTEGER NOT NULL, -- grows with every claim
    born        INTEGER NOT NULL, -- 1: its first token was given by the add
    order_key   BLOB,             -- NULL: no order
    chain       INTEGER,          -- set while it takes part in its ordering key
    due         INTEGER NOT NULL,
    ready       INTEGER,          -- a claim may take it then; NULL: finished, or behind its chain's head
    leased      INTEGER,          -- start and …
    until       INTEGER,          -- … end of the lease, while processing
    spent       INTEGER NOT NULL DEFAULT 0,
    deferred    INTEGER NOT NULL DEFAULT 0,
    lost        INTEGER NOT NULL DEFAULT 0,
    finished    INTEGER,
    reason      BLOB,
    started     INTEGER,          -- the attempt that succeeded: start, …
    took        INTEGER,          -- … duration in nanoseconds and …
    success     TEXT              -- … what else there is, as JSON
);

-- What a claim walks.
CREATE INDEX webhook_delivery_ready ON webhook_delivery (lane, ready) WHERE ready IS NOT NULL;

-- The members of an ordering key in their order.
CREATE INDEX webhook_delivery_chain ON webhook_delivery (chain, id) WHERE chain IS NOT NULL;

-- For people: the oldest that waits, and the dead letters. An event that is leased
-- in the commit that adds it, and succeeds, is never in either.
CREATE INDEX webhook_delivery_queued ON webhook_delivery (destination, id) WHERE state = 'queued';
CREATE INDEX webhook_delivery_dead ON webhook_delivery (queue, id) WHERE state = 'dead';

-- An ordering key in use: it goes with its last member.
CREATE TABLE webhook_chain (
    id          INTEGER PRIMARY KEY,
    destination INTEGER NOT NULL,
    key         BLOB    NOT NULL,
    head        INTEGER NOT NULL, -- the only delivery that may be claimed
    blocked     INTEGER,          -- since when its head is dead
    UNIQUE (destination, key)
);

CREATE INDEX webhook_chain_blocked ON webhook_chain (destination, blocked) WHERE blocked IS NOT NULL;

-- Holds of a destination, or (key not empty) of one of its ordering keys.
CREATE TABLE webhook_hold (
    destination INTEGER NOT NULL,
    key         BLOB    NOT NULL,
    kind        TEXT    NOT NULL,
    until       INTEGER NOT NULL, -- 9223372036854775807: until released
    reason      BLOB    NOT NULL,
    PRIMARY KEY (destination, key, kind)
) WITHOUT ROWID;

-- Attempts at which something went wrong. The one that succeeded is in the
-- delivery's own row, and comes here only when the delivery is queued again.
CREATE TABLE webhook_attempt (
    delivery   INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    outcome    TEXT    NOT NULL,
    start      INTEGER,
    duration   INTEGER NOT NULL, -- this and the phases are nanoseconds
    dns        INTEGER NOT NULL,
    connect    INTEGER NOT NULL,
    tls        INTEGER NOT NULL,
    first_byte INTEGER NOT NULL,
    class      TEXT    NOT NULL,
    error      BLOB    NOT NULL,
    status     INTEGER NOT NULL,
    address    BLOB    NOT NULL,
    trace      BLOB    NOT NULL,
    response   BLOB,
    PRIMARY KEY (delivery, token)
) WITHOUT ROWID;

-- For people at a prompt.
CREATE VIEW webhook_deliveries AS
SELECT d.id,
       CAST(q.name AS TEXT)                                AS queue,
       CAST(t.name AS TEXT)                                AS destination,
       CAST(e.source AS TEXT)                              AS source,
       CAST(e.event AS TEXT)                               AS event,
       CAST(e.type AS TEXT)                                AS type,
       CAST(e.tenant AS TEXT)                              AS tenant,
       d.state,
       d.token,
       datetime(e.received / 1000000, 'unixepoch')         AS received,
       datetime(d.due / 1000000, 'unixepoch')              AS due,
       datetime(d.finished / 1000000, 'unixepoch')         AS finished,
       CAST(d.reason AS TEXT)                              AS reason
FROM webhook_delivery d
JOIN webhook_destination t ON t.id = d.destination
JOIN webhook_queue q ON q.id = d.queue
JOIN webhook_event e ON e.id = d.event;
