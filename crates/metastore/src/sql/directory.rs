//! The directory in SQL, once for both databases; see [`super::implement_metastore`], whose module this is expanded in.

/// Implements [`crate::Directory`].
macro_rules! implement_directory {
    ($store:ident, $database:ty) => {
        use $crate::directory::{
            Directory, Group, GroupFacts, Named, NewUser, Part, Profile, SignIn, Unit, User, UserChange, UserFilter,
            check_role,
        };

        const USER_COLUMNS: &str = "SELECT id, organisation, user_name, external_id, display_name, emails, role, active, \
                                    created_at_us, changed_at_us, bound_to FROM users";
        const GROUP_COLUMNS: &str = "SELECT id, organisation, display_name, external_id, created_at_us, changed_at_us \
                                     FROM user_groups";

        /// A user without teams and groups, and the role as it is stored.
        fn user_row(row: DatabaseRow) -> Result<(User, Option<String>), sqlx::Error> {
            let user = User {
                id: row.try_get("id")?,
                organisation: row.try_get("organisation")?,
                profile: Profile {
                    user_name: row.try_get("user_name")?,
                    external_id: row.try_get("external_id")?,
                    display_name: row.try_get("display_name")?,
                    emails: read_json(&row.try_get::<String, _>("emails")?)?,
                    active: row.try_get::<i64, _>("active")? == 1,
                },
                role: None,
                reach: Reach::of_column(row.try_get("bound_to")?),
                teams: Vec::new(),
                groups: Vec::new(),
                signed_in_at_us: None,
                created_at_us: row.try_get("created_at_us")?,
                changed_at_us: row.try_get("changed_at_us")?,
            };
            Ok((user, row.try_get("role")?))
        }

        fn group_row(row: DatabaseRow) -> Result<Group, sqlx::Error> {
            Ok(Group {
                id: row.try_get("id")?,
                organisation: row.try_get("organisation")?,
                display_name: row.try_get("display_name")?,
                external_id: row.try_get("external_id")?,
                members: Vec::new(),
                created_at_us: row.try_get("created_at_us")?,
                changed_at_us: row.try_get("changed_at_us")?,
            })
        }

        fn unit_row(row: DatabaseRow) -> Result<Unit, sqlx::Error> {
            let (organisation, name) = (row.try_get("organisation")?, row.try_get("name")?);
            Ok(Unit { organisation, name, created_at_us: row.try_get("created_at_us")? })
        }

        /// Adds what other tables know of a user.
        async fn complete_user(
            transaction: &mut Transaction<'static, $database>,
            (mut user, role): (User, Option<String>),
        ) -> Result<User, Error> {
            const TEAMS: &str = "SELECT organisation, team FROM memberships WHERE user_id = $1 ORDER BY 1, 2";
            const GROUPS: &str = "SELECT g.display_name FROM group_members m JOIN user_groups g ON g.id = m.group_id \
                                  WHERE m.user_id = $1 ORDER BY 1";
            const SIGNED_IN: &str =
                "SELECT MAX(at_us) FROM control_events WHERE subject = $1 AND action = 'user.signed_in'";
            let failed = failed("read a user");
            user.role = role.map(|role| role_of(&role, &user.id)).transpose()?;
            let teams = sqlx::query_as(TEAMS).bind(&user.id).fetch_all(&mut **transaction);
            let teams: Vec<(String, String)> = teams.await.map_err(failed)?;
            user.teams = teams.into_iter().map(|(organisation, team)| TeamName { organisation, team }).collect();
            let groups = sqlx::query_scalar(GROUPS).bind(&user.id).fetch_all(&mut **transaction);
            user.groups = groups.await.map_err(failed)?;
            let signed_in = sqlx::query_scalar(SIGNED_IN).bind(&user.id).fetch_one(&mut **transaction);
            user.signed_in_at_us = signed_in.await.map_err(failed)?;
            Ok(user)
        }

        async fn complete_group(
            transaction: &mut Transaction<'static, $database>,
            mut group: Group,
        ) -> Result<Group, Error> {
            const MEMBERS: &str = "SELECT user_id FROM group_members WHERE group_id = $1 ORDER BY 1";
            let members = sqlx::query_scalar(MEMBERS).bind(&group.id).fetch_all(&mut **transaction);
            group.members = members.await.map_err(failed("read a group"))?;
            Ok(group)
        }

        async fn user_in(
            transaction: &mut Transaction<'static, $database>,
            condition: &str,
            values: &[&str],
        ) -> Result<Option<User>, Error> {
            let mut select = sqlx::query(sqlx::AssertSqlSafe(format!("{USER_COLUMNS} WHERE {condition}")));
            for value in values {
                select = select.bind((*value).to_owned());
            }
            let found = select.try_map(user_row).fetch_optional(&mut **transaction).await;
            match found.map_err(failed("read a user"))? {
                Some(found) => Ok(Some(complete_user(transaction, found).await?)),
                None => Ok(None),
            }
        }

        impl Change {
            async fn exists(&mut self, statement: &'static str, values: &[&str]) -> Result<bool, Error> {
                let mut select = sqlx::query(statement);
                for value in values {
                    select = select.bind((*value).to_owned());
                }
                let found = select.fetch_optional(&mut *self.transaction).await.map_err(failed(self.action))?;
                Ok(found.is_some())
            }

            async fn organisation_must_exist(&mut self, name: &str) -> Result<(), Error> {
                match self.exists("SELECT name FROM organisations WHERE name = $1", &[name]).await? {
                    true => Ok(()),
                    false => Err(Error::Unknown { what: "organisation", name: name.to_owned() }),
                }
            }

            async fn name_must_be_free(&mut self, organisation: &str, profile: &Profile, id: &str) -> Result<(), Error> {
                const TAKEN: &str = "SELECT id FROM users WHERE organisation = $1 AND user_key = $2 AND id <> $3";
                match self.exists(TAKEN, &[organisation, &profile.key(), id]).await? {
                    true => Err(Error::Exists { what: "user", name: profile.user_name.clone() }),
                    false => Ok(()),
                }
            }

            /// Whether somebody of the organisation signs in by this name. Where the directory knows nobody of it, any name will
            /// do: not everybody keeps their people here.
            ///
            /// # Errors
            /// [`Error::UnknownUser`] with who may have been meant.
            async fn person_must_be_known(&mut self, organisation: &str, name: &str) -> Result<(), Error> {
                const KNOWN: &str = "SELECT id FROM users WHERE organisation = $1 AND user_key = $2";
                const NAMES: &str = "SELECT user_name FROM users WHERE organisation = $1 ORDER BY user_name";
                if self.exists(KNOWN, &[organisation, &name.to_lowercase()]).await? {
                    return Ok(());
                }
                let names = sqlx::query_scalar(NAMES).bind(organisation).fetch_all(&mut *self.transaction);
                let names: Vec<String> = names.await.map_err(failed(self.action))?;
                if names.is_empty() {
                    return Ok(());
                }
                let advice = crate::known_people::advice(name, names.iter().map(String::as_str), names.len());
                let place = format!(" in organisation `{organisation}`");
                Err(Error::UnknownUser { name: name.to_owned(), place, advice })
            }

            async fn insert_user(&mut self, user: &NewUser) -> Result<String, Error> {
                const INSERT: &str = "INSERT INTO users (id, organisation, user_name, user_key, external_id, display_name, \
                                      emails, active, created_at_us, changed_at_us, role, bound_to) \
                                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
                let NewUser { organisation, profile, role, reach, .. } = user;
                check_role(organisation, *role, reach)?;
                self.name_must_be_free(organisation, profile, "").await?;
                let id = secret::new_id("user-")?;
                let insert = sqlx::query(INSERT)
                    .bind(&id)
                    .bind(organisation)
                    .bind(&profile.user_name)
                    .bind(profile.key())
                    .bind(&profile.external_id)
                    .bind(&profile.display_name)
                    .bind(to_json(&profile.emails)?)
                    .bind(i64::from(profile.active))
                    .bind(self.at_us)
                    .bind(self.at_us)
                    .bind(role.map(Role::as_str))
                    .bind(reach.organisation());
                insert.execute(&mut *self.transaction).await.map_err(failed(self.action))?;
                Ok(id)
            }

            async fn update_user(&mut self, id: &str, profile: &Profile) -> Result<(), Error> {
                const UPDATE: &str = "UPDATE users SET user_name = $1, user_key = $2, external_id = $3, \
                                      display_name = $4, emails = $5, active = $6, changed_at_us = $7 WHERE id = $8";
                let update = sqlx::query(UPDATE)
                    .bind(&profile.user_name)
                    .bind(profile.key())
                    .bind(&profile.external_id)
                    .bind(&profile.display_name)
                    .bind(to_json(&profile.emails)?)
                    .bind(i64::from(profile.active))
                    .bind(self.at_us)
                    .bind(id);
                update.execute(&mut *self.transaction).await.map(|_| ()).map_err(failed(self.action))
            }

            async fn end_sessions_of(&mut self, id: &str) -> Result<(), Error> {
                let delete = sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(id);
                delete.execute(&mut *self.transaction).await.map(|_| ()).map_err(failed(self.action))
            }

            async fn set_role(&mut self, user: &User) -> Result<(), Error> {
                let update = sqlx::query("UPDATE users SET role = $1, bound_to = $2, changed_at_us = $3 WHERE id = $4")
                    .bind(user.role.map(Role::as_str))
                    .bind(user.reach.organisation())
                    .bind(self.at_us)
                    .bind(&user.id);
                update.execute(&mut *self.transaction).await.map(|_| ()).map_err(failed(self.action))
            }

            /// # Errors
            /// [`Error::LastOwner`] if `user` is an active owner, and there is no other who reaches as far.
            async fn must_not_be_last_owner(&mut self, user: &User) -> Result<(), Error> {
                const ANYWHERE: &str = "SELECT id FROM users WHERE id <> $1 AND role = 'owner' AND active = 1 \
                                        AND bound_to IS NULL";
                const WITHIN: &str = "SELECT id FROM users WHERE id <> $1 AND role = 'owner' AND active = 1 \
                                      AND (bound_to IS NULL OR bound_to = $2)";
                if user.role != Some(Role::Owner) || !user.profile.active {
                    return Ok(());
                }
                let is_another = match user.reach.organisation() {
                    None => self.exists(ANYWHERE, &[&user.id]).await?,
                    Some(organisation) => self.exists(WITHIN, &[&user.id, organisation]).await?,
                };
                if is_another { Ok(()) } else { Err(Error::LastOwner { id: user.id.clone() }) }
            }

            async fn replace_teams(&mut self, id: &str, teams: &[TeamName]) -> Result<(), Error> {
                const EXISTS: &str = "SELECT name FROM teams WHERE organisation = $1 AND name = $2";
                const INSERT: &str = "INSERT INTO memberships (user_id, organisation, team) VALUES ($1, $2, $3) \
                                      ON CONFLICT DO NOTHING";
                let failed = failed(self.action);
                let delete = sqlx::query("DELETE FROM memberships WHERE user_id = $1").bind(id);
                delete.execute(&mut *self.transaction).await.map_err(failed)?;
                for name in teams {
                    if !self.exists(EXISTS, &[&name.organisation, &name.team]).await? {
                        return Err(Error::Unknown { what: "team", name: name.to_string() });
                    }
                    let insert = sqlx::query(INSERT).bind(id).bind(&name.organisation).bind(&name.team);
                    insert.execute(&mut *self.transaction).await.map_err(failed)?;
                }
                Ok(())
            }

            async fn replace_members(&mut self, group: &str, organisation: &str, members: &[String]) -> Result<(), Error> {
                const EXISTS: &str = "SELECT id FROM users WHERE id = $1 AND organisation = $2";
                const INSERT: &str =
                    "INSERT INTO group_members (group_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                let failed = failed(self.action);
                let delete = sqlx::query("DELETE FROM group_members WHERE group_id = $1").bind(group);
                delete.execute(&mut *self.transaction).await.map_err(failed)?;
                for member in members {
                    if !self.exists(EXISTS, &[member, organisation]).await? {
                        return Err(Error::Unknown { what: "user", name: member.clone() });
                    }
                    let insert = sqlx::query(INSERT).bind(group).bind(member);
                    insert.execute(&mut *self.transaction).await.map_err(failed)?;
                }
                Ok(())
            }
        }

        #[async_trait]
        impl Directory for $store {
            async fn create_organisation(&self, name: &str, author: &str) -> Result<(), Error> {
                acceptable("name of an organisation", name)?;
                let mut change = self.change("create an organisation").await?;
                if change.exists("SELECT name FROM organisations WHERE name = $1", &[name]).await? {
                    return Err(Error::Exists { what: "organisation", name: name.to_owned() });
                }
                let insert = sqlx::query("INSERT INTO organisations (name, created_at_us) VALUES ($1, $2)");
                let insert = insert.bind(name).bind(change.at_us).execute(&mut *change.transaction);
                insert.await.map_err(failed(change.action))?;
                self.commit(change, author, "organisation.created", name, "").await
            }

            async fn list_organisations(&self) -> Result<Vec<Named>, Error> {
                let named = |row: DatabaseRow| {
                    Ok(Named { name: row.try_get("name")?, created_at_us: row.try_get("created_at_us")? })
                };
                let select = sqlx::query("SELECT name, created_at_us FROM organisations ORDER BY name").try_map(named);
                select.fetch_all(&self.pool).await.map_err(failed("list the organisations"))
            }

            async fn create_team(&self, name: &TeamName, author: &str) -> Result<(), Error> {
                const EXISTS: &str = "SELECT name FROM teams WHERE organisation = $1 AND name = $2";
                const INSERT: &str = "INSERT INTO teams (organisation, name, created_at_us) VALUES ($1, $2, $3)";
                acceptable("name of a team", &name.team)?;
                let mut change = self.change("create a team").await?;
                change.organisation_must_exist(&name.organisation).await?;
                if change.exists(EXISTS, &[&name.organisation, &name.team]).await? {
                    return Err(Error::Exists { what: "team", name: name.to_string() });
                }
                let insert = sqlx::query(INSERT).bind(&name.organisation).bind(&name.team).bind(change.at_us);
                insert.execute(&mut *change.transaction).await.map_err(failed(change.action))?;
                self.commit(change, author, "team.created", &name.to_string(), "").await
            }

            async fn list_teams(&self) -> Result<Vec<Unit>, Error> {
                const SELECT: &str = "SELECT organisation, name, created_at_us FROM teams ORDER BY organisation, name";
                let select = sqlx::query(SELECT).try_map(unit_row).fetch_all(&self.pool);
                select.await.map_err(failed("list the teams"))
            }

            async fn create_project(&self, organisation: &str, name: &str, author: &str) -> Result<(), Error> {
                const EXISTS: &str = "SELECT name FROM projects WHERE organisation = $1 AND name = $2";
                const INSERT: &str = "INSERT INTO projects (organisation, name, created_at_us) VALUES ($1, $2, $3)";
                acceptable("name of a project", name)?;
                let mut change = self.change("create a project").await?;
                change.organisation_must_exist(organisation).await?;
                let full = format!("{organisation}/{name}");
                if change.exists(EXISTS, &[organisation, name]).await? {
                    return Err(Error::Exists { what: "project", name: full });
                }
                let insert = sqlx::query(INSERT).bind(organisation).bind(name).bind(change.at_us);
                insert.execute(&mut *change.transaction).await.map_err(failed(change.action))?;
                self.commit(change, author, "project.created", &full, "").await
            }

            async fn list_projects(&self) -> Result<Vec<Unit>, Error> {
                const SELECT: &str = "SELECT organisation, name, created_at_us FROM projects ORDER BY organisation, name";
                let select = sqlx::query(SELECT).try_map(unit_row).fetch_all(&self.pool);
                select.await.map_err(failed("list the projects"))
            }

            async fn team_sizes(&self) -> Result<Vec<(TeamName, u64)>, Error> {
                const SELECT: &str = "SELECT organisation, team, COUNT(*) FROM memberships GROUP BY organisation, team \
                                      ORDER BY organisation, team";
                let select = sqlx::query_as(SELECT).fetch_all(&self.pool);
                let sizes: Vec<(String, String, i64)> = select.await.map_err(failed("count the members of teams"))?;
                let size = |(organisation, team, members): (String, String, i64)| {
                    (TeamName { organisation, team }, members.unsigned_abs())
                };
                Ok(sizes.into_iter().map(size).collect())
            }

            async fn add_user(&self, user: NewUser, author: &str) -> Result<User, Error> {
                user.profile.check()?;
                let mut change = self.change("create a user").await?;
                change.organisation_must_exist(&user.organisation).await?;
                let id = change.insert_user(&user).await?;
                change.replace_teams(&id, &user.teams).await?;
                let made = user_in(&mut change.transaction, "id = $1", &[&id]).await?;
                let made = made.ok_or_else(|| Error::Unknown { what: "user", name: id.clone() })?;
                let role = user.role.map(|role| format!(" as {role} of {}", user.reach)).unwrap_or_default();
                let detail = format!("in `{}`{role}", user.organisation);
                self.commit(change, author, "user.created", &id, &detail).await?;
                Ok(made)
            }

            async fn put_user(&self, id: &str, profile: Profile, author: &str) -> Result<User, Error> {
                profile.check()?;
                let unknown = || Error::Unknown { what: "user", name: id.to_owned() };
                let mut change = self.change("change a user").await?;
                let before = user_in(&mut change.transaction, "id = $1", &[id]).await?.ok_or_else(unknown)?;
                if before.profile == profile {
                    return Ok(before);
                }
                change.name_must_be_free(&before.organisation, &profile, id).await?;
                if before.profile.active && !profile.active {
                    change.must_not_be_last_owner(&before).await?;
                    change.end_sessions_of(id).await?;
                }
                change.update_user(id, &profile).await?;
                let after = user_in(&mut change.transaction, "id = $1", &[id]).await?.ok_or_else(unknown)?;
                let detail = match (before.profile.active, profile.active) {
                    (true, false) => "deactivated",
                    (false, true) => "activated",
                    _ => "",
                };
                self.commit(change, author, "user.changed", id, detail).await?;
                Ok(after)
            }

            async fn delete_user(&self, id: &str, author: &str) -> Result<(), Error> {
                const KEYS: &str = "UPDATE api_keys SET revoked_at_us = $1 WHERE tenant = $2 AND user_key = $3 \
                                    AND revoked_at_us IS NULL RETURNING id";
                let mut change = self.change("remove a user").await?;
                let user = user_in(&mut change.transaction, "id = $1", &[id]).await?;
                let user = user.ok_or_else(|| Error::Unknown { what: "user", name: id.to_owned() })?;
                change.must_not_be_last_owner(&user).await?;
                change.end_sessions_of(id).await?;
                let keys = sqlx::query_scalar(KEYS)
                    .bind(change.at_us)
                    .bind(&user.organisation)
                    .bind(user.profile.key())
                    .fetch_all(&mut *change.transaction);
                let keys: Vec<String> = keys.await.map_err(failed(change.action))?;
                for key in keys {
                    change.also(author, "key.revoked", &key, "its user was removed").await?;
                }
                let delete = sqlx::query("DELETE FROM users WHERE id = $1").bind(id);
                delete.execute(&mut *change.transaction).await.map_err(failed(change.action))?;
                self.commit(change, author, "user.deleted", id, "").await
            }

            async fn user(&self, id: &str) -> Result<Option<User>, Error> {
                let mut transaction = self.pool.begin().await.map_err(failed("read a user"))?;
                user_in(&mut transaction, "id = $1", &[id]).await
            }

            async fn list_users(
                &self,
                organisation: Option<&str>,
                filter: &UserFilter,
                offset: u32,
                count: u32,
            ) -> Result<Part<User>, Error> {
                let failed = failed("list the users");
                let (condition, values) = $crate::sql::directory::user_condition(organisation, filter);
                let mut transaction = self.pool.begin().await.map_err(failed)?;
                let counting = format!("SELECT COUNT(*) FROM users WHERE {condition}");
                let mut counting = sqlx::query_scalar(sqlx::AssertSqlSafe(counting));
                let order = format!("ORDER BY organisation, user_key LIMIT {count} OFFSET {offset}");
                let listing = format!("{USER_COLUMNS} WHERE {condition} {order}");
                let mut listing = sqlx::query(sqlx::AssertSqlSafe(listing));
                for value in values {
                    counting = counting.bind(value.clone());
                    listing = listing.bind(value);
                }
                let total: i64 = counting.fetch_one(&mut *transaction).await.map_err(failed)?;
                let found = listing.try_map(user_row).fetch_all(&mut *transaction).await.map_err(failed)?;
                let mut items = Vec::with_capacity(found.len());
                for row in found {
                    items.push(complete_user(&mut transaction, row).await?);
                }
                Ok(Part { total: total.unsigned_abs(), items })
            }

            async fn change_user(&self, id: &str, asked: &UserChange, author: &str) -> Result<User, Error> {
                let unknown = || Error::Unknown { what: "user", name: id.to_owned() };
                let mut change = self.change("change a user").await?;
                let before = user_in(&mut change.transaction, "id = $1", &[id]).await?.ok_or_else(unknown)?;
                let after = asked.applied_to(&before);
                check_role(&after.organisation, after.role, &after.reach)?;
                after.profile.check()?;
                let events = after.differences_from(&before);
                let Some(((last, detail), first)) = events.split_last() else { return Ok(before) };
                let stays_owner =
                    after.role == Some(Role::Owner) && after.profile.active && after.reach.includes(&before.reach);
                if !stays_owner {
                    change.must_not_be_last_owner(&before).await?;
                }
                if after.profile != before.profile {
                    change.update_user(id, &after.profile).await?;
                }
                if (after.role, &after.reach) != (before.role, &before.reach) {
                    change.set_role(&after).await?;
                }
                if after.teams != before.teams {
                    change.replace_teams(id, &after.teams).await?;
                }
                if after.may_do_other_things_than(&before) {
                    change.end_sessions_of(id).await?;
                }
                for (event, detail) in first {
                    change.also(author, event, id, detail).await?;
                }
                let made = user_in(&mut change.transaction, "id = $1", &[id]).await?.ok_or_else(unknown)?;
                self.commit(change, author, last, id, detail).await?;
                Ok(made)
            }

            async fn create_group(&self, organisation: &str, facts: GroupFacts, author: &str) -> Result<Group, Error> {
                const TAKEN: &str = "SELECT id FROM user_groups WHERE organisation = $1 AND display_name = $2";
                const INSERT: &str = "INSERT INTO user_groups (id, organisation, display_name, external_id, \
                                      created_at_us, changed_at_us) VALUES ($1, $2, $3, $4, $5, $6)";
                facts.check()?;
                let mut change = self.change("create a group").await?;
                change.organisation_must_exist(organisation).await?;
                if change.exists(TAKEN, &[organisation, &facts.display_name]).await? {
                    return Err(Error::Exists { what: "group", name: facts.display_name });
                }
                let id = secret::new_id("group-")?;
                let insert = sqlx::query(INSERT)
                    .bind(&id)
                    .bind(organisation)
                    .bind(&facts.display_name)
                    .bind(&facts.external_id)
                    .bind(change.at_us)
                    .bind(change.at_us);
                insert.execute(&mut *change.transaction).await.map_err(failed(change.action))?;
                change.replace_members(&id, organisation, &facts.members).await?;
                let detail = format!("{} members", facts.members.len());
                self.commit(change, author, "group.created", &id, &detail).await?;
                self.group(&id).await?.ok_or(Error::Unknown { what: "group", name: id })
            }

            async fn put_group(&self, id: &str, facts: GroupFacts, author: &str) -> Result<Group, Error> {
                const TAKEN: &str =
                    "SELECT id FROM user_groups WHERE organisation = $1 AND display_name = $2 AND id <> $3";
                const UPDATE: &str = "UPDATE user_groups SET display_name = $1, external_id = $2, changed_at_us = $3 \
                                      WHERE id = $4 RETURNING organisation";
                facts.check()?;
                let unknown = || Error::Unknown { what: "group", name: id.to_owned() };
                let mut change = self.change("change a group").await?;
                let select = sqlx::query_scalar("SELECT organisation FROM user_groups WHERE id = $1").bind(id);
                let organisation = select.fetch_optional(&mut *change.transaction).await;
                let organisation: Option<String> = organisation.map_err(failed(change.action))?;
                let organisation = organisation.ok_or_else(unknown)?;
                if change.exists(TAKEN, &[&organisation, &facts.display_name, id]).await? {
                    return Err(Error::Exists { what: "group", name: facts.display_name });
                }
                let update = sqlx::query(UPDATE)
                    .bind(&facts.display_name)
                    .bind(&facts.external_id)
                    .bind(change.at_us)
                    .bind(id);
                update.execute(&mut *change.transaction).await.map_err(failed(change.action))?;
                change.replace_members(id, &organisation, &facts.members).await?;
                let detail = format!("{} members", facts.members.len());
                self.commit(change, author, "group.changed", id, &detail).await?;
                self.group(id).await?.ok_or_else(unknown)
            }

            async fn delete_group(&self, id: &str, author: &str) -> Result<(), Error> {
                let mut change = self.change("remove a group").await?;
                let delete = sqlx::query("DELETE FROM user_groups WHERE id = $1").bind(id);
                let deleted = delete.execute(&mut *change.transaction).await.map_err(failed(change.action))?;
                if deleted.rows_affected() == 0 {
                    return Err(Error::Unknown { what: "group", name: id.to_owned() });
                }
                self.commit(change, author, "group.deleted", id, "").await
            }

            async fn group(&self, id: &str) -> Result<Option<Group>, Error> {
                let failed = failed("read a group");
                let mut transaction = self.pool.begin().await.map_err(failed)?;
                let select = sqlx::query(sqlx::AssertSqlSafe(format!("{GROUP_COLUMNS} WHERE id = $1"))).bind(id);
                let found = select.try_map(group_row).fetch_optional(&mut *transaction).await.map_err(failed)?;
                match found {
                    Some(group) => Ok(Some(complete_group(&mut transaction, group).await?)),
                    None => Ok(None),
                }
            }

            async fn list_groups(
                &self,
                organisation: &str,
                display_name: Option<&str>,
                offset: u32,
                count: u32,
            ) -> Result<Part<Group>, Error> {
                let failed = failed("list the groups");
                let (mut condition, mut values) = ("organisation = $1".to_owned(), vec![organisation.to_owned()]);
                if let Some(name) = display_name {
                    values.push(name.to_owned());
                    condition.push_str(" AND display_name = $2");
                }
                let mut transaction = self.pool.begin().await.map_err(failed)?;
                let counting = format!("SELECT COUNT(*) FROM user_groups WHERE {condition}");
                let mut counting = sqlx::query_scalar(sqlx::AssertSqlSafe(counting));
                let order = format!("ORDER BY display_name LIMIT {count} OFFSET {offset}");
                let listing = format!("{GROUP_COLUMNS} WHERE {condition} {order}");
                let mut listing = sqlx::query(sqlx::AssertSqlSafe(listing));
                for value in values {
                    counting = counting.bind(value.clone());
                    listing = listing.bind(value);
                }
                let total: i64 = counting.fetch_one(&mut *transaction).await.map_err(failed)?;
                let found = listing.try_map(group_row).fetch_all(&mut *transaction).await.map_err(failed)?;
                let mut items = Vec::with_capacity(found.len());
                for group in found {
                    items.push(complete_group(&mut transaction, group).await?);
                }
                Ok(Part { total: total.unsigned_abs(), items })
            }

            async fn sign_in(&self, who: SignIn) -> Result<Session, Error> {
                const AUTHOR: &str = "oidc";
                who.profile.check()?;
                let (id, csrf) = (secret::new_secret(Purpose::Session)?, secret::new_secret(Purpose::Csrf)?);
                let mut change = self.change("sign a user in").await?;
                change.ensure(&who.organisation, None, None, AUTHOR).await?;
                for name in &who.teams {
                    change.ensure(&name.organisation, Some(&name.team), None, AUTHOR).await?;
                }
                let external_id = who.profile.external_id.clone().unwrap_or_default();
                let condition = "organisation = $1 AND external_id = $2";
                let known = user_in(&mut change.transaction, condition, &[&who.organisation, &external_id]).await?;
                let known = match known {
                    Some(known) => Some(known),
                    // Someone SCIM, or an administrator, has put here before they came; with another id they are another.
                    None => {
                        let condition = "organisation = $1 AND user_key = $2 AND external_id IS NULL";
                        user_in(&mut change.transaction, condition, &[&who.organisation, &who.profile.key()]).await?
                    }
                };
                let user_id = match &known {
                    Some(user) if !user.profile.active => {
                        return Err(Error::SignInRefused { why: "this account is not active here" });
                    }
                    Some(user) => {
                        change.name_must_be_free(&who.organisation, &who.profile, &user.id).await?;
                        if user.profile != who.profile {
                            change.update_user(&user.id, &who.profile).await?;
                            change.also(AUTHOR, "user.changed", &user.id, "").await?;
                        }
                        user.id.clone()
                    }
                    None => {
                        let new = NewUser {
                            organisation: who.organisation.clone(),
                            profile: who.profile.clone(),
                            reach: who.reach.clone(),
                            ..NewUser::default()
                        };
                        let user_id = change.insert_user(&new).await?;
                        let detail = format!("in `{}`", who.organisation);
                        change.also(AUTHOR, "user.created", &user_id, &detail).await?;
                        user_id
                    }
                };
                let assigned = known.as_ref().and_then(|user| user.role);
                let Some(role) = assigned.or(who.role) else {
                    return Err(Error::SignInRefused { why: "none of your groups has a role here" });
                };
                let reach = known.as_ref().map_or(who.reach, |user| user.reach.clone());
                let mut teams = known.map(|user| user.teams).unwrap_or_default();
                teams.extend(who.teams);
                teams.sort();
                teams.dedup();
                let latest_us = change.at_us.saturating_add(SESSION_US);
                let expires_at_us = who.until_us.map_or(latest_us, |until_us| until_us.min(latest_us));
                let user_id = Some(user_id);
                let session = Session { id, csrf, role, teams, reach, user_id, expires_at_us };
                change.open_session(&session).await?;
                let user_id = session.user_id.as_deref().unwrap_or_default();
                self.commit(change, &session.author(), "user.signed_in", user_id, role.as_str()).await?;
                Ok(session)
            }
        }
    };
}

