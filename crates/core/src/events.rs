//! The `events` block: how many connections a worker may have, and what it learns about them by.

use std::net::ToSocketAddrs;

use daemun_conf as conf;
use daemun_event::backends;

use crate::cidr::Cidr;
use crate::load::{Block, Fault, Loader};
use crate::module::{Contexts, Module, SettingsKey};
use crate::setting::Own;
use crate::settings::EventSettings;
use crate::{directives, set, settings, values};

settings! {
    pub struct Settings {
        worker_connections: usize = 512,
        method: Option<String> = None,
        multi_accept: bool = false,
        debug_connections: Own<Vec<Cidr>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

const NO_MUTEX: &str = "the kernel wakes one worker for each connection";

pub static MODULE: Module = Module {
    name: "events",
    settings: Some(&SETTINGS),
    directives: directives! {
        "events" in MAIN, Block(0, 0), "", Action::Set(events),
            "The settings of connection processing.";
        "worker_connections" in EVENTS, Exactly(1), "512", Action::Set(worker_connections),
            "How many connections a worker may have open at a time.";
        "use" in EVENTS, Exactly(1), "io_uring", Action::Set(method),
            "The way in which workers learn about events.";
        "multi_accept" in EVENTS, Flag, "off", set!(SETTINGS.multi_accept, values::flag),
            "Whether a worker accepts all new connections at once instead of one at a time.";
        "debug_connection" in EVENTS, Exactly(1), "", Action::Set(debug_connection),
            "Clients by address, range, name or unix: whose debug lines go to the error log.";
        "accept_mutex" in EVENTS, Flag, "off",
            Action::Checked(|directive| values::flag(directive).map(drop), NO_MUTEX),
            "Accepted: the kernel wakes one worker for each connection.";
        "accept_mutex_delay" in EVENTS, Exactly(1), "500ms",
            Action::Checked(|directive| values::milliseconds(directive).map(drop), NO_MUTEX),
            "Accepted: the kernel wakes one worker for each connection.";
        "epoll_events" in EVENTS, Exactly(1), "512",
            Action::Checked(check_number, "how many events a call returns is fixed"),
            "Accepted: how many events a call returns is fixed.";
        "worker_aio_requests" in EVENTS, Exactly(1), "32",
            Action::Checked(check_number, "files are read without kernel AIO"),
            "Accepted: files are read without kernel AIO.";
    },
};

/// The block's values; `None` where there is no `events` block.
pub fn event_settings(main: &Block) -> Option<EventSettings> {
    let block = events_of(main)?;
    let settings = block.settings.of(&SETTINGS);
    Some(EventSettings {
        worker_connections: *settings.worker_connections,
        method: Option::clone(&settings.method),
        multi_accept: *settings.multi_accept,
        debug_connections: settings.debug_connections.0.clone(),
    })
}

fn events_of(main: &Block) -> Option<&Block> {
    main.children.iter().find(|block| block.context == Contexts::EVENTS)
}

fn events(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if events_of(loader.block()).is_some() {
        return Err("is duplicate".into());
    }
    loader.enter(Contexts::EVENTS, directive);
    Ok(())
}

fn worker_connections(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let number = values::integer(directive)
        .map_err(|_| Fault::from(format!("invalid number \"{word}\"")).at(word.span))?;
    let settings = loader.settings(&SETTINGS);
    settings.worker_connections.set(number)?;
    Ok(())
}

fn method(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let Some(name) = backends::NAMES.iter().find(|name| word == *name) else {
        return Err(Fault::from(format!("invalid event type \"{word}\"")).at(word.span));
    };
    let settings = loader.settings(&SETTINGS);
    settings.method.set(Some((*name).to_owned()))?;
    Ok(())
}

fn debug_connection(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let mut found = Vec::new();
    if let Some((cidr, has_low_bits)) = Cidr::parse(&word.text) {
        if has_low_bits {
            let message = format!("low address bits of {word} are meaningless");
            loader.warn(word.span, message);
        }
        found.push(cidr);
    } else {
        let addresses = (values::text(directive)?, 0).to_socket_addrs();
        found.extend(addresses.into_iter().flatten().map(|address| Cidr::single(address.ip())));
    }
    if found.is_empty() {
        let sentence = format!("host not found in debug_connection \"{word}\"");
        return Err(Fault::from(sentence).at(word.span));
    }
    let settings = loader.settings(&SETTINGS);
    settings.debug_connections.0.append(&mut found);
    Ok(())
}

fn check_number(directive: &conf::Directive) -> Result<(), Fault> {
    values::integer::<u32>(directive).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::main_context;
    use crate::tables::load;

    fn read(text: &str) -> Result<Option<EventSettings>, Vec<String>> {
        load(main_context::MODULES, text).map(|main| event_settings(&main))
    }

    #[test]
    fn values_are_read_and_the_rest_has_its_default() {
        let settings = read("events { worker_connections 64; debug_connection 10.0.0.0/8; }");
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.worker_connections, 64);
        assert!(!settings.multi_accept);
        assert_eq!(settings.debug_connections.len(), 1);
        assert!(read("").unwrap().is_none());
    }

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        let mistake = |text: &str| read(text).unwrap_err().remove(0);
        assert_eq!(mistake("events { use kqueue; }"), "invalid event type \"kqueue\"");
        assert_eq!(mistake("events { worker_connections -1; }"), "invalid number \"-1\"");
        assert_eq!(mistake("events {} events {}"), "\"events\" directive is duplicate");
        assert_eq!(
            mistake("events { debug_connection 10.0.0.1/8; }"),
            "low address bits of 10.0.0.1/8 are meaningless"
        );
    }
}
