//! Folders for temporary files: made 0700 and given to the workers' user, as nginx does at its start.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

use daemun_core::log;
use daemun_core::log::{Errno, Log};
use daemun_core::settings::ProcessSettings;
use daemun_http::config::HttpConfig;

/// Makes every folder that is missing. The error is nginx's sentence. Where the built-in folder can't be made, which
/// is so for a user without rights to the system's, large request bodies will find none.
pub fn make(http: &HttpConfig, settings: &ProcessSettings) -> Result<(), String> {
    let surroundings = &http.surroundings;
    for built_in in [&surroundings.body_temp_path, &surroundings.upstream_temp_path] {
        let folder = &built_in.folder;
        if let Err(error) = make_one(folder, settings) {
            log!(Log::current(), Info, (), "mkdir() \"{}\" failed", folder.display(); error);
        }
    }
    for folder in http.temporary_folders() {
        make_one(folder, settings)
            .map_err(|error| format!("mkdir() \"{}\" failed{}", folder.display(), Errno(&error)))?;
    }
    Ok(())
}

fn make_one(folder: &Path, settings: &ProcessSettings) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match &settings.user {
        Some(user) => chown(folder, Some(user.uid), None),
        None => Ok(()),
    }
}
