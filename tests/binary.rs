//! The program under test.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::Folder;

/// `DAEMUN_BINARY`, else the one that cargo builds now.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("DAEMUN_BINARY") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// A link to the program in the test's folder: its name decides who it is.
pub fn named(folder: &Folder, name: &str) -> PathBuf {
    let path = folder.path("bin").join(name);
    if !path.exists() {
        std::fs::create_dir_all(folder.path("bin")).unwrap();
        symlink(binary(), &path).unwrap();
    }
    path
}

/// Builds it as the test, or the measurement, itself was built, beside it.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let mut folder = test.parent().unwrap();
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "daemun"]);
    if folder.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(status.unwrap().success(), "the program does not compile");
    folder.join("daemun")
}
