//! What a peer may cost: each attack ends the connection, and an honest peer's ways do not.

use crate::talk::*;
use daemun_proto::http2::frame::Kind;
use daemun_proto::http2::{Code, Config, Cost};

fn server() -> Talk {
    Talk::server(Config { max_concurrent_streams: 100, ..Config::default() })
}

/// Repeats frames until they are too many. The cost has to be told before that, and to end by
/// calmness.
fn flood(cost: Cost, most: usize, mut frames: impl FnMut(u32) -> Vec<u8>) {
    let mut talk = server();
    let mut has_warned = false;
    for number in 0..=most as u32 {
        match talk.try_tell(&frames(2 * number + 1)) {
            Ok(_) => has_warned |= talk.connection.strained() == Some(cost),
            Err(fatal) => {
                assert_eq!((fatal.code, fatal.cost), (Code::ENHANCE_YOUR_CALM, Some(cost)));
                assert_eq!(talk.sent().pop().unwrap().kind, Kind::GoAway);
                assert!(has_warned, "{cost:?}");
                return;
            }
        }
        // The owner has stopped the work at once.
        talk.connection.release();
    }
    panic!("{cost:?}: {most} were not too many");
}

#[test]
fn rapid_reset() {
    flood(Cost::Resets, 256, |id| [get(id), rst(id, 8)].concat());
}

#[test]
fn made_you_reset() {
    // Each of these makes us reset a stream.
    flood(Cost::Resets, 256, |id| [get(id), window(id, 0)].concat());
    flood(Cost::Resets, 256, |id| [get(id), window(id, 0x7fff_ffff)].concat());
    flood(Cost::Resets, 256, |id| [get(id), data(id, END_STREAM, b"x")].concat());
    flood(Cost::Resets, 256, |id| [get(id), get(id)].concat());
    flood(Cost::Resets, 256, |id| {
        [post(id), headers(id, END_HEADERS, &[("a", "b")], &[])].concat()
    });
    // These deserve an answer of 400, and cost the same.
    let answered = |mut request: Box<dyn FnMut(u32) -> Vec<u8>>| {
        let mut talk = server();
        let fatal = (0..300).find_map(|number| {
            let id = 2 * number + 1;
            let fault = talk.try_tell(&request(id)).err();
            talk.connection.reset(id, Code::PROTOCOL_ERROR, &mut talk.out);
            fault
        });
        assert_eq!(fatal.and_then(|fatal| fatal.cost), Some(Cost::Resets));
    };
    answered(Box::new(|id| headers(id, BOTH, GET, &[("A", "b")])));
    answered(Box::new(|id| headers(id, BOTH, GET, &[("content-length", "1")])));
    answered(Box::new(|id| {
        let head = headers(id, END_HEADERS, POST, &[("content-length", "1")]);
        [head, data(id, END_STREAM, b"")].concat()
    }));
}

#[test]
fn a_client_that_lets_streams_end_may_cancel_some() {
    let mut talk = server();
    for number in 0..2000 {
        let id = 4 * number + 1;
        talk.tell(&[get(id), get(id + 2), rst(id, 8)].concat());
        talk.connection.release();
        talk.answer(id + 2);
    }
    assert_eq!(talk.connection.strained(), None);
}

#[test]
fn a_client_that_cancels_what_is_being_answered_costs_nothing() {
    let mut talk = server();
    for number in 0..2000 {
        let id = 2 * number + 1;
        talk.tell(&get(id));
        let start = talk.connection.begin_block(&mut talk.out);
        talk.out.push(0x88);
        talk.connection.finish_block(id, start, daemun_proto::http2::Part::Head, &mut talk.out);
        talk.tell(&rst(id, 8));
        talk.connection.release();
    }
    assert_eq!(talk.connection.strained(), None);
}

#[test]
fn too_many_streams() {
    let mut talk = Talk::server(Config { max_concurrent_streams: 1, ..Config::default() });
    let fatal = (0..1000).find_map(|number| talk.try_tell(&get(2 * number + 1)).err());
    assert_eq!(fatal.and_then(|fatal| fatal.cost), Some(Cost::Refusals));
}

