//! The `http` block as one immutable value: sockets, servers, locations, and what each request walks through.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use daemun_conf::{Diagnostics, Span};
use daemun_core::cidr::Cidr;
use daemun_core::connection::Connection;
use daemun_core::error_log;
use daemun_core::listen::{Address, ListenSpec};
use daemun_core::load::{Block, Paths};
use daemun_core::log::Log;
use daemun_core::module::{Contexts, SettingsSet};
use daemun_core::script::{Script, Variables};
use daemun_core::thread_pool::PoolSpec;
use daemun_event::{Peer, Stream};
use daemun_proto::http1::Method;
use daemun_upstream::Groups;

use crate::core::Core;
use crate::core::aio;
use crate::core::client::{self, TempPath};
use crate::core::files::{self, Root};
use crate::core::limit_except;
use crate::core::listen::{self, Listen};
use crate::core::routing::Match;
use crate::core::server_name::{self, ServerName};
use crate::core::{tracking, upstreams};
use crate::locations::Locations;
use crate::module::{Apply, Filter, Handler, HttpModule, Phase, PhaseHandler};
use crate::request::Text;
use crate::server_names::{ServerIndex, ServerNames};
use crate::tls::{self, ServerTls, Terms};
use crate::upstream::cache::{Registry, place};
use crate::variables::Definitions;

/// What a generation knows about HTTP.
///
/// A worker serves one generation for its whole life, so it keeps a `&'static` reference and requests borrow freely.
pub struct HttpConfig {
    /// In the order of the listening sockets that the engine opens.
    pub sockets: Vec<Socket>,
    pub servers: Vec<Server>,
    pub settings: SettingsSet,
    pub variables: Definitions,
    /// Some address expects the PROXY protocol.
    pub has_proxy_protocol: bool,
    /// Some address speaks TLS.
    pub has_tls: bool,
    pub surroundings: Surroundings,
    pub upstreams: Groups,
    /// Some page shows what each worker serves.
    pub shows_requests: bool,
    /// A variable tells what TCP knows of connections.
    pub shows_tcp_info: bool,
}

/// What the rest of the program decides about HTTP.
pub struct Surroundings {
    pub server_header: ServerHeader,
    /// Where request bodies go that have no `client_body_temp_path`.
    pub body_temp_path: TempPath,
    /// Where responses wait that have no `proxy_temp_path` or its like.
    pub upstream_temp_path: TempPath,
    /// `debug_connection`: the clients whose debug lines are written.
    pub debugged: Vec<Cidr>,
    /// Those that `aio` may name.
    pub thread_pools: Vec<PoolSpec>,
}

/// What the server calls itself.
#[derive(Clone, Debug)]
pub struct ServerHeader {
    /// `nginx` or `daemun`.
    pub name: &'static str,
    /// `nginx/1.31.5`.
    pub version: String,
    /// `nginx/1.31.5 (build)`.
    pub build: String,
}

/// A listening socket and the addresses that reach it.
pub struct Socket {
    pub spec: ListenSpec,
    /// More than one where a wildcard socket serves single addresses too.
    pub addresses: Vec<(Address, Virtual)>,
}

/// The servers of one address.
pub struct Virtual {
    pub default: ServerIndex,
    pub names: ServerNames,
    /// Every host leads to the default server: none need be looked up.
    pub is_alone: bool,
    /// Connections begin with the PROXY protocol's header.
    pub proxy_protocol: bool,
    /// Connections speak TLS.
    pub ssl: bool,
    /// Connections may speak HTTP/2, whichever server they are for.
    pub http2: bool,
    default_is_explicit: bool,
}

/// A virtual server.
pub struct Server {
    /// The server block itself, as the location of requests that no location inside takes.
    pub location: Location,
    server_rewrite: Vec<Handler>,
    post_read: Vec<Handler>,
    takes_connect: bool,
    /// What it offers in handshakes.
    pub tls: ServerTls,
}

