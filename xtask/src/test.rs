//! `cargo xtask test`: the stages that a change must pass. The first that fails ends it.

use std::process::Command;
use std::time::Instant;

use daemun_tests::{ENGINES, Engine, MARKED};

use crate::{directives, packages, root};

pub fn run(all: bool) -> Result<(), String> {
    let start = Instant::now();
    stage("packages", packages::install)?;
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

/// Each engine runs what it is to run; with `all`, everything.
fn end_to_end(all: bool) -> Result<(), String> {
    for (place, engine) in ENGINES.iter().enumerate() {
        stage(&format!("end-to-end tests, {}", engine.name), || {
            let mut command = command(&["test", "--package", "daemun-tests"]);
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

fn run_with(engine: &Engine, mut command: Command) -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    command.env("DAEMUN_TEST_ENGINE", engine.name);
    command.env("DAEMUN_BINARY", root().join(target).join("debug/daemun"));
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
