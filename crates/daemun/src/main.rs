//! daemun, the main gate.

use std::ffi::OsString;
use std::process::ExitCode;

use daemun::cli::Options;
use daemun::identity::Identity;
use daemun_core::log;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let identity = Identity::of(
        arguments
            .first()
            .map(OsString::as_os_str)
            .unwrap_or_default(),
    );
    log::name_program(identity.name);
    let options = match Options::parse(arguments.get(1..).unwrap_or_default()) {
        Ok(options) => options,
        Err(sentence) => {
            log::write_stderr(format_args!("{sentence}"));
            return ExitCode::FAILURE;
        }
    };
    if options.version {
        eprint!("{}", options.about(identity, &[]));
    }
    ExitCode::SUCCESS
}
