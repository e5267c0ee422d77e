//! The fonts of the PDFs, and how wide a text is in them.

use std::collections::BTreeMap;

use krilla::text::{Font, GlyphId, KrillaGlyph};

use super::PdfError;

/// A font, embedded in the program. Where they come from is said in `fonts/README.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Face {
    /// Running text.
    Sans,
    /// Headings.
    Bold,
    /// Hashes, keys, paths.
    Mono,
}

/// The three of them, read.
pub(super) struct Fonts {
    sans: Metrics,
    bold: Metrics,
    mono: Metrics,
}

/// A font with the glyph and the advance, in ems, of each of its characters.
struct Metrics {
    font: Font,
    glyphs: BTreeMap<char, (u16, f32)>,
}

/// What stands for a character that the font lacks.
const LACKING: char = '?';

impl Fonts {
    pub(super) fn load() -> Result<Self, PdfError> {
        Ok(Self {
            sans: Metrics::read(include_bytes!("fonts/sans.ttf"))?,
            bold: Metrics::read(include_bytes!("fonts/sans-bold.ttf"))?,
            mono: Metrics::read(include_bytes!("fonts/mono.ttf"))?,
        })
    }

    fn metrics(&self, face: Face) -> &Metrics {
        match face {
            Face::Sans => &self.sans,
            Face::Bold => &self.bold,
            Face::Mono => &self.mono,
        }
    }

    pub(super) fn font(&self, face: Face) -> Font {
        self.metrics(face).font.clone()
    }

    /// The text with what the font lacks replaced.
    pub(super) fn written(&self, face: Face, text: &str) -> String {
        let glyphs = &self.metrics(face).glyphs;
        text.chars().map(|c| if glyphs.contains_key(&c) { c } else { LACKING }).collect()
    }

    /// The width in points.
    pub(super) fn width(&self, face: Face, size: f32, text: &str) -> f32 {
        text.chars().map(|c| self.metrics(face).glyph(c).1).sum::<f32>() * size
    }

    pub(super) fn glyphs(&self, face: Face, text: &str) -> Vec<KrillaGlyph> {
        let glyph = |(at, c): (usize, char)| {
            let (id, advance) = self.metrics(face).glyph(c);
            let range = at..at + c.len_utf8();
            KrillaGlyph::new(GlyphId::new(u32::from(id)), advance, 0.0, 0.0, 0.0, range, None)
        };
        text.char_indices().map(glyph).collect()
    }

    /// Breaks a text into lines of a width: at spaces, and within what is longer than a line.
    pub(super) fn lines(&self, face: Face, size: f32, text: &str, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        for paragraph in text.split('\n') {
            let mut line = String::new();
            for word in paragraph.split(' ') {
                let with = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
                if self.width(face, size, &with) <= width {
                    line = with;
                    continue;
                }
                if !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                for c in word.chars() {
                    if !line.is_empty()
                        && self.width(face, size, &line) + self.width(face, size, c.encode_utf8(&mut [0; 4]))
                            > width
                    {
                        lines.push(std::mem::take(&mut line));
                    }
                    line.push(c);
                }
            }
            lines.push(line);
        }
        lines
    }
}

impl Metrics {
    fn read(data: &'static [u8]) -> Result<Self, PdfError> {
        let font = Font::new(data.into(), 0).ok_or(PdfError::Font)?;
        let glyphs = glyphs(data).filter(|glyphs| glyphs.contains_key(&LACKING)).ok_or(PdfError::Font)?;
        Ok(Self { font, glyphs })
    }

    fn glyph(&self, c: char) -> (u16, f32) {
        self.glyphs.get(&c).or_else(|| self.glyphs.get(&LACKING)).copied().unwrap_or_default()
    }
}

fn number(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(data.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// A table of a TrueType font.
fn table<'a>(data: &'a [u8], tag: &[u8; 4]) -> Option<&'a [u8]> {
    let tables = usize::from(number(data, 4)?);
    let record = (0..tables).map(|i| 12 + 16 * i).find(|at| data.get(*at..at + 4) == Some(tag))?;
    let offset = |at| Some(usize::from(number(data, at)?) << 16 | usize::from(number(data, at + 2)?));
    let (start, length) = (offset(record + 8)?, offset(record + 12)?);
    data.get(start..start.checked_add(length)?)
}

