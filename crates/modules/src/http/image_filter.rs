//! `image_filter`: pictures made smaller, cropped and turned on their way out.
//!
//! ```nginx
//! location /thumbnails/ {
//!     image_filter        resize 150 100;
//!     image_filter        rotate 90;
//!     image_filter_buffer 10m;
//! }
//! ```

mod encoders;
mod picture;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::module::{Apply, Filter, HttpModule};
use daemun_http::request::Request;
use daemun_http::source::Source;
use daemun_http::status::Status;
use daemun_sys::allocator;

use picture::{Change, Format, Quality};

/// A number that may be computed; one that makes no sense is 0.
#[derive(Clone)]
enum Number {
    Fixed(u32),
    Computed(Script),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Off,
    /// Only pictures are sent.
    Test,
    /// What a picture is, as JSON.
    Size,
    Resize,
    Crop,
    Rotate,
}

#[derive(Clone)]
struct Work {
    operation: Operation,
    width: Number,
    height: Number,
    /// Degrees against the clock.
    angle: Number,
}

const NOTHING: Work = Work {
    operation: Operation::Off,
    width: Number::Fixed(0),
    height: Number::Fixed(0),
    angle: Number::Fixed(0),
};

settings! {
    pub struct Settings {
        work: Work = NOTHING,
        jpeg_quality: Number = Number::Fixed(75),
        webp_quality: Number = Number::Fixed(80),
        sharpen: Number = Number::Fixed(0),
        transparency: bool = true,
        interlace: bool = false,
        /// The longest picture, in bytes.
        buffer: usize = 1 << 20,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_image_filter_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "image_filter" in LOCATION, Between(1, 3), "off", Action::Set(image_filter),
                "What is done to pictures: test, size, resize, crop or rotate.";
            "image_filter_jpeg_quality" in HTTP_SERVER_LOCATION, Exactly(1), "75",
                Action::Set(jpeg_quality),
                "How much of a JPEG's detail is kept, up to 100.";
            "image_filter_webp_quality" in HTTP_SERVER_LOCATION, Exactly(1), "80",
                Action::Set(webp_quality),
                "How good WebP pictures are, from 1 to 100.";
            "image_filter_sharpen" in HTTP_SERVER_LOCATION, Exactly(1), "0", Action::Set(sharpen),
                "By how many per cent pictures are sharpened.";
            "image_filter_transparency" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.transparency, values::flag),
                "Whether the transparent colour of a picture with a palette stays so.";
            "image_filter_interlace" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.interlace, values::flag),
                "Whether a part of all lines of a GIF or JPEG comes first.";
            "image_filter_buffer" in HTTP_SERVER_LOCATION, Exactly(1), "1M",
                set!(SETTINGS.buffer, values::size),
                "How long a picture may be that is worked on.";
        },
    },
    filters: &[Filter {
        applies: |settings| settings.of(&SETTINGS).work.operation != Operation::Off,
        apply: Apply::Later(|request, body| Box::pin(filter(request, body))),
    }],
    ..HttpModule::EMPTY
};

async fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    // An error's own page is what it is.
    if request.response.status == Status::NOT_MODIFIED || request.error_status != 0 {
        return Ok(body);
    }
    let settings = request.settings(&SETTINGS);
    if request.response.content_length.is_some_and(|length| length > *settings.buffer as u64) {
        let length = request.response.content_length.unwrap_or_default();
        log!(request.log(), Error, *request, "image filter: too big response: {}", length);
        return Err(Status::UNSUPPORTED_MEDIA_TYPE);
    }
    request.response.allows_ranges = false;
    let bytes = read(request, body, *settings.buffer).await?;
    let Some(format) = Format::of(&bytes) else {
        return match settings.work.operation {
            Operation::Size => Ok(answer_json(request, "{}\r\n".to_owned())),
            _ => Err(Status::UNSUPPORTED_MEDIA_TYPE),
        };
    };
    let shape = picture::shape(format, &bytes);
    if settings.work.operation == Operation::Size {
        let json = shape.map_or("{}\r\n".to_owned(), |shape| {
            let (width, height, kind) = (shape.width, shape.height, format.name());
            format!(
                "{{ \"img\" : {{ \"width\": {width}, \"height\": {height}, \"type\": \"{kind}\" }} }}\r\n"
            )
        });
        return Ok(answer_json(request, json));
    }
    request.response.content_type = Some(format!("image/{}", format.name()).into());
    let Some(change) = change(request, &settings.work)? else {
        return Ok(send(request, bytes));
    };
    if shape.is_some_and(|shape| change.leaves(shape) && !shape.has_much_metadata) {
        return Ok(send(request, bytes));
    }
    let quality = Quality {
        jpeg: number(request, &settings.jpeg_quality),
        webp: number(request, &settings.webp_quality),
        sharpen: number(request, &settings.sharpen),
        keeps_transparency: *settings.transparency,
        interlaces: *settings.interlace,
    };
    if let Some(shape) = shape
        && !allocator::has_room(shape.memory())
    {
        return Err(out_of_memory(request, shape.memory()));
    }
    match picture::convert(format, &bytes, &change, quality) {
        Ok(converted) => {
            request.response.weaken_etag();
            Ok(send(request, converted))
        }
        Err(reason) => {
            log!(request.log(), Error, *request, "image filter: {}", reason);
            Err(Status::UNSUPPORTED_MEDIA_TYPE)
        }
    }
}

