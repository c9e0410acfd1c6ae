-- Who there is: organisations (the tenant of a row in the log), their teams and projects, people, and the groups that an
-- identity provider keeps. Lists and maps are JSON texts; truths are 0 or 1.

CREATE TABLE organisations (
    name TEXT PRIMARY KEY,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE teams (
    organisation TEXT NOT NULL REFERENCES organisations (name),
    name TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (organisation, name)
);

CREATE TABLE projects (
    organisation TEXT NOT NULL REFERENCES organisations (name),
    name TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (organisation, name)
);

-- `user_key` is the user name in lower case: two that differ in case alone are one person (RFC 7643, section 4.1.1).
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL REFERENCES organisations (name),
    user_name TEXT NOT NULL,
    user_key TEXT NOT NULL,
    external_id TEXT,
    display_name TEXT NOT NULL,
    emails TEXT NOT NULL,
    role TEXT,
    active BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    UNIQUE (organisation, user_key)
);

CREATE TABLE memberships (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    organisation TEXT NOT NULL,
    team TEXT NOT NULL,
    PRIMARY KEY (user_id, organisation, team),
    FOREIGN KEY (organisation, team) REFERENCES teams (organisation, name)
);

CREATE TABLE user_groups (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL REFERENCES organisations (name),
    display_name TEXT NOT NULL,
    external_id TEXT,
    created_at_us BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    UNIQUE (organisation, display_name)
);

CREATE TABLE group_members (
    group_id TEXT NOT NULL REFERENCES user_groups (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);

-- What a key is for, and the secret it had before it was rotated.
ALTER TABLE api_keys ADD COLUMN user_name TEXT;
ALTER TABLE api_keys ADD COLUMN user_key TEXT;
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_keys ADD COLUMN models TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_keys ADD COLUMN sources TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_keys ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
ALTER TABLE api_keys ADD COLUMN previous_hash TEXT;
ALTER TABLE api_keys ADD COLUMN previous_until_us BIGINT;
CREATE UNIQUE INDEX api_keys_previous_hash ON api_keys (previous_hash);

-- Whose session it is, and the teams that it, or a token, may see.
ALTER TABLE sessions ADD COLUMN user_id TEXT;
ALTER TABLE sessions ADD COLUMN teams TEXT NOT NULL DEFAULT '[]';
ALTER TABLE login_links ADD COLUMN teams TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_tokens ADD COLUMN teams TEXT NOT NULL DEFAULT '[]';

-- Keys came before the directory: what they name exists.
INSERT INTO organisations (name, created_at_us) SELECT tenant, MIN(created_at_us) FROM api_keys GROUP BY tenant;
INSERT INTO teams (organisation, name, created_at_us)
    SELECT tenant, team, MIN(created_at_us) FROM api_keys GROUP BY tenant, team;
INSERT INTO projects (organisation, name, created_at_us)
    SELECT tenant, project, MIN(created_at_us) FROM api_keys WHERE project IS NOT NULL GROUP BY tenant, project;
