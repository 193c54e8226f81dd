//! The main context: processes, their limits and their identity.

use std::path::PathBuf;
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::Diagnostics;
use daemun_sys::{credentials, identity, limits};

use crate::load::{Block, Fault, Loader};
use crate::log::Errno;
use crate::module::{Module, SettingsKey};
use crate::setting::Own;
use crate::settings::{CpuAffinity, Identity, ProcessSettings};
use crate::{directives, error_log, events, set, settings, values};

/// The modules of the main and `events` contexts.
pub static MODULES: &[&Module] = &[&MODULE, &error_log::MODULE, &events::MODULE];

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
        thread_pools: Own<Vec<String>>,
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
            set!(SETTINGS.worker_processes, worker_processes),
            "How many workers there are; auto is one for each processor.";
        "worker_cpu_affinity" in MAIN, AtLeast(1), "",
            set!(SETTINGS.worker_cpu_affinity, worker_cpu_affinity),
            "The processors that each worker may use, as bit masks, or auto.";
        "worker_priority" in MAIN, Exactly(1), "0", set!(SETTINGS.worker_priority, worker_priority),
            "The nice value of workers; a negative number is a higher priority.";
        "worker_rlimit_nofile" in MAIN, Exactly(1), "",
            set!(SETTINGS.worker_rlimit_nofile, |directive| values::integer(directive).map(Some)),
            "How many files a worker may have open.";
        "worker_rlimit_core" in MAIN, Exactly(1), "",
            set!(SETTINGS.worker_rlimit_core, |directive| values::offset(directive).map(Some)),
            "How large a worker's core file may be.";
        "worker_shutdown_timeout" in MAIN, Exactly(1), "",
            set!(SETTINGS.worker_shutdown_timeout, shutdown_timeout),
            "How long a worker that was told to finish waits for its connections.";
        "working_directory" in MAIN, Exactly(1), "",
            set!(SETTINGS.working_directory, |directive| values::text(directive).map(|path| Some(path.into()))),
            "The current folder of workers.";
        "user" in MAIN, Between(1, 2), "", Action::Set(user),
            "The user and group that workers run as.";
        "pid" in MAIN, Exactly(1), "logs/nginx.pid", Action::Set(pid),
            "The file that holds the number of the main process.";
        "env" in MAIN, Exactly(1), "TZ", Action::Set(env),
            "A variable of the environment to keep, or to set.";
        "load_module" in MAIN, Exactly(1), "", Action::Set(load_module),
            "Accepted for modules that are built in; there are no loadable ones.";
        "thread_pool" in MAIN, Between(2, 3), "default threads=32 max_queue=65536",
            Action::Set(thread_pool),
            "Accepted: files are read by the workers themselves.";
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
    pub user: &'a str,
    pub group: &'a str,
}

