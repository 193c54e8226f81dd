//! The reactor as its users see it, under each backend.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use daemun_event::backends::{self, NAMES};
use daemun_event::{
    Buffer, Datagram, Deadline, Handler, Listener, Peer, Reactor, Sessions, Stream, Timer, Watch,
    at_turn_end, next_turn, now, remote, sleep, spawn, timeout, wall_clock,
};

/// Notes what it is told.
#[derive(Default)]
struct Notes {
    ready: Vec<u32>,
    expired: Vec<u32>,
    acceptable: Vec<u32>,
    sessions: Vec<u32>,
    timers: Vec<u32>,
}

impl Handler for Notes {
    fn parked_ready(&mut self, token: u32) {
        self.ready.push(token);
    }

    fn parked_expired(&mut self, token: u32) {
        self.expired.push(token);
    }

    fn acceptable(&mut self, token: u32) {
        self.acceptable.push(token);
    }

    fn session(&mut self, slot: u32) {
        self.sessions.push(slot);
    }

    fn timer(&mut self, token: u32) {
        self.timers.push(token);
    }
}

/// Runs `test` over each backend that works here, with a clock that leaps from timer to timer.
fn each_backend(test: impl Fn(&mut Reactor)) {
    for name in NAMES {
        if backends::probe(name).is_err() {
            continue;
        }
        let mut reactor = Reactor::open_leaping(Some(name)).unwrap();
        assert_eq!(&daemun_event::method(), name);
        test(&mut reactor);
    }
}

fn run<T>(reactor: &mut Reactor, future: impl Future<Output = T>) -> T {
    reactor.block_on(&mut Notes::default(), future).unwrap()
}

fn stream(socket: impl Into<OwnedFd>) -> Stream {
    let fd = socket.into();
    rustix::io::ioctl_fionbio(&fd, true).unwrap();
    Stream::new(fd)
}

fn pair() -> (Stream, Stream) {
    let (left, right) = UnixStream::pair().unwrap();
    (stream(left), stream(right))
}

/// All that the peer sends until it closes its side.
async fn until_the_end(stream: &Stream) -> Vec<u8> {
    let mut received = Vec::new();
    while let part = stream.recv_pooled(in_ms(5000)).await.unwrap()
        && !part.is_empty()
    {
        received.extend_from_slice(&part);
    }
    received
}

fn in_ms(millis: u64) -> Deadline {
    Deadline::after(Duration::from_millis(millis))
}

#[test]
fn an_echo_crosses_both_kinds_of_socket() {
    each_backend(|reactor| {
        let listener = daemun_tests::listener();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        for (near, far) in [pair(), (stream(client), stream(server))] {
            spawn(async move {
                while let Ok(buffer) = far.recv_pooled(Deadline::NEVER).await {
                    if buffer.is_empty() {
                        return;
                    }
                    far.send_all(&buffer, Duration::from_secs(1)).await.unwrap();
                }
            });
            run(reactor, async {
                // more than the kernel takes at once, so that both sides wait in both directions
                let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
                let mut received = Vec::new();
                let (mut at, mut buffer) = (0, Buffer::new());
                while received.len() < sent.len() {
                    match near.try_send(&sent[at..(at + 100_000).min(sent.len())], false) {
                        Ok(count) => at += count,
                        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                    }
                    let count = near.recv_into(&mut buffer, Deadline::NEVER).await.unwrap();
                    received.extend_from_slice(&buffer[..count]);
                    buffer.clear();
                }
                assert!(received == sent);
            });
        }
    });
}

