//! The control socket: how `-s reload` learns what became of a reload, and `daemun mpm` what runs.
//!
//! Each master listens on an abstract UNIX socket of sequenced packets that is named by its process
//! number and the namespace that this number is of. A client sends one word; the answer is `ok`, or
//! `failed: ` and the reason. Only root and the master's own user are heard. Abstract names belong to
//! whoever comes first, so a client believes only the process that it asks for, and that only where
//! it runs as root or as the client's own user; nothing of an answer is printed raw.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use daemun_sys::identity;
use daemun_sys::packet::{PacketSocket, PeerCredentials};
use daemun_sys::signals::{self, Received};

/// What a reload led to, as the master tells whoever waits.
pub type Outcome = Result<(), String>;

/// What came of asking a master.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<T> {
    Said(T),
    /// There is no such socket, which is what another server looks like.
    Nobody,
    /// Somebody else holds the socket's name: the sentence says who.
    Stranger(String),
}

/// Asks the master `pid` to reload and waits for what comes of it, at most `limit`.
pub fn reload(pid: i32, limit: Duration) -> Reply<Outcome> {
    match ask(pid, RELOAD, limit) {
        Reply::Said(answer) => Reply::Said(answer.and_then(|answer| understand(&answer))),
        Reply::Nobody => Reply::Nobody,
        Reply::Stranger(sentence) => Reply::Stranger(sentence),
    }
}

/// Asks the master `pid` what its process model is and does.
pub fn model(pid: i32, limit: Duration) -> Reply<Result<String, String>> {
    ask(pid, MODEL, limit)
}

fn ask(pid: i32, word: &[u8], limit: Duration) -> Reply<Result<String, String>> {
    let name = name_of(pid);
    let Ok(socket) = PacketSocket::connect(&name) else {
        return Reply::Nobody;
    };
    match socket.peer() {
        Ok(peer) if peer.pid != pid || !is_believed(peer.uid) => {
            return Reply::Stranger(suspicion(pid, peer));
        }
        Ok(_) => {}
        Err(_) => return Reply::Nobody,
    }
    if socket.send(word).is_err() {
        return Reply::Nobody;
    }
    let mut answer = vec![0; LIMIT];
    match socket.receive_within(&mut answer, limit) {
        Ok(0) => Reply::Said(Err("the master process ended".to_owned())),
        Ok(length) => Reply::Said(Ok(printable(&String::from_utf8_lossy(&answer[..length])))),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Reply::Said(Err(format!(
            "no answer from the master process within {} s",
            limit.as_secs()
        ))),
        Err(_) => Reply::Nobody,
    }
}

fn is_believed(uid: u32) -> bool {
    uid == 0 || uid == identity::effective_uid()
}

fn suspicion(pid: i32, peer: PeerCredentials) -> String {
    let PeerCredentials { pid: holder, uid } = peer;
    match holder == pid {
        true => format!("process {pid} runs as another user ({uid}), whose word is not taken"),
        false => {
            format!("the control socket of process {pid} is held by process {holder} of user {uid}")
        }
    }
}

/// The text with control characters escaped, which terminals obey; lines stay.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() && character != '\n' {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// The master's side.
pub(crate) struct Control {
    listener: PacketSocket,
    /// Connected, and has not asked yet; until that moment.
    silent: Vec<(PacketSocket, Instant)>,
    /// Wait for the outcome of a reload.
    waiting: Vec<PacketSocket>,
}

impl Control {
    const PATIENCE: Duration = Duration::from_secs(1);
    const CLIENTS: usize = 64;

