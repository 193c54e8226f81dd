//! Folders for temporary files: made 0700 and given to the workers' user, as nginx does at its start.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use daemun_core::log;
use daemun_core::log::{Errno, Log};
use daemun_core::settings::ProcessSettings;
use daemun_http::config::HttpConfig;
use daemun_sys::{credentials, descriptor, trusted};

/// Makes every folder that is missing. The error is nginx's sentence. Where a built-in folder can't be made, which
/// is so for a user without rights to the system's, the server does without: what needs a file there will fail, and
/// a warning says so.
pub fn make(http: &HttpConfig, settings: &ProcessSettings) -> Result<(), String> {
    for_each(http, settings, false, |folder, is_built_in| {
        if is_built_in && let Some(parent) = folder.parent() {
            // Where that fails, so does the next step.
            let _ = DirBuilder::new().mode(0o755).recursive(true).create(parent);
        }
        make_one(folder, settings)
    })
}

/// `-t`: says what [`make`] would, and makes nothing. `quiet` leaves out what is no error.
pub fn check(http: &HttpConfig, settings: &ProcessSettings, quiet: bool) -> Result<(), String> {
    for_each(http, settings, quiet, |folder, is_built_in| check_one(folder, is_built_in, settings))
}

/// A step that failed, by its call's name.
type Failed = (&'static str, io::Error);

fn for_each(
    http: &HttpConfig,
    settings: &ProcessSettings,
    quiet: bool,
    mut visit: impl FnMut(&Path, bool) -> Result<(), Failed>,
) -> Result<(), String> {
    let built_in = if quiet { Vec::new() } else { http.built_in_folders() };
    for (folder, what) in built_in {
        let is_usable = || match settings.user.is_none() && folder.exists() {
            true => descriptor::check_writable(folder).map_err(|error| ("open", error)),
            false => Ok(()),
        };
        if let Err((call, error)) = visit(folder, true).and_then(|()| is_usable()) {
            let folder = folder.display();
            log!(
                Log::current(),
                Warn,
                (),
                "{}() \"{}\" failed, {} that need a temporary file there will fail",
                call,
                folder,
                what;
                error
            );
        }
    }
    for folder in http.temporary_folders() {
        visit(folder, false).map_err(|(call, error)| {
            format!("{call}() \"{}\" failed{}", folder.display(), Errno(&error))
        })?;
    }
    Ok(())
}

fn make_one(path: &Path, settings: &ProcessSettings) -> Result<(), Failed> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(("mkdir", error)),
        _ => {}
    }
    // What is right already is not touched: to open it may take rights that root does not have everywhere.
    let status = fs::metadata(path).map_err(|error| ("stat", error))?;
    let owner = settings.user.as_ref().map(|user| user.uid).filter(|uid| *uid != status.uid());
    let is_private = status.mode() & 0o700 == 0o700;
    if status.is_dir() && owner.is_none() && is_private {
        return Ok(());
    }
    let folder = trusted::folder(path).map_err(|error| ("open", error))?;
    if let Some(owner) = owner {
        fchown(&folder, Some(owner), None).map_err(|error| ("chown", error))?;
    }
    if !is_private {
        let mode = Permissions::from_mode(status.mode() & 0o7777 | 0o700);
        folder.set_permissions(mode).map_err(|error| ("chmod", error))?;
    }
    Ok(())
}

fn check_one(path: &Path, is_built_in: bool, settings: &ProcessSettings) -> Result<(), Failed> {
    let owner = match fs::metadata(path) {
        Ok(status) if !status.is_dir() => {
            return trusted::folder(path).map(drop).map_err(|error| ("open", error));
        }
        Ok(status) => Some(status.uid()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
            let parent = match is_built_in {
                true => parents.into_iter().find(|parent| parent.exists()),
                false => parents.into_iter().next(),
            };
            descriptor::check_writable(parent.unwrap_or(Path::new(".")))
                .map_err(|error| ("mkdir", error))?;
            None
        }
        Err(error) => return Err(("mkdir", error)),
    };
    match &settings.user {
        Some(user) if owner != Some(user.uid) => {
            credentials::check_chown(user.uid).map_err(|error| ("chown", error))
        }
        _ => Ok(()),
    }
}