#[test]
fn pings_settings_and_others() {
    flood(Cost::Pings, 101, |_| frame(Kind::Ping, 0, 0, &[0; 8]));
    flood(Cost::Settings, 51, |_| settings(&[]));
    flood(Cost::WindowUpdates, 1001, |_| window(0, 1));
    flood(Cost::Priorities, 257, |_| frame(Kind::Priority, 0, 9, &[0, 0, 0, 1, 0]));
    flood(Cost::Priorities, 257, |id| {
        frame(Kind::PriorityUpdate, 0, 0, &[&id.to_be_bytes()[..], b"u=1"].concat())
    });
    flood(Cost::Others, 257, |_| frame(Kind::Unknown(0x55), 0, 0, b"x"));
    flood(Cost::Others, 257, |_| frame(Kind::Ping, 1, 0, &[0; 8]));
    flood(Cost::Others, 257, |_| frame(Kind::Settings, 1, 0, b""));
    flood(Cost::Others, 257, |_| frame(Kind::GoAway, 0, 0, &[0; 8]));
}

#[test]
fn blocks_that_nobody_wants() {
    // For a stream that we have reset, for one whose message is malformed, for one that comes too
    // late.
    let late = headers(1, END_HEADERS, &[("a", "b")], &[]);
    let mut talk = server();
    talk.tell(&post(1));
    talk.connection.reset(1, Code::CANCEL, &mut talk.out);
    assert_eq!(cost_of(&mut talk, |_| late.clone()), Some(Cost::Others));
    let mut talk = server();
    talk.tell(&headers(1, END_HEADERS, POST, &[("A", "b")]));
    assert_eq!(cost_of(&mut talk, |_| late.clone()), Some(Cost::Others));
    let mut talk = server();
    talk.connection.go_away(Code::NO_ERROR, &mut talk.out);
    assert_eq!(cost_of(&mut talk, |number| get(2 * number + 1)), Some(Cost::Others));
    // Resets of what is no more.
    let mut talk = server();
    talk.tell(&[get(1), rst(1, 8)].concat());
    assert_eq!(cost_of(&mut talk, |_| rst(1, 8)), Some(Cost::Others));
}

fn cost_of(talk: &mut Talk, mut frames: impl FnMut(u32) -> Vec<u8>) -> Option<Cost> {
    (0..1000).find_map(|number| talk.try_tell(&frames(number)).err()).and_then(|fatal| fatal.cost)
}

#[test]
fn malformed_requests_are_not_forgiven_for_their_answers() {
    let mut talk = server();
    let fatal = (0..300).find_map(|number| {
        let id = 2 * number + 1;
        let fault = talk.try_tell(&headers(id, BOTH, GET, &[("A", "b")])).err();
        talk.answer(id);
        fault
    });
    assert_eq!(fatal.and_then(|fatal| fatal.cost), Some(Cost::Resets));
}

#[test]
fn empty_frames() {
    let mut talk = server();
    talk.tell(&post(1));
    let fatal = (0..102).find_map(|_| talk.try_tell(&data(1, 0, b"")).err()).unwrap();
    assert_eq!(fatal.cost, Some(Cost::EmptyFrames));
    // Padding is not something either.
    let mut talk = server();
    talk.tell(&post(1));
    let padding = data(1, PADDED, &[200; 201]);
    let fatal = (0..102).find_map(|_| talk.try_tell(&padding).err()).unwrap();
    assert_eq!(fatal.cost, Some(Cost::EmptyFrames));
}

#[test]
fn seconds_that_pass_allow_more() {
    let mut talk = server();
    for _ in 0..100 {
        for _ in 0..90 {
            talk.tell(&frame(Kind::Ping, 0, 0, &[0; 8]));
        }
        talk.connection.refill(1);
    }
}

#[test]
fn an_honest_download_updates_and_pings_for_each_frame() {
    let mut talk = server();
    talk.tell(&[get(1), window(0, 1 << 20), window(1, 1 << 20)].concat());
    for _ in 0..10_000 {
        talk.connection.send_data(1, &[0; 8192], false, &mut talk.out);
        talk.out.clear();
        let update = [window(0, 8192), window(1, 8192), frame(Kind::Ping, 0, 0, &[0; 8])];
        talk.tell(&update.concat());
    }
}

