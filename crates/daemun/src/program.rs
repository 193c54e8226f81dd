//! The server as the processes see it: how its configuration is read.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::{Diagnostic, Diagnostics, Files, Root, Severity};
use daemun_core::cidr::Cidr;
use daemun_core::error_log;
use daemun_core::load::{Block, Loader, Paths, Registry};
use daemun_core::log::{self, Log, OpenFiles};
use daemun_core::main_context::{self, Defaults};
use daemun_core::module::{
    Action, Contexts, Defaults as NoSettings, Directive, Inheritance, Module, SettingsSet,
};
use daemun_core::settings::{Mpm, ProcessSettings};
use daemun_core::thread_pool::{self, PoolSpec};
use daemun_core::zones::{self, Zones};
use daemun_http::config::{self as http_config, HttpConfig, ServerHeader, Surroundings};
use daemun_http::core::client::TempPath;
use daemun_http::core::connection;
use daemun_http::module::HttpModule;
use daemun_http::upstream::cache::manager;
use daemun_modules::http::{MODULES as HTTP_MODULES, health_check, log as access_log};
use daemun_process::{Cycle, Errand, Helper, Program, WorkerContext};
use daemun_sys::allocator;

use crate::cli::{Options, Places};
use crate::identity::Identity;
use crate::{apart, embedded, folders, notices, worker};

/// The processes of caches.
const CACHE_MANAGER: Helper = Helper { name: "cache manager", is_kept: true };
const CACHE_LOADER: Helper = Helper { name: "cache loader", is_kept: false };

/// The program with what its command line said.
pub struct Server {
    pub identity: &'static Identity,
    pub options: Options,
    pub places: Places,
}

/// A generation's configuration.
pub struct Configuration {
    pub http: Arc<HttpConfig>,
    pub zones: Zones,
    /// The files that were read, for `-T`.
    pub files: Files,
    /// What stands in them, for whoever tests a configuration; a server keeps none of it.
    pub directives: Vec<conf::Directive>,
    /// Last, so that all else is freed before it.
    _leaves: Leaves,
}

/// What a configuration took goes back to the system with it: the master would keep it for good.
struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        allocator::trim();
    }
}

impl Configuration {
    /// Makes the shared memory, with what is kept of the configuration before.
    fn take_over(&self, former: Option<&Configuration>) -> Result<(), String> {
        health_check::announce(&self.http);
        if let Some(former) = former {
            self.http.caches().check_against(former.http.caches())?;
        }
        self.zones.make(former.map(|former| &former.zones))?;
        self.http.upstreams.take_over(former.map(|former| &former.http.upstreams))
    }
}

impl Program for Server {
    type Configuration = Configuration;

    fn load(&self) -> Result<Cycle<Configuration>, String> {
        self.load_with(Files::default())
    }

    fn check(&self, cycle: &Cycle<Configuration>) -> Result<(), String> {
        match self.places.configuration {
            Some(_) => {
                let http = &cycle.configuration.http;
                folders::check(http, &cycle.settings, self.options.quiet)
            }
            None => Ok(()),
        }
    }

    fn prepare(
        &self,
        cycle: &Cycle<Configuration>,
        previous: Option<&Cycle<Configuration>>,
    ) -> Result<(), String> {
        notices::log_method(worker::event_method(&cycle.settings), &cycle.log);
        if previous.is_none() {
            notices::log_start(self.identity.server, &cycle.log);
            let has_file = self.places.configuration.is_some();
            let has_named = self.options.error_log.is_some() || !cycle.log.tells_stderr();
            if has_file && !has_named && !self.identity.has_log_folder(Path::exists) {
                notices::tell_of_missing_logs(self.identity);
            }
        }
        let former = previous.map(|previous| &previous.configuration);
        cycle.configuration.take_over(former)?;
        if self.places.configuration.is_some() {
            return folders::make(&cycle.configuration.http, &cycle.settings);
        }
        Ok(())
    }

    fn bequeath(&self) -> Vec<u8> {
        daemun_tls::tickets::bequeath()
    }

    fn inherit(&self, secrets: Vec<u8>) {
        daemun_tls::tickets::inherit(secrets);
    }