/// A location, with the handlers that its settings call for.
pub struct Location {
    /// Where it stands in the configuration: the name of the directive that opens it.
    pub span: Option<Span>,
    pub settings: SettingsSet,
    pub core: Core,
    pub nested: Locations,
    /// Shared with all locations that have the same, as the filters are.
    pub handlers: Arc<Handlers>,
    pub filters: Arc<[&'static Filter]>,
    /// Some of them may have to wait.
    pub has_waiting_filters: bool,
    /// The `if` blocks inside, in the file's order.
    pub conditional: Vec<Location>,
    limit_except: Option<Box<(Vec<Method>, Location)>>,
    passes: bool,
    /// Its content is one handler's alone.
    pub is_dedicated: bool,
    log: Log,
    /// The log of debugged connections, where there may be any.
    debug_log: Option<Log>,
}

/// Handlers by phase.
#[derive(Clone, Default)]
pub struct Handlers {
    pub rewrite: Vec<Handler>,
    pub pre_access: Vec<Handler>,
    pub access: Vec<Handler>,
    pub pre_content: Vec<Handler>,
    /// One handler alone where the location is dedicated to it.
    pub content: Vec<Handler>,
    pub log: Vec<Handler>,
}

/// Builds the value from the `http` block that was read; errors go to the diagnostics.
pub fn build(
    mut block: Block,
    variables: &Variables,
    modules: &[&'static HttpModule],
    paths: &Paths,
    surroundings: Surroundings,
    diagnostics: &mut Diagnostics,
) -> HttpConfig {
    let root = &mut block.settings.of_mut(&files::SETTINGS).root;
    if root.root.is_none() {
        let folder = files::default_root(&paths.prefix);
        root.root = Some(Root::Root(Script::literal(folder.as_os_str().as_encoded_bytes())));
    }
    block.inherit();
    let mut builder = Builder {
        modules,
        all: modules.iter().flat_map(|module| module.handlers).collect(),
        known_handlers: HashMap::new(),
        known_filters: HashMap::new(),
        debugs: !surroundings.debugged.is_empty(),
        tls_terms: Terms::new(paths),
        diagnostics,
    };
    let mut spans = Vec::new();
    let mut servers = Vec::new();
    for child in block.children {
        if child.context == Contexts::SERVER {
            spans.extend(child.span());
            servers.push(builder.server(child));
        }
    }
    servers.shrink_to_fit();
    let sockets = builder.sockets(&mut servers, &spans);
    let variables = Definitions::resolve(variables, modules, builder.diagnostics);
    let mut virtuals = sockets.iter().flat_map(|socket| &socket.addresses);
    let has_proxy_protocol = virtuals.clone().any(|(_, virtual_)| virtual_.proxy_protocol);
    let has_tls = virtuals.any(|(_, virtual_)| virtual_.ssl);
    builder.tls_terms.files.keep();
    tls::check(&sockets, &servers, diagnostics);
    let upstreams = std::mem::take(&mut block.settings.of_mut(&upstreams::SETTINGS).groups.0);
    let mut config = HttpConfig {
        sockets,
        servers,
        settings: block.settings,
        variables,
        has_proxy_protocol,
        has_tls,
        surroundings,
        upstreams,
        shows_requests: false,
        shows_tcp_info: false,
    };
    let shows = |location: &Location| location.settings.of(&tracking::SETTINGS).shows_requests.0;
    let shows_requests = config.locations().any(shows);
    config.shows_requests = shows_requests;
    config.shows_tcp_info = config.variables.has_member_of("tcpinfo_");
    aio::check(config.locations(), &config.surroundings.thread_pools, diagnostics);
    config
}

struct Builder<'b> {
    modules: &'b [&'static HttpModule],
    /// The handlers of all modules, in order.
    all: Vec<&'static PhaseHandler>,
    /// By which of them apply, and which one the location is dedicated to.
    known_handlers: HashMap<(Vec<bool>, Option<usize>), Arc<Handlers>>,
    known_filters: HashMap<Vec<usize>, Arc<[&'static Filter]>>,
    /// Some connections are debugged.
    debugs: bool,
    tls_terms: Terms,
    diagnostics: &'b mut Diagnostics,
}

impl Builder<'_> {
    fn server(&mut self, block: Block) -> Server {
        let location = self.location(block, None);
        let server_rewrite = self.handlers(&location.settings, Phase::ServerRewrite);
        let post_read = self.handlers(&location.settings, Phase::PostRead);
        let takes_connect = location.takes_connect();
        let tls = self.tls_terms.settle(&location.settings, self.diagnostics);
        Server { location, server_rewrite, post_read, takes_connect, tls }
    }

