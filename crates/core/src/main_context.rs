//! The main context: processes, their limits and their identity.

mod setters;

use std::path::PathBuf;
use std::time::Duration;

use daemun_conf::Diagnostics;
use daemun_event::backends;
use daemun_sys::{credentials, identity, limits};

use crate::load::{Block, Paths};
use crate::log::Errno;
use crate::module::{Module, SettingsKey};
use crate::setting::Own;
use crate::settings::{CpuAffinity, Identity, ProcessSettings};
use crate::{directives, error_log, events, mpm, set, settings, thread_pool, values, zones};

/// The modules of the main and `events` contexts.
pub static MODULES: &[&Module] = &[
    &MODULE,
    &error_log::MODULE,
    &events::MODULE,
    &mpm::MODULE,
    &thread_pool::MODULE,
    &zones::MODULE,
];

settings! {
    pub struct Settings {
        daemon: bool = true,
        master_process: bool = true,
        worker_processes: usize = 1,
        worker_cpu_affinity: CpuAffinity = CpuAffinity::Unset,
        worker_priority: i32 = 0,
        worker_rlimit_nofile: Option<u64> = None,
        worker_rlimit_core: Option<u64> = None,
        worker_shutdown_timeout: Option<Duration> = None,
        working_directory: Option<PathBuf> = None,
        user: Option<Identity> = None,
        pid: Option<PathBuf> = None,
        environment: Own<Vec<(String, Option<String>)>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: Module = Module {
    name: "core",
    settings: Some(&SETTINGS),
    directives: directives! {
        "daemon" in MAIN, Flag, "on", set!(SETTINGS.daemon, values::flag),
            "Whether the server goes to the background.";
        "master_process" in MAIN, Flag, "on", set!(SETTINGS.master_process, values::flag),
            "Whether workers are started; off is for development.";
        "worker_processes" in MAIN, Exactly(1), "1",
            set!(SETTINGS.worker_processes, setters::worker_processes),
            "How many workers there are; auto is one for each processor.";
        "worker_cpu_affinity" in MAIN, AtLeast(1), "",
            set!(SETTINGS.worker_cpu_affinity, setters::worker_cpu_affinity),
            "The processors that each worker may use, as bit masks, or auto.";
        "worker_priority" in MAIN, Exactly(1), "0", set!(SETTINGS.worker_priority, setters::worker_priority),
            "The nice value of workers; a negative number is a higher priority.";
        "worker_rlimit_nofile" in MAIN, Exactly(1), "",
            set!(SETTINGS.worker_rlimit_nofile, |directive| values::integer(directive).map(Some)),
            "How many files a worker may have open.";
        "worker_rlimit_core" in MAIN, Exactly(1), "",
            set!(SETTINGS.worker_rlimit_core, |directive| values::offset(directive).map(Some)),
            "How large a worker's core file may be.";
        "worker_shutdown_timeout" in MAIN, Exactly(1), "",
            set!(SETTINGS.worker_shutdown_timeout, setters::shutdown_timeout),
            "How long a worker that was told to finish waits for its connections.";
        "working_directory" in MAIN, Exactly(1), "",
            set!(SETTINGS.working_directory, |directive| values::text(directive).map(|path| Some(path.into()))),
            "The current folder of workers.";
        "user" in MAIN, Between(1, 2), "", Action::Set(setters::user),
            "The user and group that workers run as.";
        "pid" in MAIN, Exactly(1), "logs/nginx.pid", Action::Set(setters::pid),
            "The file that holds the number of the main process.";
        "env" in MAIN, Exactly(1), "TZ", Action::Set(setters::env),
            "A variable of the environment to keep, or to set.";
        "load_module" in MAIN, Exactly(1), "", Action::Set(setters::load_module),
            "Accepted for modules that are built in; there are no loadable ones.";
        "lock_file" in MAIN, Exactly(1), "logs/nginx.lock",
            Action::Accepted("locks need no file on this system"),
            "Accepted: locks need no file on this system.";
        "timer_resolution" in MAIN, Exactly(1), "",
            Action::Checked(
                |directive| values::milliseconds(directive).map(drop),
                "the time is read once a turn of the event loop",
            ),
            "Accepted: the time is read once a turn of the event loop.";
        "debug_points" in MAIN, Exactly(1), "",
            Action::Checked(
                |directive| values::choice(directive, &[("stop", ()), ("abort", ())]),
                "mistakes inside the server are logged with their place",
            ),
            "Accepted: mistakes inside the server are logged with their place.";
        "pcre_jit" in MAIN, Flag, "off",
            Action::Checked(
                |directive| values::flag(directive).map(drop),
                "patterns are compiled to automata",
            ),
            "Accepted: patterns are compiled to automata.";
        "ssl_object_cache_inheritable" in MAIN, Flag, "on",
            Action::Checked(
                |directive| values::flag(directive).map(drop),
                "certificates are read with each configuration",
            ),
            "Accepted: certificates are read with each configuration.";
    },
};

/// What the program's identity decides where the configuration does not.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// Relative to the prefix.
    pub pid: &'a str,
    /// The first one that exists is it, with its primary group.
    pub users: &'a [&'a str],
}

