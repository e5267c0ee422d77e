//! Words of a component that were typed, scanned or photographed (DACS REC-08).
//!
//! Reading is tolerant of how the words arrive, never of what they are: case, separators and what scanners add are
//! put right; a character that no word has is an error, and whether the words are right is for
//! [`ceremony::slip39`] to say. Pixels and codes pass through memory of the libraries that decode them.

use std::fmt;
use std::io::Cursor;

use ::image::{ImageFormat, ImageReader, Limits};
use keys::locked::{LockError, LockedBytes};
use rqrr::PreparedImage;
use zeroize::Zeroize as _;

/// Longest input of a keyboard or scanner in bytes: 33 words take 296.
pub const TYPED_LIMIT_BYTES: usize = 1_024;

/// Largest image file in bytes: photographs of 100 megapixels are smaller.
pub const FILE_LIMIT_BYTES: usize = 32 << 20;

/// Longest side of an image in pixels.
pub const SIDE_LIMIT_PIXELS: u32 = 12_000;

/// Most memory that decoding may take in bytes: 100 megapixels in three colours.
pub const MEMORY_LIMIT_BYTES: u64 = 300_000_000;

/// Content of the largest QR code in bytes (ISO/IEC 18004, version 40, level L).
const CODE_LIMIT_BYTES: usize = 2_953;

/// How often an image is halved in search of a code: large ones are noisy from pixel to pixel.
const HALVINGS: usize = 3;

/// The words of a component as somebody or something typed them: lower case, one space between, in locked memory.
pub struct Words(LockedBytes);

/// Why an input is not words.
#[derive(Debug, thiserror::Error)]
pub enum TypedError {
    /// Nothing but separators.
    #[error("no words: type them in their order, a space between")]
    Empty,
    /// More than [`TYPED_LIMIT_BYTES`].
    #[error("{0} bytes are no component: its words take less than {TYPED_LIMIT_BYTES}")]
    Long(usize),
    /// A character that no word has.
    #[error(
        "word {word} has {character:?}: words have the letters a to z alone; a scanner must be set to the keyboard layout of this machine"
    )]
    Character {
        /// The number of the word, from 1.
        word: usize,
        /// The character.
        character: char,
    },
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// Why an image gives no words.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// More than [`FILE_LIMIT_BYTES`].
    #[error("the image has {0} bytes, over the limit of {FILE_LIMIT_BYTES}: take it with fewer pixels")]
    Large(usize),
    /// Neither PNG nor JPEG.
    #[error("the file is neither PNG nor JPEG: save the image as one of these")]
    Format,
    /// Wider or higher than [`SIDE_LIMIT_PIXELS`], or more than [`MEMORY_LIMIT_BYTES`].
    #[error("the image has too many pixels: at most {SIDE_LIMIT_PIXELS} a side; take it with fewer")]
    Pixels,
    /// The file ends early, or is otherwise not what it says.
    #[error("the image cannot be decoded ({0}): take or copy it again")]
    Damaged(String),
    /// No QR code, or none that is legible.
    #[error(
        "no QR code can be read: take it straight from above, in even light, the code filling the frame; or type the words"
    )]
    NoCode,
    /// Codes with different contents.
    #[error("the image shows different QR codes: take one sheet alone")]
    Several,
    /// A code that holds something else.
    #[error("the QR code is not that of a component ({0})")]
    Words(#[from] TypedError),
}

impl Words {
    /// Takes what a person typed, or a scanner that acts as a keyboard: in any case, separated by white space,
    /// control characters or commas, after the symbology identifier of ISO/IEC 15424 (such as `]Q1`) if it sends one.
    ///
    /// # Errors
    /// See [`TypedError`].
    pub fn typed(text: &str) -> Result<Self, TypedError> {
        if text.len() > TYPED_LIMIT_BYTES {
            return Err(TypedError::Long(text.len()));
        }
        let separates = |c: char| c.is_whitespace() || c.is_control() || c == ',';
        let mut words = LockedBytes::zeroed(TYPED_LIMIT_BYTES)?;
        let mut length = 0;
        let mut places = words.expose_mut().iter_mut();
        let said = identified(text.trim_start_matches(separates));
        for (number, word) in (1..).zip(said.split(separates).filter(|word| !word.is_empty())) {
            if let Some(character) = word.chars().find(|c| !c.is_ascii_alphabetic()) {
                return Err(TypedError::Character { word: number, character });
            }
            let space = (number > 1).then_some(b' ');
            // Separators become shorter, never longer, so there is a place for each letter.
            for (byte, place) in space.into_iter().chain(word.bytes()).zip(places.by_ref()) {
                *place = byte.to_ascii_lowercase();
                length += 1;
            }
        }
        if length == 0 {
            return Err(TypedError::Empty);
        }
        words.truncate(length);
        Ok(Self(words))
    }

    /// Reads the QR code in a PNG or JPEG image.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn photographed(file: &[u8]) -> Result<Self, ImageError> {
        let mut pixels = Pixels::decode(file)?;
        for _ in 0..=HALVINGS {
            if let Some(words) = pixels.read()? {
                return Ok(words);
            }
            pixels = pixels.halved();
        }
        Err(ImageError::NoCode)
    }

    /// The words. Copy them nowhere.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(<secret>)")
    }
}

