//! Lookups, with a name server that says what a test wants.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use daemun_event::{Handler, Reactor};
use daemun_proto::dns::{self, Kind};

use crate::lookup::{Asked, LookupError, Resolver};

const PATIENCE: Duration = Duration::from_secs(20);
const A: u16 = Kind::A as u16;
const AAAA: u16 = Kind::Aaaa as u16;
const SRV: u16 = Kind::Srv as u16;
const CNAME: u16 = 5;

/// RCODE or flags, and records: type, time to live, data.
type Says = (u16, Vec<(u16, u32, Vec<u8>)>);

/// A port that is free for UDP may be taken for TCP.
fn both_on_one_port() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
            return (socket, listener);
        }
    }
}

/// A name server; what it was asked for is in `asked`.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

impl Server {
    /// `says` is given name, type and whether it was asked over TCP; `None` is silence.
    fn start(says: fn(&str, u16, bool) -> Option<Says>) -> Server {
        let (socket, listener) = both_on_one_port();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(response) = answer(&query[..length], says, false, &log) {
                    socket.send_to(&response, from).unwrap();
                }
            }
        });
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                let response = answer(&query, says, true, &log).unwrap();
                let length = (response.len() as u16).to_be_bytes();
                stream.write_all(&[&length, &response[..]].concat()).unwrap();
            }
        });
        Server { address, asked }
    }

    fn resolver(&self) -> Resolver {
        resolver(vec![self.address])
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn answer(
    query: &[u8],
    says: fn(&str, u16, bool) -> Option<Says>,
    over_tcp: bool,
    log: &Mutex<Vec<(String, u16)>>,
) -> Option<Vec<u8>> {
    let mut response = query.to_vec();
    response[2..4].copy_from_slice(&0x8180u16.to_be_bytes());
    let (name, kind) = {
        let parsed = dns::parse(&response, over_tcp).unwrap();
        (String::from_utf8(parsed.name).unwrap(), parsed.kind)
    };
    log.lock().unwrap().push((name.clone(), kind));
    let (flags, records) = says(&name, kind, over_tcp)?;
    response[2..4].copy_from_slice(&(0x8180 | flags).to_be_bytes());
    response[7] = records.len() as u8;
    for (kind, ttl, data) in records {
        response.extend([0xc0, 12]);
        for field in [kind, 1, (ttl >> 16) as u16, ttl as u16, data.len() as u16] {
            response.extend(field.to_be_bytes());
        }
        response.extend(data);
    }
    Some(response)
}

/// A name as it stands in a message.
fn spelt(name: &str) -> Vec<u8> {
    let query = dns::query(0, name.as_bytes(), Kind::A).unwrap();
    query[12..query.len() - 4].to_vec()
}

fn resolver(servers: Vec<SocketAddr>) -> Resolver {
    Resolver::new(Asked { servers, valid: None, ipv4: true, ipv6: true, status: None })
}

/// An address where nobody answers: the socket is closed again.
fn nobody() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

struct Nothing;

impl Handler for Nothing {
    fn parked_ready(&mut self, _: u32) {}
    fn parked_expired(&mut self, _: u32) {}
    fn acceptable(&mut self, _: u32) {}
    fn session(&mut self, _: u32) {}
}

fn run<T>(future: impl Future<Output = T>) -> T {
    Reactor::open(None).unwrap().block_on(&mut Nothing, future).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses(_: &str, kind: u16, _: bool) -> Option<Says> {
    let v6 = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
    Some(match kind {
        A => (0, vec![(A, 60, vec![192, 0, 2, 1]), (A, 60, vec![192, 0, 2, 2])]),
        AAAA => (0, vec![(AAAA, 60, v6.to_vec())]),
        _ => (0, vec![]),
    })
}

#[test]
fn both_families_are_asked_for_once_and_remembered_whatever_the_case() {
    let server = Server::start(addresses);
    let resolver = server.resolver();
    run(async {
        let first = resolver.lookup(b"www.example.net", PATIENCE).await.unwrap();
        assert_eq!(first.list, [ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1")]);
        assert_eq!(server.asked(), 2);

        let again = resolver.lookup(b"WWW.example.NET.", PATIENCE).await.unwrap();
        assert_eq!((again.list.len(), again.valid_until), (3, first.valid_until));
        assert_eq!(server.asked(), 2);
    });
}

#[test]
fn a_family_that_is_off_is_not_asked_for() {
    let server = Server::start(addresses);
    let asked =
        Asked { servers: vec![server.address], valid: None, ipv4: false, ipv6: true, status: None };
    let found = run(Resolver::new(asked).lookup(b"a.example.net", PATIENCE)).unwrap();
    assert_eq!(found.list, [ip("2001:db8::1")]);
    assert_eq!(*server.asked.lock().unwrap(), [("a.example.net".to_owned(), AAAA)]);
}

#[test]
fn requests_that_want_the_same_name_share_one_question() {
    let server = Server::start(addresses);
    let resolver = server.resolver();
    run(async {
        let mut lookups: Vec<_> =
            (0..50).map(|_| Box::pin(resolver.lookup(b"a.example.net", PATIENCE))).collect();
        // one that leaves takes nothing from the others
        std::future::poll_fn(|cx| {
            assert!(lookups[0].as_mut().poll(cx).is_pending());
            assert!(lookups[1].as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        for lookup in lookups.drain(1..) {
            assert_eq!(lookup.await.unwrap().list.len(), 3);
        }
    });
    assert_eq!(server.asked(), 2);
}

#[test]
fn an_answer_holds_as_long_as_it_says_unless_valid_does() {
    let server = Server::start(|_, kind, _| match kind {
        A => Some((0, vec![(A, 0, vec![127, 0, 0, 1])])),
        _ => Some((0, vec![])),
    });
    let lasting = Asked {
        servers: vec![server.address],
        valid: Some(Duration::from_secs(60)),
        ipv4: true,
        ipv6: true,
        status: None,
    };
    let (brief, lasting) = (server.resolver(), Resolver::new(lasting));
    run(async {
        for expected in [2, 4] {
            brief.lookup(b"a.example.net", PATIENCE).await.unwrap();
            assert_eq!(server.asked(), expected);
        }
        for _ in 0..2 {
            lasting.lookup(b"a.example.net", PATIENCE).await.unwrap();
            assert_eq!(server.asked(), 6);
        }
    });
}

#[test]
fn aliases_are_followed_but_not_in_circles() {
    let server = Server::start(|name, kind, _| match (name, kind) {
        ("one.net", _) => Some((0, vec![(CNAME, 9, spelt("two.net"))])),
        ("two.net", _) => Some((0, vec![(CNAME, 9, spelt("three.net"))])),
        ("three.net", A) => Some((0, vec![(A, 9, vec![127, 0, 0, 3])])),
        ("circle.net", _) => Some((0, vec![(CNAME, 9, spelt("circle.net"))])),
        ("root.net", _) => Some((0, vec![(CNAME, 9, vec![0])])),
        _ => Some((0, vec![])),
    });
    let resolver = server.resolver();
    run(async {
        let found = resolver.lookup(b"one.net", PATIENCE).await.unwrap();
        assert_eq!(found.list, [ip("127.0.0.3")]);
        for lost in [&b"circle.net"[..], b"root.net", b"nowhere.net", b"a..net", b""] {
            let error = resolver.lookup(lost, PATIENCE).await.unwrap_err();
            assert_eq!(error.to_string(), "3: Host not found", "{lost:?}");
        }
    });
}

#[test]
fn what_is_too_long_for_udp_is_asked_for_over_tcp() {
    let server = Server::start(|_, kind, over_tcp| match (kind, over_tcp) {
        (A, true) => Some((0, vec![(A, 9, vec![127, 0, 0, 9])])),
        (A, false) => Some((0x0200, vec![])),
        _ => Some((0, vec![])),
    });
    let found = run(server.resolver().lookup(b"long.example.net", PATIENCE)).unwrap();
    assert_eq!(found.list, [ip("127.0.0.9")]);
    assert_eq!(server.asked(), 3);
}

#[test]
fn a_name_server_that_refuses_is_not_waited_for() {
    let server = Server::start(addresses);
    let resolver = resolver(vec![nobody(), nobody(), server.address]);
    for name in [&b"a.net"[..], b"b.net", b"c.net"] {
        // shorter than a second question to the same name server would take
        let found = run(resolver.lookup(name, Duration::from_secs(4)));
        assert_eq!(found.unwrap().list.len(), 3);
    }
}

#[test]
fn errors_are_told_in_nginx_words_and_not_remembered() {
    let server = Server::start(|name, _, _| match name {
        "silent.net" => None,
        _ => Some((2, vec![])),
    });
    let resolver = server.resolver();
    run(async {
        for expected in [2, 4] {
            let error = resolver.lookup(b"a.net", PATIENCE).await.unwrap_err();
            assert_eq!(error.to_string(), "2: Server failure");
            assert_eq!(server.asked(), expected);
        }
        let error = resolver.lookup(b"silent.net", Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error, LookupError::TimedOut);
        assert_eq!(error.to_string(), "110: Operation timed out");
    });
}

#[test]
fn what_is_written_out_needs_no_name_server() {
    let resolver = resolver(vec![nobody()]);
    let found = run(resolver.lookup(b"192.0.2.7", Duration::from_millis(1))).unwrap();
    assert_eq!(found.list, [ip("192.0.2.7")]);
}

#[test]
fn services_are_the_addresses_of_their_servers() {
    let server = Server::start(|name, kind, _| match (name, kind) {
        ("_http._tcp.example.net", SRV) => {
            let record = |priority: u8, port: u8, host: &str| {
                (SRV, 9, [&[0, priority, 0, 1, 0, port][..], &spelt(host)].concat())
            };
            let (spare, gone, main) =
                (record(2, 82, "spare.net"), record(1, 83, "gone.net"), record(1, 81, "main.net"));
            Some((0, vec![spare, gone, main]))
        }
        ("main.net", A) => Some((0, vec![(A, 9, vec![127, 0, 0, 1])])),
        ("spare.net", A) => Some((0, vec![(A, 9, vec![127, 0, 0, 2])])),
        _ => Some((0, vec![])),
    });
    let resolver = server.resolver();
    run(async {
        let found = resolver.lookup_service(b"http", b"example.net", PATIENCE).await.unwrap();
        let told: Vec<_> = found
            .list
            .iter()
            .map(|one| (one.address.to_string(), &*one.name, one.priority, one.weight))
            .collect();
        assert_eq!(
            told,
            [
                ("127.0.0.1:81".to_owned(), "main.net", 1, 1),
                ("127.0.0.2:82".to_owned(), "spare.net", 2, 1)
            ]
        );
        assert_eq!(found.unresolved[0].name, "gone.net");
        assert_eq!(found.unresolved[0].error, LookupError::HOST_NOT_FOUND);

        let same = resolver.lookup_service(b"_http._tcp", b"example.net", PATIENCE).await;
        assert_eq!(same.unwrap().list.len(), 2);
        let none = resolver.lookup_service(b"imap", b"example.net", PATIENCE).await;
        assert_eq!(none, Err(LookupError::HOST_NOT_FOUND));
    });
}