    fn helpers(&self, cycle: &Cycle<Configuration>) -> Vec<Helper> {
        match cycle.configuration.http.caches().places().next() {
            Some(_) => vec![CACHE_MANAGER, CACHE_LOADER],
            None => Vec::new(),
        }
    }

    fn help(&self, cycle: &Cycle<Configuration>, helper: Helper, mut errand: Errand) -> i32 {
        let (caches, log) = (cycle.configuration.http.caches(), &cycle.log);
        let mut pause = |time| errand.pause(time);
        match helper {
            CACHE_MANAGER => manager::manage(caches, log, &mut pause),
            _ => manager::load(caches, log, &mut pause),
        }
        0
    }

    fn work(&self, cycle: &Cycle<Configuration>, context: WorkerContext) -> i32 {
        if self.places.configuration.is_none() && context.generation == 1 && context.index == 0 {
            embedded::announce(&cycle.listen);
        }
        worker::run(cycle, context)
    }
}

/// What was read, usable or not.
struct Read {
    directives: Vec<conf::Directive>,
    http: Arc<HttpConfig>,
    zones: Zones,
    settings: ProcessSettings,
    listen: Vec<daemun_core::listen::ListenSpec>,
    log: Log,
}

/// A configuration that cannot be used: what was read of it, and what is wrong.
pub struct Broken {
    pub files: Files,
    pub diagnostics: Diagnostics,
}

impl Server {
    /// As [`load`](Program::load), with files that the program pretends.
    pub fn load_with(&self, files: Files) -> Result<Cycle<Configuration>, String> {
        self.load_or_show(files).map_err(|broken| {
            let is_emerg = |one: &&Diagnostic| one.severity == Severity::Emerg;
            let first = broken.diagnostics.iter().find(is_emerg);
            first.map(|first| first.sentence(&broken.files)).unwrap_or_default()
        })
    }

    /// The same for whoever goes on with what is wrong.
    pub fn load_or_show(&self, mut files: Files) -> Result<Cycle<Configuration>, Broken> {
        let mut diagnostics = Diagnostics::default();
        let log_files = Arc::new(OpenFiles::default());
        let cycle = apart::run(|| self.read(&mut files, &mut diagnostics, &log_files));
        self.report(&diagnostics, &files);
        if diagnostics.has_errors() {
            return Err(Broken { files, diagnostics });
        }
        // Workers are copies of this process: what reading took is nothing to them.
        allocator::trim();
        Ok(Cycle {
            configuration: Configuration {
                http: cycle.http,
                zones: cycle.zones,
                files,
                directives: cycle.directives,
                _leaves: Leaves,
            },
            settings: cycle.settings,
            listen: cycle.listen,
            log: cycle.log,
            files: log_files,
        })
    }

    fn read(
        &self,
        files: &mut Files,
        diagnostics: &mut Diagnostics,
        log_files: &OpenFiles,
    ) -> Read {
        let paths = Paths {
            prefix: self.places.prefix.clone(),
            conf: self.places.configuration_folder.clone(),
        };
        let mut directives = self.parse_command_line(files, diagnostics);
        let root = match &self.places.configuration {
            Some(path) => Root::Path(path.clone()),
            None => embedded::root(),
        };
        let file = conf::parse(root, &paths.conf, files, diagnostics);
        directives.extend(file.directives);

        let registry = Registry::new(modules());
        let loader = Loader::new(&registry, paths.clone(), log_files, diagnostics);
        let (mut main, variables) = loader.load(&directives);
        self.set_default_log(&mut main, log_files);
        let defaults = Defaults { pid: self.identity.pid, users: self.identity.users };
        let mut settings = main_context::process_settings(&main, &paths, &defaults, diagnostics);
        if self.places.configuration.is_none() {
            self.settle_embedded(&mut settings, diagnostics);
        }
        let log = main.settings.of(&error_log::SETTINGS).log.clone();
        let zones = main.settings.of(&zones::SETTINGS).zones.0.clone();
        zones::check(&zones, diagnostics);
        shorten_keepalive(&mut main, settings.mpm.mpm);
        let http = self.build_http(
            &mut main,
            &variables,
            &paths,
            log_files,
            settings.events.debug_connections.clone(),
            diagnostics,
        );
        health_check::verify(&http, diagnostics);
        let listen: Vec<_> = http.sockets.iter().map(|socket| socket.spec.clone()).collect();
        main_context::check_connections(&settings, listen.len(), diagnostics);
        if !self.options.test {
            directives.clear();
        }
        Read { directives, http: Arc::new(http), zones, settings, listen, log: Log::clone(&log) }
    }

