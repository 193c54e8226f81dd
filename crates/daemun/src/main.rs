//! daemun, the main gate.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use daemun::cli::{Options, Places};
use daemun::commands::{cache, mpm};
use daemun::explain;
use daemun::identity::Identity;
use daemun::lint;
use daemun::missing;
use daemun::notices;
use daemun::program::Server;
use daemun::startup;
use daemun::worker::event_method;
use daemun_conf::Files;
use daemun_core::log::{self, Log};
use daemun_process::{Cycle, Program, signaller};
use daemun_sys::allocator::Ballasted;
use daemun_sys::title;

#[global_allocator]
static ALLOCATOR: Ballasted = Ballasted;

fn main() -> ExitCode {
    // Without the place for titles everything else works.
    let arguments = title::claim().unwrap_or_else(|_| std::env::args_os().collect());
    let name = arguments.first().map(OsString::as_os_str).unwrap_or_default();
    let identity = Identity::of(name);
    log::name_program(identity.name);
    let words = arguments.get(1..).unwrap_or_default();
    if let Some((first, rest)) = words.split_first()
        && first == "cache"
        && identity.has_commands
    {
        return show_cache(rest);
    }
    let (command, options) = match parse(words, identity) {
        Ok(parsed) => parsed,
        Err(sentence) => {
            log::write_stderr(format_args!("{sentence}"));
            return ExitCode::FAILURE;
        }
    };
    if let Some(command) = command.as_ref().filter(|command| command.is_help()) {
        print(command.help());
        return ExitCode::SUCCESS;
    }
    if options.version {
        let about = options.about(identity, &daemun::program::working_modules());
        match options.is_spelt_out {
            true => print(&about),
            false => eprint!("{about}"),
        }
    }
    if options.only_informs() {
        return ExitCode::SUCCESS;
    }
    exit_code(act(identity, command, options, arguments))
}

/// `daemun cache`, which needs no configuration.
fn show_cache(words: &[OsString]) -> ExitCode {
    match cache::Command::parse(words) {
        Ok(command) if command.is_help() => {
            print(command.help());
            ExitCode::SUCCESS
        }
        Ok(command) => exit_code(command.run()),
        Err(sentence) => {
            log::write_stderr(format_args!("{sentence}"));
            ExitCode::FAILURE
        }
    }
}

/// A command, where the first word is one, and the options of every call.
fn parse(
    words: &[OsString],
    identity: &Identity,
) -> Result<(Option<mpm::Command>, Options), String> {
    match words.split_first() {
        Some((first, rest)) if first == "mpm" && identity.has_commands => {
            let (command, rest) = mpm::Command::parse(rest)?;
            Ok((Some(command), Options::parse(&rest, identity)?))
        }
        _ => Ok((None, Options::parse(words, identity)?)),
    }
}

fn act(
    identity: &'static Identity,
    command: Option<mpm::Command>,
    options: Options,
    arguments: Vec<OsString>,
) -> i32 {
    let current = match std::env::current_dir() {
        Ok(current) => current,
        Err(error) => {
            log::write_stderr(format_args!("[emerg] getcwd() failed{}", log::Errno(&error)));
            return 1;
        }
    };
    let places = Places::of(&options, identity, &current, Path::exists);
    startup::open_log(&options, identity, &places);
    notices::log_panics();
    let server = Server { identity, options, places };
    if let Some(command) = command {
        return command.run(&server);
    }
    if server.options.test {
        return test(&server);
    }
    if let Some(request) = server.options.signal {
        return match server.load() {
            Ok(cycle) => signaller::signal(request, &cycle.settings.pid, &Log::current()),
            Err(_) => 1,
        };
    }
    daemun_process::run(&server, arguments)
}

/// `-t` and `-T`: nginx's second verdict; the first comes with the messages of [`Server::load`].
fn test(server: &Server) -> i32 {
    let shown = server.places.shown_configuration();
    let failed = || log::write_stderr(format_args!("configuration file {shown} test failed"));
    let Options { quiet, dump: dumps, lint: format, .. } = server.options;
    let cycle = match server.load_or_show(Files::default()) {
        Ok(cycle) => cycle,
        Err(broken) => {
            failed();
            if let Some(format) = format {
                print(&lint::errors(&broken, format, &shown));
            }
            return 1;
        }
    };
    let missing = daemun_process::check(server, &cycle, |missing| {
        eprint!("{}", missing::source(&missing, &cycle.configuration, &server.places));
    });
    if missing.is_empty() {
        if !quiet {
            log::write_stderr(format_args!("configuration file {shown} test is successful"));
        }
        if dumps {
            dump(&cycle);
            if !quiet && server.identity.has_commands {
                notices::tell_method(event_method(&cycle.settings));
            }
        }
        return inspect(server, cycle);
    }
    failed();
    // Whoever looks at a configuration elsewhere than where it serves has neither its logs nor its ports.
    match format.is_some() || server.options.explain.is_some() {
        true => inspect(server, cycle),
        false => 1,
    }
}

/// Whoever closed the standard output does not want the rest.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What daemun does with a good configuration beyond nginx: `--lint`, or a word on what it would say, and `--explain`.
fn inspect(server: &Server, cycle: Cycle<<Server as Program>::Configuration>) -> i32 {
    if let Some(request) = &server.options.explain {
        return tell_story(cycle, request, &server.options.fields);
    }
    let Options { lint: format, quiet, .. } = server.options;
    let Some(format) = format else {
        if server.identity.has_commands && !quiet {
            tell_of_findings(lint::lint(&cycle).count(), server.identity);
        }
        // The process ends: the system frees at one stroke what would be freed piece by piece.
        std::mem::forget(cycle);
        return 0;
    };
    let verdict = lint::lint(&cycle);
    print(&verdict.report(format, server.identity.name));
    if verdict.count() > 0 { FOUND_SOMETHING } else { 0 }
}

fn tell_story(
    cycle: Cycle<<Server as Program>::Configuration>,
    request: &OsStr,
    fields: &[OsString],
) -> i32 {
    let fields: Vec<String> = fields.iter().map(|field| field.display().to_string()).collect();
    match explain::explain(cycle, &request.display().to_string(), &fields) {
        Ok(story) => {
            print(&story);
            0
        }
        Err(sentence) => {
            log::write_stderr(format_args!("{sentence}"));
            1
        }
    }
}

/// The exit code where `--lint` has something to say of a good configuration.
const FOUND_SOMETHING: i32 = 2;

fn tell_of_findings(count: usize, identity: &Identity) {
    let findings = match count {
        0 => return,
        1 => "1 line".to_owned(),
        count => format!("{count} lines"),
    };
    let name = identity.name;
    log::write_stderr(format_args!(
        "[notice] {findings} may mean something else than it seems: {name} -t --lint"
    ));
}

fn dump(cycle: &Cycle<<Server as Program>::Configuration>) {
    let mut out = std::io::stdout().lock();
    for file in cycle.configuration.files.iter() {
        // Whoever closed the standard output does not want the rest.
        let _ = writeln!(out, "# configuration file {}:", file.name().display());
        let _ = out.write_all(file.text());
        let _ = writeln!(out);
    }
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
