-- Times are microseconds since 1970 (UTC); hashes are SHA-256, 64 hexadecimal digits. No table holds a secret.

CREATE TABLE control (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    revision BIGINT NOT NULL
);
INSERT INTO control (only_row, revision) VALUES (1, 1);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    display TEXT NOT NULL,
    name TEXT NOT NULL,
    tenant TEXT NOT NULL,
    project TEXT,
    team TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT,
    revoked_at_us BIGINT
);

-- The bundle with the highest revision is the active one.
CREATE TABLE policy_revisions (
    revision BIGINT PRIMARY KEY,
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    yaml TEXT NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at_us BIGINT NOT NULL
);
CREATE INDEX policy_revisions_hash ON policy_revisions (hash);

CREATE TABLE login_links (
    hash TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    expires_at_us BIGINT NOT NULL,
    redeemed_at_us BIGINT
);

CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    csrf TEXT NOT NULL,
    role TEXT NOT NULL,
    expires_at_us BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    display TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    revoked_at_us BIGINT
);

-- Every change, by the control revision it led to.
CREATE TABLE control_events (
    revision BIGINT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    author TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
