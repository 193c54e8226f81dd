//! WebSockets live through reloads and upgrades, and keep no old worker alive.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use daemun_tests::{Client, PATIENCE, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::daemon::Daemon;

#[test]
fn five_thousand_websockets_live_through_ten_reloads() {
    let daemon = Daemon::start(2, "");
    let _echo = daemon.echo();
    // Each is four descriptors: the client's, the server's two, the echo's.
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let chat = Chat::start(daemon.port(), 5000.min(descriptors as usize / 4));
    let master = daemon.pid();
    for _ in 0..10 {
        chat.goes_round();
        daemon.reload(2, "");
        daemon.has_workers(master, 2);
    }
    chat.goes_round();
    each_leaves_its_line(&daemon, chat);
}

#[test]
fn websockets_live_through_upgrades() {
    let daemon = Daemon::start(2, "");
    let _echo = daemon.echo();
    let chat = Chat::start(daemon.port(), 50);
    chat.goes_round();
    daemon.upgrade_and_go_back(2);
    chat.goes_round();
    daemon.upgrade(2);
    chat.goes_round();
    each_leaves_its_line(&daemon, chat);
}

/// One line for each WebSocket, with what passed in its whole life.
fn each_leaves_its_line(daemon: &Daemon, chat: Chat) {
    let expected = chat.end();
    eventually("every WebSocket is logged", || daemon.relay_lines().len() >= expected.len());
    let lines = daemon.relay_lines();
    assert_eq!(lines.len(), expected.len());
    let mut seen = HashMap::new();
    for line in &lines {
        let words: Vec<_> = line.split(' ').collect();
        let [uri, "101", body, received, upstream, time] = words[..] else { panic!("{line}") };
        assert!(upstream.starts_with("unix:") && time.parse::<f64>().unwrap() > 0.0, "{line}");
        let (body, received): (usize, usize) = (body.parse().unwrap(), received.parse().unwrap());
        assert!(received > body, "the head of the response counts: {line}");
        seen.insert(uri.to_owned(), body);
    }
    assert_eq!(seen, expected);
}

/// WebSockets that say something all the time, and count on the same answer.
pub struct Chat {
    ends: Arc<AtomicBool>,
    rounds: Vec<Arc<AtomicUsize>>,
    talkers: Vec<JoinHandle<HashMap<String, usize>>>,
}

impl Chat {
    const TALKERS: usize = 4;

    fn start(port: u16, sockets: usize) -> Chat {
        Chat::start_over(port, sockets, open)
    }

    /// With another kind of connection.
    pub fn start_over<S: Read + Write + 'static>(
        port: u16,
        sockets: usize,
        open: fn(u16, &str) -> S,
    ) -> Chat {
        raise_limit();
        let ends = Arc::new(AtomicBool::new(false));
        let rounds: Vec<_> = (0..Self::TALKERS).map(|_| Arc::<AtomicUsize>::default()).collect();
        let talkers = rounds.iter().enumerate().map(|(number, round)| {
            let (ends, round) = (Arc::clone(&ends), Arc::clone(round));
            let uris = (number..sockets).step_by(Self::TALKERS).map(|one| format!("/echo/{one}"));
            let uris: Vec<_> = uris.collect();
            thread::spawn(move || talk(port, open, uris, &ends, &round))
        });
        let talkers = talkers.collect();
        Chat { ends, rounds, talkers }
    }

    /// Waits until every WebSocket has had an answer to what it said after now.
    pub fn goes_round(&self) {
        let before: Vec<_> = self.rounds.iter().map(|one| one.load(Ordering::SeqCst)).collect();
        let has_gone =
            |(now, before): (&Arc<AtomicUsize>, &usize)| now.load(Ordering::SeqCst) >= before + 2;
        while !self.rounds.iter().zip(&before).all(has_gone) {
            let ended = self.talkers.iter().any(JoinHandle::is_finished);
            assert!(!ended, "a WebSocket was closed, or could not be opened: see above");
            thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// Closes all; the bytes of the messages that each has got.
    pub fn end(self) -> HashMap<String, usize> {
        self.ends.store(true, Ordering::SeqCst);
        let ended =
            self.talkers.into_iter().map(|talker| talker.join().expect("all had their answers"));
        ended.flatten().collect()
    }
}

fn talk<S: Read + Write>(
    port: u16,
    open: fn(u16, &str) -> S,
    uris: Vec<String>,
    ends: &AtomicBool,
    rounds: &AtomicUsize,
) -> HashMap<String, usize> {
    let mut sockets: Vec<_> = uris.iter().map(|uri| open(port, uri)).collect();
    let mut got = 0;
    while !ends.load(Ordering::SeqCst) {
        let message = format!("message {}", rounds.load(Ordering::SeqCst));
        sockets.iter_mut().for_each(|socket| socket.write_all(&masked(&message)).unwrap());
        for socket in &mut sockets {
            let mut answer = vec![0; 2 + message.len()];
            if let Err(error) = socket.read_exact(&mut answer) {
                panic!("no answer to {message:?} on a WebSocket that was open: {error}");
            }
            assert_eq!((answer[0], &answer[2..]), (TEXT, message.as_bytes()));
            got += 1;
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    let bytes: usize =
        (0..got / sockets.len()).map(|round| 2 + format!("message {round}").len()).sum();
    uris.into_iter().map(|uri| (uri, bytes)).collect()
}

/// The key is the example of RFC 6455, section 1.2.
pub fn upgrade(uri: &str) -> String {
    format!(
        "GET {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn open(port: u16, uri: &str) -> TcpStream {
    let mut client = Client::connect(port);
    client.send(upgrade(uri));
    let head = client.head();
    assert_eq!(head.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let socket = client.stream().try_clone().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A whole message, and its first byte in both directions.
const TEXT: u8 = 0x81;

/// A text as a client's frame: a mask of zeros changes nothing (RFC 6455, section 5.3).
fn masked(text: &str) -> Vec<u8> {
    [&[TEXT, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
