//! What a connection takes in memory.

use crate::talk::*;
use daemun_proto::http2::frame::Kind;
use daemun_proto::http2::{Config, Connection};

#[test]
fn an_idle_connection_is_small() {
    let mut talk = Talk::server(Config::default());
    println!("connection: {} bytes", size_of::<Connection>());
    assert!(talk.connection.is_idle() && talk.connection.footprint() <= 200);

    // After requests, and after they have ended; nothing has filled the table.
    for id in [1, 3, 5] {
        talk.tell(&get(id));
    }
    let busy = talk.connection.footprint();
    assert!(!talk.connection.is_idle() && busy > 200);
    for id in [1, 3, 5] {
        talk.answer(id);
    }
    talk.connection.shrink();
    let idle = talk.connection.footprint();
    println!("busy: {busy} bytes, idle: {idle} bytes");
    assert!(idle <= 200, "{idle}");

    // What the peer has put into the table stays, and is of use for the next request.
    let indexed = [&block(GET)[..], b"\x40\x03x-a\x05value"].concat();
    talk.tell(&frame(Kind::Headers, BOTH, 7, &indexed));
    talk.answer(7);
    talk.connection.shrink();
    let filled = talk.connection.footprint();
    println!("idle with an entry: {filled} bytes");
    assert!(filled <= 300, "{filled}");
    let told = talk.tell(&frame(Kind::Headers, BOTH, 9, &[&block(GET)[..], &[0xbe]].concat()));
    assert!(matches!(&told[..], [Told::Message(9, fields, _)] if fields[4].1 == "value"));
}

#[test]
fn a_thousand_streams_take_little() {
    let mut talk = Talk::server(Config { max_concurrent_streams: 1000, ..Config::default() });
    for number in 0..1000 {
        talk.tell(&get(2 * number + 1));
    }
    assert_eq!(talk.connection.streams_in_use(), 1000);
    let each = talk.connection.footprint() / 1000;
    println!("{each} bytes a stream");
    assert!(each <= 128, "{each}");
}
