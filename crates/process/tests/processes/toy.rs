//! The smallest server that shows everything the processes do: it answers each line with its text and process number,
//! keeps connections open, and hands them over.
//!
//! Its configuration is one `name value` a line: `listen ADDRESS [reuseport]`, `workers N`, `text WORD`, `daemon off`,
//! `master_process off`, `dies` (workers end before they serve).

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemun_core::connection::Reason;
use daemun_core::listen::{Address, ListenSpec};
use daemun_core::log::{self, Level, Log, OpenFiles, Target, Threshold};
use daemun_core::settings::ProcessSettings;
use daemun_process::handover::{CREDITS, Departure, Receiver, Record};
use daemun_process::{Cycle, Listening, Order, Program, WorkerContext};

/// `toy FOLDER`: serves what `FOLDER/toy.conf` says, and returns the exit code.
pub fn run(arguments: Vec<std::ffi::OsString>) -> i32 {
    log::name_program("toy");
    Log::stderr(Level::Notice).make_current();
    let folder = PathBuf::from(arguments.last().expect("a folder"));
    daemun_process::run(&Toy { folder }, arguments)
}

struct Toy {
    folder: PathBuf,
}

#[derive(Default)]
struct Answers {
    text: String,
    dies: bool,
}

impl Program for Toy {
    type Configuration = Answers;

