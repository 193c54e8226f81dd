//! What must hold for any bytes: the fuzz targets' bodies, run on generated conversations.

use crate::talk::*;
use daemun_proto::fuzz;
use daemun_proto::http2::frame::Kind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Frames that are mostly sound, on a few streams, with oddities in every place.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = select(vec![0u32, 1, 1, 1, 3, 3, 3, 5, 5, 7, 9, 2, 0x7fff_ffff]);
    let flags = select(vec![0u8, 1, 4, 4, 5, 5, 5, 8, 0xd, 0x25, 0x2d, 0xff]);
    (stream, flags, payload()).prop_map(|(stream, flags, (kind, payload))| {
        let has_stream = !matches!(kind, Kind::Settings | Kind::Ping | Kind::GoAway);
        let flags = if has_stream { flags } else { flags & 1 };
        frame(kind, flags, if has_stream { stream } else { 0 }, &payload)
    })
}

fn payload() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let number = select(vec![0u32, 1, 10, 1000, 65_535, 0x7fff_ffff, u32::MAX]);
    let setting = (0..10u16, number.clone());
    prop_oneof![
        4 => any_block().prop_map(|block| (Kind::Headers, block)),
        2 => any_block().prop_map(|block| (Kind::Continuation, block)),
        4 => vec(0..12u8, 0..40).prop_map(|body| (Kind::Data, body)),
        1 => vec(any::<u8>(), 5).prop_map(|bytes| (Kind::Priority, bytes)),
        1 => (0..14u32).prop_map(|code| (Kind::RstStream, code.to_be_bytes().to_vec())),
        1 => vec(setting, 0..4).prop_map(|values| {
            let entry = |(name, value): (u16, u32)| {
                [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
            };
            (Kind::Settings, values.into_iter().flat_map(entry).collect())
        }),
        1 => vec(any::<u8>(), 8).prop_map(|bytes| (Kind::Ping, bytes)),
        1 => vec(0..9u8, 8..12).prop_map(|bytes| (Kind::GoAway, bytes)),
        2 => number.prop_map(|number| (Kind::WindowUpdate, number.to_be_bytes().to_vec())),
        1 => vec(0..9u8, 4..12).prop_map(|bytes| (Kind::PriorityUpdate, bytes)),
        1 => vec(any::<u8>(), 0..12).prop_map(|bytes| (Kind::Unknown(33), bytes)),
    ]
}

/// Parts of blocks: whole requests and responses, fields of each form, cut ones.
fn any_block() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => Just(block(GET)),
        2 => Just(block(POST)),
        2 => Just(block(&[(":status", "200")])),
        1 => Just(block(&[(":status", "103")])),
        1 => Just(block(&[("content-length", "7")])),
        2 => ("[a-z:A_]{0,4}", "[a-z \\n]{0,4}").prop_map(|(name, value)| block(&[(&name, &value)])),
        1 => Just(b"\x40\x06cookie\x03a=b".to_vec()),
        1 => Just(b"\x42\x86\xa8\xeb\x10\x64\x9c\xbf".to_vec()),
        2 => (0x80..0xc8u8).prop_map(|byte| vec![byte]),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let frames = vec(any_frame(), 0..12).prop_map(|frames| frames.concat());
    (any::<u8>(), frames).prop_map(|(first, frames)| [&[first][..], &frames].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn frames_are_the_same_however_they_arrive(data in conversation()) {
        fuzz::http2_frames(&data);
    }

    #[test]
    fn an_owner_may_do_anything(data in conversation()) {
        fuzz::http2_owner(&data);
    }

    #[test]
    fn any_bytes_are_frames_or_not(data in vec(any::<u8>(), 0..120)) {
        fuzz::http2_frames(&data);
        fuzz::http2_owner(&data);
    }

    #[test]
    fn any_bytes_are_fields_or_not(data in vec(any::<u8>(), 0..80)) {
        fuzz::http2_fields(&data);
    }

    #[test]
    fn blocks_come_back(data in vec(any_block(), 0..6)) {
        fuzz::http2_fields(&data.concat());
    }
}