/// The main context and its `events` block as values; what is missing or does not fit goes to the diagnostics.
pub fn process_settings(
    main: &Block,
    paths: &crate::load::Paths,
    defaults: &Defaults<'_>,
    diagnostics: &mut Diagnostics,
) -> ProcessSettings {
    let settings = main.settings.of(&SETTINGS);
    let events = events::event_settings(main).unwrap_or_else(|| {
        diagnostics.emerg("no \"events\" section in configuration", None);
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
    match look_up(defaults.user, defaults.group) {
        Ok(identity) => Some(identity),
        Err(sentence) => {
            diagnostics.emerg(sentence, None);
            None
        }
    }
}

fn worker_processes(directive: &conf::Directive) -> Result<usize, Fault> {
    let word = &directive.args[0];
    if word == "auto" {
        return Ok(limits::processors());
    }
    values::integer(directive).map_err(|_| Fault::from("invalid value").at(word.span))
}

fn worker_cpu_affinity(directive: &conf::Directive) -> Result<CpuAffinity, Fault> {
    if directive.args[0] != "auto" {
        let masks: Result<_, _> = directive.args.iter().map(cpu_mask).collect();
        return masks.map(CpuAffinity::Masks);
    }
    match &directive.args[1..] {
        [] => Ok(CpuAffinity::Auto(Vec::new())),
        [mask] => match cpu_mask(mask)? {
            cpus if cpus.is_empty() => Ok(CpuAffinity::Unset),
            cpus => Ok(CpuAffinity::Auto(cpus)),
        },
        _ => {
            let sentence = "invalid number of arguments in \"worker_cpu_affinity\" directive";
            Err(sentence.to_owned().into())
        }
    }
}

/// `0101` names the processors 0 and 2: the last digit is processor 0.
fn cpu_mask(word: &conf::Word) -> Result<Vec<usize>, Fault> {
    if word.text.len() > limits::CPU_LIMIT {
        let sentence = format!(
            "\"worker_cpu_affinity\" supports up to {} CPUs only",
            limits::CPU_LIMIT
        );
        return Err(Fault::from(sentence).at(word.span));
    }
    let digits = word.text.iter().rev().filter(|byte| **byte != b' ');
    let mut cpus = Vec::new();
    for (cpu, digit) in digits.enumerate() {
        match digit {
            b'0' => {}
            b'1' => cpus.push(cpu),
            other => {
                let other = char::from(*other);
                let sentence = format!("invalid character \"{other}\" in \"worker_cpu_affinity\"");
                return Err(Fault::from(sentence).at(word.span));
            }
        }
    }
    Ok(cpus)
}

fn worker_priority(directive: &conf::Directive) -> Result<i32, Fault> {
    let word = &directive.args[0];
    let (sign, digits) = match &*word.text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    conf::units::integer(digits)
        .and_then(|number| i32::try_from(number).ok())
        .map(|number| sign * number)
        .ok_or_else(|| Fault::from("invalid number").at(word.span))
}

/// 0 is no limit, as nginx has it.
fn shutdown_timeout(directive: &conf::Directive) -> Result<Option<Duration>, Fault> {
    let timeout = values::milliseconds(directive)?;
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

fn user(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if identity::effective_uid() != 0 {
        let message = "the \"user\" directive makes sense only if the master process runs with \
                       super-user privileges, ignored";
        loader.warn(directive.name.span, message.to_owned());
        return Ok(());
    }
    let name = values::text(directive)?;
    let group = directive.args.last().expect("one argument at least");
    let identity = look_up(&name, &group.to_str_lossy())?;
    let settings = loader.settings(&SETTINGS);
    settings.user.set(Some(identity))?;
    Ok(())
}

/// The error is nginx's sentence, with the system's reason where it gave one.
fn look_up(user: &str, group: &str) -> Result<Identity, String> {
    let failed = |call: &str, name: &str, error: Option<&std::io::Error>| match error {
        Some(error) => format!("{call}(\"{name}\") failed{}", Errno(error)),
        None => format!("{call}(\"{name}\") failed"),
    };
    let (uid, _) = match credentials::user(user) {
        Ok(Some(found)) => found,
        Ok(None) => return Err(failed("getpwnam", user, None)),
        Err(error) => return Err(failed("getpwnam", user, Some(&error))),
    };
    let gid = match credentials::group(group) {
        Ok(Some(found)) => found,
        Ok(None) => return Err(failed("getgrnam", group, None)),
        Err(error) => return Err(failed("getgrnam", group, Some(&error))),
    };
    Ok(Identity {
        name: user.to_owned(),
        uid,
        gid,
    })
}

fn pid(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let path = loader.paths.in_prefix(values::text(directive)?);
    loader.settings(&SETTINGS).pid.set(Some(path))?;
    Ok(())
}

fn env(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let text = values::text(directive)?;
    let variable = match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text, None),
    };
    let settings = loader.settings(&SETTINGS);
    settings.environment.0.push(variable);
    Ok(())
}

fn load_module(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if !loader.block().children.is_empty() {
        return Err("is specified too late".into());
    }
    let path = loader.paths.in_prefix(values::text(directive)?);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let name = file
        .strip_prefix("ngx_")
        .and_then(|file| file.strip_suffix(".so"));
    if name.is_some_and(|name| loader.has_module(name)) {
        return Ok(());
    }
    let path = path.display();
    let reason = match path.to_string() {
        path if std::path::Path::new(&path).exists() => "modules are built in, not loaded",
        _ => "cannot open shared object file: No such file or directory",
    };
    Err(format!("dlopen() \"{path}\" failed ({path}: {reason})").into())
}

fn thread_pool(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = values::text(directive)?;
    let mut has_threads = false;
    for word in &directive.args[1..] {
        let number = |digits| conf::units::integer(digits);
        let invalid =
            |what: &str| Fault::from(format!("invalid {what} value \"{word}\"")).at(word.span);
        if let Some(digits) = word.text.strip_prefix(b"threads=") {
            has_threads = number(digits).is_some_and(|count| count > 0);
            if !has_threads {
                return Err(invalid("threads"));
            }
        } else if let Some(digits) = word.text.strip_prefix(b"max_queue=") {
            number(digits).ok_or_else(|| invalid("max_queue"))?;
        }
    }
    if !has_threads {
        return Err("\"thread_pool\" must have \"threads\" parameter"
            .to_owned()
            .into());
    }
    let pools = &mut loader.settings(&SETTINGS).thread_pools.0;
    if pools.contains(&name) {
        return Err(format!("duplicate thread pool \"{name}\"").into());
    }
    pools.push(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Paths;
    use crate::tables;

    fn read(text: &str) -> (ProcessSettings, Vec<String>) {
        let main = tables::load(MODULES, text).unwrap_or_else(|errors| panic!("{errors:?}"));
        let paths = Paths {
            prefix: "/srv".into(),
            conf: "/srv/conf".into(),
        };
        let defaults = Defaults {
            pid: "run/daemun.pid",
            user: "root",
            group: "root",
        };
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
        assert_eq!(
            settings.worker_shutdown_timeout,
            Some(Duration::from_secs(90))
        );
        assert_eq!(settings.pid, PathBuf::from("/nowhere/a.pid"));
        let environment = [("TZ".into(), Some("UTC".into())), ("HOME".into(), None)];
        assert_eq!(settings.environment, environment);
        assert_eq!(settings.worker_cpu_affinity, CpuAffinity::Auto(vec![1, 2]));
        assert_eq!(
            read("events {}").0.pid,
            PathBuf::from("/srv/run/daemun.pid")
        );
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
            let mut settings = ProcessSettings {
                worker_rlimit_nofile: nofile,
                ..ProcessSettings::default()
            };
            settings.events.worker_connections = connections;
            let mut diagnostics = Diagnostics::default();
            check_connections(&settings, 2, &mut diagnostics);
            diagnostics
                .iter()
                .map(|one| one.message.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told(2, None),
            ["2 worker_connections are not enough for 2 listening sockets"]
        );
        assert_eq!(told(3, None), Vec::<String>::new());
        let (soft, _) = limits::limit(limits::Resource::Descriptors).unwrap();
        let above = soft as usize + 1;
        assert_eq!(
            told(above, Some(8)),
            [format!(
                "{above} worker_connections exceed open file resource limit: 8"
            )]
        );
        assert_eq!(told(above, Some(soft + 1)), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        let sentences = [
            (
                "worker_processes many;",
                "\"worker_processes\" directive invalid value",
            ),
            (
                "worker_priority --1;",
                "\"worker_priority\" directive invalid number",
            ),
            (
                "daemon on; daemon off;",
                "\"daemon\" directive is duplicate",
            ),
            (
                "worker_cpu_affinity 012;",
                "invalid character \"2\" in \"worker_cpu_affinity\"",
            ),
            (
                "worker_cpu_affinity auto 1 1;",
                "invalid number of arguments in \"worker_cpu_affinity\" directive",
            ),
            (
                "load_module modules/ngx_http_x_module.so;",
                "dlopen() \"/nowhere/modules/ngx_http_x_module.so\" failed \
                 (/nowhere/modules/ngx_http_x_module.so: cannot open shared object file: No such file or directory)",
            ),
            (
                "events {} load_module a.so;",
                "\"load_module\" directive is specified too late",
            ),
            (
                "thread_pool a max_queue=1;",
                "\"thread_pool\" must have \"threads\" parameter",
            ),
            (
                "thread_pool a threads=1; thread_pool a threads=2;",
                "duplicate thread pool \"a\"",
            ),
        ];
        for (text, sentence) in sentences {
            assert_eq!(mistake(text), sentence);
        }
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
