//! The whole way of a leaving worker's connections: find a receiver, offer, hear answers, try
//! another one.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Answer, Channel, Record, Sender, Sockets};

/// Connections on their way to a successor.
///
/// The engine goes on to watch and serve its connections. It takes one off its event set for each
/// of the [`credits`](Self::credits), and [`offer`](Self::offer)s it at once; so whoever asks
/// something before there is a successor is answered. [`pump`](Self::pump) is to be called after
/// that, when the descriptor is readable and at the next moment.
pub struct Departure<C> {
    channel: Arc<Channel>,
    lane: Lane<C>,
    /// Lanes opened so far.
    opened: u32,
    /// Lanes that led to a receiver without room.
    full: u32,
    /// A receiver of this version has said hello.
    met: bool,
}

/// What became of a connection.
#[derive(Debug)]
pub enum Departed<C> {
    /// It goes on elsewhere: close this descriptor without a word.
    Taken(C),
    /// Its receiver does not want it: close the connection as without a successor.
    Left(C),
    /// Its receiver ended without an answer: it may be offered again.
    Back(C),
}

impl<C> Departed<C> {
    fn is_back(&self) -> bool {
        matches!(self, Departed::Back(_))
    }
}

enum Lane<C> {
    Closed,
    /// It could not be opened, since that moment: too many wait already.
    Crowded(Instant),
    /// Open, and when something last moved on it.
    Open(Sender<C>, Instant),
    /// There is no successor, or none with room.
    Nobody,
}

impl<C: Sockets> Departure<C> {
    /// How long a receiver may be silent before it counts as none, or as one without room.
    const PATIENCE: Duration = Duration::from_millis(800);
    /// When to try again where there are too many lanes.
    const RETRY: Duration = Duration::from_millis(20);
    const FULL_LANES: u32 = 4;

    pub fn new(channel: Arc<Channel>) -> Departure<C> {
        Departure { channel, lane: Lane::Closed, opened: 0, full: 0, met: false }
    }

    /// How many connections may be offered now.
    pub fn credits(&self) -> usize {
        match &self.lane {
            Lane::Open(sender, _) => sender.credits(),
            _ => 0,
        }
    }

    /// Offers a connection that is off its event set; hands it back where it cannot be sent.
    pub fn offer(&mut self, connection: C, record: &Record) -> Result<(), C> {
        match &mut self.lane {
            Lane::Open(sender, _) => sender.offer(connection, record),
            _ => Err(connection),
        }
    }

    /// Connections that were offered and have not come back from [`pump`](Self::pump).
    pub fn in_flight(&self) -> usize {
        match &self.lane {
            Lane::Open(sender, _) => sender.in_flight(),
            _ => 0,
        }
    }

    /// Whether there is a successor that understands this process.
    pub fn has_successor(&self) -> bool {
        self.met
    }

    /// Whether nobody takes anything any more.
    pub fn is_hopeless(&self) -> bool {
        matches!(self.lane, Lane::Nobody)
    }

    /// What to watch for readability, and a number that changes with it: each pump may open another
    /// lane.
    pub fn lane(&self) -> Option<(u32, BorrowedFd<'_>)> {
        match &self.lane {
            Lane::Open(sender, _) => Some((self.opened, sender.descriptor())),
            _ => None,
        }
    }

    /// When to pump even though nothing was readable, while `wanting` says that there is something to
    /// be offered.
    pub fn next_moment(&self, wanting: bool) -> Option<Instant> {
        match &self.lane {
            Lane::Crowded(_) => Some(Instant::now() + Self::RETRY),
            Lane::Open(sender, moved) if !sender.is_agreed() || (wanting && is_dry(sender)) => {
                Some(*moved + Self::PATIENCE)
            }
            _ => None,
        }
    }

    /// Does all that can be done without waiting, and returns whose way has ended. `wanting` says
    /// that there is something to be offered, or may come to be.
    pub fn pump(&mut self, wanting: bool) -> Vec<Departed<C>> {
        let mut departed = Vec::new();
        loop {
            let wanting = wanting || departed.iter().any(Departed::is_back);
            match std::mem::replace(&mut self.lane, Lane::Closed) {
                Lane::Closed if wanting => self.connect(Instant::now()),
                Lane::Crowded(since) if wanting => self.connect(since),
                Lane::Closed | Lane::Crowded(_) => return departed,
                Lane::Open(sender, moved) => self.ride(sender, moved, wanting, &mut departed),
                Lane::Nobody => self.lane = Lane::Nobody,
            }
            if !matches!(self.lane, Lane::Closed) {
                return departed;
            }
        }
    }

    /// Opens a lane, and has the others go first where there are too many.
    fn connect(&mut self, since: Instant) {
        let now = Instant::now();
        self.lane = match self.channel.connect() {
            Ok(sender) => {
                self.opened += 1;
                Lane::Open(sender, now)
            }
            Err(_) if now < since + Self::PATIENCE => Lane::Crowded(since),
            Err(_) => Lane::Nobody,
        };
    }

