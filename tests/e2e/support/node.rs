//! Programs for Node of `tests/clients`, run beside the packages that `cargo xtask test` installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder in which `import` finds the packages.
pub(crate) struct Node {
    folder: TempDir,
}

impl Node {
    pub(crate) fn new() -> Node {
        let modules = std::env::var_os("TOLLGATE_TOOLS_NODE_CLIENTS")
            .expect("TOLLGATE_TOOLS_NODE_CLIENTS is not set; run the tests by `cargo xtask test`");
        let folder = TempDir::new().unwrap();
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
        Node { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a program of `tests/clients`, which may import others of there, and returns what it printed.
    pub(crate) fn run(&self, program: &str, environment: &[(&str, &str)]) -> String {
        let clients = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("clients");
        let is_program = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "mjs");
        let programs = std::fs::read_dir(clients).unwrap().map(|entry| entry.unwrap().path()).filter(is_program);
        for path in programs {
            std::fs::copy(&path, self.folder().join(path.file_name().unwrap())).unwrap();
        }
        let mut command = Command::new("node");
        command.arg(self.folder().join(program)).envs(environment.iter().copied());
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} ended with {}\n{printed}\n{errors}", output.status);
        printed
    }
}
