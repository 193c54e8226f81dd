//! Priorities of RFC 9218 reach the owner as data.

use crate::talk::*;
use daemun_proto::http2::frame::{self, Kind};
use daemun_proto::http2::{Code, Config, Event, Priority};

fn update(stream: u32, value: &str) -> Vec<u8> {
    let payload = [&stream.to_be_bytes()[..], value.as_bytes()].concat();
    frame(Kind::PriorityUpdate, 0, 0, &payload)
}

fn priority(urgency: u8, is_incremental: bool) -> Priority {
    Priority { urgency, is_incremental }
}

fn of_message(talk: &Talk) -> Option<Priority> {
    match talk.events.last() {
        Some(Event::Message(message)) => message.priority,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_field_and_the_frame() {
    let mut talk = Talk::server(Config::default());
    talk.tell(&get(1));
    assert_eq!(of_message(&talk), None);
    talk.tell(&headers(3, BOTH, GET, &[("priority", "u=1, i")]));
    assert_eq!(of_message(&talk), Some(priority(1, true)));
    let told = talk.tell(&update(3, "u=6"));
    assert_eq!(told, [Told::Other(Event::Priority { stream: 3, priority: priority(6, false) })]);
    // Before the request, the last one counts.
    assert!(talk.tell(&[update(7, "u=2"), update(7, "u=0,i"), update(5, "i")].concat()).is_empty());
    talk.tell(&headers(7, BOTH, GET, &[("priority", "u=5")]));
    assert_eq!(of_message(&talk), Some(priority(0, true)));
    // Of a stream that is over it means nothing.
    talk.answer(7);
    assert!(talk.tell(&update(7, "u=2")).is_empty());
}

#[test]
fn frames_that_are_none() {
    for stream in [0, 2] {
        let mut talk = Talk::server(Config::default());
        assert_eq!(talk.fault(&update(stream, "u=1")).code, Code::PROTOCOL_ERROR);
    }
    // A long one is not looked at, nor are more than a few kept.
    let mut talk = Talk::server(Config::default());
    assert!(talk.tell(&update(1, &"x".repeat(5000))).is_empty());
    for stream in 0..50 {
        talk.tell(&update(2 * stream + 1, "u=1"));
    }
    talk.tell(&get(63));
    assert_eq!(of_message(&talk), Some(priority(1, false)));
    talk.tell(&get(65));
    assert_eq!(of_message(&talk), None);
}

#[test]
fn early_ones_make_room_when_their_streams_come() {
    let mut talk = Talk::server(Config::default());
    for number in 0..40 {
        let id = 2 * number + 1;
        talk.tell(&[update(id + 20, "u=7"), update(id, "u=1"), get(id)].concat());
        assert_eq!(of_message(&talk), Some(priority(1, false)));
    }
}

#[test]
fn what_is_written_is_read() {
    for urgency in 0..8 {
        for is_incremental in [false, true] {
            let mut bytes = Vec::new();
            frame::priority_update(1, priority(urgency, is_incremental), &mut bytes);
            let mut talk = Talk::server(Config::default());
            talk.tell(&[bytes, get(1)].concat());
            assert_eq!(of_message(&talk), Some(priority(urgency, is_incremental)));
        }
    }
}
