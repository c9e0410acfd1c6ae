//! A form that was refused: it is shown again as it was filled in, with what is wrong with it beside it. Arguments may be
//! borrowed because templates hand over references.

use std::borrow::Borrow;
use std::future::Future;

use axum::response::{Html, IntoResponse, Response};

use crate::error::ConsoleError;
use crate::params::Params;

/// Forms of one page that can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Adds a person.
    Person,
    /// Adds a team.
    Team,
    /// Adds a project.
    Project,
    /// Adds an organisation.
    Organisation,
    /// Changes a person.
    Change,
    /// Creates a key.
    Key,
}

/// What a page holds of a form that was refused; nothing if none was.
#[derive(Clone, Debug, Default)]
pub struct Refill(Option<Box<Refused>>);

#[derive(Clone, Debug)]
struct Refused {
    form: Form,
    values: Params,
    trouble: String,
}

impl Refill {
    /// Of a form that was refused for this reason.
    #[must_use]
    pub fn of(form: Form, values: Params, error: &ConsoleError) -> Refill {
        let trouble = match error.hint() {
            "" => format!("{error}."),
            hint => format!("{error}. {hint}"),
        };
        Refill(Some(Box::new(Refused { form, values, trouble })))
    }

    fn refused(&self, form: Form) -> Option<&Refused> {
        self.0.as_deref().filter(|refused| refused.form == form)
    }

    /// What is wrong with a form, in sentences; `None` if it was not refused. Names stand in backticks.
    #[must_use]
    pub fn trouble(&self, form: impl Borrow<Form>) -> Option<&str> {
        self.refused(*form.borrow()).map(|refused| refused.trouble.as_str())
    }

    /// What was filled into a field of a form, or nothing.
    #[must_use]
    pub fn value(&self, form: impl Borrow<Form>, name: &str) -> &str {
        self.value_or(form, name, "")
    }

    /// What was filled into a field, or what stands there at first.
    #[must_use]
    pub fn value_or<'a>(&'a self, form: impl Borrow<Form>, name: &str, first: &'a str) -> &'a str {
        let Some(refused) = self.refused(*form.borrow()) else { return first };
        refused.values.raw(name).unwrap_or(first)
    }
}

/// The answer to a form. If it was refused for something that the person can mend, that is `page` with the form in it.
///
/// # Errors
/// Whatever else went wrong, with the form or with the page.
pub async fn answer<Page>(
    done: Result<impl IntoResponse, ConsoleError>,
    form: Form,
    values: Params,
    page: impl FnOnce(Refill) -> Page,
) -> Result<Response, ConsoleError>
where
    Page: Future<Output = Result<Html<String>, ConsoleError>>,
{
    let error = match done {
        Ok(done) => return Ok(done.into_response()),
        Err(error) if error.is_the_askers() => error,
        Err(error) => return Err(error),
    };
    let page = page(Refill::of(form, values, &error)).await?;
    Ok(error.shown_on(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_that_was_refused_is_filled_in() {
        let error = ConsoleError::Invalid { message: "`x` is no role".into(), hint: "It is `viewer`." };
        let refill = Refill::of(Form::Team, Params::parse(b"name=a+b&empty="), &error);
        assert_eq!(refill.trouble(Form::Team), Some("`x` is no role. It is `viewer`."));
        assert_eq!((refill.value(Form::Team, "name"), refill.value_or(Form::Team, "other", "y")), ("a b", "y"));
        assert_eq!(refill.value_or(Form::Team, "empty", "y"), "", "what was emptied stays empty");
        assert_eq!((refill.trouble(Form::Key), refill.value_or(Form::Key, "name", "z")), (None, "z"));
        assert_eq!(Refill::default().value(Form::Team, "name"), "");
    }
}
