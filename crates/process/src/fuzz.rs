//! What the fuzz target runs. An ordinary test runs it too, on a few generated inputs.

use crate::handover::Record;

/// Any message is a record or none, and a record is written as the message that it was read from.
pub fn handover_record(data: &[u8]) {
    if let Some((sequence, record)) = Record::decode(data) {
        let written = record.encode(sequence);
        assert_eq!(Record::decode(&written), Some((sequence, record)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Five numbers between the reason and the texts.
    const NUMBERS: usize = 4 * size_of::<u64>() + size_of::<u32>();

    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let numbers = prop::collection::vec(any::<u8>(), NUMBERS);
        let listener = prop_oneof![Just("127.0.0.1:80".to_owned()), "unix:.{0,20}", ".{0,20}",];
        let peer = prop_oneof![Just(String::new()), Just("[::1]:1".to_owned()), ".{0,20}"];
        let header = prop_oneof![Just(String::new()), "PROXY .{0,20}"];
        let partial = prop::collection::vec(any::<u8>(), 0..40);
        (any::<u32>(), 0..6u8, numbers, listener, peer, header, partial).prop_map(
            |(sequence, reason, numbers, listener, peer, header, partial)| {
                let mut bytes = sequence.to_le_bytes().to_vec();
                bytes.push(reason);
                bytes.extend(numbers);
                for text in [listener, peer, header] {
                    bytes.extend((text.len() as u16).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
                bytes.extend((partial.len() as u32).to_le_bytes());
                bytes.extend(&partial);
                bytes
            },
        )
    }

    proptest! {
        #[test]
        fn any_message_is_a_record_or_none(data in prop::collection::vec(any::<u8>(), 0..200)) {
            handover_record(&data);
        }

        #[test]
        fn nearly_right_messages_are_records_or_none(data in messages(), cut in 0..100usize) {
            handover_record(&data);
            handover_record(&data[..data.len() - cut.min(data.len())]);
        }
    }
}