/// The main context and its `events` block as values; what is missing or does not fit goes to the diagnostics.
pub fn process_settings(
    main: &Block,
    paths: &Paths,
    defaults: &Defaults<'_>,
    diagnostics: &mut Diagnostics,
) -> ProcessSettings {
    let settings = main.settings.of(&SETTINGS);
    let events = events::event_settings(main).unwrap_or_else(|| {
        // The section may stand in what could not be read.
        if !diagnostics.has_errors() {
            diagnostics.emerg("no \"events\" section in configuration", None);
        }
        Default::default()
    });
    warn_of_masks(settings, diagnostics);
    ProcessSettings {
        daemon: *settings.daemon,
        master_process: *settings.master_process,
        worker_processes: *settings.worker_processes,
        worker_cpu_affinity: CpuAffinity::clone(&settings.worker_cpu_affinity),
        worker_priority: *settings.worker_priority,
        worker_rlimit_nofile: *settings.worker_rlimit_nofile,
        worker_rlimit_core: *settings.worker_rlimit_core,
        worker_shutdown_timeout: *settings.worker_shutdown_timeout,
        working_directory: Option::clone(&settings.working_directory),
        user: Option::clone(&settings.user).or_else(|| default_user(defaults, diagnostics)),
        pid: Option::clone(&settings.pid).unwrap_or_else(|| paths.in_prefix(defaults.pid)),
        environment: settings.environment.0.clone(),
        events,
        mpm: mpm::mpm_settings(main, diagnostics),
    }
}

/// Whether a worker's connections suffice for that many listening sockets and fit the limit of open files.
pub fn check_connections(
    settings: &ProcessSettings,
    listening: usize,
    diagnostics: &mut Diagnostics,
) {
    let connections = settings.events.worker_connections;
    if connections < listening + 1 {
        diagnostics.emerg(
            format!(
                "{connections} worker_connections are not enough for {listening} listening sockets"
            ),
            None,
        );
    }
    let method = settings.events.method.as_deref();
    if let Some(most) = method.and_then(backends::most_descriptors)
        && connections > most
    {
        let sentence = format!("the maximum number of files supported by select() is {most}");
        diagnostics.emerg(sentence, None);
    }
    let Ok((limit, _)) = limits::limit(limits::Resource::Descriptors) else {
        return;
    };
    let limit = settings.worker_rlimit_nofile.unwrap_or(limit).max(limit);
    if connections as u64 > limit {
        let limit = settings.worker_rlimit_nofile.unwrap_or(limit);
        diagnostics.warn(
            format!("{connections} worker_connections exceed open file resource limit: {limit}"),
            None,
        );
    }
}

fn warn_of_masks(settings: &Settings, diagnostics: &mut Diagnostics) {
    let CpuAffinity::Masks(masks) = &*settings.worker_cpu_affinity else {
        return;
    };
    if masks.len() != 1 && masks.len() != *settings.worker_processes {
        diagnostics.warn(
            "the number of \"worker_processes\" is not equal to the number of \"worker_cpu_affinity\" masks, \
             using last mask for remaining worker processes",
            None,
        );
    }
}

fn default_user(defaults: &Defaults<'_>, diagnostics: &mut Diagnostics) -> Option<Identity> {
    if identity::effective_uid() != 0 {
        return None;
    }
    match first_user(defaults.users) {
        Ok(identity) => Some(identity),
        Err(sentence) => {
            diagnostics.emerg(sentence, None);
            None
        }
    }
}

/// Where the system has no users at all, as an image made of one program: the kernel's nobody.
fn first_user(names: &[&str]) -> Result<Identity, String> {
    for name in names {
        match credentials::user(name) {
            Ok(Some((uid, gid))) => return Ok(Identity { name: (*name).to_owned(), uid, gid }),
            Ok(None) => {}
            Err(error) => return Err(format!("getpwnam(\"{name}\") failed{}", Errno(&error))),
        }
    }
    Ok(Identity { name: "nobody".to_owned(), uid: NOBODY, gid: NOBODY })
}