    /// A server without a configuration file leaves no trace, and does not serve root's files to others.
    fn settle_embedded(&self, settings: &mut ProcessSettings, diagnostics: &mut Diagnostics) {
        settings.pid = PathBuf::new();
        if daemun_sys::identity::effective_uid() != 0 {
            return;
        }
        match embedded::owner(&self.places.prefix) {
            Ok(user) => {
                if let Some(closed) = embedded::closed_to(&user, &self.places.prefix) {
                    let (closed, name) = (closed.display(), &user.name);
                    let sentence = format!(
                        "user \"{name}\" serves this folder and can't enter \"{closed}\": every \
                         file will be forbidden; serve a folder that all may read"
                    );
                    diagnostics.warn(sentence, None);
                }
                settings.user = Some(user);
            }
            Err(error) => {
                let folder = self.places.prefix.display();
                let sentence = format!("stat() \"{folder}\" failed{}", log::Errno(&error));
                diagnostics.emerg(sentence, None);
            }
        }
    }

    /// `-g` stands before the file.
    fn parse_command_line(
        &self,
        files: &mut Files,
        diagnostics: &mut Diagnostics,
    ) -> Vec<conf::Directive> {
        let Some(text) = &self.options.directives else {
            return Vec::new();
        };
        let root = Root::CommandLine(text.as_bytes().to_vec());
        let block = conf::parse(root, &self.places.configuration_folder, files, diagnostics);
        block.directives
    }

    /// Without `error_log` errors go where the command line or the identity says.
    fn set_default_log(&self, main: &mut Block, log_files: &OpenFiles) {
        use daemun_core::log::{Level, Target, Threshold};
        let settings = main.settings.of_mut(&error_log::SETTINGS);
        if settings.log.is_set() {
            return;
        }
        let target = match &self.places.error_log {
            Some(path) => Target::File(log_files.register(path)),
            None => Target::Stderr,
        };
        settings.log.replace(Log::new(vec![(target, Threshold::of(Level::Error))]));
    }

    fn build_http(
        &self,
        main: &mut Block,
        variables: &daemun_core::script::Variables,
        paths: &Paths,
        log_files: &OpenFiles,
        debugged: Vec<Cidr>,
        diagnostics: &mut Diagnostics,
    ) -> HttpConfig {
        let surroundings = self.surroundings(paths, debugged, thread_pool::pools_of(main));
        let place = main.children.iter().position(|block| block.context == Contexts::HTTP);
        let Some(place) = place else {
            let settings =
                std::mem::replace(&mut main.settings, SettingsSet::new(&NoSettings::new(&[])));
            return HttpConfig::without_servers(settings, surroundings);
        };
        let mut http = main.children.swap_remove(place);
        if self.identity.has_log_folder(Path::exists) {
            let path = Path::new(self.identity.access_log);
            access_log::add_default_log(&mut http, log_files, path);
        }
        http.settings.inherit(&main.settings, &mut Inheritance::default(), 0);
        http_config::build(http, variables, http_modules(), paths, surroundings, diagnostics)
    }

    fn surroundings(
        &self,
        paths: &Paths,
        debugged: Vec<Cidr>,
        thread_pools: Vec<PoolSpec>,
    ) -> Surroundings {
        Surroundings {
            server_header: ServerHeader {
                name: self.identity.server_without_version,
                version: self.identity.server.to_owned(),
                build: format!("{} (daemun)", self.identity.server),
            },
            body_temp_path: TempPath {
                folder: paths.in_prefix(self.identity.temporary).join("body"),
                levels: Vec::new(),
            },
            upstream_temp_path: TempPath {
                folder: paths.in_prefix(self.identity.temporary).join("upstream"),
                levels: Vec::new(),
            },
            debugged,
            thread_pools,
        }
    }

