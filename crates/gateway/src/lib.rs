//! The proxy: from a caller's socket to a settled interaction. It reads two snapshots (keys and policy; what the log
//! showed) and writes one log; it has no database, keeps no content but answers that a route wants given again ([`cache`]),
//! and never waits for anything but the caller, the provider and the disk.
//!
//! A call runs in the task of its connection from end to end: the upstream connection is polled by that same task
//! ([`upstream`]), so the happy path of a call that is not streamed spawns nothing and hands nothing over.

mod admission;
mod answer;
mod attempt;
mod auth;
pub mod cache;
mod call;
mod came;
mod charge;
mod clock;
mod dispatch;
mod endpoint;
mod error;
mod feedback;
mod fetch;
mod gateway;
mod guard;
mod health;
mod hedge;
mod intake;
mod jwt;
mod known;
mod listener;
mod media;
mod models;
mod patience;
mod provider;
mod random;
mod readiness;
mod realtime;
mod recording;
mod relay;
mod residency;
mod route;
mod sandbox;
pub mod settings;
mod settle;
mod shadow;
mod shared;
mod signals;
mod socket;
mod source;
mod spending;
mod stages;
mod token;
mod trust;
mod unread;
mod upstream;

pub use cache::{CacheSettings, CacheStats};
pub use gateway::{Gateway, GatewayStats};
pub use jwt::{JwtClaims, JwtError, JwtIssuer, JwtKeys};
pub use known::{Standing, StandingFuture};
pub use listener::ServeError;
pub use readiness::Readiness;
pub use route::{RouteBook, RouteError};
pub use settings::{
    AckMode, Breaker, Credentials, GatewaySettings, LeaseSettings, LedgerSettings, Limits, ModelRoute, OnDisconnect,
    OnLedgerDown, ProviderKind, ProviderSettings, Secret, Strategy, Timeouts, TokenSource,
};
pub use shared::{LeaseError, LeaseOffice, ServerError};
pub use token::GrantError;
pub use token::google::{KeyFileError, read_credentials};
pub use trust::{TrustError, check_authorities};
