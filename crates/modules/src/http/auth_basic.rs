//! `auth_basic`: access for those who know a password.
//!
//! ```nginx
//! location /private/ {
//!     auth_basic           "members only";
//!     auth_basic_user_file users;
//! }
//! ```

mod crypt;
mod des;
mod md5;

use std::io;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, settings};
use daemun_http::credentials::Credentials;
use daemun_http::files;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_proto::http1::Method;

/// A path that may be computed; a relative one is below the configuration's folder.
#[derive(Clone)]
struct UserFile {
    path: Script,
    folder: Vec<u8>,
}

settings! {
    pub struct Settings {
        realm: Option<Script> = None,
        user_file: Option<UserFile> = None,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_auth_basic_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "auth_basic" in HTTP_SERVER_LOCATION | LIMIT_EXCEPT, Exactly(1), "off",
                Action::Set(auth_basic),
                "Asks for a user and a password, for a realm of this name.";
            "auth_basic_user_file" in HTTP_SERVER_LOCATION | LIMIT_EXCEPT, Exactly(1), "",
                Action::Set(auth_basic_user_file),
                "The file with users and their passwords.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Access,
        applies: |settings| {
            let settings = settings.of(&SETTINGS);
            settings.realm.is_some() && settings.user_file.is_some()
        },
        handler: Handler::Now(check),
    }],
    ..HttpModule::EMPTY
};

fn check(request: &mut Request) -> Step {
    let settings = request.settings(&SETTINGS);
    let (Some(realm), Some(file)) = (&*settings.realm, &*settings.user_file) else {
        return Step::Declined;
    };
    let realm = realm.value(request);
    if realm == b"off" {
        return Step::Declined;
    }
    let Some(credentials) = Credentials::of(request) else {
        let reason = "no user/password was provided for basic authentication";
        log!(request.log(), Info, *request, "{}", reason);
        return ask(request, &realm);
    };
    let path = file.path(request);
    let users = match std::fs::read(files::as_path(&path)) {
        Ok(users) => users,
        Err(error) => return without_file(request, &path, &error),
    };
    let user = Text(credentials.user());
    let Some(hash) = find(&users, credentials.user()) else {
        let path = Text(&path);
        log!(request.log(), Error, *request, "user \"{}\" was not found in \"{}\"", user, path);
        return ask(request, &realm);
    };
    match crypt::verify(credentials.password(), hash) {
        Ok(true) => Step::Allowed,
        Ok(false) => {
            log!(request.log(), Error, *request, "user \"{}\": password mismatch", user);
            ask(request, &realm)
        }
        Err(crypt::UnknownForm) => {
            let error = io::Error::from(rustix::io::Errno::INVAL);
            log!(request.log(), Crit, *request, "crypt_r() failed"; error);
            Step::Status(Status::INTERNAL_SERVER_ERROR)
        }
    }
}

/// What follows the user's name, up to the next colon or the line's end.
fn find<'f>(users: &'f [u8], user: &[u8]) -> Option<&'f [u8]> {
    let lines = users.split(|byte| *byte == b'\n');
    let mut users = lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'\r')));
    let hash = users.find_map(|line| line.strip_prefix(user)?.strip_prefix(b":"))?;
    hash.split(|byte| matches!(byte, b'\r' | b':')).next()
}

fn ask(request: &mut Request, realm: &[u8]) -> Step {
    let challenge = [b"Basic realm=\"", realm, b"\""].concat();
    if request.head.method() == Method::Connect {
        request.response.add("Proxy-Authenticate", challenge);
        return Step::Status(Status::PROXY_AUTHENTICATION_REQUIRED);
    }
    request.response.add("WWW-Authenticate", challenge);
    Step::Status(Status::UNAUTHORIZED)
}

fn without_file(request: &mut Request, path: &[u8], error: &io::Error) -> Step {
    let path = Text(path);
    if error.kind() == io::ErrorKind::NotFound {
        log!(request.log(), Error, *request, "open() \"{}\" failed", path; *error);
        return Step::Status(Status::FORBIDDEN);
    }
    log!(request.log(), Crit, *request, "open() \"{}\" failed", path; *error);
    Step::Status(Status::INTERNAL_SERVER_ERROR)
}

impl UserFile {
    fn path(&self, request: &mut Request) -> Vec<u8> {
        let path = self.path.value(request);
        match path.first() {
            Some(b'/') => path,
            _ => [&*self.folder, b"/", &path].concat(),
        }
    }
}

fn auth_basic(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let realm = loader.script(&directive.args[0])?;
    loader.settings(&SETTINGS).realm.set(Some(realm))?;
    Ok(())
}

fn auth_basic_user_file(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let path = loader.script(&directive.args[0])?;
    let folder = loader.paths.conf.as_os_str().as_encoded_bytes().to_vec();
    loader.settings(&SETTINGS).user_file.set(Some(UserFile { path, folder }))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_line() {
        let users = b"# ann:no\r\n\nbob:1:comment\r\nann:2\r\nann:3\nbobby:4";
        assert_eq!(find(users, b"ann"), Some(&b"2"[..]));
        assert_eq!(find(users, b"bob"), Some(&b"1"[..]));
        assert_eq!(find(users, b"bobby"), Some(&b"4"[..]));
        assert_eq!(find(users, b"# ann"), None);
        assert_eq!(find(users, b"bo"), None);
    }
}