#[test]
fn a_read_gives_up_at_its_deadline() {
    each_backend(|reactor| {
        let (near, _far) = pair();
        run(reactor, async {
            let start = now();
            let error = near.recv(&mut [0; 10], in_ms(60_000)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(now() - start, 60_000);
        });
    });
}

#[test]
fn a_later_deadline_is_kept_although_an_earlier_timer_stands() {
    each_backend(|reactor| {
        let (near, far) = pair();
        run(reactor, async {
            spawn(async move {
                sleep(Duration::from_millis(900)).await;
                far.try_send(b"x", false).unwrap();
                sleep(Duration::from_secs(100)).await;
                drop(far);
            });
            near.recv(&mut [0; 10], in_ms(1000)).await.unwrap();
            let error = near.recv(&mut [0; 10], in_ms(1000)).await.unwrap_err();
            assert_eq!((error.kind(), now()), (io::ErrorKind::TimedOut, 1900));
        });
    });
}

#[test]
fn an_earlier_deadline_is_kept_although_a_later_timer_stands() {
    each_backend(|reactor| {
        let (near, far) = pair();
        run(reactor, async {
            far.try_send(b"x", false).unwrap();
            near.readable(in_ms(75_000)).await.unwrap();
            near.recv(&mut [0; 10], Deadline::NEVER).await.unwrap();
            near.recv(&mut [0; 10], in_ms(10)).await.unwrap_err();
            assert_eq!(now(), 10);
        });
    });
}

#[test]
fn a_parked_stream_is_told_of_data_and_of_time() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        near.park(7, in_ms(75_000)).unwrap();
        far.try_send(b"GET", false).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        assert_eq!(notes.ready, [7]);

        near.unpark();
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 3);
        near.park(8, in_ms(60_000)).unwrap();
        while notes.expired.is_empty() {
            reactor.turn(&mut notes, None).unwrap();
        }
        assert_eq!((notes.expired, notes.ready), (vec![8], vec![7]));
        assert_eq!(now(), 60_000);
    });
}

#[test]
fn parking_again_moves_the_deadline() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        for token in 0..10 {
            near.park(token, in_ms(75_000)).unwrap();
            let _pause = Timer::new(1, in_ms(50_000));
            while notes.timers.is_empty() {
                reactor.turn(&mut notes, None).unwrap();
            }
            notes.timers.clear();
            near.unpark();
            assert_eq!(near.deadline().remaining(), Duration::from_secs(25));
        }
        assert_eq!((notes.expired.len(), now()), (0, 500_000));
        drop(far);
    });
}

#[test]
fn what_was_left_unread_is_told_of_at_once() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        far.try_send(b"two requests", false).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        near.unpark();
        assert_eq!(near.try_recv(&mut [0; 4]).unwrap(), 4);
        near.park(2, Deadline::NEVER).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        assert_eq!(notes.ready, [1, 2]);
    });
}

#[test]
fn what_comes_after_a_short_read_is_told_of_when_it_is_parked() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        far.try_send(b"first", false).unwrap();
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 5);
        far.try_send(b"second", false).unwrap();
        assert!(!near.may_be_readable(), "it ran dry, and nobody told otherwise");
        near.park(1, Deadline::NEVER).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        assert_eq!(notes.ready, [1]);
        near.unpark();
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 6);
    });
}

#[test]
fn the_end_of_a_parked_peer_is_told_and_seen() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        far.try_send(b"bye", false).unwrap();
        drop(far);
        reactor.turn(&mut notes, None).unwrap();
        near.unpark();
        // the end may have been reported together with the bytes: a short read must not hide it
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 3);
        assert_eq!(run(reactor, near.recv(&mut [0; 10], in_ms(1000))).unwrap(), 0);
    });
}

#[test]
fn an_end_is_told_to_those_who_wait_for_nothing_else() {
    each_backend(|reactor| {
        let (near, far) = pair();
        run(reactor, async {
            let mut bytes = [0; 10];
            far.try_send(b"GET", false).unwrap();
            near.readable(Deadline::NEVER).await.unwrap();
            assert_eq!(near.try_recv(&mut bytes).unwrap(), 3);
            near.closed(in_ms(1000)).await.unwrap_err();
            spawn(async move {
                sleep(Duration::from_millis(500)).await;
                drop(far);
            });
            near.closed(in_ms(1000)).await.unwrap();
            assert_eq!(now(), 1500);
        });
    });
}

