//! Sessions against rustls as the peer: whatever the sizes, the pieces and the keys, what is said is what is heard.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use daemun_event::Reactor;
use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig};

use crate::client_context::{ClientContext, ClientTerms};
use crate::context::{Context, GROUPS, Terms};
use crate::fault::Fault;
use crate::handshake::{client, server};
use crate::identity;
use crate::session::{Carrier, End, Session, Side};
use crate::suite::{SUITES, Suite, Version};

/// A certificate that signs itself and is for `one.example`, and its key, in PEM.
static IDENTITY: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["one.example".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
});

/// Suites that a certificate with an ECDSA key can be used with.
fn suites() -> Vec<&'static Suite> {
    SUITES.iter().filter(|suite| !suite.name.contains("RSA")).collect()
}

fn context(suite: &'static Suite) -> Arc<Context> {
    let (certificate, key) = &*IDENTITY;
    let chain = identity::chain(certificate.as_bytes()).unwrap();
    let key = identity::key(key.as_bytes(), &[]).unwrap();
    let terms = Terms {
        certificates: vec![Arc::new(identity::certified(chain, key).unwrap())],
        versions: vec![suite.version],
        suites: vec![suite],
        groups: GROUPS.to_vec(),
        prefers_own: false,
        protocols: Vec::new(),
        tickets: None,
        sessions: None,
        session_timeout: Duration::from_secs(300),
        client: None,
        early_data: false,
        key_log: None,
        compresses: false,
        computed: Vec::new(),
    };
    terms.settle().unwrap()
}

fn client_context(suite: &'static Suite) -> ClientContext {
    let terms = ClientTerms {
        certificate: None,
        versions: vec![suite.version],
        suites: vec![suite],
        groups: GROUPS.to_vec(),
        protocols: Vec::new(),
        sends_name: true,
        keeps_sessions: true,
        verify: None,
    };
    terms.settle().unwrap()
}

/// rustls, and the bytes on the way to it and from it.
struct Peer {
    tls: Connection,
    /// Lets pass what the peer sends.
    heard: Vec<u8>,
}

impl Peer {
    fn client() -> Peer {
        let certificate = CertificateDer::from_pem_slice(IDENTITY.0.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("one.example").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        Peer { tls: tls.into(), heard: Vec::new() }
    }

    fn server() -> Peer {
        let certificate = CertificateDer::from_pem_slice(IDENTITY.0.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(IDENTITY.1.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        Peer { tls: tls.into(), heard: Vec::new() }
    }

    /// Takes what comes to it, and keeps what that says.
    fn hear(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).unwrap();
            self.tls.process_new_packets()?;
            // It would block where there is no more.
            let _ = self.tls.reader().read_to_end(&mut self.heard);
        }
        Ok(())
    }

    fn wants_to_send(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn says(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        for piece in bytes.chunks(30_000) {
            self.tls.writer().write_all(piece).unwrap();
            sent.extend(self.wants_to_send());
        }
        sent
    }
}

/// Both ends after a handshake.
fn pair(side: Side, suite: &'static Suite) -> (Session, Peer) {
    let mut peer = match side {
        Side::Server => Peer::client(),
        Side::Client => Peer::server(),
    };
    let mut answer = |bytes: &[u8]| {
        peer.hear(bytes).unwrap();
        peer.wants_to_send()
    };
    let mut session = match side {
        Side::Server => server::accept_in_memory(&context(suite), &mut answer),
        Side::Client => client::connect_in_memory(&client_context(suite), &mut answer),
    };
    // The end of the handshake, which would go out with what is said first.
    let end = say(&mut session, &mut Wire::default(), b"", usize::MAX);
    peer.hear(&end).unwrap();
    (session, peer)
}

/// The wire between them: pieces that come, room that there is, and what was sent.
#[derive(Default)]
struct Wire {
    coming: RefCell<Vec<Vec<u8>>>,
    sent: RefCell<Vec<u8>>,
    /// Bytes that a send takes.
    room: usize,
    is_cut: bool,
}

impl Carrier for Wire {
    fn try_recv_append(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let mut coming = self.coming.borrow_mut();
        match coming.is_empty() {
            true if self.is_cut => Ok(0),
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => {
                let piece = coming.remove(0);
                bytes.extend_from_slice(&piece);
                Ok(piece.len())
            }
        }
    }

    fn try_send(&self, bytes: &[u8], _: bool) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        self.sent.borrow_mut().extend_from_slice(&bytes[..taken]);
        if taken == 0 && !bytes.is_empty() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(taken)
        }
    }
}

/// Has the session hear bytes in pieces; what it makes of them, and how that ends.
fn hear(
    session: &mut Session,
    wire: &mut Wire,
    bytes: &[u8],
    piece: usize,
    most: usize,
) -> (Vec<u8>, io::Result<usize>) {
    wire.coming = RefCell::new(bytes.chunks(piece.max(1)).map(<[u8]>::to_vec).collect());
    let mut heard = Vec::new();
    loop {
        match session.receive(wire, most, &mut |bytes| heard.extend_from_slice(bytes)) {
            Ok(length @ 1..) => assert!(length <= most),
            other => return (heard, other),
        }
    }
}