    /// Uses the lane as far as it goes, and puts back what is left of it.
    fn ride(
        &mut self,
        mut sender: Sender<C>,
        moved: Instant,
        wanting: bool,
        departed: &mut Vec<Departed<C>>,
    ) {
        let before = (sender.is_agreed(), departed.len());
        let ended = loop {
            match sender.next_answer() {
                Ok(Some(Answer::Taken(connection))) => departed.push(Departed::Taken(connection)),
                Ok(Some(Answer::Refused(connection))) => departed.push(Departed::Left(connection)),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        self.met |= sender.is_agreed();
        if ended {
            // The receiver is gone, or has its share: another one is looked for, if this was one at all.
            self.lane = if sender.is_agreed() { Lane::Closed } else { Lane::Nobody };
            departed.extend(sender.reclaim().map(Departed::Back));
            return;
        }
        if sender.is_agreed() && !wanting && sender.in_flight() == 0 {
            // The receiver has room for others meanwhile.
            self.lane = Lane::Closed;
            return;
        }
        let now = Instant::now();
        let moved = if (sender.is_agreed(), departed.len()) == before { moved } else { now };
        // Nothing in flight: the lane can be left without a doubt whose the connections are.
        if now >= moved + Self::PATIENCE && (!sender.is_agreed() || (wanting && is_dry(&sender))) {
            self.full += 1;
            let hopeless = !sender.is_agreed() || self.full == Self::FULL_LANES;
            self.lane = if hopeless { Lane::Nobody } else { Lane::Closed };
            return;
        }
        self.lane = Lane::Open(sender, moved);
    }
}

/// Whether the receiver has no room, and nothing to answer.
fn is_dry<C: Sockets>(sender: &Sender<C>) -> bool {
    sender.credits() == 0 && sender.in_flight() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::{Receiver, record};
    use std::collections::VecDeque;
    use std::net::TcpStream;

    /// An engine's part: what waits is offered as there are credits for it.
    struct Leaver {
        departure: Departure<TcpStream>,
        waiting: VecDeque<(u64, TcpStream)>,
        taken: usize,
    }

    impl Leaver {
        fn with(connections: u64) -> (Arc<Channel>, Leaver, Vec<TcpStream>) {
            let channel = Arc::new(Channel::open().unwrap());
            let departure = Departure::new(Arc::clone(&channel));
            let listener = daemun_tests::listener();
            let (mut clients, mut waiting) = (Vec::new(), VecDeque::new());
            for number in 0..connections {
                clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                waiting.push_back((number, listener.accept().unwrap().0));
            }
            (channel, Leaver { departure, waiting, taken: 0 }, clients)
        }

        fn pump(&mut self) {
            let wanting = !self.waiting.is_empty();
            for departed in self.departure.pump(wanting) {
                match departed {
                    Departed::Taken(_) => self.taken += 1,
                    // The numbers are of no matter here.
                    Departed::Left(connection) | Departed::Back(connection) => {
                        self.waiting.push_back((99, connection))
                    }
                }
            }
            while self.departure.credits() > 0
                && let Some((number, connection)) = self.waiting.pop_front()
            {
                self.departure.offer(connection, &record::tests::record(number)).unwrap();
            }
        }
    }

    fn take(receiver: &mut Receiver, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let offer = receiver.next_offer().unwrap().expect("an offer");
            receiver.take(&offer, true).unwrap();
            numbers.push(offer.record.number);
        }
        numbers
    }

    #[test]
    fn more_connections_than_credits_all_arrive_in_order() {
        let (channel, mut leaver, _clients) = Leaver::with(10);
        leaver.pump();
        assert_eq!(leaver.waiting.len(), 10, "nothing is given away before the hello");
        let mut receiver = channel.accept(4).unwrap().unwrap();
        let mut arrived = Vec::new();
        for expected in [4, 4, 2] {
            leaver.pump();
            arrived.extend(take(&mut receiver, expected));
        }
        leaver.pump();
        assert_eq!((leaver.taken, leaver.departure.in_flight()), (10, 0));
        assert_eq!(arrived, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_receiver_that_ends_sends_the_rest_to_the_next() {
        let (channel, mut leaver, _clients) = Leaver::with(3);
        leaver.pump();
        let mut first = channel.accept(3).unwrap().unwrap();
        leaver.pump();
        take(&mut first, 1);
        drop(first);
        leaver.pump();
        assert_eq!((leaver.taken, leaver.waiting.len()), (1, 2));

        let mut second = channel.accept(3).unwrap().unwrap();
        leaver.pump();
        take(&mut second, 2);
        leaver.pump();
        assert_eq!((leaver.taken, leaver.waiting.len()), (3, 0));
    }

    #[test]
    fn without_a_successor_nothing_is_given_away_and_there_is_no_hope_after_a_while() {
        let (_channel, mut leaver, _clients) = Leaver::with(2);
        leaver.pump();
        while !leaver.departure.is_hopeless() {
            let moment = leaver.departure.next_moment(true).unwrap();
            let left = moment.saturating_duration_since(Instant::now());
            let (_, lane) = leaver.departure.lane().unwrap();
            daemun_sys::poll::readable(&[lane], Some(left)).unwrap();
            leaver.pump();
        }
        assert_eq!((leaver.waiting.len(), leaver.departure.has_successor()), (2, false));
    }
}
