//! The load: on every connection one request at a time.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::servers::RESPONSE_SIZE;

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\
    User-Agent: load/1.0\r\n\r\n";

pub fn run(address: &str, requests: usize, connections: usize) {
    let connect = || TcpStream::connect(address).expect("a connection");
    let mut streams: Vec<_> = std::iter::repeat_with(connect).take(connections).collect();
    for stream in &streams {
        stream.set_nodelay(true).expect("a socket");
    }
    let mut response = vec![0; RESPONSE_SIZE];
    let mut left = requests;
    while left > 0 {
        let batch = left.min(connections);
        for stream in &mut streams[..batch] {
            stream.write_all(REQUEST).expect("a server");
        }
        for stream in &mut streams[..batch] {
            stream.read_exact(&mut response).expect("a response");
        }
        left -= batch;
    }
}
