//! The trait in SQL, once for both databases: a macro, because a generic implementation over sqlx's traits needs a page
//! of bounds to say the same. The statements are those both databases understand.

pub(crate) mod directory;

/// Implements [`crate::Metastore`] for a struct with the fields `pool`, `clock` and `changes`. `change` begins a
/// transaction that writes, `snapshot` one whose reads all see the same moment.
macro_rules! implement_metastore {
    ($store:ident, $database:ty, change: $begin:literal, snapshot: $snapshot:literal) => {
        use async_trait::async_trait;
        use sqlx::{Row, Transaction};
        use tollgate_policy::bundle::DEFAULT_YAML;
        use tollgate_policy::control::{ControlDocument, KeyRecord, PreviousSecret};
        use tollgate_policy::key::KeyLimits;

        use $crate::bundle::{self, BundleRevision};
        use $crate::directory::TeamName;
        use $crate::error::MetastoreError as Error;
        use $crate::key::{CreatedKey, KeyListing, NewKey, RotatedKey, acceptable};
        use $crate::reach::{Grant, Reach};
        use $crate::role::Role;
        use $crate::secret::{self, Purpose};
        use $crate::session::{ApiTokenListing, INVITATION_US, LOGIN_LINK_US, SESSION_US, Session, TokenHolder};
        use $crate::sql::{failed, read_json, revision_of, role_of, to_json};
        use $crate::store::{ControlEvent, HOLD_PLACED, HOLD_RELEASED, LegalHold, Metastore};
        use $crate::transfer::{CopiedTable, Dump};

        /// A change in the making: the revision it will have, and the transaction it happens in.
        struct Change {
            transaction: Transaction<'static, $database>,
            revision: u64,
            at_us: i64,
            action: &'static str,
        }

        impl Change {
            async fn take_revision(&mut self) -> Result<(), Error> {
                const NEXT: &str = "UPDATE control SET revision = revision + 1 RETURNING revision";
                let revision = sqlx::query_scalar(NEXT).fetch_one(&mut *self.transaction).await;
                self.revision = revision_of(revision.map_err(failed(self.action))?);
                Ok(())
            }

            async fn record(
                &mut self,
                author: &str,
                event: &'static str,
                subject: &str,
                detail: &str,
            ) -> Result<(), Error> {
                const INSERT: &str = "INSERT INTO control_events (revision, at_us, author, action, subject, detail) \
                                      VALUES ($1, $2, $3, $4, $5, $6)";
                let insert = sqlx::query(INSERT)
                    .bind(self.revision as i64)
                    .bind(self.at_us)
                    .bind(author)
                    .bind(event)
                    .bind(subject)
                    .bind(detail)
                    .execute(&mut *self.transaction);
                insert.await.map(|_| ()).map_err(failed(self.action))
            }

            /// Records the event of a part of the change, which gets a revision of its own.
            async fn also(
                &mut self,
                author: &str,
                event: &'static str,
                subject: &str,
                detail: &str,
            ) -> Result<(), Error> {
                self.record(author, event, subject, detail).await?;
                self.take_revision().await
            }

            /// Opens a session, and forgets those that have ended.
            async fn open_session(&mut self, session: &Session) -> Result<(), Error> {
                const INSERT: &str = "INSERT INTO sessions (hash, csrf, role, expires_at_us, teams, user_id, bound_to) \
                                      VALUES ($1, $2, $3, $4, $5, $6, $7)";
                let failed = failed(self.action);
                let insert = sqlx::query(INSERT)
                    .bind(secret::hash(&session.id))
                    .bind(&session.csrf)
                    .bind(session.role.as_str())
                    .bind(session.expires_at_us)
                    .bind(to_json(&session.teams)?)
                    .bind(&session.user_id)
                    .bind(session.reach.organisation());
                insert.execute(&mut *self.transaction).await.map_err(failed)?;
                let delete = sqlx::query("DELETE FROM sessions WHERE expires_at_us <= $1").bind(self.at_us);
                delete.execute(&mut *self.transaction).await.map(|_| ()).map_err(failed)
            }

            /// Makes sure that what a key, or a person, is said to belong to exists.
            async fn ensure(
                &mut self,
                organisation: &str,
                team: Option<&str>,
                project: Option<&str>,
                author: &str,
            ) -> Result<(), Error> {
                const ORGANISATION: &str =
                    "INSERT INTO organisations (name, created_at_us) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                const TEAM: &str =
                    "INSERT INTO teams (organisation, name, created_at_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
                const PROJECT: &str =
                    "INSERT INTO projects (organisation, name, created_at_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
                let insert = sqlx::query(ORGANISATION).bind(organisation).bind(self.at_us);
                let made = insert.execute(&mut *self.transaction).await.map_err(failed(self.action))?;
                if made.rows_affected() == 1 {
                    self.also(author, "organisation.created", organisation, "").await?;
                }
                let units = [(TEAM, "team.created", team), (PROJECT, "project.created", project)];
                for (statement, event, name) in units {
                    let Some(name) = name else { continue };
                    let insert = sqlx::query(statement).bind(organisation).bind(name).bind(self.at_us);
                    let made = insert.execute(&mut *self.transaction).await.map_err(failed(self.action))?;
                    if made.rows_affected() == 1 {
                        self.also(author, event, &format!("{organisation}/{name}"), "").await?;
                    }
                }
                Ok(())
            }
        }

        impl $store {
            /// Begins a change and takes the next revision, which also makes other changes wait.
            async fn change(&self, action: &'static str) -> Result<Change, Error> {
                let transaction = self.pool.begin_with($begin).await.map_err(failed(action))?;
                let mut change = Change { transaction, revision: 0, at_us: (self.clock)(), action };
                change.take_revision().await?;
                Ok(change)
            }

            /// Records the event of a change and commits both.
            async fn commit(
                &self,
                mut change: Change,
                author: &str,
                event: &'static str,
                subject: &str,
                detail: &str,
            ) -> Result<(), Error> {
                change.record(author, event, subject, detail).await?;
                change.transaction.commit().await.map_err(failed(change.action))?;
                self.noticed(change.revision);
                Ok(())
            }

            fn noticed(&self, revision: u64) {
                self.changes.send_if_modified(|known| {
                    let newer = revision > *known;
                    *known = (*known).max(revision);
                    newer
                });
            }

            /// The active bundle's row; `None` until one was put.
            async fn active_bundle(
                &self,
                transaction: &mut Transaction<'static, $database>,
            ) -> Result<Option<BundleRevision>, sqlx::Error> {
                let row = sqlx::query(SELECT_BUNDLES).bind(bundle::ROLLED_BACK).bind(1_i64).try_map(bundle_row);
                row.fetch_optional(&mut **transaction).await
            }

            /// Puts a bundle in force, for its own sake or because an earlier revision is brought back.
            async fn place_bundle(
                &self,
                yaml: &str,
                author: &str,
                reason: &str,
                restores: Option<u64>,
            ) -> Result<BundleRevision, Error> {
                const INSERT: &str = "INSERT INTO policy_revisions (revision, hash, name, yaml, author, reason, \
                                      created_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7)";
                let checked = bundle::check(yaml)?;
                let mut change = self.change("put a policy bundle").await?;
                let active = self.active_bundle(&mut change.transaction).await.map_err(failed(change.action))?;
                if let Some(active) = active.filter(|active| active.hash == checked.hash) {
                    return Ok(active);
                }
                let put = BundleRevision {
                    revision: change.revision,
                    hash: checked.hash,
                    name: checked.name,
                    version: checked.version,
                    author: author.to_owned(),
                    reason: reason.to_owned(),
                    created_at_us: change.at_us,
                    restores,
                };
                sqlx::query(INSERT)
                    .bind(put.revision as i64)
                    .bind(&put.hash)
                    .bind(&put.name)
                    .bind(yaml)
                    .bind(author)
                    .bind(reason)
                    .bind(put.created_at_us)
                    .execute(&mut *change.transaction)
                    .await
                    .map_err(failed(change.action))?;
                let (event, detail) = match restores {
                    None => (bundle::ACTIVATED, reason.to_owned()),
                    Some(revision) => (bundle::ROLLED_BACK, bundle::restoring(revision, reason)),
                };
                self.commit(change, author, event, &put.hash, &detail).await?;
                Ok(put)
            }
        }

        /// The holds that last: those placed and not released, by the events.
        async fn holds_in(transaction: &mut Transaction<'static, $database>) -> Result<Vec<LegalHold>, sqlx::Error> {
            const SELECT: &str = "SELECT revision, at_us, author, action, subject, detail FROM control_events \
                                  WHERE action IN ($1, $2) ORDER BY revision";
            let events = sqlx::query(SELECT).bind(HOLD_PLACED).bind(HOLD_RELEASED).try_map(event_row);
            let mut holds: Vec<LegalHold> = Vec::new();
            for ControlEvent { at_us, author, action, subject, detail, .. } in events.fetch_all(&mut **transaction).await? {
                if action == HOLD_PLACED {
                    holds.push(LegalHold { matter: subject, scope: detail, author, placed_at_us: at_us });
                } else {
                    holds.retain(|hold| hold.matter != subject);
                }
            }
            Ok(holds)
        }

        type DatabaseRow = <$database as sqlx::Database>::Row;

        /// Newest first; `$1` is the event of a bundle that was brought back, `$2` how many at most.
        const SELECT_BUNDLES: &str = "SELECT p.revision, p.hash, p.name, p.yaml, p.author, p.reason, p.created_at_us, e.detail \
                                      FROM policy_revisions p \
                                      LEFT JOIN control_events e ON e.revision = p.revision AND e.action = $1 \
                                      ORDER BY p.revision DESC LIMIT $2";

        fn bundle_row(row: DatabaseRow) -> Result<BundleRevision, sqlx::Error> {
            let (yaml, detail): (String, Option<String>) = (row.try_get("yaml")?, row.try_get("detail")?);
            Ok(BundleRevision {
                version: tollgate_policy::bundle::version_of(&yaml),
                restores: detail.as_deref().and_then(bundle::restored),
                revision: revision_of(row.try_get("revision")?),
                hash: row.try_get("hash")?,
                name: row.try_get("name")?,
                author: row.try_get("author")?,
                reason: row.try_get("reason")?,
                created_at_us: row.try_get("created_at_us")?,
            })
        }

        fn key_listing(row: DatabaseRow) -> Result<KeyListing, sqlx::Error> {
            let revoked_at_us: Option<i64> = row.try_get("revoked_at_us")?;
            let active: Option<i64> = row.try_get("active")?;
            Ok(KeyListing {
                user: row.try_get("user_name")?,
                user_inactive: active == Some(0),
                previous_until_us: row.try_get("previous_until_us")?,
                limits: KeyLimits {
                    scopes: read_json(&row.try_get::<String, _>("scopes")?)?,
                    models: read_json(&row.try_get::<String, _>("models")?)?,
                    sources: read_json(&row.try_get::<String, _>("sources")?)?,
                },
                tags: read_json(&row.try_get::<String, _>("tags")?)?,
                id: row.try_get("id")?,
                display: row.try_get("display")?,
                name: row.try_get("name")?,
                tenant: row.try_get("tenant")?,
                project: row.try_get("project")?,
                team: row.try_get("team")?,
                enabled: revoked_at_us.is_none(),
                created_at_us: row.try_get("created_at_us")?,
                expires_at_us: row.try_get("expires_at_us")?,
                revoked_at_us,
            })
        }

        fn key_record(row: DatabaseRow) -> Result<KeyRecord, sqlx::Error> {
            let hash = row.try_get("hash")?;
            let previous_hash: Option<String> = row.try_get("previous_hash")?;
            let role = row.try_get("user_role")?;
            let key = key_listing(row)?;
            let previous = previous_hash.zip(key.previous_until_us);
            Ok(KeyRecord {
                id: key.id,
                hash,
                name: key.name,
                tenant: key.tenant,
                project: key.project,
                team: key.team,
                enabled: key.enabled && !key.user_inactive,
                expires_at_us: key.expires_at_us,
                user: key.user,
                role,
                tags: key.tags,
                limits: key.limits,
                previous: previous.map(|(hash, until_us)| PreviousSecret { hash, until_us }),
            })
        }

        fn event_row(row: DatabaseRow) -> Result<ControlEvent, sqlx::Error> {
            Ok(ControlEvent {
                revision: revision_of(row.try_get("revision")?),
                at_us: row.try_get("at_us")?,
                author: row.try_get("author")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
                detail: row.try_get("detail")?,
            })
        }

        fn token_row(row: DatabaseRow) -> Result<(String, ApiTokenListing), sqlx::Error> {
            let listing = ApiTokenListing {
                id: row.try_get("id")?,
                display: row.try_get("display")?,
                name: row.try_get("name")?,
                role: Role::Viewer,
                teams: read_json(&row.try_get::<String, _>("teams")?)?,
                reach: Reach::of_column(row.try_get("bound_to")?),
                created_at_us: row.try_get("created_at_us")?,
                revoked_at_us: row.try_get("revoked_at_us")?,
            };
            Ok((row.try_get("role")?, listing))
        }

        #[async_trait]
        impl Metastore for $store {
            async fn revision(&self) -> Result<u64, Error> {
                let revision: i64 = sqlx::query_scalar("SELECT revision FROM control")
                    .fetch_one(&self.pool)
                    .await
                    .map_err(failed("read the control revision"))?;
                self.noticed(revision_of(revision));
                Ok(revision_of(revision))
            }

            fn changes(&self) -> watch::Receiver<u64> {
                self.changes.subscribe()
            }

            async fn control_document(&self) -> Result<ControlDocument, Error> {
                const KEYS: &str = concat!("SELECT k.hash, k.previous_hash, ", $crate::sql::key_columns!());
                const BUNDLE: &str = "SELECT yaml FROM policy_revisions ORDER BY revision DESC LIMIT 1";
                let failed = failed("read the control document");
                let mut snapshot = self.pool.begin_with($snapshot).await.map_err(failed)?;
                let revision = sqlx::query_scalar("SELECT revision FROM control").fetch_one(&mut *snapshot);
                let revision = revision_of(revision.await.map_err(failed)?);
                let keys = sqlx::query(KEYS).try_map(key_record).fetch_all(&mut *snapshot).await.map_err(failed)?;
                let yaml = sqlx::query_scalar(BUNDLE).fetch_optional(&mut *snapshot).await.map_err(failed)?;
                snapshot.commit().await.map_err(failed)?;
                self.noticed(revision);
                let bundle_yaml = yaml.unwrap_or_else(|| DEFAULT_YAML.to_owned());
                Ok(ControlDocument { revision, keys, bundle_yaml, issued_at_us: (self.clock)() })
            }

            async fn control_events(&self, limit: u32) -> Result<Vec<ControlEvent>, Error> {
                const SELECT: &str = "SELECT revision, at_us, author, action, subject, detail FROM control_events \
                                      ORDER BY revision DESC LIMIT $1";
                let rows = sqlx::query(SELECT).bind(i64::from(limit)).try_map(event_row).fetch_all(&self.pool);
                rows.await.map_err(failed("list the control events"))
            }

            async fn place_hold(&self, matter: &str, scope: &str, author: &str) -> Result<(), Error> {
                acceptable("matter of a legal hold", matter)?;
                let mut change = self.change("place a legal hold").await?;
                let holds = holds_in(&mut change.transaction).await.map_err(failed(change.action))?;
                if holds.iter().any(|hold| hold.matter == matter) {
                    return Err(Error::HoldExists { matter: matter.to_owned() });
                }
                self.commit(change, author, HOLD_PLACED, matter, scope).await
            }

            async fn release_hold(&self, matter: &str, author: &str) -> Result<(), Error> {
                let mut change = self.change("release a legal hold").await?;
                let holds = holds_in(&mut change.transaction).await.map_err(failed(change.action))?;
                if !holds.iter().any(|hold| hold.matter == matter) {
                    return Err(Error::UnknownHold { matter: matter.to_owned() });
                }
                self.commit(change, author, HOLD_RELEASED, matter, "").await
            }

            async fn list_holds(&self) -> Result<Vec<LegalHold>, Error> {
                const ACTION: &str = "list the legal holds";
                let mut transaction = self.pool.begin().await.map_err(failed(ACTION))?;
                holds_in(&mut transaction).await.map_err(failed(ACTION))
            }

            async fn record_change(
                &self,
                action: &'static str,
                subject: &str,
                detail: &str,
                author: &str,
            ) -> Result<(), Error> {
                let change = self.change("record a change").await?;
                self.commit(change, author, action, subject, detail).await
            }

            async fn create_key_by(&self, key: NewKey, author: &str) -> Result<CreatedKey, Error> {
                const INSERT: &str = "INSERT INTO api_keys (id, hash, display, name, tenant, project, team, created_at_us, \
                                      expires_at_us, user_name, user_key, scopes, models, sources, tags) \
                                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
                key.check()?;
                let created = CreatedKey { id: secret::new_id("key-")?, secret: secret::new_secret(Purpose::Key)? };
                let mut change = self.change("create a key").await?;
                change.ensure(&key.tenant, Some(&key.team), key.project.as_deref(), author).await?;
                if let Some(name) = &key.user {
                    change.person_must_be_known(&key.tenant, name).await?;
                }
                sqlx::query(INSERT)
                    .bind(&created.id)
                    .bind(secret::hash(&created.secret))
                    .bind(secret::display(&created.secret))
                    .bind(&key.name)
                    .bind(&key.tenant)
                    .bind(&key.project)
                    .bind(&key.team)
                    .bind(change.at_us)
                    .bind(key.expires_at_us)
                    .bind(&key.user)
                    .bind(key.user.as_deref().map(str::to_lowercase))
                    .bind(to_json(&key.limits.scopes)?)
                    .bind(to_json(&key.limits.models)?)
                    .bind(to_json(&key.limits.sources)?)
                    .bind(to_json(&key.tags)?)
                    .execute(&mut *change.transaction)
                    .await
                    .map_err(failed(change.action))?;
                let detail = format!("key `{}` for team `{}` of `{}`", key.name, key.team, key.tenant);
                self.commit(change, author, "key.created", &created.id, &detail).await?;
                Ok(created)
            }

            async fn rotate_key(&self, key: &str, grace_us: i64, author: &str) -> Result<RotatedKey, Error> {
                const FIND: &str = "SELECT id FROM api_keys WHERE (id = $1 OR name = $1) AND revoked_at_us IS NULL \
                                    ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END, id LIMIT 2";
                const UPDATE: &str = "UPDATE api_keys SET previous_hash = hash, previous_until_us = $1, hash = $2, \
                                      display = $3 WHERE id = $4";
                let secret = secret::new_secret(Purpose::Key)?;
                let mut change = self.change("rotate a key").await?;
                let failed = failed(change.action);
                let found = sqlx::query_scalar(FIND).bind(key).fetch_all(&mut *change.transaction);
                let found: Vec<String> = found.await.map_err(failed)?;
                let id = match found.as_slice() {
                    [first, ..] if first == key => first.clone(),
                    [only] => only.clone(),
                    [] => return Err(Error::UnknownKey { id: key.to_owned() }),
                    _ => return Err(Error::AmbiguousKey { name: key.to_owned() }),
                };
                let previous_until_us = change.at_us.saturating_add(grace_us.max(0));
                let update = sqlx::query(UPDATE)
                    .bind(previous_until_us)
                    .bind(secret::hash(&secret))
                    .bind(secret::display(&secret))
                    .bind(&id);
                update.execute(&mut *change.transaction).await.map_err(failed)?;
                let detail = format!("the secret before works until {previous_until_us} µs since 1970");
                self.commit(change, author, "key.rotated", &id, &detail).await?;
                Ok(RotatedKey { id, secret, previous_until_us })
            }

            async fn list_keys(&self) -> Result<Vec<KeyListing>, Error> {
                const SELECT: &str = concat!("SELECT ", $crate::sql::key_columns!());
                let rows = sqlx::query(SELECT).try_map(key_listing).fetch_all(&self.pool);
                rows.await.map_err(failed("list the keys"))
            }

            async fn revoke_key_by(&self, id: &str, author: &str) -> Result<(), Error> {
                const UPDATE: &str = "UPDATE api_keys SET revoked_at_us = $1 WHERE id = $2 AND revoked_at_us IS NULL";
                let mut change = self.change("revoke a key").await?;
                let update = sqlx::query(UPDATE).bind(change.at_us).bind(id).execute(&mut *change.transaction);
                if update.await.map_err(failed(change.action))?.rows_affected() == 1 {
                    return self.commit(change, author, "key.revoked", id, "").await;
                }
                let known = sqlx::query("SELECT id FROM api_keys WHERE id = $1").bind(id);
                let known = known.fetch_optional(&mut *change.transaction).await.map_err(failed(change.action))?;
                known.map(|_| ()).ok_or_else(|| Error::UnknownKey { id: id.to_owned() })
            }

            async fn set_key_expiry(&self, id: &str, expires_at_us: Option<i64>, author: &str) -> Result<(), Error> {
                const UPDATE: &str = "UPDATE api_keys SET expires_at_us = $1 WHERE id = $2 AND revoked_at_us IS NULL";
                let mut change = self.change("change a key's expiry").await?;
                let update = sqlx::query(UPDATE).bind(expires_at_us).bind(id).execute(&mut *change.transaction);
                if update.await.map_err(failed(change.action))?.rows_affected() == 0 {
                    return Err(Error::UnknownKey { id: id.to_owned() });
                }
                let detail = expires_at_us.map_or("never".to_owned(), |time_us| format!("{time_us} µs since 1970"));
                self.commit(change, author, "key.expiry_set", id, &detail).await
            }

            async fn put_bundle(&self, yaml: &str, author: &str, reason: &str) -> Result<BundleRevision, Error> {
                self.place_bundle(yaml, author, reason, None).await
            }

            async fn put_bundle_back(
                &self,
                revision: u64,
                yaml: &str,
                author: &str,
                reason: &str,
            ) -> Result<BundleRevision, Error> {
                self.place_bundle(yaml, author, reason, Some(revision)).await
            }

            async fn list_bundles(&self) -> Result<Vec<BundleRevision>, Error> {
                let rows = sqlx::query(SELECT_BUNDLES).bind(bundle::ROLLED_BACK).bind(i64::MAX).try_map(bundle_row);
                rows.fetch_all(&self.pool).await.map_err(failed("list the policy bundles"))
            }

            async fn bundle_yaml(&self, hash: &str) -> Result<Option<String>, Error> {
                let select = sqlx::query_scalar("SELECT yaml FROM policy_revisions WHERE hash = $1 LIMIT 1").bind(hash);
                select.fetch_optional(&self.pool).await.map_err(failed("read a policy bundle"))
            }

            async fn create_login_link_for(&self, grant: &Grant, author: &str) -> Result<String, Error> {
                const INSERT: &str = "INSERT INTO login_links (hash, role, expires_at_us, teams, bound_to) \
                                      VALUES ($1, $2, $3, $4, $5)";
                let token = secret::new_secret(Purpose::Login)?;
                let mut change = self.change("create a login link").await?;
                sqlx::query(INSERT)
                    .bind(secret::hash(&token))
                    .bind(grant.role.as_str())
                    .bind(change.at_us.saturating_add(LOGIN_LINK_US))
                    .bind(to_json(&grant.teams)?)
                    .bind(grant.reach.organisation())
                    .execute(&mut *change.transaction)
                    .await
                    .map_err(failed(change.action))?;
                self.commit(change, author, "login.offered", grant.role.as_str(), "").await?;
                Ok(token)
            }

            async fn invite_user(&self, id: &str, author: &str) -> Result<String, Error> {
                const INSERT: &str = "INSERT INTO login_links (hash, role, expires_at_us, user_id) VALUES ($1, $2, $3, $4)";
                let token = secret::new_secret(Purpose::Login)?;
                let mut change = self.change("invite a user").await?;
                let failed = failed(change.action);
                let user = user_in(&mut change.transaction, "id = $1", &[id]).await?;
                let user = user.ok_or_else(|| Error::Unknown { what: "user", name: id.to_owned() })?;
                let role = user.role.ok_or_else(|| Error::NoRole { id: id.to_owned() })?;
                if !user.profile.active {
                    return Err(Error::SignInRefused { why: "this account is not active here" });
                }
                // The link before it works no longer.
                let delete = sqlx::query("DELETE FROM login_links WHERE user_id = $1").bind(id);
                delete.execute(&mut *change.transaction).await.map_err(failed)?;
                let insert = sqlx::query(INSERT)
                    .bind(secret::hash(&token))
                    .bind(role.as_str())
                    .bind(change.at_us.saturating_add(INVITATION_US))
                    .bind(id);
                insert.execute(&mut *change.transaction).await.map_err(failed)?;
                self.commit(change, author, "user.invited", id, role.as_str()).await?;
                Ok(token)
            }

            async fn redeem_login(&self, token: &str) -> Result<Session, Error> {
                const REDEEM: &str = "UPDATE login_links SET redeemed_at_us = $1 WHERE hash = $2 AND redeemed_at_us IS NULL \
                                      AND expires_at_us > $3 RETURNING role, teams, bound_to, user_id";
                let (id, csrf) = (secret::new_secret(Purpose::Session)?, secret::new_secret(Purpose::Csrf)?);
                let mut change = self.change("redeem a login link").await?;
                let (at_us, failed) = (change.at_us, failed(change.action));
                let redeem = sqlx::query_as(REDEEM).bind(at_us).bind(secret::hash(token)).bind(at_us);
                let found: Option<(String, String, Option<String>, Option<String>)> =
                    redeem.fetch_optional(&mut *change.transaction).await.map_err(failed)?;
                let Some((role, teams, bound_to, user_id)) = found else {
                    return Err(Error::LoginRefused);
                };
                let expires_at_us = at_us.saturating_add(SESSION_US);
                let session = match user_id {
                    None => {
                        let (role, teams) = (role_of(&role, "a login link")?, read_json(&teams).map_err(failed)?);
                        let reach = Reach::of_column(bound_to);
                        Session { id, csrf, role, teams, reach, user_id: None, expires_at_us }
                    }
                    // What they may do is what they may do now, not what they might have when they were invited.
                    Some(user_id) => {
                        let user = user_in(&mut change.transaction, "id = $1", &[&user_id]).await?;
                        let user = user.filter(|user| user.profile.active).ok_or(Error::LoginRefused)?;
                        let role = user.role.ok_or(Error::LoginRefused)?;
                        let (teams, reach, user_id) = (user.teams, user.reach, Some(user_id));
                        Session { id, csrf, role, teams, reach, user_id, expires_at_us }
                    }
                };
                change.open_session(&session).await?;
                let delete = sqlx::query("DELETE FROM login_links WHERE expires_at_us <= $1").bind(at_us);
                delete.execute(&mut *change.transaction).await.map_err(failed)?;
                let (author, role) = (session.author(), session.role.as_str());
                match &session.user_id {
                    Some(user_id) => self.commit(change, &author, "user.signed_in", user_id, role).await?,
                    None => self.commit(change, &author, "login.redeemed", role, "").await?,
                }
                Ok(session)
            }

            async fn session(&self, id: &str) -> Result<Option<Session>, Error> {
                // Whoever is deactivated or removed is signed out; this is the second lock on that door.
                const SELECT: &str = "SELECT s.csrf, s.role, s.expires_at_us, s.teams, s.user_id, s.bound_to \
                                      FROM sessions s LEFT JOIN users u ON u.id = s.user_id \
                                      WHERE s.hash = $1 AND s.expires_at_us > $2 \
                                      AND (s.user_id IS NULL OR u.active = 1)";
                let failed = failed("look a session up");
                let select = sqlx::query_as(SELECT).bind(secret::hash(id)).bind((self.clock)());
                let row: Option<(String, String, i64, String, Option<String>, Option<String>)> =
                    select.fetch_optional(&self.pool).await.map_err(failed)?;
                let Some((csrf, role, expires_at_us, teams, user_id, bound_to)) = row else {
                    return Ok(None);
                };
                let (role, teams) = (role_of(&role, "a session")?, read_json(&teams).map_err(failed)?);
                let reach = Reach::of_column(bound_to);
                Ok(Some(Session { id: id.to_owned(), csrf, role, teams, reach, user_id, expires_at_us }))
            }

            async fn delete_session(&self, id: &str) -> Result<(), Error> {
                let delete = sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(secret::hash(id));
                delete.execute(&self.pool).await.map(|_| ()).map_err(failed("end a session"))
            }

            async fn create_api_token_by(&self, grant: &Grant, name: &str, author: &str) -> Result<String, Error> {
                const INSERT: &str = "INSERT INTO api_tokens (id, hash, display, name, role, created_at_us, teams, bound_to) \
                                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
                if !name.is_empty() {
                    acceptable("name of an API token", name)?;
                }
                let (id, token) = (secret::new_id("tok-")?, secret::new_secret(Purpose::ApiToken)?);
                let mut change = self.change("create an API token").await?;
                sqlx::query(INSERT)
                    .bind(&id)
                    .bind(secret::hash(&token))
                    .bind(secret::display(&token))
                    .bind(name)
                    .bind(grant.role.as_str())
                    .bind(change.at_us)
                    .bind(to_json(&grant.teams)?)
                    .bind(grant.reach.organisation())
                    .execute(&mut *change.transaction)
                    .await
                    .map_err(failed(change.action))?;
                let reach = grant.reach.organisation().map(|name| format!(" of `{name}`")).unwrap_or_default();
                self.commit(change, author, "token.created", &id, &format!("{}{reach}", grant.role)).await?;
                Ok(token)
            }

            async fn api_token(&self, secret: &str) -> Result<Option<TokenHolder>, Error> {
                const SELECT: &str = "SELECT id, role, teams, bound_to FROM api_tokens \
                                      WHERE hash = $1 AND revoked_at_us IS NULL";
                let failed = failed("look an API token up");
                let select = sqlx::query_as(SELECT).bind(secret::hash(secret));
                let found: Option<(String, String, String, Option<String>)> =
                    select.fetch_optional(&self.pool).await.map_err(failed)?;
                let Some((id, role, teams, bound_to)) = found else {
                    return Ok(None);
                };
                let (role, teams) = (role_of(&role, "an API token")?, read_json(&teams).map_err(failed)?);
                Ok(Some(TokenHolder { id, grant: Grant { role, teams, reach: Reach::of_column(bound_to) } }))
            }

            async fn list_api_tokens(&self) -> Result<Vec<ApiTokenListing>, Error> {
                const SELECT: &str = "SELECT id, display, name, role, teams, created_at_us, revoked_at_us, bound_to \
                                      FROM api_tokens ORDER BY created_at_us, id";
                let rows = sqlx::query(SELECT).try_map(token_row).fetch_all(&self.pool);
                let rows = rows.await.map_err(failed("list the API tokens"))?;
                let mut tokens = Vec::with_capacity(rows.len());
                for (role, token) in rows {
                    tokens.push(ApiTokenListing { role: role_of(&role, &token.id)?, ..token });
                }
                Ok(tokens)
            }

            async fn revoke_api_token(&self, id: &str, author: &str) -> Result<(), Error> {
                const UPDATE: &str = "UPDATE api_tokens SET revoked_at_us = $1 WHERE id = $2 AND revoked_at_us IS NULL";
                let mut change = self.change("revoke an API token").await?;
                let update = sqlx::query(UPDATE).bind(change.at_us).bind(id).execute(&mut *change.transaction);
                if update.await.map_err(failed(change.action))?.rows_affected() == 1 {
                    return self.commit(change, author, "token.revoked", id, "").await;
                }
                let known = sqlx::query("SELECT id FROM api_tokens WHERE id = $1").bind(id);
                let known = known.fetch_optional(&mut *change.transaction).await.map_err(failed(change.action))?;
                known.map(|_| ()).ok_or_else(|| Error::UnknownToken { id: id.to_owned() })
            }

            async fn dump(&self) -> Result<Dump, Error> {
                let failed = failed("read every table");
                let mut snapshot = self.pool.begin_with($snapshot).await.map_err(failed)?;
                let dump = read_tables(&mut snapshot).await.map_err(failed)?;
                snapshot.commit().await.map_err(failed)?;
                Ok(dump)
            }

            async fn fill(&self, dump: &Dump) -> Result<Vec<CopiedTable>, Error> {
                let failed = failed("copy every table");
                let mut transaction = self.pool.begin_with($begin).await.map_err(failed)?;
                read_tables(&mut transaction).await.map_err(failed)?.must_be_empty(&self.shown)?;
                write_tables(&mut transaction, dump).await.map_err(failed)?;
                let copied = dump.compare(&read_tables(&mut transaction).await.map_err(failed)?)?;
                transaction.commit().await.map_err(failed)?;
                self.revision().await?;
                Ok(copied)
            }
        }
    };
}

