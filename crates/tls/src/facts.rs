//! What a handshake settled, as long as its connection lives: `$ssl_*`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use daemun_proto::tls::ClientHello;

use crate::suite::{SUITES, Suite, Version};
use crate::x509::Verdict;

/// What both sides agreed on. Connections that agreed on the same share one.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub suite: &'static Suite,
    /// The group of the key exchange by number; 0 where a session was resumed without one.
    pub group: u16,
    /// The name that the client asked for, as it came.
    pub server_name: Option<Box<[u8]>>,
    /// What ALPN settled on.
    pub protocol: Option<Box<[u8]>>,
    /// A session went on.
    pub reused: bool,
    /// Request data came before the handshake was finished.
    pub early_data: bool,
    /// What the client offered, two bytes each.
    pub offered_suites: Box<[u8]>,
    pub offered_groups: Box<[u8]>,
    /// What signed the server's part, by number; 0 where nothing did.
    pub signature: u16,
    /// What signed the client's part.
    pub client_signature: u16,
    /// By which it can be resumed; empty where it cannot.
    pub session_id: Box<[u8]>,
    /// The client's certificate.
    pub client: Option<Arc<ClientCertificate>>,
    /// Which server answered the hello: its place in the configuration.
    pub server: usize,
}

/// What a client presented, and what was thought of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificate {
    /// In DER, the client's own first.
    pub chain: Vec<Box<[u8]>>,
    /// Why it is not trusted; `None` where it is.
    pub refused: Option<Verdict>,
    /// What its authority says against it.
    pub status: Option<&'static str>,
}

thread_local! {
    /// What the last handshakes came to.
    static RECENT: RefCell<VecDeque<Arc<Facts>>> = const { RefCell::new(VecDeque::new()) };
}

/// How many are looked through.
const MOST_RECENT: usize = 32;

impl Facts {
    /// The same value as others have, where one is known: clients of a kind agree on the same.
    pub fn share(self) -> Arc<Facts> {
        RECENT.with_borrow_mut(|recent| {
            if let Some(known) = recent.iter().find(|known| ***known == self) {
                return Arc::clone(known);
            }
            let facts = Arc::new(self);
            recent.push_front(Arc::clone(&facts));
            recent.truncate(MOST_RECENT);
            facts
        })
    }

    /// What is known before anything is agreed on.
    pub fn of_hello(hello: &ClientHello<'_>, server: usize) -> Facts {
        Facts {
            suite: &SUITES[0],
            group: 0,
            server_name: hello.server_name.map(Into::into),
            protocol: None,
            reused: false,
            early_data: false,
            offered_suites: hello.cipher_suites.into(),
            offered_groups: hello.groups.into(),
            signature: 0,
            client_signature: 0,
            session_id: Box::default(),
            client: None,
            server,
        }
    }

    /// What a client of today and a server would agree on, for requests that are only explained.
    pub fn expected(server_name: Option<&str>, server: usize) -> Facts {
        let server_name = server_name.map(str::as_bytes);
        let hello = ClientHello { server_name, ..ClientHello::default() };
        Facts::of_hello(&hello, server)
    }

    pub fn version(&self) -> Version {
        self.suite.version
    }
}
