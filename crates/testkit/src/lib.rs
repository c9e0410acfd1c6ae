//! What the tests of several crates share. A dev-dependency only: nothing that ships links it.

pub mod samples;
