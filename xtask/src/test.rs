//! `cargo xtask test`: the stages that a change must pass. The first that fails ends it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use daemun_tests::{ENGINES, Engine, MARKED};

use crate::{directives, packages, root};

/// Packages are installed without a question where that was asked for.
pub fn run(all: bool, is_asked_for: bool) -> Result<(), String> {
    let start = Instant::now();
    stage("packages", || packages::install(is_asked_for))?;
    stage("format", || cargo(&["fmt", "--all", "--check"]))?;
    stage("clippy", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        cargo(&arguments)
    })?;
    stage("unit and documentation tests", || {
        cargo(&["test", "--workspace", "--exclude", "daemun-tests"])?;
        cargo(&["test", "--package", "daemun-tests", "--doc"])
    })?;
    stage("the program", || cargo(&["build", "--package", "daemun"]))?;
    end_to_end(all)?;
    stage("every directive that works is shown by a test", directives::check)?;
    if all {
        soak()?;
    }
    println!("\nall stages passed in {} s", start.elapsed().as_secs());
    Ok(())
}

/// The engine whose tests root runs as a plain user.
const PLAIN: &str = "native/epoll";

/// Each engine runs what it is to run; with `all`, everything.
fn end_to_end(all: bool) -> Result<(), String> {
    for (place, engine) in ENGINES.iter().enumerate() {
        let is_plain = engine.name == PLAIN && plain_user_gets_here();
        let user = if is_plain { ", as a plain user" } else { "" };
        stage(&format!("end-to-end tests, {}{user}", engine.name), || {
            let mut command = command(&["test", "--package", "daemun-tests"]);
            if is_plain {
                let runner = AS_PLAIN_USER.map(|word| format!("\"{word}\"")).join(",");
                command.args(["--config", &format!("target.'cfg(unix)'.runner=[{runner}]")]);
            }
            match all || engine.runs_all {
                true => command.args(["--tests", "--"]),
                false => command.args(["--test", "e2e", "--"]).args(MARKED),
            };
            if place > 0 {
                // These name their process model themselves.
                command.args(["--skip", "models::"]);
            }
            run_with(engine, command)
        })?;
    }
    Ok(())
}

/// What the tests show must not rest on root's rights, and not on a plain user's want of them.
const AS_PLAIN_USER: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Only root can become somebody else, and the folder may be root's own. A shell stands between, since setpriv
/// keeps root's rights until it has started what it is to start.
fn plain_user_gets_here() -> bool {
    let [setpriv, options @ ..] = AS_PLAIN_USER;
    let mut command = Command::new(setpriv);
    command.args(options).args(["sh", "-c", "\"$0\" -v"]).arg(program()).stderr(Stdio::null());
    packages::is_root() && command.status().is_ok_and(|status| status.success())
}

/// The program that the tests start.
fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target).join("debug/daemun")
}

fn run_with(engine: &Engine, mut command: Command) -> Result<(), String> {
    command.env("DAEMUN_TEST_ENGINE", engine.name);
    command.env("DAEMUN_BINARY", program());
    run_it(command)
}

/// The long tests: those that are ignored and called `soak_`, and those of the processes.
fn soak() -> Result<(), String> {
    stage("soaks of the processes", || {
        cargo(&["test", "--package", "daemun-process", "--test", "processes", "--", "soak"])
    })?;
    stage("soaks of --explain", || {
        let tests = ["test", "--package", "daemun-tests", "--test", "e2e", "--"];
        let mut command = command(&tests);
        command.args(["--ignored", "soak_"]);
        run_with(&ENGINES[0], command)
    })?;
    for engine in ENGINES {
        stage(&format!("soaks, {}", engine.name), || {
            let mut command =
                command(&["test", "--package", "daemun-tests", "--test", "soak", "--"]);
            // One at a time: they measure memory and time.
            command.args(["--ignored", "soak_", "--nocapture", "--test-threads=1"]);
            run_with(engine, command)
        })?;
    }
    Ok(())
}

fn stage(name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("\n=== {name}");
    let start = Instant::now();
    match work() {
        Ok(()) => {
            println!("=== {name}: passed in {} s", start.elapsed().as_secs());
            Ok(())
        }
        Err(reason) => Err(format!("\n=== {name}: FAILED\n{reason}")),
    }
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    run_it(command(arguments))
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(root());
    command
}

fn run_it(mut command: Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} cannot be run: {error}")),
    }
}