#[test]
fn waiting_for_an_end_behind_unread_bytes_is_no_work() {
    each_backend(|reactor| {
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        far.try_send(b"pipelined", false).unwrap();
        let mut notes = Notes::default();
        reactor.turn(&mut notes, None).unwrap();
        near.unpark();
        let polls = Cell::new(0);
        run(reactor, async {
            let mut closed = std::pin::pin!(near.closed(in_ms(60_000)));
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                closed.as_mut().poll(cx)
            })
            .await
            .unwrap_err();
        });
        assert!(polls.get() < 5, "{} polls", polls.get());
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 9);
    });
}

#[test]
fn an_event_for_a_closed_stream_does_not_reach_its_successor() {
    each_backend(|reactor| {
        struct Closer {
            parked: Vec<Option<(Stream, Stream)>>,
            told: usize,
        }
        impl Handler for Closer {
            /// Closes every other stream, and parks new ones in the slots that became free.
            fn parked_ready(&mut self, token: u32) {
                self.told += 1;
                for (index, place) in self.parked.iter_mut().enumerate() {
                    if index != token as usize {
                        *place = None;
                        let (near, far) = pair();
                        near.park(100, Deadline::NEVER).unwrap();
                        *place = Some((near, far));
                    }
                }
            }
            fn parked_expired(&mut self, _: u32) {}
            fn acceptable(&mut self, _: u32) {}
            fn session(&mut self, _: u32) {}
        }
        let mut closer = Closer { parked: Vec::new(), told: 0 };
        for token in 0..8 {
            let (near, far) = pair();
            near.park(token, Deadline::NEVER).unwrap();
            far.try_send(b"x", false).unwrap();
            closer.parked.push(Some((near, far)));
        }
        reactor.turn(&mut closer, None).unwrap();
        assert_eq!(closer.told, 1);
    });
}

#[test]
fn a_descriptor_taken_back_is_no_longer_watched() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        near.park(1, in_ms(5)).unwrap();
        let fd = near.into_fd();
        far.try_send(b"x", false).unwrap();
        reactor.turn(&mut notes, Some(Duration::from_millis(10))).unwrap();
        assert_eq!((notes.ready.len(), notes.expired.len()), (0, 0));

        let again = Stream::new(fd);
        again.park(2, Deadline::NEVER).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        assert_eq!(notes.ready, [2], "adding it elsewhere reports what waits");
    });
}

#[test]
fn what_was_taken_to_be_sent_arrives_although_the_stream_is_closed() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        near.unpark();
        let mut taken = 0;
        // all that there is room for, and the last piece perhaps not
        while let Ok(count) = near.try_send(&[b'x'; 5000], false) {
            taken += count;
        }
        drop(near);
        let received = run(reactor, async {
            let mut received = 0;
            loop {
                match far.recv_pooled(in_ms(1000)).await.unwrap().len() {
                    0 => return received,
                    count => received += count,
                }
            }
        });
        assert_eq!(received, taken);
        reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        assert!(notes.ready.is_empty());
    });
}

