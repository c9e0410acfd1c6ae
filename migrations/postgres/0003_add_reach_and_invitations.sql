-- How far a role reaches: the name of the one organisation that exists for its holder, or NULL for the whole installation.
ALTER TABLE users ADD COLUMN bound_to TEXT;
ALTER TABLE sessions ADD COLUMN bound_to TEXT;
ALTER TABLE login_links ADD COLUMN bound_to TEXT;
ALTER TABLE api_tokens ADD COLUMN bound_to TEXT;

-- The person a link signs in: what they may do is looked up when it is used.
ALTER TABLE login_links ADD COLUMN user_id TEXT;

-- When somebody last signed in is read from the events.
CREATE INDEX control_events_subject ON control_events (subject, action);
