//! Pictures in the forms that have more than one way to be written.

use std::borrow::Cow;

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

/// A GIF of one frame, which is transparent where the picture is wholly so.
pub(super) fn gif(picture: RgbaImage, interlaced: bool) -> Result<Vec<u8>, String> {
    let too_large = |_| "a GIF has no more than 65535 lines and columns".to_owned();
    let width = u16::try_from(picture.width()).map_err(too_large)?;
    let height = u16::try_from(picture.height()).map_err(too_large)?;
    let mut pixels = picture.into_raw();
    let mut frame = gif::Frame::from_rgba_speed(width, height, &mut pixels, PALETTE_SPEED);
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

/// Every eighth line first, then those between, in four passes (GIF89a, appendix E).
fn interlace(pixels: &[u8], width: usize) -> Vec<u8> {
    const PASSES: [(usize, usize); 4] = [(0, 8), (4, 8), (2, 4), (1, 2)];
    let lines: Vec<&[u8]> = pixels.chunks(width).collect();
    let order = PASSES.into_iter().flat_map(|(first, step)| lines.iter().skip(first).step_by(step));
    order.copied().flatten().copied().collect()
}
