-- What Keys needs: a key is reserved, or known.
CREATE TABLE IF NOT EXISTS dedup_key (
    digest BLOB    PRIMARY KEY,
    owner  BLOB    NOT NULL,
    known  BOOLEAN NOT NULL, -- else it is reserved
    until  BIGINT  NOT NULL  -- end of the window or the lease, in microseconds
);

-- What has ended.
CREATE INDEX IF NOT EXISTS dedup_key_until ON dedup_key (until);
