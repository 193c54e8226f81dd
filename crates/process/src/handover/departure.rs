//! The whole way of a leaving worker's connections: find a receiver, offer, hear answers, try
//! another one.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Answer, Channel, Record, Sender, Sockets};

/// Connections on their way to a successor.
///
/// The engine takes each off its event set before it [`add`](Self::add)s it, and calls
/// [`pump`](Self::pump) after that, when the descriptor is readable and at the next moment.
pub struct Departure<C> {
    channel: Arc<Channel>,
    waiting: VecDeque<Passenger<C>>,
    lane: Lane<C>,
    /// Lanes opened so far.
    opened: u32,
    /// Lanes that led to a receiver without room.
    full: u32,
}

/// What became of a connection.
#[derive(Debug)]
pub enum Departed<C> {
    /// It goes on elsewhere: close this descriptor without a word.
    Taken(C),
    /// Nobody wants it: close the connection as without a successor.
    Left(C),
}

struct Passenger<C> {
    connection: C,
    record: Record,
}

impl<C: Sockets> Sockets for Passenger<C> {
    fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.connection.sockets()
    }
}

enum Lane<C> {
    Closed,
    /// Open, and when something last moved on it.
    Open(Sender<Passenger<C>>, Instant),
    /// There is no successor.
    Nobody,
}

impl<C: Sockets> Departure<C> {
    /// How long a receiver may be silent before it counts as none, or as one without room.
    const PATIENCE: Duration = Duration::from_millis(800);
    const FULL_LANES: u32 = 4;

    pub fn new(channel: Arc<Channel>) -> Departure<C> {
        Departure { channel, waiting: VecDeque::new(), lane: Lane::Closed, opened: 0, full: 0 }
    }

    pub fn add(&mut self, connection: C, record: Record) {
        self.waiting.push_back(Passenger { connection, record });
    }

    /// Whether every connection that was added has come back from [`pump`](Self::pump).
    pub fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.in_flight() == 0
    }

    /// What to watch for readability, and a number that changes with it: each pump may open another
    /// lane.
    pub fn lane(&self) -> Option<(u32, BorrowedFd<'_>)> {
        match &self.lane {
            Lane::Open(sender, _) => Some((self.opened, sender.as_fd())),
            _ => None,
        }
    }

    /// When to pump even though nothing was readable.
    pub fn next_moment(&self) -> Option<Instant> {
        match &self.lane {
            Lane::Open(_, moved) if !self.waiting.is_empty() => Some(*moved + Self::PATIENCE),
            _ => None,
        }
    }

    /// Does all that can be done without waiting, and returns whose way has ended.
    pub fn pump(&mut self) -> Vec<Departed<C>> {
        let mut departed = Vec::new();
        while !self.is_over() {
            match std::mem::replace(&mut self.lane, Lane::Closed) {
                Lane::Closed => self.connect(),
                Lane::Open(sender, moved) => {
                    self.ride(sender, moved, &mut departed);
                    if matches!(self.lane, Lane::Open(..)) {
                        break;
                    }
                }
                Lane::Nobody => {
                    self.lane = Lane::Nobody;
                    let left = self.waiting.drain(..).map(|passenger| passenger.connection);
                    departed.extend(left.map(Departed::Left));
                }
            }
        }
        departed
    }

    fn connect(&mut self) {
        self.opened += 1;
        self.lane = match self.channel.connect() {
            Ok(sender) => Lane::Open(sender, Instant::now()),
            Err(_) => Lane::Nobody,
        };
    }

    /// Uses the lane as far as it goes, and puts back what is left of it.
    fn ride(
        &mut self,
        mut sender: Sender<Passenger<C>>,
        moved: Instant,
        departed: &mut Vec<Departed<C>>,
    ) {
        let before = (sender.is_agreed(), departed.len());
        loop {
            match sender.next_answer() {
                Ok(Some(Answer::Taken(passenger))) => {
                    departed.push(Departed::Taken(passenger.connection))
                }
                Ok(Some(Answer::Refused(passenger))) => {
                    departed.push(Departed::Left(passenger.connection))
                }
                Ok(None) => break,
                Err(_) => return self.abandon(sender),
            }
        }
        let now = Instant::now();
        let moved = if (sender.is_agreed(), departed.len()) == before { moved } else { now };
        self.offer(&mut sender);
        // Nothing in flight: the lane can be left without a doubt whose the connections are.
        if sender.in_flight() == 0 && !self.waiting.is_empty() && now >= moved + Self::PATIENCE {
            self.full += 1;
            let hopeless = !sender.is_agreed() || self.full == Self::FULL_LANES;
            self.lane = if hopeless { Lane::Nobody } else { Lane::Closed };
            return;
        }
        self.lane = Lane::Open(sender, moved);
    }

    fn offer(&mut self, sender: &mut Sender<Passenger<C>>) {
        while let Some(passenger) = self.waiting.pop_front() {
            let record = passenger.record.clone();
            if let Err(passenger) = sender.offer(passenger, &record) {
                self.waiting.push_front(passenger);
                return;
            }
        }
    }

    /// The receiver is gone: what it did not take looks for another one, if there was one at all.
    fn abandon(&mut self, sender: Sender<Passenger<C>>) {
        self.lane = if sender.is_agreed() { Lane::Closed } else { Lane::Nobody };
        self.waiting.extend(sender.reclaim());
    }

    fn in_flight(&self) -> usize {
        match &self.lane {
            Lane::Open(sender, _) => sender.in_flight(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::{Receiver, record};
    use std::net::{TcpListener, TcpStream};

    fn departure(connections: usize) -> (Arc<Channel>, Departure<TcpStream>, Vec<TcpStream>) {
        let channel = Arc::new(Channel::open().unwrap());
        let mut departure = Departure::new(Arc::clone(&channel));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        for number in 0..connections {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            departure.add(listener.accept().unwrap().0, record::tests::record(number as u64));
        }
        (channel, departure, clients)
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
        let (channel, mut departure, _clients) = departure(10);
        assert!(departure.pump().is_empty());
        let mut receiver = channel.accept(4).unwrap().unwrap();
        let mut arrived = Vec::new();
        for expected in [4, 4, 2] {
            departure.pump();
            arrived.extend(take(&mut receiver, expected));
        }
        assert!(departure.pump().iter().all(|departed| matches!(departed, Departed::Taken(_))));
        assert!(departure.is_over());
        assert_eq!(arrived, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_receiver_that_ends_sends_the_rest_to_the_next() {
        let (channel, mut departure, _clients) = departure(3);
        departure.pump();
        let mut first = channel.accept(3).unwrap().unwrap();
        departure.pump();
        let mut arrived = take(&mut first, 1);
        drop(first);
        assert_eq!(departure.pump().len(), 1);

        let mut second = channel.accept(3).unwrap().unwrap();
        departure.pump();
        arrived.extend(take(&mut second, 2));
        assert_eq!(departure.pump().len(), 2);
        arrived.sort_unstable();
        assert_eq!((arrived, departure.is_over()), (vec![0, 1, 2], true));
    }

    #[test]
    fn without_a_successor_connections_come_back_after_a_while() {
        let (_channel, mut departure, _clients) = departure(2);
        let mut departed = departure.pump();
        assert!(departed.is_empty());
        while !departure.is_over() {
            let left = departure.next_moment().unwrap().saturating_duration_since(Instant::now());
            daemun_sys::poll::readable(&[departure.lane().unwrap().1], Some(left)).unwrap();
            departed.extend(departure.pump());
        }
        assert!(
            departed.iter().all(|departed| matches!(departed, Departed::Left(_)))
                && departed.len() == 2
        );
    }
}