pub(crate) use implement_directory;

use crate::directory::UserFilter;

/// The condition on `users` of those that are asked for, and its values.
pub(crate) fn user_condition(organisation: Option<&str>, filter: &UserFilter) -> (String, Vec<String>) {
    let (mut condition, mut values) = ("1 = 1".to_owned(), Vec::new());
    let mut also = |text: &str, value: String| {
        values.push(value);
        condition.push_str(" AND ");
        condition.push_str(&text.replace('?', &format!("${}", values.len())));
    };
    if let Some(organisation) = organisation {
        also("organisation = ?", organisation.to_owned());
    }
    if let Some(name) = &filter.user_name {
        also("user_key = ?", name.to_lowercase());
    }
    if let Some(id) = &filter.external_id {
        also("external_id = ?", id.clone());
    }
    if let Some(part) = &filter.holds {
        // `!` before what would stand for other letters.
        let part = part.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
        also("(user_key LIKE ? ESCAPE '!' OR LOWER(display_name) LIKE ? ESCAPE '!')", format!("%{part}%"));
    }
    if let Some(name) = &filter.team {
        // No name of an organisation or a team holds a line break, so that the two of them can be one value.
        let within = "EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = users.id \
                      AND m.organisation || '\n' || m.team = ?)";
        also(within, format!("{}\n{}", name.organisation, name.team));
    }
    (condition, values)
}
