//! Parked connections and relays pass to the next generation.
//!
//! A pair of connected sockets joins the generations of one instance. It has no name, and is
//! inherited over fork and exec: only processes that descend from the first master can reach it, so
//! that nobody else can offer a connection and tell lies about its peer. A worker that leaves makes
//! a lane, itself a pair, and sends one end of it into the channel; a worker that serves takes it
//! out. On each lane:
//!
//! ```text
//! receiver                          sender
//!    │ ── hello: version, credits ──▶ │   has its connections watched and served until then
//!    │ ◀── offer 1: record, socket ── │   takes the connection off its event set first
//!    │ ◀── offer 2: record, socket ── │   never more than there are credits
//!    │ ── answer 1: taken, credit ──▶ │   closes its own descriptor
//!    │ ── answer 2: refused ────────▶ │   closes the connection, as without a successor
//!    │ ── end ──────────────────────▶ │   no more credits: opens another lane
//! ```
//!
//! Nothing gets lost: until the answer the sender owns the connection, and gets it back where the
//! receiver ends first; from the answer on the receiver does, and serves it. A message that nobody
//! read dies with its socket, and takes only a duplicate along. Bytes that wait in the connection
//! need no care: they are in the kernel. A relay is offered with the sockets of both its sides.

mod departure;
mod record;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use daemun_core::connection::Reason;
use daemun_sys::packet::PacketSocket;
use daemun_sys::socket;

pub use departure::{Departed, Departure};
pub use record::Record;

/// Where senders and receivers of an instance meet. Every process of it holds both ends.
#[derive(Debug)]
pub struct Channel {
    /// Lanes come out here.
    arrivals: PacketSocket,
    /// Lanes go in here.
    departures: PacketSocket,
}

impl Channel {
    /// For the first master of an instance.
    pub(crate) fn open() -> io::Result<Channel> {
        let (arrivals, departures) = PacketSocket::pair()?;
        Ok(Channel { arrivals, departures })
    }

    /// For the master of a new binary, that got [`variable`](Self::variable) with its environment.
    pub(crate) fn inherit(variable: &str) -> Option<Channel> {
        let (arrivals, departures) = variable.split_once(',')?;
        if arrivals == departures {
            return None;
        }
        let adopt = |number: &str| {
            let socket = PacketSocket::from(socket::adopt(number.parse().ok()?)?);
            socket.is_of_this_kind().then_some(socket)
        };
        Some(Channel { arrivals: adopt(arrivals)?, departures: adopt(departures)? })
    }

    /// The numbers of its descriptors, for a new binary.
    pub(crate) fn variable(&self) -> String {
        let [arrivals, departures] = self.descriptors().map(|end| end.as_raw_fd());
        format!("{arrivals},{departures}")
    }

    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.arrivals.as_fd(), self.departures.as_fd()]
    }

    /// The next worker that leaves and has connections to pass; `None` where none waits.
    ///
    /// To be called when the channel is readable. `credits` is how many connections this worker has
    /// room for now.
    pub fn accept(&self, credits: u16) -> io::Result<Option<Receiver>> {
        let lane = match self.arrivals.receive(&mut [0; LANE.len()]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?.1.pop(),
        };
        let Some(lane) = lane.map(PacketSocket::from) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut hello = [0; HELLO];
        hello[..4].copy_from_slice(&MAGIC);
        hello[4..6].copy_from_slice(&record::VERSION.to_le_bytes());
        hello[6..].copy_from_slice(&credits.to_le_bytes());
        lane.send(&hello)?;
        let buffer = vec![0; LIMIT].into_boxed_slice();
        Ok(Some(Receiver { lane, credits, buffer }))
    }

    /// Whether a lane waits for somebody to accept it.
    pub fn is_waited_at(&self) -> bool {
        let readable = daemun_sys::poll::readable(&[self.as_fd()], Some(Duration::ZERO));
        readable.is_ok_and(|readable| readable[0])
    }

    /// Starts to pass connections on. Nobody may ever accept: the caller waits for a hello no
    /// longer than it likes to. An error may be that of too many lanes that wait already.
    pub fn connect<C: Sockets>(&self) -> io::Result<Sender<C>> {
        let (lane, far_end) = PacketSocket::pair()?;
        self.departures.send_with(LANE, &[far_end.as_fd()])?;
        Ok(Sender { lane, agreed: false, credits: 0, sequence: 0, in_flight: VecDeque::new() })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrivals.as_fd()
    }
}