    /// `dedicated` is the handler that the location around an `if` is dedicated to.
    fn location(&mut self, block: Block, dedicated: Option<Handler>) -> Location {
        self.check(&block);
        let span = block.span();
        let settings = block.settings;
        let dedicated = self.handlers(&settings, Phase::Dedicated).last().copied().or(dedicated);
        let log = Log::clone(&settings.of(&error_log::SETTINGS).log);
        let passes = self.modules.iter().any(|module| (module.passes)(&settings));
        let filters = self.filters(&settings);
        let mut location = Location {
            span,
            handlers: self.all_handlers(&settings, dedicated),
            has_waiting_filters: filters
                .iter()
                .any(|filter| matches!(filter.apply, Apply::Later(_))),
            filters,
            debug_log: self.debugs.then(|| log.debugging()),
            log,
            core: Core::of(&settings),
            settings,
            nested: Locations::default(),
            conditional: Vec::new(),
            limit_except: None,
            passes,
            is_dedicated: dedicated.is_some(),
        };
        for child in block.children {
            self.inner_block(&mut location, child, dedicated);
        }
        location.nested.link();
        location.conditional.shrink_to_fit();
        location
    }

    fn check(&mut self, block: &Block) {
        for module in self.modules {
            if let Err(message) = (module.check)(&block.settings) {
                self.diagnostics.emerg(message, block.span());
            }
            (module.settle)(&block.settings, &mut self.tls_terms.files, self.diagnostics);
        }
    }

    fn inner_block(&mut self, location: &mut Location, child: Block, dedicated: Option<Handler>) {
        let span = child.span();
        match child.context {
            Contexts::LOCATION => {
                let inner = self.location(child, None);
                self.add_location(&mut location.nested, inner, span);
            }
            Contexts::LOCATION_IF => {
                let inner = self.location(child, dedicated);
                location.conditional.push(inner);
            }
            Contexts::LIMIT_EXCEPT => {
                let inner = self.location(child, dedicated);
                let methods = inner.settings.of(&limit_except::SETTINGS).methods.0.clone();
                location.limit_except = Some(Box::new((methods, inner)));
            }
            _ => {}
        }
    }

    fn add_location(&mut self, locations: &mut Locations, location: Location, span: Option<Span>) {
        let duplicate = |name: &[u8]| format!("duplicate location \"{}\"", Text(name));
        if let Some(Match::Named(name)) = location.matching()
            && locations.named(name).is_some()
        {
            // nginx takes it without a word, and never gets there
            return self.diagnostics.warn(duplicate(name) + ", ignored", span);
        }
        if let Err(name) = locations.add(location) {
            self.diagnostics.emerg(duplicate(&name), span);
        }
    }

    fn handlers(&self, settings: &SettingsSet, phase: Phase) -> Vec<Handler> {
        let here = self.all.iter().filter(|handler| handler.phase == phase);
        let here = here.filter(|handler| (handler.applies)(settings));
        here.map(|handler| handler.handler).collect()
    }

    /// A location's handlers: most locations call for the same ones as others.
    fn all_handlers(
        &mut self,
        settings: &SettingsSet,
        dedicated: Option<Handler>,
    ) -> Arc<Handlers> {
        let taking_part: Vec<bool> =
            self.all.iter().map(|handler| (handler.applies)(settings)).collect();
        let key = (taking_part, dedicated.map(Handler::address));
        if let Some(known) = self.known_handlers.get(&key) {
            return Arc::clone(known);
        }
        let of = |phase: Phase| {
            let all = self.all.iter().zip(&key.0);
            let here = all.filter(move |(handler, is_here)| **is_here && handler.phase == phase);
            here.map(|(handler, _)| handler.handler)
        };
        let handlers = Arc::new(Handlers {
            rewrite: of(Phase::Rewrite).collect(),
            pre_access: of(Phase::PreAccess).collect(),
            access: of(Phase::Access).collect(),
            pre_content: of(Phase::PreContent).collect(),
            // What the dedicated one does not take (flv and mp4 take files alone) is for the others.
            content: dedicated.into_iter().chain(of(Phase::Content)).collect(),
            log: of(Phase::Log).collect(),
        });
        self.known_handlers.insert(key, Arc::clone(&handlers));
        handlers
    }

    fn filters(&mut self, settings: &SettingsSet) -> Arc<[&'static Filter]> {
        let all = self.modules.iter().flat_map(|module| module.filters);
        let here: Vec<_> = all.filter(|filter| (filter.applies)(settings)).collect();
        let key: Vec<usize> =
            here.iter().map(|filter| std::ptr::from_ref(*filter).addr()).collect();
        Arc::clone(self.known_filters.entry(key).or_insert_with(|| here.into()))
    }

