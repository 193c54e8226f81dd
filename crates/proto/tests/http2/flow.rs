//! Windows, both ways.

use crate::talk::*;
use daemun_proto::http2::frame::{self, Kind};
use daemun_proto::http2::{By, Code, Config, Event, PREFACE, Role};

fn server() -> Talk {
    Talk::server(Config::default())
}

/// Sends as much as goes.
fn pour(talk: &mut Talk, stream: u32, mut length: usize) -> usize {
    let before = length;
    while length > 0 {
        let body = vec![0; length];
        match talk.connection.send_data(stream, &body, true, &mut talk.out) {
            0 => break,
            sent => length -= sent,
        }
    }
    before - length
}

#[test]
fn what_is_sent_keeps_to_both_windows() {
    let mut talk = server();
    talk.tell(&get(1));
    assert_eq!(pour(&mut talk, 1, 100_000), 65_535);
    let sizes: Vec<usize> = talk.sent().iter().map(|sent| sent.payload.len()).collect();
    assert_eq!(sizes, [16_384, 16_384, 16_384, 16_383]);
    // Updates are told where they open what was closed.
    assert!(talk.tell(&window(1, 10)).len() == 1 && talk.connection.room(1) == 0);
    assert!(talk.tell(&window(1, 10)).is_empty());
    assert_eq!(talk.tell(&window(0, 15)), [Told::Other(Event::Window { stream: 0 })]);
    assert_eq!(pour(&mut talk, 1, 34_465), 15);
    talk.tell(&[window(0, 1 << 20), window(1, 1 << 20)].concat());
    assert_eq!(pour(&mut talk, 1, 34_450), 34_450);
    let last = talk.sent().pop().unwrap();
    assert_eq!(last.flags, END_STREAM);
    assert!(!talk.connection.is_open(1));
}

#[test]
fn an_empty_end_passes_closed_windows() {
    let mut talk = server();
    talk.tell(&get(1));
    pour(&mut talk, 1, 65_536);
    talk.out.clear();
    assert_eq!(talk.connection.send_data(1, b"", false, &mut talk.out), 0);
    assert!(talk.out.is_empty());
    talk.connection.send_data(1, b"", true, &mut talk.out);
    assert_eq!(talk.sent()[0].flags, END_STREAM);
    talk.connection.send_data(1, b"", true, &mut talk.out);
    assert!(talk.out.is_empty());
}

#[test]
fn settings_change_windows_of_open_streams() {
    let mut talk = server();
    talk.tell(&[window(0, 1 << 20), get(1)].concat());
    assert_eq!(pour(&mut talk, 1, 70_000), 65_535);
    talk.tell(&settings(&[(4, 42)]));
    assert_eq!(talk.connection.room(1), 0);
    assert!(talk.tell(&window(1, 65_535 - 42)).is_empty());
    assert_eq!(talk.tell(&window(1, 1)), [Told::Other(Event::Window { stream: 1 })]);
    assert_eq!(talk.connection.room(1), 1);
    talk.tell(&get(3));
    assert_eq!(talk.connection.room(3), 42);
    assert_eq!(talk.tell(&settings(&[(4, 100_000), (5, 32_768)])), [Told::Other(Event::Settings)]);
    assert_eq!(talk.connection.room(3), 32_768);
    talk.out.clear();
    talk.tell(&window(3, 1));
    assert_eq!(talk.fault(&settings(&[(4, frame::MOST)])).code, Code::FLOW_CONTROL_ERROR);
}

#[test]
fn windows_do_not_overflow() {
    let mut talk = server();
    talk.tell(&[get(1), window(1, frame::MOST - 65_535)].concat());
    let told = talk.tell(&window(1, 1));
    let reset = |code| Told::Other(Event::Reset { stream: 1, code, by: By::Us });
    assert_eq!(told, [reset(Code::FLOW_CONTROL_ERROR)]);
    assert_eq!(talk.reset(), (1, 3));
    let mut talk = server();
    assert_eq!(talk.tell(&[get(1), window(1, 0)].concat())[1], reset(Code::PROTOCOL_ERROR));
    assert_eq!(talk.reset(), (1, 1));
}

#[test]
fn a_peer_keeps_to_the_windows_that_it_was_given() {
    for (stream_window, fits) in [(10, 10), (0, 0), (100_000, 100_000)] {
        let config = Config { stream_window, ..Config::default() };
        let mut talk = Talk::server(config);
        talk.tell(&[post(1), data(1, 0, &vec![1; fits])].concat());
        assert!(talk.sent().is_empty());
        let told = talk.tell(&data(1, 0, b"x"));
        let reset = Event::Reset { stream: 1, code: Code::FLOW_CONTROL_ERROR, by: By::Us };
        assert_eq!(told, [Told::Other(reset)]);
        assert_eq!(talk.reset(), (1, 3));
    }
    let config = Config { connection_window: 65_535, stream_window: 100_000, ..Config::default() };
    let mut talk = Talk::server(config);
    talk.tell(&post(1));
    let fatal = talk.fault(&data(1, 0, &[0; 65_536]));
    assert_eq!(fatal.code, Code::FLOW_CONTROL_ERROR);
}