/// What an offer takes along: the connection's socket, and behind it the other side's where it is a
/// relay.
pub trait Sockets {
    fn sockets(&self) -> Vec<BorrowedFd<'_>>;
}

/// The end of a worker that leaves. `C` is its connection, taken off its event set before it is
/// offered.
pub struct Sender<C> {
    lane: PacketSocket,
    /// The hello came, with a version that is ours.
    agreed: bool,
    credits: u16,
    sequence: u32,
    /// Offered and not answered, in the order of their numbers.
    in_flight: VecDeque<(u32, C)>,
}

/// What a receiver said to an offer.
pub enum Answer<C> {
    /// It has the connection now: close this descriptor, nothing else.
    Taken(C),
    /// It has no listener or no room for it.
    Refused(C),
}

impl<C: Sockets> Sender<C> {
    /// How many connections may be offered now: none before the hello.
    pub fn credits(&self) -> usize {
        usize::from(self.credits)
    }

    /// Whether a receiver of this version said hello: it, or another one, is a successor.
    pub fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// Connections that were offered and not answered yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Offers a connection; hands it back where there is no credit, or where it cannot be sent at
    /// present.
    pub fn offer(&mut self, connection: C, record: &Record) -> Result<(), C> {
        if self.credits == 0 {
            return Err(connection);
        }
        let message = record.encode(self.sequence);
        let sent = match message.len() <= LIMIT {
            true => self.lane.send_with(&message, &connection.sockets()),
            false => Err(io::ErrorKind::InvalidInput.into()),
        };
        if sent.is_err() {
            return Err(connection);
        }
        self.in_flight.push_back((self.sequence, connection));
        self.sequence = self.sequence.wrapping_add(1);
        self.credits -= 1;
        Ok(())
    }