    /// Groups the servers' addresses by socket: a wildcard socket serves the addresses of its port that have no
    /// socket options of their own.
    fn sockets(&mut self, servers: &mut [Server], spans: &[Span]) -> Vec<Socket> {
        let is_root = daemun_sys::identity::effective_uid() == 0;
        let mut addresses: Vec<(Listen, Virtual)> = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            let mut listens = server.settings().of(&listen::SETTINGS).listens.0.clone();
            if listens.is_empty() {
                listens.push(listen::default_listen(is_root, spans[index]));
            }
            for listen in listens {
                self.add_listen(&mut addresses, listen, index);
            }
        }
        for (listen, virtual_) in &mut addresses {
            let here = servers.iter().enumerate();
            let here = here.filter(|(_, server)| server.listens_on(&listen.spec.address, is_root));
            for (index, server) in here.clone() {
                self.add_names(listen, virtual_, index, server);
            }
            virtual_.is_alone = !virtual_.names.matters(virtual_.default);
            if !virtual_.is_alone {
                here.for_each(|(_, server)| self.refuse_malformed_names(listen, server));
            }
        }
        group_by_socket(addresses)
    }

    fn add_listen(
        &mut self,
        addresses: &mut Vec<(Listen, Virtual)>,
        listen: Listen,
        server: ServerIndex,
    ) {
        let known =
            addresses.iter_mut().find(|(known, _)| known.spec.address == listen.spec.address);
        let Some((first, virtual_)) = known else {
            let virtual_ = Virtual {
                default: server,
                names: ServerNames::default(),
                is_alone: false,
                proxy_protocol: listen.proxy_protocol,
                ssl: listen.ssl,
                http2: listen.http2,
                default_is_explicit: listen.default_server,
            };
            addresses.push((listen, virtual_));
            return;
        };
        virtual_.proxy_protocol |= listen.proxy_protocol;
        virtual_.ssl |= listen.ssl;
        virtual_.http2 |= listen.http2;
        let address = &listen.spec.address;
        if listen.has_options {
            if first.has_options {
                self.diagnostics
                    .emerg(format!("duplicate listen options for {address}"), listen.span);
            }
            let span = first.span;
            *first = Listen { span, ..listen.clone() };
        }
        if listen.default_server {
            if virtual_.default_is_explicit {
                self.diagnostics
                    .emerg(format!("a duplicate default server for {address}"), listen.span);
            }
            virtual_.default = server;
            virtual_.default_is_explicit = true;
        }
    }

    fn add_names(
        &mut self,
        listen: &Listen,
        virtual_: &mut Virtual,
        index: usize,
        server: &Server,
    ) {
        let names = &server.settings().of(&server_name::SETTINGS).names.0;
        if names.is_empty() {
            let unnamed = ServerName::Exact(Vec::new());
            virtual_.names.add(&unnamed, index, 0);
        }
        for (position, named) in names.iter().enumerate() {
            if !virtual_.names.add(&named.name, index, position) {
                let address = &listen.spec.address;
                let name = &named.word;
                self.diagnostics.warn(
                    format!("conflicting server name \"{name}\" on {address}, ignored"),
                    name.span,
                );
            }
        }
    }

    fn refuse_malformed_names(&mut self, listen: &Listen, server: &Server) {
        for named in &server.settings().of(&server_name::SETTINGS).names.0 {
            if matches!(named.name, ServerName::Malformed) {
                let (name, address) = (&named.word, &listen.spec.address);
                let message = format!("invalid server name or wildcard \"{name}\" on {address}");
                self.diagnostics.emerg(message, name.span);
            }
        }
    }
}

fn group_by_socket(addresses: Vec<(Listen, Virtual)>) -> Vec<Socket> {
    let mut sockets: Vec<Socket> = Vec::new();
    let (wildcards, singles): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|(listen, _)| listen::is_wildcard(&listen.spec.address));
    for (listen, virtual_) in wildcards.into_iter().chain(singles) {
        let address = listen.spec.address.clone();
        let wildcard = sockets.iter_mut().find(|socket| {
            !listen.bind && socket.spec.address != address && covers(&socket.spec.address, &address)
        });
        match wildcard {
            Some(socket) => socket.addresses.push((address, virtual_)),
            None => {
                sockets.push(Socket { spec: listen.spec, addresses: vec![(address, virtual_)] })
            }
        }
    }
    sockets
}

