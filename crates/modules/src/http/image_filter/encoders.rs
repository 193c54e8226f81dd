//! Pictures in the forms that have more than one way to be written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use image::{RgbImage, RgbaImage};
use jpeg_encoder::{ColorType, Encoder};

/// A JPEG, whose comment tells its quality, up to 100, as libgd's does; progressive where it is interlaced.
pub(super) fn jpeg(picture: &RgbImage, quality: u8, interlaced: bool) -> Result<Vec<u8>, String> {
    let too_large = |_| "a JPEG has no more than 65535 lines and columns".to_owned();
    let width = u16::try_from(picture.width()).map_err(too_large)?;
    let height = u16::try_from(picture.height()).map_err(too_large)?;
    let mut written = Vec::new();
    let mut encoder = Encoder::new(&mut written, quality);
    encoder.set_progressive(interlaced);
    encoder
        .encode(picture.as_raw(), width, height, ColorType::Rgb)
        .map_err(|error| error.to_string())?;
    insert_comment(&mut written, &format!("CREATOR: daemun, quality = {quality}\n"));
    Ok(written)
}

/// A WebP of that quality, up to 100.
pub(super) fn webp(picture: &RgbaImage, quality: u8) -> Result<Vec<u8>, String> {
    let (width, height) = picture.dimensions();
    let is_opaque = picture.pixels().all(|pixel| pixel[3] == u8::MAX);
    // The library has nothing to say of transparency that is not there.
    let colours: Vec<u8>;
    let encoder = match is_opaque {
        true => {
            colours = picture.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
            webp::Encoder::from_rgb(&colours, width, height)
        }
        false => webp::Encoder::from_rgba(picture.as_raw(), width, height),
    };
    let written = encoder.encode_simple(false, f32::from(quality));
    written.map(|written| written.to_vec()).map_err(|error| format!("{error:?}"))
}

/// Puts a comment (a segment of the type COM) behind the two bytes that begin a JPEG.
fn insert_comment(picture: &mut Vec<u8>, text: &str) {
    const START_OF_IMAGE: usize = 2;
    const COMMENT: [u8; 2] = [0xff, 0xfe];
    let length = (text.len() as u16 + 2).to_be_bytes();
    let segment = COMMENT.into_iter().chain(length).chain(text.bytes());
    picture.splice(START_OF_IMAGE..START_OF_IMAGE, segment);
}

/// How good a palette is looked for, from 1, the best, to 30.
const PALETTE_SPEED: i32 = 10;

/// A GIF of one frame, which is transparent where the picture is rather so than not.
pub(super) fn gif(picture: RgbaImage, interlaced: bool) -> Result<Vec<u8>, String> {
    let mut frame = with_palette(picture)?;
    let (width, height) = (frame.width, frame.height);
    if interlaced {
        frame.interlaced = true;
        frame.buffer = Cow::Owned(interlace(&frame.buffer, usize::from(width)));
    }
    let mut written = Vec::new();
    let failed = |error: gif::EncodingError| error.to_string();
    let mut encoder = gif::Encoder::new(&mut written, width, height, &[]).map_err(failed)?;
    encoder.write_frame(&frame).map_err(failed)?;
    drop(encoder);
    Ok(written)
}

/// A PNG with a palette, as the picture had that it was made from; `None` where a palette would cost it what is half
/// transparent.
pub(super) fn indexed_png(picture: &RgbaImage) -> Result<Option<Vec<u8>>, String> {
    let indexed = match Indexed::exactly(picture) {
        None if picture.pixels().all(|pixel| matches!(pixel[3], 0 | 255)) => {
            Some(Indexed::nearly(picture)?)
        }
        indexed => indexed,
    };
    let Some(Indexed { colours, pixels }) = indexed else { return Ok(None) };
    let mut written = Vec::new();
    let mut encoder = png::Encoder::new(&mut written, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours.iter().flat_map(|[colour @ .., _]| *colour).collect::<Vec<_>>());
    encoder.set_trns(colours.iter().map(|[.., alpha]| *alpha).collect::<Vec<_>>());
    let failed = |error: png::EncodingError| error.to_string();
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(Some(written))
}

/// A picture in at most 256 colours, with their alpha.
struct Indexed {
    colours: Vec<[u8; 4]>,
    pixels: Vec<u8>,
}

impl Indexed {
    /// `None` where it has more.
    fn exactly(picture: &RgbaImage) -> Option<Indexed> {
        let mut known = HashMap::new();
        let mut colours = Vec::new();
        let pixels = picture.pixels().map(|pixel| {
            let next = u8::try_from(colours.len());
            match known.entry(pixel.0) {
                Entry::Occupied(index) => Some(*index.get()),
                Entry::Vacant(place) => {
                    let index = *place.insert(next.ok()?);
                    colours.push(pixel.0);
                    Some(index)
                }
            }
        });
        let pixels = pixels.collect::<Option<_>>()?;
        Some(Indexed { colours, pixels })
    }

    fn nearly(picture: &RgbaImage) -> Result<Indexed, String> {
        let frame = with_palette(picture.clone())?;
        let parts = frame.palette.unwrap_or_default();
        let transparent = frame.transparent.map(usize::from);
        let alpha = |index| if transparent == Some(index) { 0 } else { 255 };
        let colours = parts.chunks_exact(3).enumerate().map(|(index, colour)| match *colour {
            [red, green, blue] => [red, green, blue, alpha(index)],
            _ => [0; 4],
        });
        Ok(Indexed { colours: colours.collect(), pixels: frame.buffer.into_owned() })
    }
}

/// The picture in at most 256 colours, one of which may be wholly transparent.
fn with_palette(picture: RgbaImage) -> Result<gif::Frame<'static>, String> {
    let too_large = |_| "a palette is for no more than 65535 lines and columns".to_owned();
    let width = u16::try_from(picture.width()).map_err(too_large)?;
    let height = u16::try_from(picture.height()).map_err(too_large)?;
    let mut pixels = picture.into_raw();
    for pixel in pixels.chunks_exact_mut(4).filter(|pixel| pixel[3] < 128) {
        pixel.fill(0);
    }
    Ok(gif::Frame::from_rgba_speed(width, height, &mut pixels, PALETTE_SPEED))
}

/// Every eighth line first, then those between, in four passes (GIF89a, appendix E).
fn interlace(pixels: &[u8], width: usize) -> Vec<u8> {
    const PASSES: [(usize, usize); 4] = [(0, 8), (4, 8), (2, 4), (1, 2)];
    let lines: Vec<&[u8]> = pixels.chunks(width).collect();
    let order = PASSES.into_iter().flat_map(|(first, step)| lines.iter().skip(first).step_by(step));
    order.copied().flatten().copied().collect()
}
