//! `set_real_ip_from`: the client's address comes from a proxy that is trusted.
//!
//! ```nginx
//! set_real_ip_from  192.0.2.0/24;
//! set_real_ip_from  unix:;
//! real_ip_header    X-Forwarded-For;
//! real_ip_recursive on;
//! ```

use std::net::ToSocketAddrs;

use daemun_conf as conf;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::script::Session;
use daemun_core::{directives, set, settings, values};
use daemun_event::Peer;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step, Variable};
use daemun_http::request::Request;

use crate::shared::forwarded;

/// Where the address stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    ForwardedFor,
    ProxyProtocol,
    Field(Vec<u8>),
}

settings! {
    pub struct Settings {
        from: Vec<Cidr> = Vec::new(),
        source: Source = Source::Field(b"X-Real-IP".to_vec()),
        is_recursive: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_realip_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "set_real_ip_from" in HTTP_SERVER_LOCATION, Exactly(1), "", Action::Set(set_real_ip_from),
                "An address, range, host name or unix: that is trusted to name its clients.";
            "real_ip_header" in HTTP_SERVER_LOCATION, Exactly(1), "X-Real-IP",
                set!(SETTINGS.source, source),
                "The field of the request, or proxy_protocol, that names the client.";
            "real_ip_recursive" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.is_recursive, values::flag),
                "Whether trusted addresses in a list are passed over.";
        },
    },
    variables: &[
        Variable::new("realip_remote_addr", |request, _, out| {
            out.extend_from_slice(request.connection_peer().to_string().as_bytes());
            true
        }),
        Variable::new("realip_remote_port", |request, _, out| {
            if let Some(port) = request.connection_peer().port() {
                out.extend_from_slice(port.to_string().as_bytes());
            }
            true
        }),
    ],
    handlers: &[
        PhaseHandler { phase: Phase::PostRead, applies, handler: Handler::Now(find_client) },
        PhaseHandler { phase: Phase::PreAccess, applies, handler: Handler::Now(find_client) },
    ],
    ..HttpModule::EMPTY
};

fn applies(settings: &SettingsSet) -> bool {
    !settings.of(&SETTINGS).from.is_empty()
}

fn find_client(request: &mut Request) -> Step {
    if request.real_peer.is_none() {
        request.real_peer = client(request);
    }
    Step::Declined
}

fn client(request: &Request) -> Option<Peer> {
    let settings = request.settings(&SETTINGS);
    let behind = |values: &[&[u8]]| {
        let peer = request.connection_peer();
        forwarded::client_behind(peer, values, &settings.from, *settings.is_recursive)
    };
    match &*settings.source {
        Source::ForwardedFor => behind(&request.forwarded_for()),
        Source::Field(name) => {
            let mut fields = request.head.fields();
            let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
            behind(&[value])
        }
        Source::ProxyProtocol => {
            let header = request.proxy_header()?;
            let client = behind(&[&*header.source])?;
            Some(match client {
                Peer::V4(ip, _) => Peer::V4(ip, header.source_port),
                Peer::V6(ip, _) => Peer::V6(ip, header.source_port),
                Peer::Unix => Peer::Unix,
            })
        }
    }
}

fn set_real_ip_from(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let ranges = match Cidr::parse(&word.text) {
        Some((range, has_low_bits)) => {
            if has_low_bits {
                loader.warn(word.span, format!("low address bits of {word} are meaningless"));
            }
            vec![range]
        }
        None => resolve(word)?,
    };
    loader.settings(&SETTINGS).from.modify().extend(ranges);
    Ok(())
}

fn resolve(word: &conf::Word) -> Result<Vec<Cidr>, Fault> {
    let unknown =
        || Fault::from(format!("host not found in set_real_ip_from \"{word}\"")).at(word.span);
    let host = word.as_str().map_err(|_| unknown())?;
    let found = (host, 0).to_socket_addrs().map_err(|_| unknown())?;
    Ok(found.map(|address| Cidr::single(address.ip())).collect())
}

fn source(directive: &conf::Directive) -> Result<Source, Fault> {
    Ok(match &*directive.args[0].text {
        b"X-Forwarded-For" => Source::ForwardedFor,
        b"proxy_protocol" => Source::ProxyProtocol,
        name => Source::Field(name.to_vec()),
    })
}