#[test]
fn continuations() {
    let begin = frame(Kind::Headers, END_STREAM, 1, &block(GET));
    // Without an end.
    let mut talk = server();
    talk.tell(&begin);
    let piece = frame(Kind::Continuation, 0, 1, &[0x82]);
    let fatal = (0..100).find_map(|_| talk.try_tell(&piece).err()).expect("an end");
    assert_eq!(fatal.cost, Some(Cost::Continuations));
    // With nothing in it.
    let mut talk = server();
    talk.tell(&begin);
    let fatal = talk.fault(&frame(Kind::Continuation, 0, 1, b""));
    assert_eq!(fatal.cost, Some(Cost::Continuations));
    // As large as frames may be: the first byte too much is the last one.
    let mut talk = server();
    talk.tell(&begin);
    let fields = block(&[("x", "0123456789"); 1000]);
    let fatal = (0..100)
        .find_map(|_| talk.try_tell(&frame(Kind::Continuation, 0, 1, &fields)).err())
        .expect("an end");
    assert_eq!((fatal.code, fatal.cost), (Code::ENHANCE_YOUR_CALM, Some(Cost::Fields)));
}

#[test]
fn bytes_of_a_section_are_counted_before_they_come() {
    let config = Config { longest_field: u32::MAX, ..Config::default() };
    let limit = config.header_limit as usize;
    let used: usize = GET.iter().map(|(name, value)| name.len() + value.len()).sum();
    for (length, is_refused) in [(limit - used - 1, false), (limit - used, true)] {
        let mut talk = Talk::server(config.clone());
        let mut fields = block(GET);
        let value = "v".repeat(length);
        daemun_proto::http2::hpack::encode::plain_field(b"x", value.as_bytes(), &mut fields);
        let whole = frame(Kind::Headers, BOTH, 1, &fields);
        // A few bytes of the value are there.
        let early = talk.try_tell(&whole[..60]);
        match is_refused && length > limit {
            true => assert_eq!(early.unwrap_err().cost, Some(Cost::Fields)),
            false => {
                let result = early.and_then(|_| talk.try_tell(&whole[60..]));
                let cost = result.err().and_then(|fatal| fatal.cost);
                assert_eq!(cost, is_refused.then_some(Cost::Fields));
            }
        }
    }
    let mut talk = server();
    let fatal = talk.fault(b"\0\x01\0\x01\x05\0\0\0\x01\0\x01x\x7f\xff\xff\x7f");
    assert_eq!((fatal.code, fatal.cost), (Code::ENHANCE_YOUR_CALM, Some(Cost::Fields)));
}

#[test]
fn a_bomb_of_indexed_fields_is_counted_as_what_it_stands_for() {
    // One entry of 4,000 bytes, referred to by one byte each.
    let value = "b".repeat(4000);
    let mut bomb = block(GET);
    bomb.extend_from_slice(b"\x40\x06cookie\x7f\xa1\x1e");
    bomb.extend_from_slice(value.as_bytes());
    bomb.extend_from_slice(&[0xbe; 16_000]);
    let mut talk = server();
    let fatal = talk.fault(&frame(Kind::Headers, BOTH, 1, &bomb));
    assert_eq!((fatal.code, fatal.cost), (Code::ENHANCE_YOUR_CALM, Some(Cost::Fields)));
    // Crumbs of nothing: their number is bounded, and so is what is made of them. So is that of
    // trailers.
    let crumbs = [&b"\x40\x06cookie\x00"[..], &[0xbe; 2500]].concat();
    let mut talk = Talk::server(Config { header_limit: 1 << 20, ..Config::default() });
    let told = talk.tell(&frame(Kind::Headers, BOTH, 1, &[block(GET), crumbs.clone()].concat()));
    let [Told::Message(1, fields, true)] = &told[..] else { panic!("{told:?}") };
    assert!(fields.last().unwrap().1.len() < 2 * 1000);
    talk.tell(&[post(3), frame(Kind::Headers, BOTH, 3, &crumbs)].concat());
    let malformed = talk.events.last().unwrap();
    assert!(format!("{malformed:?}").contains("TooManyFields"), "{malformed:?}");
}
