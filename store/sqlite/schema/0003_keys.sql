-- The keys of Deduplicate: one that is reserved, or known once it is confirmed. A row
-- whose time is over is as none, and is deleted by those that come.
CREATE TABLE webhook_key (
    key   BLOB    PRIMARY KEY, -- 32 bytes
    owner BLOB    NOT NULL,    -- 16 bytes
    known INTEGER NOT NULL,    -- 1: confirmed
    until INTEGER NOT NULL     -- end of the lease, or of the window
) WITHOUT ROWID;

-- What has ended. New rows come at its end, or where those of a minute ago are.
CREATE INDEX webhook_key_until ON webhook_key (until);
