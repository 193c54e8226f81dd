//! `allow` and `deny`: access by the client's address. The first rule that matches decides.
//!
//! ```nginx
//! location /admin/ {
//!     deny  192.0.2.1;
//!     allow 192.0.2.0/24;
//!     allow unix:;
//!     deny  all;
//! }
//! ```

use daemun_conf as conf;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, settings};
use daemun_event::Peer;
use daemun_http::core::routing::Satisfy;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;

#[derive(Clone, Copy, Debug)]
struct Rule {
    /// `None`: all clients.
    clients: Option<Cidr>,
    allows: bool,
}

settings! {
    pub struct Settings {
        rules: Vec<Rule> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_access_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "allow" in HTTP_SERVER_LOCATION | LIMIT_EXCEPT, Exactly(1), "", Action::Set(allow),
                "Lets clients of an address, a range, unix: or all in.";
            "deny" in HTTP_SERVER_LOCATION | LIMIT_EXCEPT, Exactly(1), "", Action::Set(deny),
                "Keeps clients of an address, a range, unix: or all out.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Access,
        applies: |settings| !settings.of(&SETTINGS).rules.is_empty(),
        handler: Handler::Now(check),
    }],
    ..HttpModule::EMPTY
};

fn check(request: &mut Request) -> Step {
    let rules = &request.settings(&SETTINGS).rules;
    match verdict(rules, request.peer()) {
        None => Step::Declined,
        Some(true) => Step::Allowed,
        Some(false) => {
            if *request.core().routing.satisfy == Satisfy::All {
                log!(request.log(), Error, *request, "access forbidden by rule");
            }
            Step::Status(Status::FORBIDDEN)
        }
    }
}

/// Whether the first rule for the client lets it in.
fn verdict(rules: &[Rule], client: Peer) -> Option<bool> {
    let concerns = |rule: &&Rule| rule.clients.is_none_or(|clients| clients.contains(client));
    rules.iter().find(concerns).map(|rule| rule.allows)
}

fn allow(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    add_rule(loader, directive, true)
}

fn deny(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    add_rule(loader, directive, false)
}

fn add_rule(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    allows: bool,
) -> Result<(), Fault> {
    let word = &directive.args[0];
    let mut clients = None;
    if word != "all" {
        let (cidr, has_low_bits) = Cidr::parse(&word.text)
            .ok_or_else(|| Fault::from(format!("invalid parameter \"{word}\"")).at(word.span))?;
        if has_low_bits {
            let message = format!("low address bits of {word} are meaningless");
            loader.warn(word.span, message);
        }
        clients = Some(cidr);
    }
    let settings = loader.settings(&SETTINGS);
    settings.rules.modify().push(Rule { clients, allows });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_for_a_client_decides() {
        let rule = |clients: &str, allows| Rule {
            clients: Cidr::parse(clients.as_bytes()).map(|(cidr, _)| cidr),
            allows,
        };
        let rules = [rule("192.0.2.1", false), rule("192.0.2.0/24", true), rule("all", false)];
        let client = |address: [u8; 4]| Peer::V4(address.into(), 1);
        assert_eq!(verdict(&rules, client([192, 0, 2, 1])), Some(false));
        assert_eq!(verdict(&rules, client([192, 0, 2, 9])), Some(true));
        assert_eq!(verdict(&rules, Peer::Unix), Some(false));
        assert_eq!(verdict(&rules[..2], Peer::Unix), None);
    }
}