/// Whether a socket on the wildcard address takes connections to the other one.
fn covers(wildcard: &Address, address: &Address) -> bool {
    match (wildcard, address) {
        (Address::Ip(wildcard), Address::Ip(address)) => {
            wildcard.ip().is_unspecified()
                && wildcard.port() == address.port()
                && wildcard.is_ipv4() == address.is_ipv4()
        }
        _ => false,
    }
}

/// getsockname(2).
fn name_of(stream: &Stream) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(stream).ok()?).ok()
}

impl Virtual {
    /// A server says that it is the default.
    pub fn has_explicit_default(&self) -> bool {
        self.default_is_explicit
    }
}

impl HttpConfig {
    /// For a configuration without an `http` block.
    pub fn without_servers(settings: SettingsSet, surroundings: Surroundings) -> Self {
        HttpConfig {
            sockets: Vec::new(),
            servers: Vec::new(),
            settings,
            variables: Definitions::default(),
            has_proxy_protocol: false,
            has_tls: false,
            surroundings,
            upstreams: Groups::default(),
            shows_requests: false,
            shows_tcp_info: false,
        }
    }

    /// What `proxy_cache_path` and its like declare.
    pub fn caches(&self) -> &Registry {
        &self.settings.of(&place::SETTINGS).registry
    }

