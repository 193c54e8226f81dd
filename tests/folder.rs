//! A folder that lives as long as its test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Where a server's workers get to, which are another user where the test's is root: nothing
/// private, whatever TMPDIR and the umask say.
fn above() -> PathBuf {
    daemun_sys::process::set_umask(0o022);
    match daemun_sys::identity::effective_uid() {
        0 => "/tmp".into(),
        _ => std::env::temp_dir(),
    }
}

/// Removed with everything in it when it goes out of scope.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn fresh() -> Folder {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("daemun-test-{}-{number}", std::process::id());
        let path = above().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// Writes a file, and the folders above it where they are missing.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap();
        }
        fs::write(path, content).unwrap();
    }

    /// A file's text, empty where there is no file.
    pub fn read(&self, relative: &str) -> String {
        let bytes = fs::read(self.path(relative)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
