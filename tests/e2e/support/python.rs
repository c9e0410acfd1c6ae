//! Python scripts of `tests/clients`, run by the interpreter that `cargo xtask test` set up.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter with the packages.
pub(crate) struct Python {
    folder: PathBuf,
}

impl Python {
    pub(crate) fn new() -> Python {
        let folder = std::env::var_os("TOLLGATE_TOOLS_PYTHON")
            .expect("TOLLGATE_TOOLS_PYTHON is not set; run the tests by `cargo xtask test`");
        Python { folder: folder.into() }
    }

    /// A program that a package brought.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// Runs a script of `tests/clients` and returns what it printed.
    pub(crate) fn run(&self, script: &str, environment: &[(&str, &str)]) -> String {
        let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("clients").join(script);
        let output = Command::new(self.program("python3"))
            .arg(&path)
            .envs(environment.iter().copied())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{script} ended with {}\n{printed}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }
}