async fn read(request: &mut Request, body: Body, most: usize) -> Result<Vec<u8>, Status> {
    let mut source = Source::new(body);
    let mut bytes = Vec::new();
    while let Some(piece) = source.next(request).await {
        let piece = piece.map_err(|error| {
            log!(request.log(), Alert, *request, "image filter: {}", error);
            Status::INTERNAL_SERVER_ERROR
        })?;
        if bytes.len() + piece.len() > most {
            log!(request.log(), Error, *request, "image filter: too big response");
            return Err(Status::UNSUPPORTED_MEDIA_TYPE);
        }
        let has_room = bytes.len() < LARGE || allocator::has_room(2 * bytes.len());
        if !has_room || bytes.try_reserve(piece.len()).is_err() {
            return Err(out_of_memory(request, 2 * bytes.len()));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// What is smaller is there, or nothing is.
const LARGE: usize = 256 * 1024;

fn out_of_memory(request: &Request, wanted: usize) -> Status {
    log!(request.log(), Emerg, *request, "malloc({}) failed", wanted; allocator::shortage());
    Status::INTERNAL_SERVER_ERROR
}

fn send(request: &mut Request, bytes: Vec<u8>) -> Body {
    request.response.content_length = Some(bytes.len() as u64);
    Body::bytes(bytes)
}

fn answer_json(request: &mut Request, json: String) -> Body {
    request.response.reset();
    request.response.status = Status::OK;
    request.response.content_type = Some("application/json".into());
    send(request, json.into_bytes())
}

/// What is to be done to the picture; `None` where it is only tested.
fn change(request: &mut Request, work: &Work) -> Result<Option<Change>, Status> {
    if work.operation == Operation::Test {
        return Ok(None);
    }
    let angle = number(request, &work.angle);
    if work.operation == Operation::Rotate {
        return match angle {
            90 | 180 | 270 => Ok(Some(Change::Rotate(angle))),
            _ => Err(Status::UNSUPPORTED_MEDIA_TYPE),
        };
    }
    let (width, height) = (number(request, &work.width), number(request, &work.height));
    if width == 0 || height == 0 {
        return Err(Status::UNSUPPORTED_MEDIA_TYPE);
    }
    Ok(Some(match work.operation {
        Operation::Crop => Change::Crop { width, height, angle },
        _ => Change::Resize { width, height, angle },
    }))
}

fn number(request: &mut Request, number: &Number) -> u32 {
    match number {
        Number::Fixed(number) => *number,
        Number::Computed(script) => read_number(&script.value(request)),
    }
}

/// A dash is no limit.
fn read_number(text: &[u8]) -> u32 {
    match text {
        b"-" => u32::MAX,
        text => units::integer(text).and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
    }
}

fn image_filter(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let invalid =
        |word: &conf::Word| Fault::from(format!("invalid parameter \"{word}\"")).at(word.span);
    match &*directive.args {
        [word] => {
            let operation = match &*word.text {
                b"off" => Operation::Off,
                b"test" => Operation::Test,
                b"size" => Operation::Size,
                _ => return Err(invalid(word)),
            };
            loader.settings(&SETTINGS).work.modify().operation = operation;
        }
        [word, angle] if word == "rotate" => {
            let value = read_setting(loader, angle)?;
            if matches!(value, Number::Fixed(angle) if !matches!(angle, 90 | 180 | 270)) {
                return Err(invalid(angle));
            }
            let work = loader.settings(&SETTINGS).work.modify();
            if !matches!(work.operation, Operation::Resize | Operation::Crop) {
                work.operation = Operation::Rotate;
            }
            work.angle = value;
        }
        [word, width, height] if word == "resize" || word == "crop" => {
            let sizes = [read_setting(loader, width)?, read_setting(loader, height)?];
            for (word, size) in [width, height].into_iter().zip(&sizes) {
                if matches!(size, Number::Fixed(0)) {
                    return Err(invalid(word));
                }
            }
            let work = loader.settings(&SETTINGS).work.modify();
            work.operation = if word == "crop" { Operation::Crop } else { Operation::Resize };
            [work.width, work.height] = sizes;
        }
        [word, ..] => return Err(invalid(word)),
        [] => return Err("invalid value".into()),
    }
    Ok(())
}

fn read_setting(loader: &mut Loader<'_>, word: &conf::Word) -> Result<Number, Fault> {
    let script = loader.script(word)?;
    Ok(match script.as_literal() {
        Some(text) => Number::Fixed(read_number(text)),
        None => Number::Computed(script),
    })
}

fn read_quality(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Number, Fault> {
    let word = &directive.args[0];
    match read_setting(loader, word)? {
        Number::Fixed(0) => Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        quality => Ok(quality),
    }
}

fn jpeg_quality(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let quality = read_quality(loader, directive)?;
    loader.settings(&SETTINGS).jpeg_quality.replace(quality);
    Ok(())
}

fn webp_quality(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let quality = read_quality(loader, directive)?;
    loader.settings(&SETTINGS).webp_quality.replace(quality);
    Ok(())
}

fn sharpen(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let sharpen = read_setting(loader, &directive.args[0])?;
    loader.settings(&SETTINGS).sharpen.replace(sharpen);
    Ok(())
}