#[test]
fn sending_to_a_peer_that_is_gone_fails() {
    each_backend(|reactor| {
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        near.unpark();
        drop(far);
        let error = run(reactor, async {
            loop {
                match near.send_all(b"hello", Duration::from_secs(1)).await {
                    Ok(()) => next_turn().await,
                    Err(error) => return error,
                }
            }
        });
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn pieces_arrive_in_the_order_in_which_they_were_sent() {
    each_backend(|reactor| {
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        near.unpark();
        let slices = [io::IoSlice::new(b"4"), io::IoSlice::new(b"5")];
        near.try_send(b"1", false).unwrap();
        near.try_send(b"2", true).unwrap();
        near.try_send(b"3", false).unwrap();
        near.try_send_vectored(&slices, false).unwrap();
        near.try_send(b"6", false).unwrap();
        near.shutdown_send().unwrap();
        assert_eq!(run(reactor, until_the_end(&far)), b"123456");
    });
}

/// Sends numbered pieces, one a turn, until there is no room. What was taken.
fn fill(reactor: &mut Reactor, near: &Stream) -> Vec<u8> {
    let mut taken = Vec::new();
    run(reactor, async {
        for number in 0u32.. {
            let piece = number.to_be_bytes().repeat(1001);
            match near.try_send(&piece, false) {
                Ok(sent) => taken.extend_from_slice(&piece[..sent]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
            next_turn().await;
        }
    });
    taken
}

#[test]
fn what_the_kernel_had_no_room_for_is_sent_once_it_has() {
    each_backend(|reactor| {
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        near.unpark();
        let mut received = Vec::new();
        let taken = fill(reactor, &near);
        run(reactor, async {
            while received.len() < taken.len() {
                let part = far.recv_pooled(in_ms(5000)).await.unwrap();
                received.extend_from_slice(&part);
            }
            near.writable(in_ms(5000)).await.unwrap();
        });
        assert!(received == taken);

        let taken = fill(reactor, &near);
        drop(near);
        assert!(run(reactor, until_the_end(&far)) == taken);
    });
}

#[test]
fn a_closed_stream_takes_nothing_from_the_next_with_its_descriptor() {
    each_backend(|reactor| {
        // a number that no other test of this process gets
        let numbered = || {
            let (near, far) = pair();
            let near = rustix::io::fcntl_dupfd_cloexec(near.as_fd(), 700).unwrap();
            assert_eq!(near.as_raw_fd(), 700);
            (Stream::new(near), far)
        };
        let (near, far) = numbered();
        near.park(1, Deadline::NEVER).unwrap();
        drop((near, far));
        let (near, far) = numbered();
        far.try_send(b"x", false).unwrap();
        reactor.turn(&mut Notes::default(), Some(Duration::ZERO)).unwrap();
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 1);
    });
}

#[test]
fn a_parked_stream_loses_nothing_when_it_is_held_back() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        near.park(1, in_ms(60_000)).unwrap();
        reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        near.unpark();
        assert!(near.hold_back().unwrap(), "nothing has come");
        far.try_send(b"for whoever gets it", false).unwrap();
        reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        let elsewhere = near.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(rustix::io::read(&elsewhere, &mut [0; 30]).unwrap(), 19);

        near.park(2, in_ms(60_000)).unwrap();
        reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        notes.ready.clear();
        far.try_send(b"again", false).unwrap();
        near.unpark();
        if near.hold_back().unwrap() {
            return;
        }
        near.park(3, in_ms(60_000)).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        assert_eq!(notes.ready, [3], "it is told of what it holds");
        near.unpark();
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 5);
    });
}

#[test]
fn what_is_not_read_ends_receiving_ahead_and_nothing_is_lost() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = pair();
        near.park(1, Deadline::NEVER).unwrap();
        reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        let sent: Vec<u8> = (0..40_000u32).map(|i| (i % 251) as u8).collect();
        for piece in sent.chunks(500) {
            far.try_send(piece, false).unwrap();
            reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        }
        far.shutdown_send().unwrap();
        near.unpark();
        let received = run(reactor, async {
            let mut received = Vec::new();
            loop {
                let mut bytes = [0; 700];
                match near.recv(&mut bytes, in_ms(1000)).await.unwrap() {
                    0 => return received,
                    count => received.extend_from_slice(&bytes[..count]),
                }
            }
        });
        assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    });
}

#[test]
fn an_accept_ahead_is_served_although_the_listener_was_paused() {
    each_backend(|reactor| {
        for shared in [false, true] {
            let mut notes = Notes::default();
            let socket = daemun_tests::listener();
            socket.set_nonblocking(true).unwrap();
            let address = socket.local_addr().unwrap();
            let listener = Listener::new(Arc::new(socket.into()), 3, shared);
            listener.resume().unwrap();
            reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
            let mut clients: Vec<_> =
                (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
            listener.pause().unwrap();
            clients.extend((0..5).map(|_| TcpStream::connect(address).unwrap()));
            reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
            for client in &clients {
                let (_, peer) = listener.accept().unwrap();
                assert_eq!(peer, Peer::from(client.local_addr().unwrap()));
            }
            let none = listener.accept().err().unwrap();
            assert_eq!((none.kind(), notes.acceptable.len()), (io::ErrorKind::WouldBlock, 0));
        }
    });
}

#[test]
fn a_listener_reports_until_it_is_paused() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let socket = daemun_tests::listener();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(Arc::new(socket.into()), 3, true);
        listener.resume().unwrap();

        let clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
        for client in &clients {
            reactor.turn(&mut notes, None).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer, Peer::from(client.local_addr().unwrap()));
        }
        assert_eq!(notes.acceptable, [3; 40]);
        assert_eq!(listener.accept().err().unwrap().kind(), io::ErrorKind::WouldBlock);

        listener.pause().unwrap();
        let _waits = TcpStream::connect(address).unwrap();
        reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        assert_eq!(notes.acceptable.len(), 40);
        listener.resume().unwrap();
        reactor.turn(&mut notes, None).unwrap();
        assert_eq!(notes.acceptable.len(), 41);
    });
}

