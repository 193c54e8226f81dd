//! What some browsers have to be known for.

/// Internet Explorer of any version; Opera can pose as one.
pub(crate) fn is_msie(agent: &[u8]) -> bool {
    let has = |text: &[u8]| memchr::memmem::find(agent, text).is_some();
    has(b"MSIE ") && !has(b"Opera")
}

/// Internet Explorer up to 6 without the service pack that mended it; Opera can pose as one.
pub(crate) fn is_msie6(agent: &[u8]) -> bool {
    if memchr::memmem::find(agent, b"Opera").is_some() {
        return false;
    }
    let Some(at) = memchr::memmem::find(agent, b"MSIE ") else {
        return false;
    };
    match agent.get(at + 5..at + 7) {
        Some([b'4' | b'5', b'.']) => true,
        Some([b'6', b'.']) => memchr::memmem::find(agent, b"SV1").is_none(),
        _ => false,
    }
}
