//! Finding the person that somebody means: by id, by the name they sign in by, by an address or by the name they are called.

use tollgate_policy::suggestion;

use crate::directory::User;
use crate::error::MetastoreError;

/// People named in an error at most.
const MAX_NAMED: usize = 5;

/// The one person among `people` whom `text` names: their id, or, whatever its case, the name they sign in by, one of their
/// addresses or their display name.
///
/// # Errors
/// [`MetastoreError::UnknownUser`] with who may have been meant; [`MetastoreError::AmbiguousUser`] if several are named so.
pub fn find_person<'a>(people: &'a [User], text: &str) -> Result<&'a User, MetastoreError> {
    if let Some(user) = people.iter().find(|user| user.id == text) {
        return Ok(user);
    }
    let wanted = text.trim().to_lowercase();
    let is_named_so = |user: &&User| names(user).any(|name| name.to_lowercase() == wanted);
    let named: Vec<&User> = people.iter().filter(is_named_so).collect();
    match named.as_slice() {
        [only] => Ok(only),
        [] => {
            let advice = advice(text, people.iter().flat_map(names), people.len());
            Err(MetastoreError::UnknownUser { name: text.to_owned(), place: String::new(), advice })
        }
        several => {
            let told = |user: &&User| format!("`{}` ({} of `{}`)", user.id, user.profile.user_name, user.organisation);
            let mut people: Vec<String> = several.iter().take(MAX_NAMED).map(told).collect();
            people.extend((several.len() > MAX_NAMED).then(|| format!("{} more", several.len() - MAX_NAMED)));
            Err(MetastoreError::AmbiguousUser { name: text.to_owned(), people: people.join(", ") })
        }
    }
}

/// Who may have been meant by a name that nobody has: the nearest name or, where there are few people, all of them.
pub(crate) fn advice<'a>(unknown: &str, names: impl Iterator<Item = &'a str>, people: usize) -> String {
    let names: Vec<&str> = names.collect();
    let lowered: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let near = suggestion::closest(unknown, lowered.iter().map(String::as_str));
    let near = near.and_then(|near| lowered.iter().position(|name| name == near)).and_then(|at| names.get(at));
    match near {
        Some(name) => format!("; did you mean `{name}`?"),
        None if (1..=MAX_NAMED).contains(&people) => format!("; known are `{}`", names.join("`, `")),
        None => "; see the list of users, or create this one first".to_owned(),
    }
}

/// What they are known by, less their id.
fn names(user: &User) -> impl Iterator<Item = &str> {
    let profile = &user.profile;
    let display = Some(profile.display_name.as_str()).filter(|name| !name.is_empty());
    let addresses = profile.emails.iter().map(String::as_str);
    std::iter::once(profile.user_name.as_str()).chain(addresses).chain(display)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Profile;
    use crate::reach::Reach;

    fn user(id: &str, user_name: &str, display_name: &str, emails: &[&str]) -> User {
        let emails = emails.iter().map(|&email| email.to_owned()).collect();
        let (user_name, display_name) = (user_name.to_owned(), display_name.to_owned());
        User {
            id: id.to_owned(),
            organisation: "acme".to_owned(),
            profile: Profile { user_name, display_name, emails, active: true, external_id: None },
            role: None,
            reach: Reach::Installation,
            teams: Vec::new(),
            groups: Vec::new(),
            signed_in_at_us: None,
            created_at_us: 0,
            changed_at_us: 0,
        }
    }

    fn people() -> Vec<User> {
        vec![
            user("user-1", "ann@acme.example", "Ann", &["ann.smith@acme.example"]),
            user("user-2", "bob", "Bob Jones", &["bob@acme.example"]),
            user("user-3", "bob@acme.example", "Bob Jones", &[]),
        ]
    }

    #[test]
    fn a_person_is_found_by_whatever_names_them_alone() {
        let people = people();
        for (text, id) in [
            ("user-3", "user-3"),
            ("ANN@acme.example", "user-1"),
            ("ann.smith@ACME.example", "user-1"),
            ("ann", "user-1"),
            ("bob", "user-2"),
        ] {
            assert_eq!(find_person(&people, text).unwrap().id, id, "{text}");
        }
    }

    #[test]
    fn a_name_of_several_is_refused_with_their_ids() {
        for text in ["bob@acme.example", "Bob Jones"] {
            let error = find_person(&people(), text).unwrap_err().to_string();
            assert!(error.contains("`user-2` (bob of `acme`), `user-3`"), "{error}");
        }
    }

    #[test]
    fn a_slip_gets_the_nearest_name_and_a_stranger_those_there_are() {
        let people = people();
        let error = find_person(&people, "anne@acme.example").unwrap_err().to_string();
        assert!(error.contains("did you mean `ann@acme.example`?"), "{error}");
        let error = find_person(&people[..1], "zebra").unwrap_err().to_string();
        assert!(error.contains("known are `ann@acme.example`"), "{error}");
        assert!(find_person(&[], "ann").unwrap_err().to_string().starts_with("there is no user `ann`"));
    }
}