    /// The folders that `client_body_temp_path`, `proxy_temp_path` and their like name, in any block, and those of caches.
    pub fn temporary_folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> =
            self.caches().places().map(|place| place.folder.as_path()).collect();
        for location in self.locations() {
            let modules = self.variables.modules().iter();
            for folder in modules.filter_map(|module| (module.temporary)(&location.settings)) {
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
            }
        }
        folders
    }

    /// The folders that serve where none is named, as far as they do, and what is kept there.
    pub fn built_in_folders(&self) -> Vec<(&Path, &'static str)> {
        let Surroundings { body_temp_path, upstream_temp_path, .. } = &self.surroundings;
        let modules = self.variables.modules();
        let names_none = |location: &Location| {
            let mut named =
                modules.iter().filter_map(|module| (module.temporary)(&location.settings));
            named.next().is_none()
        };
        let lacks_own =
            |location: &Location| location.settings.of(&client::SETTINGS).body_temp_path.is_none();
        let bodies = self.locations().any(lacks_own);
        let responses = self.locations().any(|location| location.passes && names_none(location));
        let bodies = bodies.then_some((&*body_temp_path.folder, "requests"));
        let responses = responses.then_some((&*upstream_temp_path.folder, "proxied responses"));
        bodies.into_iter().chain(responses).collect()
    }

    /// Every server as a location, and every location inside.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        let mut left: Vec<&Location> = self.servers.iter().map(|server| &server.location).collect();
        std::iter::from_fn(move || {
            let location = left.pop()?;
            left.extend(location.nested.iter());
            Some(location)
        })
    }

    /// Has errors of every location go to `log`, and requests to no log at all.
    pub fn redirect_logs(&mut self, log: &Log) {
        for server in &mut self.servers {
            server.location.redirect_logs(log);
        }
    }

    /// Every address with what is served there.
    pub fn addresses(&self) -> impl Iterator<Item = (&Address, &Virtual)> {
        let addresses = self.sockets.iter().flat_map(|socket| &socket.addresses);
        addresses.map(|(address, virtual_)| (address, virtual_))
    }

    /// The servers of an address, in the file's order.
    pub fn servers_on(&self, address: &Address) -> Vec<ServerIndex> {
        let is_root = daemun_sys::identity::effective_uid() == 0;
        let listens = |index: &ServerIndex| self.servers[*index].listens_on(address, is_root);
        (0..self.servers.len()).filter(listens).collect()
    }

    /// Whether `debug_connection` names the peer.
    pub fn debugs(&self, peer: Peer) -> bool {
        self.surroundings.debugged.iter().any(|cidr| cidr.contains(peer))
    }

    /// A server for requests that belong to no connection yet.
    pub fn any_server(&'static self) -> &'static Server {
        &self.servers[0]
    }

    /// The servers of the address that the connection came to.
    pub fn virtual_of(&'static self, connection: &Connection) -> &'static Virtual {
        let socket = &self.sockets[usize::from(connection.listener)];
        let (_, first) = &socket.addresses[0];
        if socket.addresses.len() == 1 {
            return first;
        }
        let Some(local) = name_of(&connection.stream) else {
            return first;
        };
        let local = Address::Ip(local);
        let exact = socket.addresses.iter().find(|(address, _)| *address == local);
        exact.map_or(first, |(_, virtual_)| virtual_)
    }

    /// The default server of the address that the connection came to; where a handshake named one, that.
    pub fn default_server(&'static self, connection: &Connection) -> &'static Server {
        match connection.tls() {
            Some(facts) if facts.server < self.servers.len() => &self.servers[facts.server],
            _ => &self.servers[self.virtual_of(connection).default],
        }
    }

    /// The address that a connection came to: the socket's own, unless that is a wildcard.
    pub fn local_address(&self, connection: &Connection) -> Option<SocketAddr> {
        match &self.sockets[usize::from(connection.listener)].spec.address {
            Address::Ip(address) if !address.ip().is_unspecified() => Some(*address),
            Address::Ip(_) => name_of(&connection.stream),
            Address::Unix(_) => None,
        }
    }
}

impl Server {
    pub fn settings(&self) -> &SettingsSet {
        &self.location.settings
    }

    /// The first of its names, empty where it has none.
    pub fn name(&self) -> &[u8] {
        self.settings().of(&server_name::SETTINGS).first.0.as_deref().unwrap_or_default()
    }

    pub fn log(&self) -> &Log {
        self.location.log(false)
    }

    /// Some location takes requests to connect to other servers.
    pub fn takes_connect(&self) -> bool {
        self.takes_connect
    }

    pub fn post_read(&self) -> &[Handler] {
        &self.post_read
    }

    pub fn rewrite(&self) -> &[Handler] {
        &self.server_rewrite
    }

    fn listens_on(&self, address: &Address, is_root: bool) -> bool {
        let listens = &self.settings().of(&listen::SETTINGS).listens.0;
        match listens.is_empty() {
            true => listen::default_address(is_root) == *address,
            false => listens.iter().any(|listen| listen.spec.address == *address),
        }
    }
}

impl Location {
    fn redirect_logs(&mut self, log: &Log) {
        self.log = log.clone();
        self.debug_log = None;
        Arc::make_mut(&mut self.handlers).log.clear();
        let limited = self.limit_except.iter_mut().map(|limit| &mut limit.1);
        let inner = self.nested.iter_mut().chain(&mut self.conditional).chain(limited);
        inner.for_each(|inner| inner.redirect_logs(log));
    }

    /// The log of a connection here.
    pub fn log(&self, is_debugged: bool) -> &Log {
        match &self.debug_log {
            Some(log) if is_debugged => log,
            _ => &self.log,
        }
    }

    /// What its header says; `None` for a server and for `limit_except`.
    pub fn matching(&self) -> Option<&Match> {
        self.core.routing.location.0.as_deref()
    }

    pub fn outranks_patterns(&self) -> bool {
        matches!(self.matching(), Some(Match::Prefix { rank: true, .. }))
    }

    /// Whether `uri` is the location's name without its last slash, and is to be redirected to it.
    pub fn is_folder_at(&self, uri: &[u8]) -> bool {
        let name = match self.matching() {
            Some(Match::Exact(name) | Match::Prefix { name, .. }) if self.passes => name,
            _ => return false,
        };
        name.strip_suffix(b"/") == Some(uri)
    }

    fn takes_connect(&self) -> bool {
        let mut inner = self.nested.iter().chain(&self.conditional);
        self.core.routing.takes_connect.0 || inner.any(Location::takes_connect)
    }

    /// Requests are passed to another server.
    pub(crate) fn passes(&self) -> bool {
        self.passes
    }

    pub fn is_internal(&self) -> bool {
        self.core.routing.internal.0
    }

    /// The `limit_except` block, whatever methods it holds for.
    pub(crate) fn exception(&self) -> Option<&Location> {
        self.limit_except.as_ref().map(|limit| &limit.1)
    }

    /// The `limit_except` block, for the methods that it holds for.
    pub fn limited(&self, method: Method) -> Option<&Location> {
        let (allowed, location) = &**self.limit_except.as_ref()?;
        (!allowed.contains(&method)).then_some(location)
    }
}