    /// The next answer, when the lane is readable; `None` where no more came. An error ends the
    /// lane: the receiver is gone or of another version, and [`reclaim`](Self::reclaim) gives back
    /// what it did not take.
    pub fn next_answer(&mut self) -> io::Result<Option<Answer<C>>> {
        loop {
            let mut message = [0; HELLO];
            let length = match self.lane.receive(&mut message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // A receiver that ends with unread offers resets the lane; the answers before that
                // still wait.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                other => other?.0,
            };
            if length != HELLO {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if self.agreed {
                return self.understand(message).map(Some);
            }
            let version = u16::from_le_bytes([message[4], message[5]]);
            if message[..4] != MAGIC || version != record::VERSION {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.agreed = true;
            self.credits = u16::from_le_bytes([message[6], message[7]]);
        }
    }

    /// The connections without an answer: they are the sender's, as they ever were.
    pub fn reclaim(self) -> impl Iterator<Item = C> {
        self.in_flight.into_iter().map(|(_, connection)| connection)
    }

    fn understand(
        &mut self,
        [a, b, c, d, verdict, more, ..]: [u8; HELLO],
    ) -> io::Result<Answer<C>> {
        let sequence = u32::from_le_bytes([a, b, c, d]);
        let place = self.in_flight.iter().position(|(offered, _)| *offered == sequence);
        let Some((_, connection)) = place.and_then(|place| self.in_flight.remove(place)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.credits = self.credits.saturating_add(u16::from(more));
        match verdict {
            TAKEN => Ok(Answer::Taken(connection)),
            _ => Ok(Answer::Refused(connection)),
        }
    }
}

impl<C> Sender<C> {
    /// Readable once there is an answer.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.lane.as_fd()
    }
}

/// The end of a worker that serves.
pub struct Receiver {
    lane: PacketSocket,
    /// Connections that the sender may offer still.
    credits: u16,
    buffer: Box<[u8]>,
}

/// A connection that a leaving worker offers. Dropped without an answer, it stays the sender's.
pub struct Offer {
    pub socket: OwnedFd,
    /// The other side of a relay.
    pub upstream: Option<OwnedFd>,
    pub record: Record,
    sequence: u32,
}

impl Receiver {
    /// The next offer, when the lane is readable; `None` where no more came. An error ends the
    /// lane: the sender is done, or speaks nonsense.
    pub fn next_offer(&mut self) -> io::Result<Option<Offer>> {
        let (length, descriptors) = match self.lane.receive(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let decoded = Record::decode(&self.buffer[..length]);
        let mut sockets = descriptors.into_iter();
        let (Some((sequence, record)), Some(socket)) = (decoded, sockets.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let upstream = sockets.next();
        if upstream.is_some() != (record.reason == Reason::Relay) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.credits = self.credits.saturating_sub(1);
        Ok(Some(Offer { socket, upstream, record, sequence }))
    }

    /// Connections that may come still.
    pub fn credits(&self) -> usize {
        usize::from(self.credits)
    }

    /// Whether nothing more can come: the lane is to be ended, and its sender looks for another one.
    pub fn is_spent(&self) -> bool {
        self.credits == 0
    }

    /// Takes the connection, and grants a credit in its place where there is `room`. An error says
    /// that the sender ended without hearing it, and so closed its side: the connection is the
    /// receiver's all the same.
    pub fn take(&mut self, offer: &Offer, room: bool) -> io::Result<()> {
        self.answer(offer.sequence, TAKEN, room)
    }

    /// Leaves the connection to its sender.
    pub fn refuse(&mut self, offer: Offer, room: bool) -> io::Result<()> {
        self.answer(offer.sequence, REFUSED, room)
    }

    fn answer(&mut self, sequence: u32, verdict: u8, room: bool) -> io::Result<()> {
        self.credits += u16::from(room);
        let mut message = [0; HELLO];
        message[..4].copy_from_slice(&sequence.to_le_bytes());
        message[4] = verdict;
        message[5] = u8::from(room);
        self.lane.send(&message)
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lane.as_fd()
    }
}

/// Credits to start with: each may cost the machine a descriptor in flight, of which a user has
/// RLIMIT_NOFILE.
pub const CREDITS: u16 = 64;

const MAGIC: [u8; 4] = *b"dmnh";
/// What a lane goes into the channel with.
const LANE: &[u8] = b"lane";
/// Hello and answers have the same length.
const HELLO: usize = 8;
/// The longest offer; a longer head stays with its sender.
const LIMIT: usize = 64 * 1024;
const TAKEN: u8 = 1;
const REFUSED: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::fd::IntoRawFd;

    use super::record::tests::record;

    impl Sockets for TcpStream {
        fn sockets(&self) -> Vec<BorrowedFd<'_>> {
            vec![self.as_fd()]
        }
    }

    /// Both sides of a relay.
    impl Sockets for (TcpStream, TcpStream) {
        fn sockets(&self) -> Vec<BorrowedFd<'_>> {
            vec![self.0.as_fd(), self.1.as_fd()]
        }
    }

    fn client_and_server() -> (TcpStream, TcpStream) {
        let listener = daemun_tests::listener();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn joined(credits: u16) -> (Sender<TcpStream>, Receiver) {
        let channel = Channel::open().unwrap();
        let mut sender = channel.connect().unwrap();
        let receiver = channel.accept(credits).unwrap().unwrap();
        assert!(sender.next_answer().unwrap().is_none());
        (sender, receiver)
    }

    #[test]
    fn a_connection_goes_on_elsewhere_with_the_bytes_that_waited() {
        let (mut sender, mut receiver) = joined(1);
        let (mut client, server) = client_and_server();
        client.write_all(b"GET / ").unwrap();
        sender.offer(server, &record(7)).unwrap_or_else(|_| panic!("there is a credit"));

        let offer = receiver.next_offer().unwrap().unwrap();
        receiver.take(&offer, true).unwrap();
        assert_eq!(offer.record, record(7));
        let Some(Answer::Taken(own)) = sender.next_answer().unwrap() else { panic!("not taken") };
        drop(own);
        assert_eq!((sender.in_flight(), sender.credits()), (0, 1));

        let mut server = TcpStream::from(offer.socket);
        let mut bytes = [0; 6];
        server.read_exact(&mut bytes).unwrap();
        server.write_all(b"200").unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((&bytes, &*answer), (b"GET / ", "200"));
    }

    #[test]
    fn a_relay_goes_on_elsewhere_with_both_its_sides() {
        let channel = Channel::open().unwrap();
        let mut sender = channel.connect().unwrap();
        let mut receiver = channel.accept(1).unwrap().unwrap();
        assert!(sender.next_answer().unwrap().is_none());
        let ((mut client, to_client), (mut upstream, to_upstream)) =
            (client_and_server(), client_and_server());
        let relay = Record { reason: Reason::Relay, rest: b"facts".to_vec(), ..record(7) };
        assert!(sender.offer((to_client, to_upstream), &relay).is_ok());

        let offer = receiver.next_offer().unwrap().unwrap();
        assert_eq!(offer.record, relay);
        TcpStream::from(offer.socket).write_all(b"client").unwrap();
        TcpStream::from(offer.upstream.unwrap()).write_all(b"upstream").unwrap();
        drop(sender);
        let (mut of_client, mut of_upstream) = (String::new(), String::new());
        client.read_to_string(&mut of_client).unwrap();
        upstream.read_to_string(&mut of_upstream).unwrap();
        assert_eq!((&*of_client, &*of_upstream), ("client", "upstream"));
    }

    #[test]
    fn what_says_that_it_is_a_relay_comes_with_two_sockets() {
        let (mut sender, mut receiver) = joined(1);
        let lone = Record { reason: Reason::Relay, ..record(1) };
        assert!(sender.offer(client_and_server().1, &lone).is_ok());
        assert_eq!(receiver.next_offer().err().unwrap().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_receiver_that_ends_before_it_answers_leaves_the_connection_to_the_sender() {
        let (mut sender, mut receiver) = joined(4);
        let (mut client, one) = client_and_server();
        let (_other_client, other) = client_and_server();
        assert!(sender.offer(one, &record(1)).is_ok() && sender.offer(other, &record(2)).is_ok());
        drop(receiver.next_offer().unwrap().unwrap());
        drop(receiver);

        assert!(sender.next_answer().is_err());
        let mut back: Vec<TcpStream> = sender.reclaim().collect();
        assert_eq!(back.len(), 2);
        back[0].write_all(b"still here").unwrap();
        drop(back);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still here");
    }

    #[test]
    fn a_receiver_that_ends_between_two_offers_keeps_what_it_took() {
        let (mut sender, mut receiver) = joined(4);
        for number in 1..=2 {
            assert!(sender.offer(client_and_server().1, &record(number)).is_ok());
        }
        let offer = receiver.next_offer().unwrap().unwrap();
        receiver.take(&offer, false).unwrap();
        drop(receiver);

        assert!(matches!(sender.next_answer().unwrap(), Some(Answer::Taken(_))));
        assert!(sender.next_answer().is_err());
        assert_eq!(sender.reclaim().count(), 1);
    }

    #[test]
    fn credits_bound_what_is_in_flight_and_come_back_with_answers() {
        let (mut sender, mut receiver) = joined(1);
        let ((_a, one), (_b, other)) = (client_and_server(), client_and_server());
        assert!(sender.offer(one, &record(1)).is_ok());
        let other = sender.offer(other, &record(2)).expect_err("no credit is left");

        let offer = receiver.next_offer().unwrap().unwrap();
        receiver.refuse(offer, true).unwrap();
        assert!(matches!(sender.next_answer().unwrap(), Some(Answer::Refused(_))));
        assert!(sender.offer(other, &record(2)).is_ok());
    }

    #[test]
    fn several_senders_reach_several_receivers() {
        let channel = Channel::open().unwrap();
        let mut senders: Vec<Sender<TcpStream>> =
            (0..3).map(|_| channel.connect().unwrap()).collect();
        let mut receivers: Vec<Receiver> =
            (0..3).map(|_| channel.accept(8).unwrap().unwrap()).collect();
        assert!(channel.accept(8).unwrap().is_none());
        for (number, sender) in senders.iter_mut().enumerate() {
            assert!(sender.next_answer().unwrap().is_none());
            assert!(sender.offer(client_and_server().1, &record(number as u64)).is_ok());
        }
        let mut numbers: Vec<u64> = receivers
            .iter_mut()
            .map(|receiver| receiver.next_offer().unwrap().unwrap().record.number)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn another_version_is_no_successor() {
        let channel = Channel::open().unwrap();
        let mut sender: Sender<TcpStream> = channel.connect().unwrap();
        let (_, mut lane) = channel.arrivals.receive(&mut [0; LANE.len()]).unwrap();
        let stranger = PacketSocket::from(lane.pop().unwrap());
        stranger.send(b"dmnh\xff\xff\x40\x00").unwrap();
        let error = sender.next_answer().err().unwrap();
        assert_eq!((error.kind(), sender.credits()), (io::ErrorKind::Unsupported, 0));
    }

    #[test]
    fn the_channel_has_no_name_that_anybody_could_connect_to() {
        let channel = Channel::open().unwrap();
        for end in channel.descriptors() {
            let name = socket::local_name(end).unwrap();
            assert_eq!(name, socket::Name::Unix("".into()));
        }
        let (mut sender, receiver) = joined(1);
        let ends = [sender.descriptor(), receiver.as_fd()];
        assert!(
            ends.iter()
                .all(|end| socket::local_name(*end).unwrap() == socket::Name::Unix("".into()))
        );
        assert!(sender.next_answer().unwrap().is_none());
    }

    #[test]
    fn lanes_that_nobody_accepts_are_bounded() {
        let channel = Channel::open().unwrap();
        let lanes: Vec<Sender<TcpStream>> =
            (0..10_000).map_while(|_| channel.connect().ok()).collect();
        assert!(lanes.len() < 2_000, "{}", lanes.len());
    }

    #[test]
    fn what_is_no_channel_is_not_inherited() {
        let pair = || {
            let (one, other) = PacketSocket::pair().unwrap();
            [one, other].map(|end| OwnedFd::from(end).into_raw_fd())
        };
        let file = std::fs::File::open("/dev/null").unwrap().into_raw_fd();
        let listener = daemun_tests::listener().into_raw_fd();
        // Who inherits a descriptor has it, and closes what is of no use.
        for other in [file, listener] {
            assert!(Channel::inherit(&format!("{other},{}", pair()[0])).is_none());
        }
        for text in ["", "3", ",", "a,b", "-1,-1", "5,5"] {
            assert!(Channel::inherit(text).is_none(), "{text}");
        }
        let [one, other] = pair();
        let channel = Channel::inherit(&format!("{one},{other}")).unwrap();
        assert_eq!(channel.variable(), format!("{one},{other}"));
    }

    #[test]
    fn a_receiver_knows_when_its_sender_may_send_no_more() {
        let (mut sender, mut receiver) = joined(2);
        for number in 0..2 {
            assert!(!receiver.is_spent());
            assert!(sender.offer(client_and_server().1, &record(number)).is_ok());
            let offer = receiver.next_offer().unwrap().unwrap();
            receiver.take(&offer, false).unwrap();
        }
        assert!(receiver.is_spent());
    }
}