    fn load(&self) -> Result<Cycle<Answers>, String> {
        let text =
            fs::read_to_string(self.folder.join("toy.conf")).map_err(|error| error.to_string())?;
        let mut settings = ProcessSettings {
            pid: self.folder.join("toy.pid"),
            ..ProcessSettings::default()
        };
        let mut listen = Vec::new();
        let mut configuration = Answers::default();
        for line in text.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["listen", address] => listen.push(ListenSpec::new(address_of(address))),
                ["listen", address, "reuseport"] => {
                    listen.push(ListenSpec {
                        reuseport: true,
                        ..ListenSpec::new(address_of(address))
                    });
                }
                ["workers", count] => settings.worker_processes = count.parse().unwrap(),
                ["text", word] => configuration.text = word.to_owned(),
                ["daemon", "off"] => settings.daemon = false,
                ["master_process", "off"] => settings.master_process = false,
                ["dies"] => configuration.dies = true,
                _ => return Err(format!("unknown directive \"{line}\"")),
            }
        }
        let files = Arc::new(OpenFiles::default());
        let file = Target::File(files.register(&self.folder.join("toy.log")));
        let log = Log::new(vec![(file, Threshold::of(Level::Info))]);
        Ok(Cycle {
            settings,
            listen,
            log,
            files,
            configuration,
        })
    }

    fn work(&self, cycle: &Cycle<Answers>, context: WorkerContext) -> i32 {
        if cycle.configuration.dies {
            return 1;
        }
        match serve(cycle, context) {
            Ok(()) => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

fn address_of(text: &str) -> Address {
    match text.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Ip(text.parse().unwrap()),
    }
}

/// A connection between lines, or in the middle of one.
struct Parked {
    stream: OwnedFd,
    listener: usize,
    requests: u32,
    partial: Vec<u8>,
}

impl AsFd for Parked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn serve(cycle: &Cycle<Answers>, mut context: WorkerContext) -> io::Result<()> {
    let mut parked: Vec<Parked> = Vec::new();
    let mut receivers: Vec<Receiver> = Vec::new();
    context.ready.tell();
    loop {
        wait(&context, &parked, &receivers)?;
        while let Some(order) = context.orders.receive()? {
            match order {
                Order::Reopen => cycle.files.reopen(None, &cycle.log),
                Order::Terminate => return Ok(()),
                Order::Quit { hand_over } => {
                    accept(&context.listening, &mut parked)?;
                    take_over(&mut receivers, &context.listening, &mut parked);
                    context.listening.clear();
                    drop(receivers);
                    if hand_over {
                        pass_on(&context, cycle, parked)?;
                    }
                    return Ok(());
                }
            }
        }
        accept(&context.listening, &mut parked)?;
        if let Some(channel) = &context.channel {
            receivers.extend(channel.accept(CREDITS)?);
        }
        take_over(&mut receivers, &context.listening, &mut parked);
        parked.retain_mut(|connection| answer(connection, &cycle.configuration.text));
    }
}

fn wait(context: &WorkerContext, parked: &[Parked], receivers: &[Receiver]) -> io::Result<()> {
    let mut descriptors = vec![context.orders.as_fd()];
    descriptors.extend(context.channel.iter().map(|channel| channel.as_fd()));
    let sockets = context
        .listening
        .iter()
        .flat_map(|listening| &listening.sockets);
    descriptors.extend(sockets.map(|socket| socket.as_fd()));
    descriptors.extend(parked.iter().map(Parked::as_fd));
    descriptors.extend(receivers.iter().map(Receiver::as_fd));
    daemun_sys::poll::readable(&descriptors, None).map(drop)
}

fn accept(listening: &[Listening], parked: &mut Vec<Parked>) -> io::Result<()> {
    for (listener, entry) in listening.iter().enumerate() {
        for socket in &entry.sockets {
            // Accepting needs nothing of the kind but the descriptor.
            let acceptor = std::net::TcpListener::from(socket.try_clone()?);
            let unix = matches!(entry.spec.address, Address::Unix(_));
            loop {
                let accepted = match unix {
                    true => std::os::unix::net::UnixListener::from(socket.try_clone()?)
                        .accept()
                        .map(|(stream, _)| OwnedFd::from(stream)),
                    false => acceptor.accept().map(|(stream, _)| OwnedFd::from(stream)),
                };
                match accepted {
                    Ok(stream) => {
                        UnixStream::from(stream.try_clone()?).set_nonblocking(true)?;
                        parked.push(Parked {
                            stream,
                            listener,
                            requests: 0,
                            partial: Vec::new(),
                        });
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

/// Answers the lines that came; false once the peer has closed.
fn answer(connection: &mut Parked, text: &str) -> bool {
    let Ok(stream) = connection.stream.try_clone() else {
        return false;
    };
    let mut stream = TcpStream::from(stream);
    let mut bytes = [0; 512];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(length) => connection.partial.extend(&bytes[..length]),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
        while let Some(end) = connection.partial.iter().position(|byte| *byte == b'\n') {
            connection.partial.drain(..=end);
            connection.requests += 1;
            let reply = format!("{text} {} {}\n", std::process::id(), connection.requests);
            if stream.write_all(reply.as_bytes()).is_err() {
                return false;
            }
        }
    }
}

fn take_over(receivers: &mut Vec<Receiver>, listening: &[Listening], parked: &mut Vec<Parked>) {
    receivers.retain_mut(|receiver| {
        loop {
            let offer = match receiver.next_offer() {
                Ok(Some(offer)) => offer,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let known = listening
                .iter()
                .position(|entry| entry.spec.address == offer.record.listener);
            let Some(listener) = known else {
                let _ = receiver.refuse(offer, true);
                continue;
            };
            let (stream, record, _) = receiver.take(offer, true);
            parked.push(Parked {
                stream,
                listener,
                requests: record.requests,
                partial: record.partial,
            });
        }
    });
}

fn pass_on(context: &WorkerContext, cycle: &Cycle<Answers>, parked: Vec<Parked>) -> io::Result<()> {
    let Some(channel) = &context.channel else {
        return Ok(());
    };
    let mut departure = Departure::new(Arc::clone(channel));
    for connection in parked {
        let record = record_of(&connection, cycle);
        departure.add(connection, record);
    }
    while !departure.is_over() {
        // Taken or left, what comes back is closed here.
        drop(departure.pump());
        let descriptors: Vec<_> = departure.descriptor().into_iter().collect();
        let limit = departure
            .next_moment()
            .map(|moment| moment.saturating_duration_since(Instant::now()));
        if !departure.is_over() {
            daemun_sys::poll::readable(&descriptors, limit)?;
        }
    }
    Ok(())
}

fn record_of(connection: &Parked, cycle: &Cycle<Answers>) -> Record {
    Record {
        listener: cycle.listen[connection.listener].address.clone(),
        peer: None,
        number: 1,
        requests: connection.requests,
        age: Duration::ZERO,
        reason: if connection.partial.is_empty() {
            Reason::KeepAlive
        } else {
            Reason::Head
        },
        remaining: Duration::MAX,
        shutdown: None,
        partial: connection.partial.clone(),
    }
}