/// Sends all; what goes over the wire.
fn say(session: &mut Session, wire: &mut Wire, bytes: &[u8], room: usize) -> Vec<u8> {
    wire.room = room.max(1);
    let mut at = 0;
    while at < bytes.len() {
        match session.send(wire, &bytes[at..], false) {
            Ok(taken) => at += taken,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    while !session.flush(wire).unwrap() {}
    wire.sent.take()
}

#[derive(Clone, Debug)]
enum Turn {
    /// The peer says so many bytes, which come in pieces of a size, to a caller with so much room.
    PeerSays(usize, usize, usize),
    /// The session says so many bytes over a wire with so much room.
    SessionSays(usize, usize),
    PeerUpdatesKeys,
    Rests,
    /// The session passes to another process.
    Moves,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let size = || prop_oneof![0..40usize, 0..40_000usize];
    let piece = || prop_oneof![1..40usize, 1000..40_000usize];
    let turn = prop_oneof![
        4 => (size(), piece(), piece()).prop_map(|(size, piece, most)| Turn::PeerSays(size, piece, most)),
        4 => (size(), piece()).prop_map(|(size, room)| Turn::SessionSays(size, room)),
        1 => Just(Turn::PeerUpdatesKeys),
        1 => Just(Turn::Rests),
        1 => Just(Turn::Moves),
    ];
    prop::collection::vec(turn, 1..14)
}

fn sides() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Server), Just(Side::Client)]
}

fn text(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 + salt * 7) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_said_is_what_is_heard(
        side in sides(),
        suite in prop::sample::select(suites()),
        turns in turns(),
        says_goodbye in any::<bool>(),
    ) {
        // Sessions look at its clock.
        let _reactor = Reactor::open(Some("poll")).unwrap();
        let (mut session, mut peer) = pair(side, suite);
        let mut wire = Wire::default();
        for (number, turn) in turns.into_iter().enumerate() {
            match turn {
                Turn::PeerSays(size, piece, most) => {
                    let said = text(size, number);
                    let sent = peer.says(&said);
                    let (heard, end) = hear(&mut session, &mut wire, &sent, piece, most);
                    prop_assert!(heard == said);
                    prop_assert_eq!(end.unwrap_err().kind(), io::ErrorKind::WouldBlock);
                }
                Turn::SessionSays(size, room) => {
                    let said = text(size, number);
                    let sent = say(&mut session, &mut wire, &said, room);
                    peer.heard.clear();
                    peer.hear(&sent).unwrap();
                    prop_assert!(peer.heard == said);
                }
                Turn::PeerUpdatesKeys if suite.version == Version::Tls13 => {
                    peer.tls.refresh_traffic_keys().unwrap();
                }
                Turn::PeerUpdatesKeys => {}
                Turn::Rests => session.rest(),
                Turn::Moves => {
                    say(&mut session, &mut wire, b"", usize::MAX)
                        .chunks(100)
                        .for_each(|bytes| peer.hear(bytes).unwrap());
                    let exported = Box::new(session).export().ok().expect("nothing is on its way");
                    session = Session::import(&exported).unwrap();
                }
            }
        }
        if says_goodbye {
            peer.tls.send_close_notify();
        }
        let sent = peer.wants_to_send();
        wire.is_cut = true;
        let (heard, end) = hear(&mut session, &mut wire, &sent, 1000, 1000);
        prop_assert_eq!((heard.len(), end.unwrap()), (0, 0));
        let expected = if says_goodbye { End::Notified } else { End::Truncated };
        prop_assert_eq!(session.end(), expected);
        // The other side may still be told something, and that this was all.
        if says_goodbye {
            wire.room = usize::MAX;
            session.close(&wire).unwrap();
            peer.hear(&wire.sent.take()).unwrap();
            prop_assert!(peer.tls.process_new_packets().unwrap().peer_has_closed());
        }
    }

    /// Whoever changes, repeats, reorders or leaves out what is on the way has the connection end, and no byte is heard
    /// that was not said at its place.
    #[test]
    fn what_was_tampered_with_is_not_heard(
        side in sides(),
        suite in prop::sample::select(suites()),
        sizes in prop::collection::vec(1..3000usize, 2..6),
        how in 0..5usize,
        place in any::<prop::sample::Index>(),
        bit in 0..8u8,
        piece in 1..4000usize,
        session_hears in any::<bool>(),
    ) {
        // Sessions look at its clock.
        let _reactor = Reactor::open(Some("poll")).unwrap();
        let (mut session, mut peer) = pair(side, suite);
        let mut wire = Wire::default();
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut said = Vec::new();
        // Tickets are no part of this.
        let first = peer.wants_to_send();
        let _ = hear(&mut session, &mut wire, &first, 1000, 1000);
        for (number, size) in sizes.iter().enumerate() {
            let text = text(*size, number);
            records.push(match session_hears {
                true => peer.says(&text),
                false => say(&mut session, &mut wire, &text, usize::MAX),
            });
            said.extend(text);
        }
        let at = place.index(records.len() - 1);
        match how {
            0 => {
                let byte = place.index(records[at].len());
                records[at][byte] ^= 1 << bit;
            }
            1 => records.swap(at, at + 1),
            2 => drop(records.remove(at)),
            3 => records.insert(at, records[at].clone()),
            _ => drop(records[at].pop()),
        }
        let sent = records.concat();
        wire.is_cut = true;
        let (heard, is_refused) = if session_hears {
            let (heard, _) = hear(&mut session, &mut wire, &sent, piece, 5000);
            let is_refused = match session.end() {
                End::Failed(fault) => fault.alert().is_some() || matches!(fault, Fault::Alert(_)),
                // A length that grew has it wait for more.
                end => end == End::Truncated,
            };
            (heard, is_refused)
        } else {
            peer.heard.clear();
            let result = peer.hear(&sent);
            let is_waiting = peer.heard.len() < said.len();
            (std::mem::take(&mut peer.heard), result.is_err() || is_waiting)
        };
        prop_assert!(is_refused);
        prop_assert!(heard.len() < said.len() || how == 3);
        prop_assert!(said.starts_with(&heard));
    }
}
