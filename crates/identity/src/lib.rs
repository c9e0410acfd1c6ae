//! What other parties say of who somebody is: signed tokens (JWT, RFC 7519), the keys they are signed with (JWKS, RFC
//! 7517), and the steps of a sign-in by OpenID Connect. Pure: it fetches nothing, asks no clock and makes no random bytes;
//! whoever uses it hands these in. It signs nothing and encrypts nothing, and knows three algorithms and no more.

pub mod claims;
pub mod keys;
pub mod oidc;
pub mod token;

pub use claims::{Claims, Expected};
pub use keys::{KeySet, KeySetError};
pub use token::{Algorithm, Signed, TokenError};
