-- the keys of Deduplicate: a reserved one is being handled, or its process died
SELECT CASE known WHEN 1 THEN 'known' ELSE 'reserved' END AS state, count(*) AS keys,
       datetime(min(until) / 1000000, 'unixepoch') AS first_ends, datetime(max(until) / 1000000, 'unixepoch') AS last_ends
FROM webhook_key WHERE until > unixepoch() * 1000000
GROUP BY known;

-- let what succeeded between two times be handled again; 604800 is the window in seconds
DELETE FROM webhook_key
WHERE known = 1 AND until / 1000000 - 604800 BETWEEN unixepoch('2026-11-24 08:00:00') AND unixepoch('2026-11-24 08:04:59');

-- back up
VACUUM INTO 'backup.db';

-- skip ids after a restore
UPDATE webhook_file SET delivery = delivery + 10000000;

-- write the file anew
VACUUM;
PRAGMA wal_checkpoint(TRUNCATE);

-- space
SELECT round(page_count * page_size / 1048576.0, 2) AS mib, round(freelist_count * page_size / 1048576.0, 2) AS free_mib
FROM pragma_page_count, pragma_page_size, pragma_freelist_count;

-- what waits, for each handler: counters, at no cost
SELECT CAST(q.name AS TEXT) AS queue, CAST(d.name AS TEXT) AS handler, d.queued, d.processing, d.dead, d.blocked,
       datetime(d.failing / 1000000, 'unixepoch') AS failing_since
FROM webhook_destination d JOIN webhook_queue q ON q.id = d.queue
ORDER BY 1, 2;

-- why letters are dead
SELECT destination, reason, count(*) AS letters, min(finished) AS first, max(finished) AS last
FROM webhook_deliveries WHERE state = 'dead'
GROUP BY destination, reason ORDER BY letters DESC LIMIT 20;

-- what became of an event; delivery_id is the id that the log and Queue.Get know
SELECT (SELECT id FROM webhook_file) || '-' || id AS delivery_id, destination, state, token AS attempts, received, due, finished, reason
FROM webhook_deliveries WHERE event = 'evt_1';

-- the body of an event
SELECT CAST(body AS TEXT) FROM webhook_event WHERE event = CAST('evt_1' AS BLOB);

-- the attempts of a delivery at which something went wrong
SELECT a.token AS attempt, datetime(a.start / 1000000, 'unixepoch') AS start, a.duration / 1000000 AS ms, a.outcome, a.class, CAST(a.error AS TEXT) AS error
FROM webhook_attempt a JOIN webhook_deliveries d ON d.id = a.delivery
WHERE d.event = 'evt_1' ORDER BY d.id, a.token;

-- blocked keys, each with its dead head and how many wait behind it
SELECT CAST(t.name AS TEXT) AS handler, CAST(c.key AS TEXT) AS key, datetime(c.blocked / 1000000, 'unixepoch') AS since,
       (SELECT id FROM webhook_file) || '-' || c.head AS delivery_id,
       (SELECT count(*) FROM webhook_delivery w WHERE w.chain = c.id AND w.state = 'queued') AS behind
FROM webhook_chain c JOIN webhook_destination t ON t.id = c.destination
WHERE c.blocked IS NOT NULL ORDER BY c.blocked;

-- what is held, and by whom
SELECT CAST(t.name AS TEXT) AS handler, CAST(h.key AS TEXT) AS key, h.kind, CAST(h.reason AS TEXT) AS reason,
       CASE WHEN h.until < 9223372036854775807 THEN datetime(h.until / 1000000, 'unixepoch') END AS until
FROM webhook_hold h JOIN webhook_destination t ON t.id = h.destination
ORDER BY 1, 2;

-- what failed in the last day, and how
SELECT CAST(t.name AS TEXT) AS handler, a.outcome, a.class, count(*) AS attempts
FROM webhook_attempt a JOIN webhook_delivery d ON d.id = a.delivery JOIN webhook_destination t ON t.id = d.destination
WHERE a.outcome <> 'processed' AND a.start > (unixepoch() - 86400) * 1000000
GROUP BY 1, 2, 3 ORDER BY attempts DESC;

-- what came in the last day, by the hour
SELECT strftime('%Y-%m-%d %H:00', received / 1000000, 'unixepoch') AS hour, CAST(source AS TEXT) AS source, CAST(type AS TEXT) AS type, count(*) AS events
FROM webhook_event WHERE received > (unixepoch() - 86400) * 1000000
GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC;
