-- The keys of the newest events are not in webhook_known: programs look for them in
-- webhook_event, and keep them in memory. This is the last event whose keys are.
ALTER TABLE webhook_file ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;

UPDATE webhook_file SET indexed = event - 1;