/// What the kernel takes for users that it cannot name.
const NOBODY: u32 = 65_534;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;

    fn read(text: &str) -> (ProcessSettings, Vec<String>) {
        let main = tables::load(MODULES, text).unwrap_or_else(|errors| panic!("{errors:?}"));
        let paths = Paths { prefix: "/srv".into(), conf: "/srv/conf".into() };
        let defaults = Defaults { pid: "run/daemun.pid", users: &["no-such-user", "root"] };
        let mut diagnostics = Diagnostics::default();
        let settings = process_settings(&main, &paths, &defaults, &mut diagnostics);
        let messages = diagnostics.iter().map(|one| one.message.clone()).collect();
        (settings, messages)
    }

    fn mistake(text: &str) -> String {
        match tables::load(MODULES, text) {
            Ok(_) => panic!("accepted: {text}"),
            Err(mut messages) => messages.remove(0),
        }
    }

    #[test]
    fn tables_are_sound() {
        assert_eq!(tables::mistakes(MODULES), Vec::<String>::new());
    }

    #[test]
    fn values_reach_the_processes() {
        let (settings, messages) = read(
            "daemon off; worker_processes 3; worker_priority -5; worker_rlimit_core 1g; pid a.pid; \
             worker_shutdown_timeout 90; env TZ=UTC; env HOME; worker_cpu_affinity auto 0110; events {}",
        );
        assert_eq!(messages, Vec::<String>::new());
        assert!(!settings.daemon && settings.master_process);
        assert_eq!(settings.worker_processes, 3);
        assert_eq!(settings.worker_priority, -5);
        assert_eq!(settings.worker_rlimit_core, Some(1 << 30));
        assert_eq!(settings.worker_shutdown_timeout, Some(Duration::from_secs(90)));
        assert_eq!(settings.pid, PathBuf::from("/nowhere/a.pid"));
        let environment = [("TZ".into(), Some("UTC".into())), ("HOME".into(), None)];
        assert_eq!(settings.environment, environment);
        assert_eq!(settings.worker_cpu_affinity, CpuAffinity::Auto(vec![1, 2]));
        assert_eq!(read("events {}").0.pid, PathBuf::from("/srv/run/daemun.pid"));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let (_, messages) = read("");
        assert_eq!(messages, ["no \"events\" section in configuration"]);
        let (_, messages) = read("worker_processes 3; worker_cpu_affinity 01 10; events {}");
        assert!(messages[0].starts_with("the number of \"worker_processes\" is not equal"));
    }

    #[test]
    fn connections_have_to_suffice_and_to_fit() {
        let told = |connections, nofile| {
            let mut settings =
                ProcessSettings { worker_rlimit_nofile: nofile, ..ProcessSettings::default() };
            settings.events.worker_connections = connections;
            let mut diagnostics = Diagnostics::default();
            check_connections(&settings, 2, &mut diagnostics);
            diagnostics.iter().map(|one| one.message.clone()).collect::<Vec<_>>()
        };
        assert_eq!(told(2, None), ["2 worker_connections are not enough for 2 listening sockets"]);
        assert_eq!(told(3, None), Vec::<String>::new());
        let (soft, _) = limits::limit(limits::Resource::Descriptors).unwrap();
        let above = soft as usize + 1;
        assert_eq!(
            told(above, Some(8)),
            [format!("{above} worker_connections exceed open file resource limit: 8")]
        );
        assert_eq!(told(above, Some(soft + 1)), Vec::<String>::new());
    }

    #[test]
    fn select_has_a_limit_of_its_own() {
        let told = |connections| {
            let mut settings = ProcessSettings::default();
            settings.events.method = Some("select".to_owned());
            settings.events.worker_connections = connections;
            let mut diagnostics = Diagnostics::default();
            check_connections(&settings, 1, &mut diagnostics);
            diagnostics.iter().map(|one| one.message.clone()).next()
        };
        assert_eq!(told(1024), None);
        let sentence = "the maximum number of files supported by select() is 1024";
        assert_eq!(told(1025).unwrap(), sentence);
    }

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        let sentences = [
            ("worker_processes many;", "\"worker_processes\" directive invalid value"),
            ("worker_priority --1;", "\"worker_priority\" directive invalid number"),
            ("daemon on; daemon off;", "\"daemon\" directive is duplicate"),
            ("worker_cpu_affinity 012;", "invalid character \"2\" in \"worker_cpu_affinity\""),
            (
                "worker_cpu_affinity auto 1 1;",
                "invalid number of arguments in \"worker_cpu_affinity\" directive",
            ),
            (
                "load_module modules/ngx_http_x_module.so;",
                "dlopen() \"/nowhere/modules/ngx_http_x_module.so\" failed \
                 (/nowhere/modules/ngx_http_x_module.so: cannot open shared object file: No such file or directory)",
            ),
            ("events {} load_module a.so;", "\"load_module\" directive is specified too late"),
        ];
        for (text, sentence) in sentences {
            assert_eq!(mistake(text), sentence);
        }
    }

    #[test]
    fn the_first_user_that_exists_is_the_default() {
        let of = |names: &[&str]| first_user(names).unwrap();
        assert_eq!(
            (of(&["no-such-user", "root"]).name, of(&["root", "daemon"]).uid),
            ("root".into(), 0)
        );
        assert_eq!((of(&["no-such-user"]).uid, of(&[]).gid), (NOBODY, NOBODY));
    }

    /// `user` is looked up by root alone; anybody else is told that it has no effect.
    #[test]
    fn user_is_looked_up_where_it_counts() {
        match identity::effective_uid() {
            0 => {
                let (settings, _) = read("user daemon root; events {}");
                let user = settings.user.unwrap();
                assert_eq!((user.name.as_str(), user.gid), ("daemon", 0));
                assert_eq!(
                    mistake("user nobody-of-that-name;"),
                    "getpwnam(\"nobody-of-that-name\") failed"
                );
            }
            _ => assert!(mistake("user root;").contains("makes sense only")),
        }
    }
}