#[test]
fn connecting_reaches_a_listener_or_fails() {
    each_backend(|reactor| {
        let socket = daemun_tests::listener();
        let address = socket.local_addr().unwrap();
        run(reactor, async {
            let near = Stream::connect(address, in_ms(1000)).await.unwrap();
            let far = stream(socket.accept().unwrap().0);
            near.send_all(b"hello", Duration::from_secs(1)).await.unwrap();
            assert_eq!(&far.recv_pooled(Deadline::NEVER).await.unwrap()[..], b"hello");
            drop(socket);
            let refused = Stream::connect(address, in_ms(1000)).await.err().unwrap();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        });
    });
}

#[test]
fn a_waker_works_from_another_thread() {
    each_backend(|reactor| {
        let (to_thread, from_reactor) = std::sync::mpsc::channel::<std::task::Waker>();
        let flag = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = flag.clone();
        let thread = std::thread::spawn(move || {
            let waker = from_reactor.recv().unwrap();
            flag.store(true, std::sync::atomic::Ordering::Release);
            waker.wake();
        });
        run(
            reactor,
            poll_fn(|cx| {
                if seen.load(std::sync::atomic::Ordering::Acquire) {
                    return Poll::Ready(());
                }
                // the thread ends after the first
                let _ = to_thread.send(cx.waker().clone());
                Poll::Pending
            }),
        );
        thread.join().unwrap();
    });
}

#[test]
fn other_threads_send_work_while_the_reactor_lives() {
    each_backend(|reactor| {
        let remote = remote();
        let done = Rc::new(Cell::new(false));
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let remote = remote.clone();
            move || remote.run(move || sender.send(std::thread::current().id()).unwrap())
        });
        at_turn_end({
            let done = done.clone();
            move || done.set(receiver.try_recv() == Ok(std::thread::current().id()) || done.get())
        });
        while !done.get() {
            reactor.turn(&mut Notes::default(), None).unwrap();
        }
        assert!(thread.join().unwrap());
    });
    let orphan = {
        let _reactor = Reactor::open(None).unwrap();
        remote()
    };
    assert!(!orphan.run(|| unreachable!()));
}

#[test]
fn a_panic_ends_its_task_and_is_reported() {
    each_backend(|reactor| {
        let reported = Rc::new(RefCell::new(Vec::new()));
        reactor.on_panic({
            let reported = reported.clone();
            move |panic| reported.borrow_mut().push(*panic.downcast_ref::<&str>().unwrap())
        });
        spawn(async { panic!("on purpose") });
        run(reactor, sleep(Duration::from_millis(1)));
        assert_eq!(*reported.borrow(), ["on purpose"]);
    });
}

#[test]
fn a_time_limit_cuts_what_takes_longer() {
    each_backend(|reactor| {
        run(reactor, async {
            let slow = sleep(Duration::from_secs(2));
            assert_eq!(timeout(in_ms(500), slow).await, None);
            assert_eq!(now(), 500);
            assert_eq!(timeout(in_ms(500), async { 5 }).await, Some(5));
        });
    });
}

#[test]
fn a_dropped_timer_does_not_fire() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let _kept = Timer::new(1, in_ms(30));
        drop(Timer::new(2, in_ms(20)));
        while notes.timers.is_empty() {
            reactor.turn(&mut notes, None).unwrap();
        }
        assert_eq!((notes.timers, now()), (vec![1], 30));
    });
}