/// The characters of the basic plane with their glyphs and advances: `cmap` of format 4, `hmtx` (OpenType 1.9).
fn glyphs(data: &[u8]) -> Option<BTreeMap<char, (u16, f32)>> {
    let (cmap, hmtx) = (table(data, b"cmap")?, table(data, b"hmtx")?);
    let units = f32::from(number(table(data, b"head")?, 18)?);
    let last_advance = number(table(data, b"hhea")?, 34)?.checked_sub(1)?;
    let advance =
        |glyph: u16| Some(f32::from(number(hmtx, 4 * usize::from(glyph.min(last_advance)))?) / units);

    let subtables = (0..usize::from(number(cmap, 2)?)).map(|i| 4 + 8 * i);
    let offsets = subtables
        .filter_map(|at| Some(usize::from(number(cmap, at + 4)?) << 16 | usize::from(number(cmap, at + 6)?)));
    let map = offsets.filter_map(|at| cmap.get(at..)).find(|map| number(map, 0) == Some(4))?;
    let segments = usize::from(number(map, 6)? / 2);
    let mut glyphs = BTreeMap::new();
    for i in 0..segments {
        let end = number(map, 14 + 2 * i)?;
        let [start, delta, offset] = [1, 2, 3].map(|part| number(map, 16 + 2 * (part * segments + i)));
        let (start, delta, offset) = (start?, delta?, usize::from(offset?));
        for code in start..=end {
            let glyph = if offset == 0 {
                code.wrapping_add(delta)
            } else {
                let at = 16 + 2 * (3 * segments + i) + offset + 2 * usize::from(code - start);
                number(map, at).filter(|glyph| *glyph != 0).map_or(0, |glyph| glyph.wrapping_add(delta))
            };
            if let Some(c) = char::from_u32(u32::from(code)).filter(|_| glyph != 0) {
                glyphs.insert(c, (glyph, advance(glyph)?));
            }
        }
    }
    Some(glyphs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_font_has_what_people_write() {
        let fonts = Fonts::load().unwrap();
        let wanted =
            "ABCxyz 0189 .,:;!?()[]{}<>/\\|@#%&*+-=_~'\"\u{a0}·–—’“”…×→ ÄÖÜäöüßéèçñøåłśžŁŚŽ ΑΩαω ЖЯжя €";
        for face in [Face::Sans, Face::Bold, Face::Mono] {
            assert_eq!(fonts.written(face, wanted), wanted, "{face:?}");
        }
        assert_eq!(fonts.written(Face::Sans, "a\u{4e2d}b"), "a?b");
    }

    #[test]
    fn widths_are_those_of_the_font() {
        let fonts = Fonts::load().unwrap();
        // Arimo has the metrics of Helvetica, Cousine those of Courier: 0.556 and 0.6 em for a digit.
        assert!((fonts.width(Face::Sans, 1000.0, "00") - 1112.3).abs() < 1.0);
        assert!((fonts.width(Face::Mono, 1000.0, "00") - 1200.2).abs() < 1.0);
        assert!(fonts.width(Face::Bold, 10.0, "nn") > fonts.width(Face::Sans, 10.0, "nn"));
    }

    #[test]
    fn lines_break_at_spaces_or_in_long_words() {
        let fonts = Fonts::load().unwrap();
        let lines = |text, width| fonts.lines(Face::Mono, 10.0, text, width);
        assert_eq!(lines("ab cd ef", 31.0), ["ab cd", "ef"]);
        assert_eq!(lines("abcdefgh", 25.0), ["abcd", "efgh"]);
        assert_eq!(lines("a abcdefgh i", 25.0), ["a", "abcd", "efgh", "i"]);
        assert_eq!(lines("a\n\nb", 25.0), ["a", "", "b"]);
    }
}
