//! Pictures: what they are by their first bytes, and what is made of them.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader, Limits, RgbaImage};

use super::encoders;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Gif,
    Png,
    Webp,
}

impl Format {
    pub fn of(bytes: &[u8]) -> Option<Format> {
        if bytes.len() < 16 {
            return None;
        }
        match bytes {
            [0xff, 0xd8, ..] => Some(Format::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Format::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::Webp),
            _ => None,
        }
    }

    /// As in media types.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Gif => "gif",
            Format::Png => "png",
            Format::Webp => "webp",
        }
    }

    fn format(self) -> ImageFormat {
        match self {
            Format::Jpeg => ImageFormat::Jpeg,
            Format::Gif => ImageFormat::Gif,
            Format::Png => ImageFormat::Png,
            Format::Webp => ImageFormat::WebP,
        }
    }
}

/// What the head of a picture tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub width: u32,
    pub height: u32,
    /// More than a twentieth of it says how it was taken.
    pub has_much_metadata: bool,
}

impl Shape {
    /// About what it takes to change such a picture: itself, what becomes of it, and a step between.
    pub fn memory(self) -> usize {
        const EACH: usize = 16;
        (self.width as usize).saturating_mul(self.height as usize).saturating_mul(EACH)
    }
}

/// The shape of a picture; `None` where its head makes no sense.
pub(super) fn shape(format: Format, bytes: &[u8]) -> Option<Shape> {
    let shape = |width: u32, height: u32| Shape { width, height, has_much_metadata: false };
    let at = |index: usize| bytes.get(index).copied().map(u32::from);
    let small_endian = |index: usize| Some(at(index)? | at(index + 1)? << 8);
    match format {
        Format::Jpeg => jpeg_shape(bytes),
        Format::Gif => Some(shape(small_endian(6)?, small_endian(8)?)),
        Format::Png => Some(shape(at(18)? << 8 | at(19)?, at(22)? << 8 | at(23)?)),
        Format::Webp => {
            // All three forms are told from thirty bytes.
            at(29)?;
            match bytes.get(12..16)? {
                b"VP8 " => {
                    let is_key_frame = at(20)? & 1 == 0;
                    let begins = bytes.get(23..26)? == [0x9d, 0x01, 0x2a];
                    let size = shape(small_endian(26)? & 0x3fff, small_endian(28)? & 0x3fff);
                    (is_key_frame && begins).then_some(size)
                }
                b"VP8L" => {
                    let width = (small_endian(21)? & 0x3fff) + 1;
                    let height = ((at(22)? >> 6 | at(23)? << 2 | at(24)? << 10) & 0x3fff) + 1;
                    (at(20)? == 0x2f).then_some(shape(width, height))
                }
                b"VP8X" => {
                    let width = (small_endian(24)? | at(26)? << 16) + 1;
                    let height = (small_endian(27)? | at(29)? << 16) + 1;
                    Some(shape(width, height))
                }
                _ => None,
            }
        }
    }
}

/// Walks the segments up to the frame's.
fn jpeg_shape(bytes: &[u8]) -> Option<Shape> {
    let (mut size, mut metadata, mut at) = (None, 0, 2);
    while at + 10 < bytes.len() {
        if bytes[at] != 0xff || bytes[at + 1] == 0xff {
            at += 1;
            continue;
        }
        let word =
            |index: usize| u32::from(bytes[at + index]) << 8 | u32::from(bytes[at + index + 1]);
        let length = word(2);
        match bytes[at + 1] {
            0xc0..=0xc3 | 0xc9..=0xcb => {
                size = size.or(Some((word(7), word(5))));
            }
            0xe1..=0xef => metadata += length as usize,
            _ => {}
        }
        at += 1 + length.max(1) as usize;
    }
    let (width, height) = size.filter(|(width, height)| *width > 0 && *height > 0)?;
    Some(Shape { width, height, has_much_metadata: metadata > bytes.len() / 20 })
}

/// What is done to a picture. Angles are degrees against the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Into a frame, its proportions kept.
    Resize {
        width: u32,
        height: u32,
        angle: u32,
    },
    /// So that it fills a frame, and what stands out is cut off.
    Crop {
        width: u32,
        height: u32,
        angle: u32,
    },
    Rotate(u32),
}

