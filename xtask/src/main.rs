//! The project's commands: `cargo xtask COMMAND`.

mod directives;
mod packages;
mod shown;
mod tables;
mod test;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test [--all] [--yes]   every check that a change must pass; --all adds the long soaks,
                                   --yes installs what they need without asking (so does CI=true)
cargo xtask directives             every directive of nginx: works, accepted without effect, or refused
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match &words[..] {
        ["test", options @ ..] if options.iter().all(|word| ["--all", "--yes"].contains(word)) => {
            let is_asked_for = options.contains(&"--yes") || is_set("CI");
            test::run(options.contains(&"--all"), is_asked_for)
        }
        ["directives"] => {
            print!("{}", directives::report());
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "false")
}

/// The workspace's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a folder above it")
}
