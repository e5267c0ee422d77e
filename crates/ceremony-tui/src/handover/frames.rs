//! A package as a long sequence of QR codes (Uniform Resources of Blockchain Commons, BCR-2020-005):
//! a fountain code, so that any large enough part of them, in any order, gives the package.

use std::io::Cursor;

use ::image::{GrayImage, ImageFormat, ImageReader, Limits, Luma};
use qrcodegen::{QrCode, QrCodeEcc, QrSegment, Version};
use rqrr::PreparedImage;

use super::{HandoverError, PACKAGE_LIMIT_BYTES, Package};
use crate::image::{FILE_LIMIT_BYTES, MEMORY_LIMIT_BYTES, SIDE_LIMIT_PIXELS};

/// Most bytes of the package in one code: with the head of the part as many as a code of [`VERSION`] holds.
pub const FRAGMENT_BYTES: usize = 100;

/// Every code has this version of ISO/IEC 18004, so that the picture stays in its place: a terminal of 80 columns shows it
/// and a laptop's camera reads it. At level M it holds 311 capitals and digits.
const VERSION: u8 = 10;

/// Modules of one side: 17, and 4 for each version.
pub const MODULES: u16 = 17 + 4 * VERSION as u16;

/// The same with the quiet zone around it: the columns that a terminal needs, and twice the rows.
pub const SIDE_MODULES: u16 = MODULES + 2 * QUIET_MODULES as u16;

/// Most fragments of a package.
pub const FRAGMENTS_LIMIT: usize = PACKAGE_LIMIT_BYTES.div_ceil(FRAGMENT_BYTES);

/// Most parts of a sequence, which then begins anew: ten times the largest package, minutes of looking on. It bounds
/// the memory of whoever collects them.
pub const PARTS_LIMIT: usize = 10 * FRAGMENTS_LIMIT;

/// The type of the resource.
const TYPE: &str = "keyward-shares";

/// Light modules around a code (ISO/IEC 18004, 9.1).
const QUIET_MODULES: i32 = 4;

/// Why frames are not shown or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The image is not one, or too large.
    #[error("the image cannot be read ({0}): take it again, as PNG or JPEG")]
    Image(String),
    /// No QR code, or none that is legible.
    #[error("no QR code can be read: hold the camera still and straight, the code filling the frame")]
    NoCode,
    /// A code that is no part of a package, or one of another package.
    #[error("this code is no part of the package ({0}): show the codes of one co-signer alone")]
    Part(String),
    /// More than [`FRAGMENTS_LIMIT`] fragments.
    #[error("the package would have {0} parts, over the limit of {FRAGMENTS_LIMIT}")]
    Many(usize),
    /// A part beyond [`PARTS_LIMIT`].
    #[error("part {0} is over the limit of {PARTS_LIMIT}: let the sequence begin anew")]
    Beyond(usize),
    /// Together they are something else.
    #[error(transparent)]
    Package(#[from] HandoverError),
    /// A part that does not fit a code.
    #[error("a part does not fit a QR code")]
    Large,
}

/// One QR code of the sequence.
#[derive(Clone)]
pub struct Frame {
    text: String,
    code: QrCode,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({})", self.text)
    }
}

impl Frame {
    /// What the code says.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn dark(&self, x: i32, y: i32) -> bool {
        self.code.get_module(x - QUIET_MODULES, y - QUIET_MODULES)
    }

    fn side(&self) -> i32 {
        self.code.size() + 2 * QUIET_MODULES
    }

    /// The code in half blocks: `scale` columns to a module, two modules to as many rows. Light modules are drawn and dark
    /// ones left out: whoever shows it sets white on black, whatever the colours of the terminal are.
    pub fn half_blocks(&self, scale: u16) -> Vec<String> {
        let scale = i32::from(scale.max(1));
        let side = self.side() * scale;
        let dark = |x: i32, y: i32| self.dark(x / scale, y / scale);
        let row = |y: i32| -> String {
            (0..side)
                .map(|x| match (dark(x, y), dark(x, y + 1)) {
                    (false, false) => '█',
                    (false, true) => '▀',
                    (true, false) => '▄',
                    (true, true) => ' ',
                })
                .collect()
        };
        (0..side).step_by(2).map(row).collect()
    }

    /// The code as an image, `scale` pixels to a module.
    ///
    /// # Errors
    /// [`FrameError::Image`] when it cannot be written.
    pub fn png(&self, scale: u32) -> Result<Vec<u8>, FrameError> {
        let scale = scale.max(1);
        let side = u32::try_from(self.side()).unwrap_or(0) * scale;
        let at = |pixel: u32| i32::try_from(pixel / scale).unwrap_or(0);
        let image =
            GrayImage::from_fn(side, side, |x, y| Luma([if self.dark(at(x), at(y)) { 0 } else { 255 }]));
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).map_err(|error| FrameError::Image(error.to_string()))?;
        Ok(file.into_inner())
    }
}

