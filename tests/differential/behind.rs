//! A server behind the two that are compared: it says what the request asks for by number, well framed or not.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use daemun_tests::PATIENCE;

/// Speaks HTTP: the number stands at the end of the path.
pub fn http(responses: Vec<String>) -> u16 {
    serve(responses, |stream| {
        let head = read_until(stream, |read| read.ends_with(b"\r\n\r\n"))?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        Ok(target.rsplit('/').next().unwrap_or_default().to_owned())
    })
}

/// Speaks SCGI: the number is the parameter `NUMBER`.
pub fn scgi(responses: Vec<String>) -> u16 {
    serve(responses, |stream| {
        let length = read_until(stream, |read| read.ends_with(b":"))?;
        let length = String::from_utf8_lossy(&length[..length.len() - 1]).parse().unwrap_or(0);
        // with the comma behind it
        let fields = read_until(stream, |read| read.len() > length)?;
        let fields = String::from_utf8_lossy(&fields).into_owned();
        let mut texts = fields.split('\0').skip_while(|text| *text != "NUMBER");
        Ok(texts.nth(1).unwrap_or_default().to_owned())
    })
}

type ReadNumber = fn(&mut TcpStream) -> io::Result<String>;

/// Answers every connection once, on a port of its own.
fn serve(responses: Vec<String>, read_number: ReadNumber) -> u16 {
    let listener = daemun_tests::listener();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        thread::scope(|scope| {
            for stream in listener.incoming().flatten() {
                let responses = &responses;
                // a connection that breaks is the business of whoever is compared
                scope.spawn(move || answer(stream, responses, read_number).ok());
            }
        });
    });
    port
}

fn answer(mut stream: TcpStream, responses: &[String], read_number: ReadNumber) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let number: usize = read_number(&mut stream)?.parse().map_err(io::Error::other)?;
    stream.write_all(responses[number].as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    // what is not read would reset the connection
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn read_until(stream: &mut TcpStream, is_enough: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !is_enough(&read) {
        stream.read_exact(&mut byte)?;
        read.push(byte[0]);
    }
    Ok(read)
}
