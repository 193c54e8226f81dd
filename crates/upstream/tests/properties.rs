//! What must hold for any bytes: the fuzz target's body, run on generated input.

use daemun_upstream::fuzz;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_bytes_are_an_address_or_none(data in proptest::collection::vec(any::<u8>(), 0..40)) {
        fuzz::url(&data);
    }

    #[test]
    fn what_looks_like_an_address_is_one_or_none(text in "(unix:)?[\\[\\]a1:./?]{0,20}") {
        fuzz::url(text.as_bytes());
    }
}
