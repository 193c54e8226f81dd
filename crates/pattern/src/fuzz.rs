//! What the fuzz target runs. Ordinary tests run it too, on a few generated inputs.

use crate::Pattern;

/// Any bytes are a pattern or an error; a pattern's captures lie within the subject. The first byte tells where the
/// pattern ends and the subject starts.
pub fn pattern_translate(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let (pattern, subject) = rest.split_at(usize::from(first).min(rest.len()));
    let Ok(compiled) = Pattern::compile(pattern, first % 2 == 0) else {
        return;
    };
    let mut slots = Vec::new();
    let Ok(found) = compiled.captures(subject, &mut slots) else {
        return;
    };
    assert_eq!(compiled.is_match(subject), Ok(found));
    assert_eq!(slots.len(), compiled.group_count() + 1);
    assert_eq!(slots[0].is_some(), found);
    for &(start, end) in slots.iter().flatten() {
        assert!(start <= end && end <= subject.len());
    }
}