    pub fn open() -> io::Result<Control> {
        let listener = PacketSocket::listen(&name_of(identity::pid()))?;
        Ok(Control { listener, silent: Vec::new(), waiting: Vec::new() })
    }

    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let silent = self.silent.iter().map(|(client, _)| client.as_fd());
        silent.chain([self.listener.as_fd()]).collect()
    }

    /// Hears who is there, and answers those who ask for the process model. Whoever asks for a reload
    /// wants what the signal does, and is told of in the log as if he had sent it.
    pub fn hear(&mut self, model: impl Fn() -> String) -> Option<Received> {
        let now = Instant::now();
        while self.silent.len() < Self::CLIENTS {
            match self.listener.accept() {
                Ok(client) if is_trusted(&client) => {
                    self.silent.push((client, now + Self::PATIENCE))
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let mut asked = None;
        for (client, until) in std::mem::take(&mut self.silent) {
            let mut word = [0; 16];
            match client.receive(&mut word) {
                Ok((length, _)) if &word[..length] == RELOAD => {
                    let sender = client.peer().map_or(0, |peer| peer.pid);
                    self.waiting.push(client);
                    asked = Some(Received { number: signals::SIGHUP, sender, value: None });
                }
                Ok((length, _)) if &word[..length] == MODEL => {
                    // Whoever does not wait any more needs no answer.
                    let _ = client.send(model().as_bytes());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < until => {
                    self.silent.push((client, until));
                }
                _ => {}
            }
        }
        asked
    }

    /// Tells everybody who waits.
    pub fn answer(&mut self, outcome: &Outcome) {
        let text = match outcome {
            Ok(()) => "ok".to_owned(),
            Err(reason) => format!("{FAILED}{reason}"),
        };
        let bytes = &text.as_bytes()[..text.len().min(LIMIT)];
        for client in self.waiting.drain(..) {
            // Whoever does not wait any more needs no answer.
            let _ = client.send(bytes);
        }
    }
}

const RELOAD: &[u8] = b"reload";
const MODEL: &[u8] = b"mpm";
const FAILED: &str = "failed: ";
/// Longer reasons are cut.
const LIMIT: usize = 8192;

/// Several namespaces of processes may share one of abstract names, and each has a process 1.
fn name_of(pid: i32) -> String {
    match identity::pid_namespace() {
        Some(namespace) => format!("daemun/{namespace}/{pid}/control"),
        None => format!("daemun/{pid}/control"),
    }
}

fn is_trusted(client: &PacketSocket) -> bool {
    client.peer().is_ok_and(|peer| is_believed(peer.uid))
}

fn understand(answer: &str) -> Outcome {
    match answer.strip_prefix(FAILED) {
        Some(reason) => Err(reason.to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one client of a socket that is named for `pid`, and the client's view of it.
    fn asked(pid: i32, answer: &'static [u8]) -> Reply<Outcome> {
        let listener = PacketSocket::listen(&name_of(pid)).unwrap();
        let client = std::thread::spawn(move || reload(pid, Duration::from_secs(20)));
        daemun_sys::poll::readable(&[listener.as_fd()], None).unwrap();
        // One that turns away at the sight of a stranger hears nothing.
        let _ = listener.accept().unwrap().send(answer);
        client.join().unwrap()
    }

    #[test]
    fn a_client_waits_for_the_outcome_and_prints_the_reason() {
        let mut control = Control::open().unwrap();
        let client = std::thread::spawn(|| reload(identity::pid(), Duration::from_secs(20)));
        while control.hear(String::new).is_none() {
            daemun_sys::poll::readable(&control.descriptors(), None).unwrap();
        }
        control.answer(&Err("unknown directive \"lisen\"\x1b[2J".to_owned()));
        let reason = "unknown directive \"lisen\"\\u{1b}[2J".to_owned();
        assert_eq!(client.join().unwrap(), Reply::Said(Err(reason)));
    }

    #[test]
    fn a_process_without_a_control_socket_is_another_server() {
        assert_eq!(reload(1, Duration::from_secs(20)), Reply::Nobody);
    }

    #[test]
    fn whoever_holds_the_name_of_another_process_is_told_of_and_not_believed() {
        // No process has such a number.
        let other = i32::MAX - 7;
        let Reply::Stranger(sentence) = asked(other, b"ok") else { panic!("it was believed") };
        let (pid, uid) = (identity::pid(), identity::effective_uid());
        assert!(
            sentence.ends_with(&format!("is held by process {pid} of user {uid}")),
            "{sentence}"
        );
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        for byte in (0..=255u8).filter(|byte| *byte != b'\n') {
            let text = String::from_utf8_lossy(&[b'a', byte]).into_owned();
            let shown = printable(&text);
            assert!(!shown.chars().any(char::is_control), "{byte}: {shown:?}");
        }
        assert_eq!(printable("mpm event\nü \u{9b}2J"), "mpm event\nü \\u{9b}2J");
    }

    #[test]
    fn the_name_tells_the_namespace() {
        let namespace = identity::pid_namespace().unwrap();
        assert_eq!(name_of(1), format!("daemun/{namespace}/1/control"));
    }
}
