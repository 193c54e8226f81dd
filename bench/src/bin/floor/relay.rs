//! The least that any proxy on sockets and epoll does for a response: it receives what came, and sends it on as it is.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags};

const LISTENER: u64 = u64::MAX;

/// Serves for ever; each client has a connection of its own to the server behind it.
pub fn serve(port: u16, other: u16) -> ! {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
    let watch = |socket: &dyn AsFd, data, flags| {
        epoll::add(&epoll, socket, EventData::new_u64(data), flags).expect("epoll");
    };
    watch(&listener, LISTENER, EventFlags::IN);
    // A client and its server are neighbours: 0 and 1, 2 and 3.
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut events = Vec::with_capacity(512);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None).expect("epoll");
        for event in &events {
            if event.data.u64() == LISTENER {
                let (client, _) = listener.accept().expect("a connection");
                let server = TcpStream::connect(("127.0.0.1", other)).expect("a server");
                for socket in [client, server] {
                    socket.set_nodelay(true).expect("a socket");
                    watch(&socket, sockets.len() as u64, EventFlags::IN | EventFlags::ET);
                    sockets.push(socket);
                }
                continue;
            }
            let from = event.data.u64() as usize;
            let received = rustix::net::recv(&sockets[from], &mut *buffer, RecvFlags::DONTWAIT);
            let Ok((count @ 1.., _)) = received else { continue };
            // A side that has left gets nothing: the measurement is over.
            let _ = rustix::net::send(&sockets[from ^ 1], &buffer[..count], SendFlags::NOSIGNAL);
        }
    }
}
