//! Section `data_classes`: what kind of data calls are about, from the most sensitive to the least. A caller's label may
//! raise the class of its call and never lowers it; in doubt a call is of the more sensitive class.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::compile::Compiler;
use super::source::WhenSource;
use super::{Bundle, BundleError};
use crate::condition::{Conditions, Scope};
use crate::facts::Facts;
use crate::variable::Phase;

/// Label by which callers say of which class their data is.
pub(crate) const LABEL: &str = "data_class";

/// One class, as written.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DataClassSource {
    #[schemars(with = "String")]
    class: Spanned<String>,
    /// `None` for a class that only a label gives.
    #[serde(default)]
    #[schemars(with = "Option<WhenSource>")]
    when: Option<Spanned<WhenSource>>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

/// A class of data, and the calls that are of it whatever they say.
#[derive(Debug)]
pub(crate) struct DataClass {
    pub(crate) name: String,
    when: Option<Conditions>,
}

impl DataClass {
    /// Whether every call is at least of this class.
    pub(crate) fn always_holds(&self) -> bool {
        self.when.as_ref().is_some_and(Conditions::always_hold)
    }
}

pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    source: &[Spanned<DataClassSource>],
) -> Result<Vec<DataClass>, BundleError> {
    let mut classes: Vec<DataClass> = Vec::with_capacity(source.len());
    for written in source {
        let DataClassSource { class, when, .. } = &written.value;
        super::compile::check_id(class)?;
        if classes.iter().any(|known| known.name == class.value) {
            return Err(BundleError::new(class.referenced, format!("two data classes are called `{}`", class.value)));
        }
        let when = when.as_ref().map(|when| compiler.conditions(when, Phase::DataClass)).transpose()?;
        if let Some(before) = classes.iter().find(|before| before.always_holds()).filter(|_| when.is_some()) {
            let (class, before) = (&class.value, &before.name);
            let message =
                format!("the conditions of class `{class}` change nothing: every call is at least `{before}`");
            compiler.remarks.push(BundleError::new(written.value.class.referenced, message));
        }
        classes.push(DataClass { name: class.value.clone(), when });
    }
    compiler.classes = classes.iter().map(|class| class.name.clone()).collect();
    Ok(classes)
}

impl Bundle {
    /// The class of the data of a call, for [`Facts::data_class`]: the more sensitive of the caller's label `data_class`
    /// and the first class whose conditions hold. A condition that cannot be evaluated counts as holding, and a label that
    /// is none of the classes as the most sensitive ([`crate::decide()`] refuses such a call). Without classes in the
    /// bundle, the label as it is.
    #[must_use]
    pub fn data_class<'a>(&'a self, facts: &Facts<'a>) -> Option<&'a str> {
        let label = facts.label(LABEL);
        if self.data_classes.is_empty() {
            return label;
        }
        let scope = Scope::of_request(self, facts);
        let labelled = |class: &DataClass| label == Some(class.name.as_str());
        if label.is_some() && !self.data_classes.iter().any(labelled) {
            return self.data_classes.first().map(|class| class.name.as_str());
        }
        let is_of = |class: &&DataClass| {
            labelled(class) || class.when.as_ref().is_some_and(|when| when.hold(&scope).unwrap_or(true))
        };
        self.data_classes.iter().find(is_of).map(|class| class.name.as_str())
    }

    /// Names of the classes, from the most sensitive to the least.
    pub fn data_class_names(&self) -> impl Iterator<Item = &str> {
        self.data_classes.iter().map(|class| class.name.as_str())
    }
}
