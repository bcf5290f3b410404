-- The nonce of the claim that leased it last: where the claimer never had its answer,
-- no attempt was lost. Code that does not know it writes none, and counts as lost what
-- was not.
ALTER TABLE webhook_delivery ADD COLUMN claim BLOB;
