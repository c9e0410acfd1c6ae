//! A value of the file that is nobody's business but the one it is for.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A text that must not be printed, and where it stands.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Confidential(Spanned<String>);

impl Deref for Confidential {
    type Target = Spanned<String>;

    fn deref(&self) -> &Spanned<String> {
        &self.0
    }
}

impl DerefMut for Confidential {
    fn deref_mut(&mut self) -> &mut Spanned<String> {
        &mut self.0
    }
}

impl From<Spanned<String>> for Confidential {
    fn from(text: Spanned<String>) -> Self {
        Confidential(text)
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Confidential(line {})", self.0.referenced.line())
    }
}