#[test]
fn a_watch_calls_back_until_it_is_dropped() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let (near, far) = UnixStream::pair().unwrap();
        let calls = Rc::new(Cell::new(0));
        let watch = Watch::new(OwnedFd::from(near), {
            let calls = calls.clone();
            move || calls.set(calls.get() + 1)
        })
        .unwrap();
        let far = stream(far);
        far.try_send(b"x", false).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        reactor.turn(&mut notes, None).unwrap();
        drop(watch);
        reactor.turn(&mut notes, Some(Duration::ZERO)).unwrap();
        assert_eq!(calls.get(), 2);
    });
}

#[test]
fn a_session_waits_as_a_task_and_yields_its_output() {
    each_backend(|reactor| {
        let mut notes = Notes::default();
        let mut sessions = Sessions::new(|(stream, wait): (Stream, bool)| async move {
            if wait {
                let buffer = stream.recv_pooled(Deadline::NEVER).await.unwrap();
                return buffer.len();
            }
            0
        });
        let (idle, _peer) = pair();
        assert!(matches!(sessions.start((idle, false)), Poll::Ready(Ok(0))));

        let (near, far) = pair();
        assert!(sessions.start((near, true)).is_pending());
        assert_eq!(sessions.running(), 1);
        far.try_send(b"hello", false).unwrap();
        while notes.sessions.is_empty() {
            reactor.turn(&mut notes, None).unwrap();
        }
        assert_eq!(notes.sessions, [0]);
        assert!(matches!(sessions.poll(0), Poll::Ready(Ok(5))));
        assert!(sessions.poll(0).is_pending(), "it has ended");
        assert_eq!(sessions.running(), 0);
    });
}

#[test]
fn a_panicking_session_leaves_its_slot_usable() {
    each_backend(|_| {
        let mut sessions = Sessions::new(|fail: bool| async move { assert!(!fail, "on purpose") });
        let Poll::Ready(Err(panic)) = sessions.start(true) else { panic!("it should fail") };
        assert_eq!(panic.0.downcast_ref::<&str>(), Some(&"on purpose"));
        assert!(matches!(sessions.start(false), Poll::Ready(Ok(()))));
        assert_eq!(sessions.running(), 0);
    });
}

#[test]
fn the_system_clock_moves_on() {
    let mut reactor = Reactor::open(None).unwrap();
    let before = (now(), wall_clock());
    run(&mut reactor, sleep(Duration::from_millis(20)));
    assert!(now() >= before.0 + 20);
    assert!(wall_clock() > before.1);
}

#[test]
fn an_unknown_backend_is_refused_in_words() {
    let error = Reactor::open(Some("kqueuee")).err().unwrap();
    assert_eq!(error.to_string(), "invalid event type");
}

#[test]
fn datagrams_are_told_apart_and_so_is_nobody_there() {
    each_backend(|reactor| {
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = far.local_addr().unwrap();
        run(reactor, async {
            let near = Datagram::connect(address, 8).unwrap();
            near.try_send(b"hello").unwrap();
            let mut bytes = [0; 16];
            let (length, from) = far.recv_from(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"hello");
            for message in [&b"one"[..], b"", b"longer than eight"] {
                far.send_to(message, from).unwrap();
            }
            assert_eq!(near.recv(in_ms(1000)).await.unwrap(), b"one");
            assert_eq!(near.recv(in_ms(1000)).await.unwrap(), b"");
            assert_eq!(near.recv(in_ms(1000)).await.unwrap(), b"longer t");
            let nothing = near.recv(in_ms(1000)).await.unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::TimedOut);

            drop(far);
            near.try_send(b"anybody?").unwrap();
            let refused = near.recv(in_ms(1000)).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        });
    });
}