#[test]
fn what_is_taken_is_given_back_in_batches() {
    let mut talk = server();
    talk.tell(&post(1));
    let mut given = Vec::new();
    for _ in 0..40 {
        let told = talk.tell(&data(1, PADDED, &[&[7][..], &[0; 8 * 1024]].concat()));
        for told in told {
            let Told::Data(1, bytes, false) = told else { panic!("{told:?}") };
            talk.connection.consume(1, bytes.len(), &mut talk.out);
        }
        given.extend(talk.sent());
    }
    assert!(given.len() <= 10, "{}", given.len());
    assert!(given.iter().all(|sent| sent.kind == Kind::WindowUpdate && sent.stream == 1));
    let sum: u32 = given.iter().map(|sent| frame::word(&sent.payload)).sum();
    // All but a batch, padding and its length with it.
    assert!(sum > 40 * 8193 - 32_768 - 8193 && sum <= 40 * 8193, "{sum}");
    talk.connection.widen(1, 1000, &mut talk.out);
    assert_eq!(talk.sent()[0].payload, 1000u32.to_be_bytes());
    // After the end nothing is asked for.
    talk.tell(&data(1, END_STREAM, &[0; 8]));
    talk.connection.consume(1, 65_535, &mut talk.out);
    talk.connection.widen(1, 1000, &mut talk.out);
    assert!(talk.sent().is_empty());
}

#[test]
fn padding_is_given_back_with_the_body() {
    let mut talk = Talk::server(Config { stream_window: 2000, ..Config::default() });
    talk.tell(&post(1));
    let padded = data(1, PADDED, &[&[99][..], b"x", &[0; 99]].concat());
    for _ in 0..100 {
        assert_eq!(talk.tell(&padded), [Told::Data(1, b"x".to_vec(), false)]);
        talk.connection.consume(1, 1, &mut talk.out);
    }
}

#[test]
fn streams_have_the_window_that_the_peer_knows_of() {
    let mut talk = Talk::new(Role::Server, Config { stream_window: 100_000, ..Config::default() });
    talk.tell(&[&PREFACE[..], &settings(&[]), &post(1), &data(1, 0, &[0; 65_535])].concat());
    talk.tell(&frame(Kind::Settings, frame::ACK, 0, b""));
    talk.out.clear();
    let told = talk.tell(&data(1, 0, &[0; 34_465]));
    assert!(matches!(told[..], [Told::Data(1, _, false)]) && talk.out.is_empty());
    talk.tell(&data(1, 0, b"x"));
    assert_eq!(talk.reset(), (1, Code::FLOW_CONTROL_ERROR.0));
    // One that comes later has it from the beginning.
    talk.tell(&[post(3), data(3, 0, &[0; 100_000])].concat());
    assert!(talk.sent().is_empty());
    let mut early = Talk::new(Role::Server, Config { stream_window: 100_000, ..Config::default() });
    early.tell(&[&PREFACE[..], &settings(&[]), &post(1)].concat());
    early.out.clear();
    early.tell(&data(1, 0, &[0; 65_536]));
    assert_eq!(early.reset(), (1, Code::FLOW_CONTROL_ERROR.0));
}

#[test]
fn the_connections_window_is_given_back_whoever_it_was_for() {
    let config = Config { connection_window: 100_000, stream_window: 65_535, ..Config::default() };
    let mut talk = Talk::server(config);
    talk.tell(&post(1));
    talk.connection.reset(1, Code::CANCEL, &mut talk.out);
    talk.out.clear();
    for _ in 0..100 {
        assert!(talk.tell(&data(1, 0, &[0; 10_000])).is_empty());
    }
    let given = talk.sent();
    assert!(given.iter().all(|sent| sent.stream == 0) && given.len() == 20, "{}", given.len());
}

#[test]
fn an_empty_window_is_widened_at_once() {
    let mut talk = Talk::server(Config { stream_window: 4, ..Config::default() });
    talk.tell(&[post(1), data(1, 0, b"ab"), data(1, 0, b"cd")].concat());
    talk.connection.consume(1, 1, &mut talk.out);
    assert_eq!(talk.sent()[0].payload, 1u32.to_be_bytes());
}

#[test]
fn streams_that_crumbs_keep_alive_are_found() {
    let mut talk = server();
    talk.tell(&[settings(&[(4, 0)]), get(1), get(3), get(5)].concat());
    for stream in [1, 3] {
        talk.connection.set_waiting(stream, true);
    }
    for _ in 0..100 {
        talk.tell(&[window(1, 1), window(3, 1000)].concat());
        pour(&mut talk, 1, 10);
        pour(&mut talk, 3, 10_000);
    }
    let mut stalled = Vec::new();
    talk.connection.stalled(16_384, |stream| stalled.push(stream));
    assert_eq!(stalled, [1]);
    talk.connection.stalled(16_384, |stream| stalled.push(stream));
    assert_eq!(stalled, [1, 1, 3]);
}