/// Without the symbology identifier: a bracket, a letter, a digit.
fn identified(text: &str) -> &str {
    match text.as_bytes() {
        [b']', letter, digit, ..] if letter.is_ascii_alphabetic() && digit.is_ascii_digit() => {
            text.get(3..).unwrap_or_default()
        }
        _ => text,
    }
}

/// A grey image, wiped when dropped.
struct Pixels {
    wide: usize,
    grey: Vec<u8>,
}

impl Pixels {
    fn decode(file: &[u8]) -> Result<Self, ImageError> {
        if file.len() > FILE_LIMIT_BYTES {
            return Err(ImageError::Large(file.len()));
        }
        let mut reader = ImageReader::new(Cursor::new(file));
        match ::image::guess_format(file) {
            Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => reader.set_format(format),
            _ => return Err(ImageError::Format),
        }
        let mut limits = Limits::default();
        limits.max_image_width = Some(SIDE_LIMIT_PIXELS);
        limits.max_image_height = Some(SIDE_LIMIT_PIXELS);
        limits.max_alloc = Some(MEMORY_LIMIT_BYTES);
        reader.limits(limits);
        let image = reader.decode().map_err(|error| match error {
            ::image::ImageError::Limits(_) => ImageError::Pixels,
            other => ImageError::Damaged(other.to_string()),
        })?;
        let grey = image.to_luma8();
        image.into_bytes().zeroize();
        Ok(Self { wide: usize::try_from(grey.width()).unwrap_or(usize::MAX), grey: grey.into_raw() })
    }

    fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.grey.chunks_exact(self.wide.max(1))
    }

    /// Each square of four pixels as one.
    fn halved(&self) -> Self {
        let rows: Vec<&[u8]> = self.rows().collect();
        let mut grey = Vec::with_capacity(self.grey.len() / 4);
        for pair in rows.chunks_exact(2) {
            let [above, below] = pair else { continue };
            for (a, b) in above.chunks_exact(2).zip(below.chunks_exact(2)) {
                let sum: u16 = a.iter().chain(b).map(|grey| u16::from(*grey)).sum();
                grey.push(u8::try_from(sum / 4).unwrap_or(u8::MAX));
            }
        }
        Self { wide: self.wide / 2, grey }
    }

    /// The words of the one code that is legible, if any is.
    fn read(&self) -> Result<Option<Words>, ImageError> {
        let high = self.rows().len();
        if self.wide == 0 || high == 0 {
            return Ok(None);
        }
        let at = |x: usize, y: usize| self.grey.get(y * self.wide + x).copied().unwrap_or(u8::MAX);
        let mut found: Option<Words> = None;
        for grid in PreparedImage::prepare_from_greyscale(self.wide, high, at).detect_grids() {
            let mut content = LockedBytes::zeroed(CODE_LIMIT_BYTES).map_err(TypedError::from)?;
            let mut rest = content.expose_mut();
            if grid.decode_to(&mut rest).is_err() {
                continue;
            }
            let length = CODE_LIMIT_BYTES - rest.len();
            content.truncate(length);
            let text = std::str::from_utf8(content.expose()).map_err(|_| ImageError::NoCode)?;
            let words = Words::typed(text)?;
            match &found {
                Some(other) if other.as_str() != words.as_str() => return Err(ImageError::Several),
                _ => found = Some(words),
            }
        }
        Ok(found)
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        self.grey.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> String {
        Words::typed(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn what_keyboards_and_scanners_send() {
        for sent in [
            "academic acid echo",
            "ACADEMIC ACID ECHO\r\n",
            "]Q1ACADEMIC ACID ECHO\n",
            "\u{2}]Q3Academic\tAcid\tEcho\u{3}",
            " academic,  acid,\n echo ",
        ] {
            assert_eq!(typed(sent), "academic acid echo", "{sent:?}");
        }
        assert_eq!(format!("{:?}", Words::typed("acid").unwrap()), "Words(<secret>)");
    }

    #[test]
    fn what_is_no_word() {
        for empty in ["", " \r\n", "]Q1", ",,"] {
            assert!(matches!(Words::typed(empty), Err(TypedError::Empty)), "{empty:?}");
        }
        // A scanner that is set to the layout of another country, a digit, a letter outside ASCII.
        for (text, number, wrong) in
            [("acid ech;", 2, ';'), ("ac1d echo", 1, '1'), ("acid echo écho", 3, 'é')]
        {
            let error = Words::typed(text).unwrap_err();
            assert!(
                matches!(error, TypedError::Character { word, character } if (word, character) == (number, wrong)),
                "{error}"
            );
        }
    }

    #[test]
    fn the_longest_input() {
        let most = "a".repeat(TYPED_LIMIT_BYTES);
        assert_eq!(typed(&most), most);
        assert!(matches!(Words::typed(&format!("{most}a")), Err(TypedError::Long(1_025))));
    }
}
