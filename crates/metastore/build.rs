//! Migrations are embedded by a macro that cannot tell cargo which files it read.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
