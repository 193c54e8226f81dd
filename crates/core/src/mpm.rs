//! `mpm`: which process model runs the connections, with the settings that Apache has for it.
//!
//! Settings that contradict each other are corrected as Apache does, with a warning that gives
//! both numbers.

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::{Diagnostics, Span, units};

use crate::load::{Block, Fault, Loader};
use crate::module::{Contexts, Module, SettingsKey};
use crate::setting::{Own, Setting};
use crate::settings::{Mpm, MpmSettings};
use crate::{directives, set, settings, values};

settings! {
    pub struct Settings {
        /// In the main context: what the directive named.
        chosen: Own<Option<Mpm>>,
        start_servers: Option<usize> = None,
        min_spare_servers: usize = 5,
        max_spare_servers: usize = 10,
        min_spare_threads: usize = 75,
        max_spare_threads: usize = 250,
        server_limit: Option<usize> = None,
        thread_limit: usize = 64,
        threads_per_child: usize = 25,
        max_request_workers: Option<usize> = None,
        max_connections_per_child: u64 = 0,
        async_request_worker_factor: f64 = 2.0,
        thread_stack_size: usize = DEFAULT_STACK,
        listen_cores_buckets_ratio: usize = 0,
        graceful_shutdown_timeout: Duration = Duration::ZERO,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

/// What a session needs at its deepest, several times over. Only what is touched takes memory.
const DEFAULT_STACK: usize = 256 * 1024;

/// Apache's compile-time bounds.
const MOST_SERVERS: usize = 20_000;
const MOST_THREADS: usize = 20_000;

pub static MODULE: Module = Module {
    name: "mpm",
    settings: Some(&SETTINGS),
    directives: directives! {
        "mpm" in MAIN, OptionalBlock(1, 1), "native", Action::Set(mpm),
            "The process model: native is nginx's; event, worker and prefork are Apache's.";
        "start_servers" in MPM, Exactly(1), "3",
            set!(SETTINGS.start_servers, |directive| values::integer(directive).map(Some)),
            "How many child processes are there at the start; 5 with prefork.";
        "min_spare_servers" in MPM, Exactly(1), "5", set!(SETTINGS.min_spare_servers, values::integer),
            "With prefork: with fewer idle child processes, more are started.";
        "max_spare_servers" in MPM, Exactly(1), "10", set!(SETTINGS.max_spare_servers, values::integer),
            "With prefork: with more idle child processes, some are ended.";
        "min_spare_threads" in MPM, Exactly(1), "75", set!(SETTINGS.min_spare_threads, values::integer),
            "With worker and event: with fewer idle threads in all children, more children are started.";
        "max_spare_threads" in MPM, Exactly(1), "250", set!(SETTINGS.max_spare_threads, values::integer),
            "With worker and event: with more idle threads in all children, some children are ended.";
        "server_limit" in MPM, Exactly(1), "16",
            set!(SETTINGS.server_limit, |directive| values::integer(directive).map(Some)),
            "The most child processes that max_request_workers may ask for; 256 with prefork.";
        "thread_limit" in MPM, Exactly(1), "64", set!(SETTINGS.thread_limit, values::integer),
            "With worker and event: the most threads that threads_per_child may ask for.";
        "threads_per_child" in MPM, Exactly(1), "25", set!(SETTINGS.threads_per_child, values::integer),
            "With worker and event: the threads of each child process that serve requests.";
        "max_request_workers" in MPM, Exactly(1), "400",
            set!(SETTINGS.max_request_workers, |directive| values::integer(directive).map(Some)),
            "How many requests are served at once; by default server_limit times threads_per_child.";
        "max_connections_per_child" in MPM, Exactly(1), "0",
            set!(SETTINGS.max_connections_per_child, values::integer),
            "After so many connections a child process, or a native worker, is replaced; 0: never.";
        "async_request_worker_factor" in MPM, Exactly(1), "2",
            set!(SETTINGS.async_request_worker_factor, factor),
            "With event: a child accepts while it serves fewer than threads_per_child plus this times its idle threads.";
        "thread_stack_size" in MPM, Exactly(1), "256k", set!(SETTINGS.thread_stack_size, stack_size),
            "With worker and event: the stack of each thread; only what is used takes memory.";
        "listen_cores_buckets_ratio" in MPM, Exactly(1), "0",
            set!(SETTINGS.listen_cores_buckets_ratio, values::integer),
            "One set of listening sockets for so many processors, each with its own children; 0: one set in all.";
        "graceful_shutdown_timeout" in MPM, Exactly(1), "0",
            set!(SETTINGS.graceful_shutdown_timeout, values::seconds),
            "How long a graceful stop may take before it is forced; 0: as long as it takes.";
    },
};

fn mpm(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let names = Mpm::ALL.map(|mpm| (mpm.name(), mpm));
    let chosen = values::choice(directive, &names)?;
    if loader.settings(&SETTINGS).chosen.0.replace(chosen).is_some() {
        return Err("is duplicate".into());
    }
    loader.enter(Contexts::MPM, directive);
    Ok(())
}

fn factor(directive: &conf::Directive) -> Result<f64, Fault> {
    let word = &directive.args[0];
    let number = word.as_str().ok().and_then(|text| text.parse::<f64>().ok());
    number.filter(|number| number.is_finite() && *number > 0.0).ok_or_else(|| {
        let sentence = format!("\"{}\" argument must be a positive number", directive.name);
        Fault::from(sentence).at(word.span)
    })
}

/// Less than this overflows before a thread has read its first request.
const SMALLEST_STACK: usize = 64 * 1024;

fn stack_size(directive: &conf::Directive) -> Result<usize, Fault> {
    let word = &directive.args[0];
    let size = units::size(&word.text).ok_or_else(|| Fault::from("invalid value").at(word.span))?;
    if size < SMALLEST_STACK {
        return Err(Fault::from(format!("invalid value \"{word}\""))
            .at(word.span)
            .help("a thread needs 64k at least"));
    }
    Ok(size)
}

/// The directive's values, made consistent.
pub fn mpm_settings(main: &Block, diagnostics: &mut Diagnostics) -> MpmSettings {
    let mpm = main.settings.of(&SETTINGS).chosen.0.unwrap_or_default();
    let block = main.children.iter().find(|block| block.context == Contexts::MPM);
    let defaults = Settings::default();
    let settings = block.map_or(&defaults, |block| block.settings.of(&SETTINGS));
    let mut review = Review { span: block.and_then(Block::span), diagnostics };
    let graceful = *settings.graceful_shutdown_timeout;
    let base = MpmSettings {
        mpm,
        max_connections_per_child: *settings.max_connections_per_child,
        async_request_worker_factor: *settings.async_request_worker_factor,
        thread_stack_size: *settings.thread_stack_size,
        listen_cores_buckets_ratio: *settings.listen_cores_buckets_ratio,
        graceful_shutdown_timeout: Some(graceful).filter(|timeout| !timeout.is_zero()),
        ..MpmSettings::default()
    };
    match mpm {
        Mpm::Native => base,
        Mpm::Prefork => review.processes(settings, base),
        Mpm::Event | Mpm::Worker => review.threads(settings, base),
    }
}

/// Corrects what cannot be, and says so.
struct Review<'d> {
    span: Option<Span>,
    diagnostics: &'d mut Diagnostics,
}

impl Review<'_> {
    fn processes(&mut self, settings: &Settings, base: MpmSettings) -> MpmSettings {
        let server_limit = self.server_limit(settings, 256);
        let most = match *settings.max_request_workers {
            None => server_limit,
            Some(asked) => {
                let most = self.at_least_one("max_request_workers", asked);
                self.at_most("max_request_workers", most, "server_limit", server_limit)
            }
        };
        let min_spare = self.at_least_one("min_spare_servers", *settings.min_spare_servers);
        let max_spare = self.above(
            ("max_spare_servers", &settings.max_spare_servers),
            min_spare + 1,
            format_args!("min_spare_servers of {min_spare}"),
        );
        let start = self.start_servers(settings, 5, most);
        MpmSettings {
            start,
            min_spare,
            max_spare,
            most_children: most,
            threads_per_child: 1,
            ..base
        }
    }

    fn threads(&mut self, settings: &Settings, base: MpmSettings) -> MpmSettings {
        let server_limit = self.server_limit(settings, 16);
        let thread_limit = self.at_least_one("thread_limit", *settings.thread_limit);
        let thread_limit = self.bounded("thread_limit", thread_limit, MOST_THREADS, "threads");
        let threads = self.at_least_one("threads_per_child", *settings.threads_per_child);
        let threads = self.at_most("threads_per_child", threads, "thread_limit", thread_limit);
        let most_children = match *settings.max_request_workers {
            None => server_limit,
            Some(asked) => self.children_for(asked, threads, server_limit),
        };
        let min_spare = self.at_least_one("min_spare_threads", *settings.min_spare_threads);
        let max_spare = self.above(
            ("max_spare_threads", &settings.max_spare_threads),
            min_spare + threads,
            format_args!("min_spare_threads of {min_spare} and threads_per_child of {threads}"),
        );
        let start = self.start_servers(settings, 3, most_children);
        MpmSettings {
            start,
            min_spare,
            max_spare,
            most_children,
            threads_per_child: threads,
            ..base
        }
    }

    fn children_for(&mut self, asked: usize, threads: usize, server_limit: usize) -> usize {
        if asked < threads {
            self.warn(format!(
                "max_request_workers of {asked} is less than threads_per_child of {threads}, increasing to {threads}"
            ));
            return 1;
        }
        let children = asked / threads;
        if !asked.is_multiple_of(threads) {
            self.warn(format!(
                "max_request_workers of {asked} is not an integer multiple of threads_per_child of {threads}, \
                 decreasing to nearest multiple {}",
                children * threads
            ));
        }
        if children > server_limit {
            self.warn(format!(
                "max_request_workers of {asked} would require {children} servers and exceed server_limit of \
                 {server_limit}, decreasing to {}",
                server_limit * threads
            ));
        }
        children.min(server_limit)
    }

    fn server_limit(&mut self, settings: &Settings, default: usize) -> usize {
        let limit = settings.server_limit.unwrap_or(default);
        let limit = self.at_least_one("server_limit", limit);
        self.bounded("server_limit", limit, MOST_SERVERS, "servers")
    }

    fn start_servers(&mut self, settings: &Settings, default: usize, most: usize) -> usize {
        match *settings.start_servers {
            None => default.min(most),
            Some(asked) => {
                let start = self.at_least_one("start_servers", asked);
                self.bounded("start_servers", start, most, "servers")
            }
        }
    }

    fn at_least_one(&mut self, name: &str, asked: usize) -> usize {
        if asked == 0 {
            self.warn(format!("{name} of 0 not allowed, increasing to 1"));
        }
        asked.max(1)
    }

    fn at_most(&mut self, name: &str, asked: usize, limit: &str, most: usize) -> usize {
        if asked > most {
            self.warn(format!("{name} of {asked} exceeds {limit} of {most}, decreasing to {most}"));
        }
        asked.min(most)
    }

    fn bounded(&mut self, name: &str, asked: usize, most: usize, unit: &str) -> usize {
        if asked > most {
            self.warn(format!(
                "{name} of {asked} exceeds the limit of {most} {unit}, decreasing to {most}"
            ));
        }
        asked.min(most)
    }

    /// The upper bound of what is spare leaves room for one more child above the lower one. Apache
    /// raises a default without a word, and so does this.
    fn above(
        &mut self,
        (name, asked): (&str, &Setting<usize>),
        least: usize,
        reason: std::fmt::Arguments<'_>,
    ) -> usize {
        if asked.is_set() && **asked < least {
            let asked = **asked;
            self.warn(format!("{name} of {asked} is too low for {reason}, increasing to {least}"));
        }
        (**asked).max(least)
    }

    fn warn(&mut self, message: String) {
        self.diagnostics.warn(message, self.span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{main_context, tables};

    fn read(text: &str) -> (MpmSettings, Vec<String>) {
        let main =
            tables::load(main_context::MODULES, text).unwrap_or_else(|errors| panic!("{errors:?}"));
        let mut diagnostics = Diagnostics::default();
        let mpm = mpm_settings(&main, &mut diagnostics);
        (mpm, diagnostics.iter().map(|one| one.message.clone()).collect())
    }

    fn warnings(text: &str) -> Vec<String> {
        read(text).1
    }

    #[test]
    fn each_engine_has_apaches_defaults() {
        assert_eq!(read("").0.mpm, Mpm::Native);
        let (prefork, _) = read("mpm prefork;");
        assert_eq!((prefork.start, prefork.min_spare, prefork.max_spare), (5, 5, 10));
        assert_eq!(prefork.most_children, 256);
        for text in ["mpm worker;", "mpm event {}"] {
            let (mpm, told) = read(text);
            assert_eq!((mpm.start, mpm.min_spare, mpm.max_spare), (3, 75, 250));
            assert_eq!(mpm.most_children * mpm.threads_per_child, 400);
            assert_eq!(told, Vec::<String>::new());
        }
    }

    #[test]
    fn contradictions_are_corrected_and_told() {
        let (mpm, told) = read("mpm prefork { max_request_workers 300; max_spare_servers 4; }");
        assert_eq!((mpm.most_children, mpm.max_spare), (256, 6));
        assert_eq!(
            told,
            [
                "max_request_workers of 300 exceeds server_limit of 256, decreasing to 256",
                "max_spare_servers of 4 is too low for min_spare_servers of 5, increasing to 6",
            ]
        );
        assert_eq!(
            warnings("mpm event { threads_per_child 100; }"),
            ["threads_per_child of 100 exceeds thread_limit of 64, decreasing to 64"]
        );
        assert_eq!(
            warnings("mpm worker { max_request_workers 10; }"),
            ["max_request_workers of 10 is less than threads_per_child of 25, increasing to 25"]
        );
        assert_eq!(
            warnings("mpm worker { max_request_workers 60; }"),
            ["max_request_workers of 60 is not an integer multiple of threads_per_child of 25, \
              decreasing to nearest multiple 50"]
        );
        assert_eq!(
            warnings("mpm event { max_request_workers 500; }"),
            ["max_request_workers of 500 would require 20 servers and exceed server_limit of 16, \
              decreasing to 400"]
        );
        assert_eq!(
            warnings("mpm prefork { start_servers 0; server_limit 30000; }"),
            [
                "server_limit of 30000 exceeds the limit of 20000 servers, decreasing to 20000",
                "start_servers of 0 not allowed, increasing to 1",
            ]
        );
    }

    #[test]
    fn mistakes_are_told() {
        let mistake = |text: &str| match tables::load(main_context::MODULES, text) {
            Ok(_) => panic!("accepted: {text}"),
            Err(mut messages) => messages.remove(0),
        };
        assert_eq!(mistake("mpm itk;"), "invalid value \"itk\"");
        assert_eq!(mistake("mpm event; mpm worker;"), "\"mpm\" directive is duplicate");
        assert_eq!(mistake("start_servers 3;"), "\"start_servers\" directive is not allowed here");
        assert_eq!(mistake("mpm event { thread_stack_size 1k; }"), "invalid value \"1k\"");
        assert_eq!(
            mistake("mpm event { async_request_worker_factor 0; }"),
            "\"async_request_worker_factor\" argument must be a positive number"
        );
    }
}
