//! The control socket: how `-s reload` learns what became of a reload, and `daemun mpm` what runs.
//!
//! Each master listens on an abstract UNIX socket of sequenced packets that is named by its process
//! number. A client sends one word; the answer is `ok`, or `failed: ` and the reason. Only root and
//! the master's own user are heard, and the client believes only the process that it asked for:
//! abstract names belong to whoever comes first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use daemun_sys::identity;
use daemun_sys::packet::PacketSocket;

/// What a reload led to, as the master tells whoever waits.
pub type Outcome = Result<(), String>;

/// Asks the master `pid` to reload and waits for what comes of it, at most `limit`. `None` where
/// that process has no control socket, which is what another server looks like.
pub fn reload(pid: i32, limit: Duration) -> Option<Outcome> {
    match ask(pid, RELOAD, limit)? {
        Ok(answer) => Some(understand(&answer)),
        Err(sentence) => Some(Err(sentence)),
    }
}

/// Asks the master `pid` what its process model is and does; `None` as in [`reload`].
pub fn model(pid: i32, limit: Duration) -> Option<Result<String, String>> {
    let answer = ask(pid, MODEL, limit)?;
    Some(answer.map(|answer| String::from_utf8_lossy(&answer).into_owned()))
}

fn ask(pid: i32, word: &[u8], limit: Duration) -> Option<Result<Vec<u8>, String>> {
    let socket = PacketSocket::connect(&name_of(pid)).ok()?;
    let peer = socket.peer().ok()?;
    if peer.pid != pid {
        return None;
    }
    socket.send(word).ok()?;
    let mut answer = vec![0; LIMIT];
    match socket.receive_within(&mut answer, limit) {
        Ok(0) => Some(Err("the master process ended".to_owned())),
        Ok(length) => {
            answer.truncate(length);
            Some(Ok(answer))
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Some(Err(format!("no answer from the master process within {} s", limit.as_secs())))
        }
        Err(_) => None,
    }
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

    /// Hears who is there, and answers those who ask for the process model; true where somebody asks
    /// for a reload.
    pub fn hear(&mut self, model: impl Fn() -> String) -> bool {
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
        let mut asked = false;
        for (client, until) in std::mem::take(&mut self.silent) {
            let mut word = [0; 16];
            match client.receive(&mut word) {
                Ok((length, _)) if &word[..length] == RELOAD => {
                    self.waiting.push(client);
                    asked = true;
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

fn name_of(pid: i32) -> String {
    format!("daemun/{pid}/control")
}

fn is_trusted(client: &PacketSocket) -> bool {
    client.peer().is_ok_and(|peer| peer.uid == 0 || peer.uid == identity::effective_uid())
}

fn understand(answer: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(answer);
    match text.strip_prefix(FAILED) {
        Some(reason) => Err(reason.to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_waits_for_the_outcome_and_prints_the_reason() {
        let mut control = Control::open().unwrap();
        let client = std::thread::spawn(|| reload(identity::pid(), Duration::from_secs(20)));
        while !control.hear(String::new) {
            daemun_sys::poll::readable(&control.descriptors(), None).unwrap();
        }
        control.answer(&Err("unknown directive \"lisen\"".to_owned()));
        assert_eq!(client.join().unwrap(), Some(Err("unknown directive \"lisen\"".to_owned())));
    }

    #[test]
    fn a_process_without_a_control_socket_is_another_server() {
        assert_eq!(reload(1, Duration::from_secs(20)), None);
    }
}