impl Change {
    /// There is nothing to do.
    pub fn leaves(&self, shape: Shape) -> bool {
        match *self {
            Change::Resize { width, height, angle } | Change::Crop { width, height, angle } => {
                angle == 0 && shape.width <= width && shape.height <= height
            }
            Change::Rotate(_) => false,
        }
    }

    fn angle(&self) -> u32 {
        match *self {
            Change::Resize { angle, .. } | Change::Crop { angle, .. } | Change::Rotate(angle) => {
                angle
            }
        }
    }
}

/// How a picture is written. Percentages; 0 of a quality is none.
#[derive(Clone, Copy)]
pub(super) struct Quality {
    pub jpeg: u32,
    pub webp: u32,
    pub sharpen: u32,
    /// The transparent colour of a picture with a palette stays so.
    pub keeps_transparency: bool,
    /// A part of all lines comes first.
    pub interlaces: bool,
}

/// The most memory that a picture may take, in bytes.
const MEMORY: u64 = 256 << 20;

pub(super) fn convert(
    format: Format,
    bytes: &[u8],
    change: &Change,
    quality: Quality,
) -> Result<Vec<u8>, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.format());
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let picture = eight_bits(reader.decode().map_err(|error| error.to_string())?);
    let has_palette = has_palette(format, bytes);
    let picture = match !quality.keeps_transparency && has_palette {
        true => picture.into_rgb8().into(),
        false => picture,
    };
    let picture = frame(picture, change);
    let picture = match change.angle() {
        90 => picture.rotate270(),
        180 => picture.rotate180(),
        270 => picture.rotate90(),
        _ => picture,
    };
    let picture = match *change {
        Change::Crop { width, height, .. } => crop(&picture, width, height),
        _ => picture,
    };
    let picture = match quality.sharpen {
        0 => picture,
        percent => picture.unsharpen(percent.min(100) as f32 / 100.0, 0),
    };
    if format == Format::Png
        && has_palette
        && let Some(indexed) = encoders::indexed_png(&picture.to_rgba8())?
    {
        return Ok(indexed);
    }
    encode(&picture, format, quality)
}

/// With as many bits for each part of a colour as screens have: more only make a picture longer.
fn eight_bits(picture: DynamicImage) -> DynamicImage {
    let color = picture.color();
    match (color.has_alpha(), color.has_color()) {
        (true, _) => picture.into_rgba8().into(),
        (false, true) => picture.into_rgb8().into(),
        (false, false) => picture.into_luma8().into(),
    }
}

fn has_palette(format: Format, bytes: &[u8]) -> bool {
    const INDEXED: u8 = 3;
    match format {
        Format::Gif => true,
        Format::Png => bytes.get(25) == Some(&INDEXED),
        Format::Jpeg | Format::Webp => false,
    }
}

/// Makes a picture smaller, never larger.
fn frame(picture: DynamicImage, change: &Change) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let (new_width, new_height) = match *change {
        Change::Resize { width: most, height: highest, .. } => {
            let (width, height) = narrowed(width, height, most);
            let (height, width) = narrowed(height, width, highest);
            (width, height)
        }
        Change::Crop { width: most, height: highest, .. } => {
            let is_narrow =
                u64::from(width) * u64::from(highest) < u64::from(most) * u64::from(height);
            match is_narrow {
                true => narrowed(width, height, most),
                false => {
                    let (height, width) = narrowed(height, width, highest);
                    (width, height)
                }
            }
        }
        Change::Rotate(_) => (width, height),
    };
    if (new_width, new_height) == (width, height) {
        return picture;
    }
    let resize =
        |picture: DynamicImage| picture.resize_exact(new_width, new_height, FilterType::Triangle);
    match picture {
        DynamicImage::ImageRgba8(mut picture) => {
            weigh_by_alpha(&mut picture);
            let mut resized = resize(picture.into()).into_rgba8();
            undo_weights(&mut resized);
            resized.into()
        }
        picture => resize(picture),
    }
}

/// What is transparent has no colour to share with what stands beside it.
fn weigh_by_alpha(picture: &mut RgbaImage) {
    for image::Rgba([colour @ .., alpha]) in picture.pixels_mut() {
        for part in colour {
            *part = ((u32::from(*part) * u32::from(*alpha) + 127) / 255) as u8;
        }
    }
}

fn undo_weights(picture: &mut RgbaImage) {
    for image::Rgba([colour @ .., alpha]) in picture.pixels_mut().filter(|pixel| pixel[3] > 0) {
        let alpha = u32::from(*alpha);
        for part in colour {
            *part = ((u32::from(*part) * 255 + alpha / 2) / alpha).min(255) as u8;
        }
    }
}

