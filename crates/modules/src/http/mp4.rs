//! `mp4`: parts of videos, as players ask for them with `?start=SECONDS&end=SECONDS`.
//!
//! ```nginx
//! location /video/ {
//!     mp4;
//!     mp4_start_key_frame on;
//!     mp4_max_buffer_size 20m;
//! }
//! ```

mod atoms;
mod track;

use std::collections::VecDeque;
use std::fs::File;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, set, settings, values};
use daemun_http::body::{Body, Chunk, FileRange};
use daemun_http::files;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;

use super::{reads_only, static_files};
use atoms::Cut;

settings! {
    pub struct Settings {
        is_here: Own<bool>,
        /// Bytes of a video's description at most.
        max_buffer_size: usize = 10 << 20,
        /// Parts begin with a whole picture.
        starts_with_key_frame: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_mp4_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "mp4" in LOCATION, Exactly(0), "", Action::Set(mp4),
                "Sends parts of MP4 videos by the arguments start and end.";
            "mp4_buffer_size" in HTTP_SERVER_LOCATION, Exactly(1), "512K",
                Action::Checked(|directive| values::size(directive).map(drop), "a video's description is read at once"),
                "Accepted: a video's description is read at once.";
            "mp4_max_buffer_size" in HTTP_SERVER_LOCATION, Exactly(1), "10M",
                set!(SETTINGS.max_buffer_size, values::size),
                "How long a video's description may be.";
            "mp4_start_key_frame" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.starts_with_key_frame, values::flag),
                "Whether parts begin with a whole picture, what goes before their start being skipped by the player.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).is_here.0,
        handler: Handler::Now(serve),
    }],
    ..HttpModule::EMPTY
};

fn serve(request: &mut Request) -> Step {
    if !reads_only(request) {
        return Step::Status(Status::NOT_ALLOWED);
    }
    if request.uri.last() == Some(&b'/') {
        return Step::Declined;
    }
    let known = match static_files::find(request) {
        Ok(known) => known,
        Err(step) => return step,
    };
    let Some((start, length)) = wanted(request) else {
        return static_files::send(request, &known);
    };
    let settings = request.settings(&SETTINGS);
    let cut = Cut {
        start,
        length,
        with_key_frame: *settings.starts_with_key_frame,
        most: *settings.max_buffer_size,
    };
    match part(request, &cut) {
        Ok(None) => static_files::send(request, &known),
        Ok(Some(body)) => {
            let sent = static_files::send(request, &known);
            let Step::Respond(_) = sent else { return sent };
            let length = body.len().unwrap_or_default();
            let response = &mut request.response;
            response.content_length = Some(length);
            response.is_cut_once = true;
            let etag = format!("\"{:x}-{length:x}\"", known.info.modified);
            response.etag = response.etag.take().map(|_| etag.into());
            Step::Respond(body)
        }
        Err(status) => Step::Status(status),
    }
}

/// The file's own bytes are sent from the file, since small ones may be known from memory alone. `None` is the file as
/// it is.
fn part(request: &mut Request, cut: &Cut) -> Result<Option<Body>, Status> {
    let mut path = Vec::new();
    files::map_uri(request, &mut path);
    let opened =
        files::open(request, &path).map_err(|error| files::refuse(request, &path, &error))?;
    let file: &File = &opened.file;
    let trimmed = atoms::trim(file, opened.info.size, cut).map_err(|reason| {
        let path = daemun_http::request::Text(&path);
        // nginx's sentences about an atom begin with the file, those about what is missing end with it.
        match reason.starts_with("mp4 ") {
            true => log!(request.log(), Error, *request, "\"{}\" {}", path, reason),
            false => log!(request.log(), Error, *request, "{} in \"{}\"", reason, path),
        }
        Status::INTERNAL_SERVER_ERROR
    })?;
    let Some(trimmed) = trimmed else { return Ok(None) };
    let (offset, length) = (trimmed.data.start, trimmed.data.end - trimmed.data.start);
    let data = Chunk::File(FileRange { file: opened.file.clone(), offset, length });
    Ok(Some(Body::Many(VecDeque::from([Chunk::Bytes(trimmed.head.into()), data]))))
}

/// Where the part begins, and how long it is, in milliseconds; `None` where the file is wanted as it is.
fn wanted(request: &Request) -> Option<(u64, Option<u64>)> {
    let start = request.argument(b"start").and_then(milliseconds);
    let end = request.argument(b"end").and_then(milliseconds);
    let end = end.filter(|end| *end > start.unwrap_or(0));
    let begin = start.or(end.map(|_| 0))?;
    Some((begin, end.map(|end| end - begin)))
}

/// Seconds, of which three digits behind the point count.
fn milliseconds(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(3)];
    format!("{whole}{fraction:0<3}").parse().ok().filter(|time| *time <= i64::MAX as u64)
}

fn mp4(loader: &mut Loader<'_>, _: &conf::Directive) -> Result<(), Fault> {
    loader.settings(&SETTINGS).is_here = Own(true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_a_fraction() {
        for (text, time) in
            [("0", 0), ("1.5", 1500), ("12.3456", 12_345), ("7.", 7000), (".5", 500), (".", 0)]
        {
            assert_eq!(milliseconds(text.as_bytes()), Some(time), "{text}");
        }
        for text in ["", "-1", "1.2.3", "1.x", "x", "99999999999999999999"] {
            assert_eq!(milliseconds(text.as_bytes()), None, "{text}");
        }
    }
}