/// Columns and order of [`crate::KeyListing`].
macro_rules! key_columns {
    () => {
        "k.id, k.display, k.name, k.tenant, k.project, k.team, k.created_at_us, k.expires_at_us, k.revoked_at_us, \
         k.user_name, k.scopes, k.models, k.sources, k.tags, k.previous_until_us, u.active, u.role AS user_role \
         FROM api_keys k \
         LEFT JOIN users u ON u.organisation = k.tenant AND u.user_key = k.user_key \
         ORDER BY k.created_at_us, k.id"
    };
}

pub(crate) use {implement_metastore, key_columns};

use crate::error::MetastoreError;
use crate::role::Role;

/// Says what was being done when a statement failed.
pub(crate) fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> MetastoreError + Copy {
    move |source| MetastoreError::Query { action, source }
}

/// Revisions start at 1 and grow by one: both databases keep them as signed numbers, and none is negative.
pub(crate) fn revision_of(stored: i64) -> u64 {
    stored.unsigned_abs()
}

pub(crate) fn role_of(text: &str, subject: &str) -> Result<Role, MetastoreError> {
    text.parse().map_err(|_| MetastoreError::Corrupt {
        what: "role",
        subject: subject.to_owned(),
        value: text.to_owned(),
    })
}

/// A list or a map as it is stored.
pub(crate) fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, MetastoreError> {
    serde_json::to_string(value).map_err(|error| failed("write a list")(sqlx::Error::Encode(Box::new(error))))
}

/// Reads what [`to_json`] wrote.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
mod tests;