#[test]
fn what_is_received_stays_in_order_while_much_is_sent() {
    const LENGTH: usize = 4 << 20;
    for name in NAMES.iter().filter(|name| backends::probe(name).is_ok()) {
        let mut reactor = Reactor::open(Some(name)).unwrap();
        let ((source, mut feed), (sink, mut drain)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let threads = [
            thread::spawn(move || {
                let bytes: Vec<u8> = (0..LENGTH as u32 / 4).flat_map(u32::to_be_bytes).collect();
                bytes.chunks(5000).for_each(|part| feed.write_all(part).unwrap());
            }),
            thread::spawn(move || drop(io::copy(&mut drain, &mut io::sink()))),
        ];
        let (source, sink) = (stream(source), stream(sink));
        run(&mut reactor, async move {
            let patience = Duration::from_secs(20);
            let (mut bytes, mut received) = (vec![0; 40_000], Vec::with_capacity(LENGTH));
            // from here on the reactor knows it, and may take what is sent
            sink.writable(Deadline::after(patience)).await.unwrap();
            loop {
                match source.recv(&mut bytes, Deadline::after(patience)).await.unwrap() {
                    0 => break,
                    count => received.extend_from_slice(&bytes[..count]),
                }
                // a small one that waits for the next turn, and a large one that cannot
                sink.send_all(&[0; 1000], patience).await.unwrap();
                sink.send_all(&[0; 30_000], patience).await.unwrap();
            }
            assert_eq!(received.len(), LENGTH, "{name}");
            let mut words = received.chunks(4).zip(0u32..);
            let wrong = words.find(|(word, number)| **word != number.to_be_bytes());
            assert_eq!(wrong, None, "{name}");
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_stream_that_is_told_of_receives_all_to_its_end() {
    each_backend(|reactor| {
        let (near, far) = pair();
        near.receive_when_told().unwrap();
        let sent: Vec<u8> = (0..400_000u32).map(|i| (i % 251) as u8).collect();
        let (mut rest, mut received) = (&sent[..], Vec::new());
        while received.len() < sent.len() {
            if let Ok(count) = far.try_send(&rest[..rest.len().min(30_000)], false) {
                rest = &rest[count..];
            }
            run(reactor, async {
                let mut bytes = [0; 7000];
                match near.recv(&mut bytes, in_ms(1000)).await {
                    Ok(count) => received.extend_from_slice(&bytes[..count]),
                    Err(error) => panic!("{error} after {} bytes", received.len()),
                }
            });
        }
        assert!(received == sent);
        let nothing = run(reactor, near.recv(&mut [0; 10], in_ms(10))).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::TimedOut);
        far.try_send(b"last", false).unwrap();
        far.shutdown_send().unwrap();
        assert_eq!(run(reactor, near.recv(&mut [0; 10], in_ms(1000))).unwrap(), 4);
        assert_eq!(run(reactor, near.recv(&mut [0; 10], in_ms(1000))).unwrap(), 0);
    });
}

#[test]
fn a_receive_without_room_is_an_error() {
    each_backend(|reactor| {
        let (near, far) = pair();
        let is_refused = |result: io::Result<usize>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        };
        is_refused(near.try_recv(&mut []));
        is_refused(near.try_recv_append(&mut Vec::new()));
        let mut full = Buffer::new();
        full.advance(full.capacity());
        is_refused(near.try_recv_into(&mut full));
        is_refused(run(reactor, near.recv(&mut [], in_ms(1000))));
        far.try_send(b"all", false).unwrap();
        assert_eq!(run(reactor, near.recv(&mut [0; 10], in_ms(1000))).unwrap(), 3);
    });
}

/// Also of what came since the reactor last waited.
#[test]
fn a_silent_stream_is_told_from_one_that_has_something() {
    each_backend(|reactor| {
        let (near, far) = pair();
        assert!(near.is_silent());
        let waited = run(reactor, near.recv(&mut [0; 10], in_ms(10)));
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(near.is_silent());
        far.try_send(b"a", false).unwrap();
        assert!(!near.is_silent());
        reactor.turn(&mut Notes::default(), Some(Duration::ZERO)).unwrap();
        assert!(!near.is_silent());
        assert_eq!(near.try_recv(&mut [0; 10]).unwrap(), 1);
        assert!(near.is_silent());
        drop(far);
        assert!(!near.is_silent());
    });
}
