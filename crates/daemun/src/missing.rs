//! Where a configuration asks for what the system does not give: a log, an address.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use daemun_conf::{Directive, Word};
use daemun_core::listen::{Address, ListenSpec};
use daemun_process::Missing;

use crate::cli::Places;
use crate::program::Configuration;

/// The line that asks for it, for a terminal; nothing where no line does.
pub fn source(missing: &Missing<'_>, configuration: &Configuration, places: &Places) -> String {
    let names_it = |directive: &Directive, word: &Word| match missing {
        Missing::File(path) => places.prefix.join(OsStr::from_bytes(&word.text)) == **path,
        Missing::Address(spec) => directive.name == "listen" && is_address(word, spec),
    };
    match find(&configuration.directives, &names_it) {
        Some(word) => word.span.source(&configuration.files),
        None => String::new(),
    }
}

fn find<'d>(
    directives: &'d [Directive],
    names_it: &impl Fn(&Directive, &Word) -> bool,
) -> Option<&'d Word> {
    directives.iter().find_map(|directive| {
        let own = directive.args.first().filter(|word| names_it(directive, word));
        own.or_else(|| find(&directive.block.as_ref()?.directives, names_it))
    })
}

/// Whether `listen` means this address with the word. Names of hosts are not looked up again.
fn is_address(word: &Word, spec: &ListenSpec) -> bool {
    let shown = spec.address.to_string();
    if *word.text == *shown.as_bytes() {
        return true;
    }
    let Address::Ip(address) = &spec.address else { return false };
    let text = String::from_utf8_lossy(&word.text);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => ("*", &*text),
        _ => (&*text, "80"),
    };
    let is_host = match host {
        "*" => address.is_ipv4() && address.ip().is_unspecified(),
        "localhost" => address.ip().is_loopback(),
        host => daemun_core::address::ip(host.trim_matches(['[', ']'])) == Some(address.ip()),
    };
    is_host && port.parse() == Ok(address.port())
}