/// The sequence: first each fragment once, then sums of fragments, [`PARTS_LIMIT`] in all.
pub struct Frames(ur::Encoder<'static>);

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frames({} of {})", self.0.current_index(), self.0.fragment_count())
    }
}

impl Frames {
    /// The codes of a package.
    ///
    /// # Errors
    /// None for a package, which is never empty.
    pub fn new(package: &Package) -> Result<Self, FrameError> {
        ur::Encoder::new(package.bytes(), FRAGMENT_BYTES, TYPE).map(Self).map_err(part)
    }

    /// How many frames a reader needs that misses none.
    pub fn fragments(&self) -> usize {
        self.0.fragment_count()
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.current_index() >= PARTS_LIMIT {
            return None;
        }
        // In capitals, as QR codes have a dense mode for these.
        let text = self.0.next_part().map(|text| text.to_ascii_uppercase()).map_err(part);
        Some(text.and_then(|text| {
            let (segments, version) = (QrSegment::make_segments(&text), Version::new(VERSION));
            let code =
                QrCode::encode_segments_advanced(&segments, QrCodeEcc::Medium, version, version, None, true);
            Ok(Frame { text, code: code.map_err(|_| FrameError::Large)? })
        }))
    }
}

fn part(error: ur::ur::Error) -> FrameError {
    FrameError::Part(error.to_string())
}

/// Collects frames until they give a package.
#[derive(Default)]
pub struct Collector {
    decoder: ur::Decoder,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Collector({:?} fragments)", self.decoder.resolved_fragment_count())
    }
}

impl Collector {
    /// Takes what one code says; again or out of order does no harm. Gives the package once it is whole.
    ///
    /// # Errors
    /// A code that is none of this package changes nothing.
    pub fn text(&mut self, text: &str) -> Result<Option<Package>, FrameError> {
        let text = text.to_ascii_lowercase();
        let (kind, rest) = text.strip_prefix("ur:").and_then(|rest| rest.split_once('/')).unwrap_or_default();
        if kind != TYPE {
            return Err(FrameError::Part("no sealed shares".into()));
        }
        // The library takes memory for as many as a part says there are.
        let numbers = rest.split_once('/').and_then(|(numbers, _)| numbers.split_once('-'));
        let (number, count) = numbers.unwrap_or_default();
        if let Some(number) = number.parse().ok().filter(|number| *number > PARTS_LIMIT) {
            return Err(FrameError::Beyond(number));
        }
        if let Some(count) = count.parse().ok().filter(|count| *count > FRAGMENTS_LIMIT) {
            return Err(FrameError::Many(count));
        }
        self.decoder.receive(&text).map_err(part)?;
        if !self.decoder.complete() {
            return Ok(None);
        }
        match self.decoder.message().map_err(part)? {
            Some(bytes) => Ok(Some(Package::parse(&bytes)?)),
            None => Ok(None),
        }
    }

    /// How many fragments of the package are known so far.
    pub fn fragments(&self) -> usize {
        self.decoder.resolved_fragment_count().unwrap_or_default()
    }

    /// As [`Collector::text`], from a PNG or JPEG image of one code.
    ///
    /// # Errors
    /// As there, and an image without a legible code.
    pub fn image(&mut self, file: &[u8]) -> Result<Option<Package>, FrameError> {
        let text = read(file)?;
        self.text(&text)
    }
}

/// What the one code in an image says.
fn read(file: &[u8]) -> Result<String, FrameError> {
    let wrong = |why: String| FrameError::Image(why);
    if file.len() > FILE_LIMIT_BYTES {
        return Err(wrong(format!("over {FILE_LIMIT_BYTES} bytes")));
    }
    let mut reader = ImageReader::new(Cursor::new(file))
        .with_guessed_format()
        .map_err(|error| wrong(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_LIMIT_PIXELS);
    limits.max_image_height = Some(SIDE_LIMIT_PIXELS);
    limits.max_alloc = Some(MEMORY_LIMIT_BYTES);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| wrong(error.to_string()))?.to_luma8();
    let size = |side: u32| usize::try_from(side).unwrap_or_default();
    let grey =
        |x: usize, y: usize| image.as_raw().get(y * size(image.width()) + x).copied().unwrap_or(u8::MAX);
    let mut prepared = PreparedImage::prepare_from_greyscale(size(image.width()), size(image.height()), grey);
    let text = prepared.detect_grids().iter().find_map(|grid| Some(grid.decode().ok()?.1));
    text.ok_or(FrameError::NoCode)
}