/// Brings one side down to `most`, and the other with it.
fn narrowed(side: u32, other: u32, most: u32) -> (u32, u32) {
    if side <= most {
        return (side, other);
    }
    let other = u64::from(other) * u64::from(most) / u64::from(side);
    (most, u32::try_from(other).unwrap_or(u32::MAX).max(1))
}

/// Cuts off what stands out on both sides.
fn crop(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (left, top) =
        (picture.width().saturating_sub(width), picture.height().saturating_sub(height));
    picture.crop_imm(left / 2, top / 2, picture.width() - left, picture.height() - top)
}

fn encode(picture: &DynamicImage, format: Format, quality: Quality) -> Result<Vec<u8>, String> {
    let mut out = Cursor::new(Vec::new());
    let percent = |quality: u32| u8::try_from(quality.min(100)).unwrap_or(100);
    let written = match format {
        Format::Jpeg if quality.jpeg == 0 => return Err("no quality".to_owned()),
        Format::Webp if quality.webp == 0 => return Err("no quality".to_owned()),
        Format::Jpeg => {
            return encoders::jpeg(&picture.to_rgb8(), percent(quality.jpeg), quality.interlaces);
        }
        Format::Gif => return encoders::gif(picture.to_rgba8(), quality.interlaces),
        Format::Webp => return encoders::webp(&picture.to_rgba8(), percent(quality.webp)),
        Format::Png => picture.write_to(&mut out, ImageFormat::Png),
    };
    written.map_err(|error| error.to_string())?;
    Ok(out.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUALITY: Quality =
        Quality { jpeg: 75, webp: 80, sharpen: 0, keeps_transparency: true, interlaces: false };

    /// A picture of this size in any format.
    fn picture(format: Format, width: u32, height: u32) -> Vec<u8> {
        let image = DynamicImage::new_rgb8(width, height);
        encode(&image, format, QUALITY).unwrap()
    }

    #[test]
    fn every_format_is_known_measured_and_changed() {
        for format in [Format::Jpeg, Format::Gif, Format::Png, Format::Webp] {
            let bytes = picture(format, 120, 60);
            assert_eq!(Format::of(&bytes), Some(format));
            let size = |bytes: &[u8]| shape(format, bytes).map(|shape| (shape.width, shape.height));
            assert_eq!(size(&bytes), Some((120, 60)), "{format:?}");
            for (change, expected) in [
                (Change::Resize { width: 60, height: u32::MAX, angle: 0 }, (60, 30)),
                (Change::Resize { width: 60, height: 10, angle: 90 }, (10, 20)),
                (Change::Crop { width: 30, height: 30, angle: 0 }, (30, 30)),
                (Change::Rotate(90), (60, 120)),
            ] {
                let changed = convert(format, &bytes, &change, QUALITY).unwrap();
                assert_eq!(size(&changed), Some(expected), "{format:?} {change:?}");
            }
            assert!(
                convert(format, &bytes[..bytes.len() / 3], &Change::Rotate(90), QUALITY).is_err()
            );
        }
    }

    /// What is seen of a photograph, and not each of its bits.
    #[test]
    fn webp_is_as_small_as_its_quality_allows() {
        let image = image::RgbImage::from_fn(200, 200, |x, y| {
            let noise = (x * 200 + y).wrapping_mul(2_654_435_761) >> 27;
            image::Rgb([(x + noise) as u8, (y + noise) as u8, (x + y + noise) as u8])
        });
        let image = DynamicImage::from(image);
        let size = |webp| encode(&image, Format::Webp, Quality { webp, ..QUALITY }).unwrap().len();
        let mut whole = Cursor::new(Vec::new());
        image.to_rgba8().write_to(&mut whole, ImageFormat::WebP).unwrap();
        let whole = whole.into_inner().len();
        assert!(size(80) * 2 < whole, "{} of {whole} bytes", size(80));
        assert!(size(20) < size(80) && size(80) < size(100));
    }

    #[test]
    fn angles_are_against_the_clock() {
        let mut image = image::RgbImage::new(2, 1);
        image.put_pixel(0, 0, image::Rgb([255, 0, 0]));
        let bytes = encode(&image.into(), Format::Png, QUALITY).unwrap();
        let turned = convert(Format::Png, &bytes, &Change::Rotate(90), QUALITY).unwrap();
        let turned = image::load_from_memory(&turned).unwrap().to_rgb8();
        // What was at the left is at the bottom.
        assert_eq!(turned.get_pixel(0, 1), &image::Rgb([255, 0, 0]));
    }

    #[test]
    fn a_transparent_neighbour_does_not_darken() {
        let image = RgbaImage::from_fn(30, 30, |x, _| match x {
            0..13 => image::Rgba([255, 255, 255, 255]),
            _ => image::Rgba([0, 0, 0, 0]),
        });
        let bytes = encode(&image.into(), Format::Png, QUALITY).unwrap();
        let half = Change::Resize { width: 15, height: 15, angle: 0 };
        let halved = convert(Format::Png, &bytes, &half, QUALITY).unwrap();
        let halved = image::load_from_memory(&halved).unwrap().to_rgba8();
        let mut edge = halved.pixels().filter(|pixel| (1..255).contains(&pixel[3])).peekable();
        assert!(edge.peek().is_some());
        assert!(edge.all(|pixel| pixel[0] > 250), "white fades, and stays white");
    }

    #[test]
    fn colours_have_eight_bits_and_a_palette_stays_one() {
        let bytes_of = |picture: DynamicImage| {
            let mut out = Cursor::new(Vec::new());
            picture.write_to(&mut out, ImageFormat::Png).unwrap();
            out.into_inner()
        };
        let turned =
            |bytes: &[u8]| convert(Format::Png, bytes, &Change::Rotate(180), QUALITY).unwrap();
        // behind width and height stand the bits of a sample, and what samples are (PNG, 11.2.1)
        let deep = turned(&bytes_of(DynamicImage::new_rgb16(20, 20)));
        assert_eq!(deep[24..26], [8, 2]);
        let mut image = RgbaImage::from_fn(20, 20, |x, y| image::Rgba([x as u8, y as u8, 9, 255]));
        image.put_pixel(0, 0, image::Rgba([0, 0, 0, 0]));
        let indexed = turned(&encoders::indexed_png(&image).unwrap().unwrap());
        assert_eq!(indexed[24..26], [8, 3]);
        let image = image::load_from_memory(&indexed).unwrap().to_rgba8();
        assert_eq!((image.get_pixel(19, 19)[3], image.get_pixel(0, 0)[3]), (0, 255));
    }

    #[test]
    fn what_fits_is_left_alone() {
        let shape = |width, height| Shape { width, height, has_much_metadata: false };
        let change = Change::Resize { width: 10, height: 20, angle: 0 };
        assert!(change.leaves(shape(10, 20)) && !change.leaves(shape(11, 1)));
        assert!(!Change::Resize { width: 10, height: 20, angle: 90 }.leaves(shape(1, 1)));
    }

    #[test]
    fn a_transparent_colour_stays_or_goes() {
        let mut image = image::RgbaImage::from_pixel(40, 40, image::Rgba([9, 9, 9, 255]));
        image.put_pixel(0, 0, image::Rgba([0, 0, 0, 0]));
        let bytes = encode(&image.into(), Format::Gif, QUALITY).unwrap();
        for keeps_transparency in [true, false] {
            let quality = Quality { keeps_transparency, ..QUALITY };
            let turned = convert(Format::Gif, &bytes, &Change::Rotate(180), quality).unwrap();
            let turned = image::load_from_memory(&turned).unwrap().to_rgba8();
            assert_eq!(turned.get_pixel(39, 39)[3] == 0, keeps_transparency);
        }
    }

    #[test]
    fn a_picture_in_lines_of_all_parts_shows_the_same() {
        let image = image::RgbImage::from_fn(31, 29, |x, y| match (x + y) % 7 {
            0 => image::Rgb([200, 0, 0]),
            _ => image::Rgb([0, 0, y as u8]),
        });
        let bytes = encode(&image.clone().into(), Format::Png, QUALITY).unwrap();
        for format in [Format::Gif, Format::Jpeg] {
            let plain = encode(&image.clone().into(), format, QUALITY).unwrap();
            let interlaced = Quality { interlaces: true, ..QUALITY };
            let other = encode(&image.clone().into(), format, interlaced).unwrap();
            assert_ne!(plain, other);
            let [plain, other] =
                [plain, other].map(|bytes| image::load_from_memory(&bytes).unwrap());
            assert_eq!(plain.to_rgb8(), other.to_rgb8(), "{format:?}");
        }
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), image);
    }
}
