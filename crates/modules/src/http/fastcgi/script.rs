//! The script that a URI means, and the path behind it.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_http::request::{Request, Text};

use super::SETTINGS;

pub fn split_path_info(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let pattern = loader.pattern(word, &word.text, false)?;
    if pattern.pattern.group_count() != 2 {
        let sentence = format!("pattern \"{word}\" must have 2 captures");
        return Err(Fault::from(sentence).at(word.span));
    }
    loader.settings(&SETTINGS).split_path_info.replace(Some(Arc::from(pattern)));
    Ok(())
}

/// `$fastcgi_script_name`: with `fastcgi_index` where it ends in a slash.
pub fn append_name(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let Some((name, _)) = split(request) else { return false };
    out.extend_from_slice(name);
    if name.ends_with(b"/") {
        out.extend_from_slice(&request.settings(&SETTINGS).index);
    }
    true
}

/// `$fastcgi_path_info`.
pub fn append_path_info(request: &mut Request, out: &mut Vec<u8>) -> bool {
    let Some((_, path)) = split(request) else { return false };
    out.extend_from_slice(path);
    true
}

/// The script's name and the path behind it. A URI that does not match is a name alone.
fn split(request: &Request) -> Option<(&[u8], &[u8])> {
    let Some(split) = &*request.settings(&SETTINGS).split_path_info else {
        return Some((&request.uri, b""));
    };
    let mut groups = Vec::new();
    match split.pattern.captures(&request.uri, &mut groups) {
        Ok(true) => {
            let group = |number: usize| {
                let place = groups.get(number).copied().flatten();
                place.map_or(&b""[..], |(start, end)| &request.uri[start..end])
            };
            Some((group(1), group(2)))
        }
        Ok(false) => Some((&request.uri, b"")),
        Err(_) => {
            let (uri, text) = (Text(&request.uri), Text(&split.text));
            // PCRE2_ERROR_MATCHLIMIT
            log!(
                request.log(),
                Alert,
                *request,
                "pcre2_match() failed: -47 on \"{}\" using \"{}\"",
                uri,
                text
            );
            None
        }
    }
}