    /// Every finding goes to the log in nginx's words; the terminal also sees the place.
    /// Messages come in the order of the text. As in nginx the first verdict of `-t` stands between what the file's text shows and what the
    /// system says to it.
    fn report(&self, diagnostics: &Diagnostics, files: &Files) {
        let (mut about_text, about_system): (Vec<_>, Vec<_>) =
            diagnostics.iter().partition(|diagnostic| diagnostic.span.is_some());
        about_text.sort_by_cached_key(|message| message.span.map(|span| files.reading_order(span)));
        let log = Log::current();
        let echo = log::echo_to_stderr(false);
        let tell = |diagnostic: &Diagnostic| {
            if echo {
                if !self.is_hushed(diagnostic) {
                    eprint!("{}", diagnostic.render(self.identity.name, files));
                }
                if log.tells_stderr() {
                    return;
                }
            }
            let sentence = diagnostic.sentence(files);
            match diagnostic.severity {
                Severity::Emerg => daemun_core::log!(log, Emerg, (), "{}", sentence),
                Severity::Warn => daemun_core::log!(log, Warn, (), "{}", sentence),
                Severity::Notice => daemun_core::log!(log, Notice, (), "{}", sentence),
            }
        };
        about_text.iter().copied().for_each(&tell);
        let is_wrong = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Emerg;
        // Without its file there is no syntax.
        let is_unread = |one: &&Diagnostic| {
            let path = self.places.shown_configuration();
            is_wrong(one) && one.message.contains(&format!("() \"{path}\" failed"))
        };
        let is_sound = !about_text.iter().any(is_wrong) && !about_system.iter().any(is_unread);
        if self.options.test && !self.options.quiet && is_sound {
            let shown = self.places.shown_configuration();
            log::write_stderr(format_args!("the configuration file {shown} syntax is ok"));
        }
        about_system.iter().copied().for_each(&tell);
        log::echo_to_stderr(echo);
    }

    fn is_hushed(&self, diagnostic: &Diagnostic) -> bool {
        match diagnostic.severity {
            Severity::Emerg => false,
            Severity::Warn => self.options.quiet,
            Severity::Notice => self.options.quiet || !self.options.test,
        }
    }
}

/// Where an idle connection may cost a thread or a process, it is kept no longer than Apache does unless
/// the configuration says so.
fn shorten_keepalive(main: &mut Block, mpm: Mpm) {
    let settings = main.settings.of_mut(&connection::SETTINGS);
    if mpm != Mpm::Native && !settings.keepalive_timeout.is_set() {
        settings.keepalive_timeout.replace(APACHES_KEEPALIVE);
    }
}

/// KeepAliveTimeout.
const APACHES_KEEPALIVE: Duration = Duration::from_secs(5);

/// The parts of HTTP and its modules, in the order in which they act.
pub fn http_modules() -> &'static [&'static HttpModule] {
    static ALL: OnceLock<Vec<&'static HttpModule>> = OnceLock::new();
    ALL.get_or_init(|| daemun_http::core::PARTS.iter().chain(HTTP_MODULES).copied().collect())
}

/// Every module, in the order of its settings.
fn modules() -> impl Iterator<Item = &'static Module> {
    let http = http_modules().iter().map(|module| &module.base);
    main_context::MODULES.iter().copied().chain(http)
}

/// The modules that work, as [`configure`](crate::configure) names them: those that do more than accept directives.
pub fn working_modules() -> Vec<&'static str> {
    let names = HTTP_MODULES.iter().filter(|module| acts(module)).map(|module| module.base.name);
    let names = names.map(|name| name.strip_suffix("_module").unwrap_or(name));
    ["http", "http-cache", "pcre"].into_iter().chain(names).collect()
}

fn acts(module: &HttpModule) -> bool {
    let has_effect = |directive: &Directive| matches!(directive.action, Action::Set(_));
    !module.handlers.is_empty()
        || !module.filters.is_empty()
        || module.base.directives.iter().any(has_effect)
}
