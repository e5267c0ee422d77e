//! Pages with headings, tables, boxes to tick and lines to write on.

use krilla::color::luma;
use krilla::configure::{Archival, Configuration, ConfigurationBuilder, PdfVersion};
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke};
use krilla::surface::Surface;
use krilla::{Document, SerializeSettings};

use ceremony::sheet::Paper;

use super::PdfError;
use super::font::{Face, Fonts};

/// Distances in points.
const MARGIN: f32 = 48.0;
const HEAD: f32 = 64.0;
const FOOT: f32 = 58.0;
const GUTTER: f32 = 7.0;

/// Running text.
const TEXT: f32 = 9.0;
/// Tables.
const SMALL: f32 = 7.8;
/// Hashes and keys: 64 digits of them on a line of a table.
const TINY: f32 = 6.3;

/// Lines are this much higher than their letters' size.
const LEADING: f32 = 1.32;

/// How dark.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ink {
    Black,
    Grey,
    Pale,
    White,
}

/// Something on a page, its distances from the upper left corner.
enum Mark {
    Text { x: f32, y: f32, face: Face, size: f32, ink: Ink, text: String },
    Rule { x: f32, y: f32, width: f32, thick: f32, ink: Ink },
    Frame { x: f32, y: f32, width: f32, height: f32 },
    Area { x: f32, y: f32, width: f32, height: f32, ink: Ink },
}

/// A paragraph of a cell.
#[derive(Clone)]
pub(super) struct Piece {
    face: Face,
    size: f32,
    ink: Ink,
    text: String,
}

/// A paragraph with its lines.
type Broken = (Piece, Vec<String>);

/// What stands in a cell of a table.
pub(super) enum Cell {
    /// Paragraphs.
    Text(Vec<Piece>),
    /// A box to tick.
    Tick,
    /// A line to write on.
    Blank,
}

/// A cell of running text.
pub(super) fn plain(text: impl Into<String>) -> Cell {
    Cell::Text(vec![Piece::plain(text)])
}

/// A cell with a hash, a key or a path.
pub(super) fn code(text: impl Into<String>) -> Cell {
    Cell::Text(vec![Piece::code(text)])
}

impl Piece {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { face: Face::Sans, size: SMALL, ink: Ink::Black, text: text.into() }
    }

    pub(super) fn bold(text: impl Into<String>) -> Self {
        Self { face: Face::Bold, ..Self::plain(text) }
    }

    pub(super) fn note(text: impl Into<String>) -> Self {
        Self { ink: Ink::Grey, ..Self::plain(text) }
    }

    pub(super) fn code(text: impl Into<String>) -> Self {
        Self { face: Face::Mono, size: TINY, ..Self::plain(text) }
    }
}

/// A column: its heading, and its part of the width.
pub(super) struct Column(pub(super) &'static str, pub(super) f32);

/// Whoever signs a page by hand.
pub(super) struct Signer {
    pub(super) name: String,
    pub(super) role: String,
}

/// What the pages have in common.
pub(super) struct Frame {
    /// Stands at the head of every page.
    pub(super) title: String,
    /// Stands at the foot of every page: what these pages belong to.
    pub(super) foot: String,
    /// Whether every page is marked.
    pub(super) rehearsal: bool,
}

/// Pages in the making.
pub(super) struct Pages {
    fonts: Fonts,
    frame: Frame,
    wide: f32,
    high: f32,
    pages: Vec<Vec<Mark>>,
    /// How far down the page is full.
    y: f32,
}

impl Pages {
    pub(super) fn new(frame: Frame, paper: Paper) -> Result<Self, PdfError> {
        let (wide, high) = paper.points();
        let (wide, high) = (f32::from(wide), f32::from(high));
        Ok(Self { fonts: Fonts::load()?, frame, wide, high, pages: vec![Vec::new()], y: HEAD })
    }

    fn width(&self) -> f32 {
        self.wide - 2.0 * MARGIN
    }

    fn put(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.push(mark);
        }
    }

    /// Begins another page unless this much still fits.
    fn need(&mut self, height: f32) {
        if self.y + height > self.high - FOOT && self.y > HEAD {
            self.pages.push(Vec::new());
            self.y = HEAD;
        }
    }

    fn line(&mut self, x: f32, piece: &Piece, text: String) {
        let (face, size, ink) = (piece.face, piece.size, piece.ink);
        self.put(Mark::Text { x, y: self.y + size, face, size, ink, text });
        self.y += size * LEADING;
    }

    /// The title of the document, and a line under it.
    pub(super) fn title(&mut self, title: &str, under: &str) {
        for (face, size, text, gap) in [(Face::Bold, 20.0, title, 2.0), (Face::Sans, 10.5, under, 8.0)] {
            let piece = Piece { face, size, ink: Ink::Black, text: String::new() };
            for line in self.fonts.lines(face, size, text, self.width()) {
                self.line(MARGIN, &piece, line);
            }
            self.y += gap;
        }
    }

    /// A heading, which stays with what follows.
    pub(super) fn heading(&mut self, text: &str) {
        self.need(70.0);
        self.y += 12.0;
        let piece = Piece { face: Face::Bold, size: 12.0, ink: Ink::Black, text: String::new() };
        self.line(MARGIN, &piece, text.to_owned());
        self.y += 3.0;
    }

    /// Running text.
    pub(super) fn paragraph(&mut self, text: &str) {
        let piece = Piece { size: TEXT, ..Piece::plain("") };
        for line in self.fonts.lines(piece.face, piece.size, text, self.width()) {
            self.need(TEXT * LEADING);
            self.line(MARGIN, &piece, line);
        }
        self.y += 4.0;
    }

    /// Names and values, one under the other.
    pub(super) fn fields(&mut self, fields: Vec<(&str, Piece)>) {
        let columns = [Column("", 0.2), Column("", 0.8)];
        let rows = fields
            .into_iter()
            .map(|(name, value)| vec![Cell::Text(vec![Piece::bold(name)]), Cell::Text(vec![value])]);
        self.rows(&columns, rows.collect());
        self.y += 4.0;
    }

    /// A table whose heads stand on each page that it is on. Rows stay whole.
    pub(super) fn table(&mut self, columns: &[Column], rows: Vec<Vec<Cell>>) {
        self.need(40.0);
        self.heads(columns);
        self.rows(columns, rows);
        self.y += 4.0;
    }

    fn heads(&mut self, columns: &[Column]) {
        let height = SMALL * LEADING + 5.0;
        self.put(Mark::Area { x: MARGIN, y: self.y, width: self.width(), height, ink: Ink::Pale });
        let mut x = MARGIN;
        for Column(head, part) in columns {
            let text = (*head).to_owned();
            let y = self.y + SMALL + 2.8;
            self.put(Mark::Text { x: x + 3.0, y, face: Face::Bold, size: SMALL, ink: Ink::Black, text });
            x += part * self.width();
        }
        self.y += height;
    }

    fn rows(&mut self, columns: &[Column], rows: Vec<Vec<Cell>>) {
        let headed = columns.iter().any(|Column(head, _)| !head.is_empty());
        for row in rows {
            let cells: Vec<(f32, Vec<Broken>, Cell)> = columns
                .iter()
                .zip(row)
                .map(|(Column(_, part), cell)| {
                    let width = part * self.width();
                    let broken = match &cell {
                        Cell::Text(pieces) => {
                            pieces.iter().map(|piece| self.broken(piece, width - GUTTER)).collect()
                        }
                        Cell::Tick | Cell::Blank => Vec::new(),
                    };
                    (width, broken, cell)
                })
                .collect();
            let height = |pieces: &[Broken]| {
                pieces
                    .iter()
                    .map(|(piece, lines)| 1.0 + piece.size * LEADING * lines.iter().map(|_| 1.0).sum::<f32>())
                    .sum()
            };
            let tallest =
                cells.iter().map(|(_, pieces, _)| height(pieces)).fold(SMALL * LEADING, f32::max) + 5.0;
            let pages = self.pages.len();
            self.need(tallest);
            if headed && self.pages.len() > pages {
                self.heads(columns);
            }
            let top = self.y;
            let mut x = MARGIN;
            for (width, pieces, cell) in cells {
                self.y = top + 2.5;
                for (piece, lines) in pieces {
                    self.y += 1.0;
                    for line in lines {
                        self.line(x + 3.0, &piece, line);
                    }
                }
                match cell {
                    Cell::Text(_) => {}
                    Cell::Tick => self.put(Mark::Frame { x: x + 4.0, y: top + 4.5, width: 9.0, height: 9.0 }),
                    Cell::Blank => {
                        let y = top + tallest - 5.0;
                        self.put(Mark::Rule {
                            x: x + 3.0,
                            y,
                            width: width - 8.0,
                            thick: 0.4,
                            ink: Ink::Black,
                        });
                    }
                }
                x += width;
            }
            self.y = top + tallest;
            self.put(Mark::Rule { x: MARGIN, y: self.y, width: self.width(), thick: 0.3, ink: Ink::Grey });
        }
    }

    fn broken(&self, piece: &Piece, width: f32) -> Broken {
        (piece.clone(), self.fonts.lines(piece.face, piece.size, &piece.text, width))
    }

    /// A block for each signer to sign in, two beside each other.
    pub(super) fn signatures(&mut self, signers: &[Signer]) {
        const HEIGHT: f32 = 74.0;
        let half = (self.width() - 16.0) / 2.0;
        for pair in signers.chunks(2) {
            self.need(HEIGHT + 8.0);
            let top = self.y;
            for (signer, x) in pair.iter().zip([MARGIN, MARGIN + half + 16.0]) {
                self.put(Mark::Frame { x, y: top, width: half, height: HEIGHT });
                self.y = top + 5.0;
                for piece in [Piece::bold(signer.name.as_str()), Piece::note(signer.role.as_str())] {
                    for line in
                        self.fonts.lines(piece.face, piece.size, &piece.text, half - 14.0).into_iter().take(2)
                    {
                        self.line(x + 7.0, &piece, line);
                    }
                }
                for (at, width, label) in
                    [(7.0, half * 0.6, "Signature"), (half * 0.6 + 17.0, half * 0.4 - 24.0, "Date, time")]
                {
                    self.put(Mark::Rule { x: x + at, y: top + 59.0, width, thick: 0.5, ink: Ink::Black });
                    let text = label.to_owned();
                    self.put(Mark::Text {
                        x: x + at,
                        y: top + 68.0,
                        face: Face::Sans,
                        size: 6.5,
                        ink: Ink::Grey,
                        text,
                    });
                }
            }
            self.y = top + HEIGHT + 8.0;
        }
    }

    /// The document: PDF/A-2u if it has a date.
    pub(super) fn finish(mut self, metadata: Metadata, archival: bool) -> Result<Vec<u8>, PdfError> {
        let library = |error: &dyn std::fmt::Debug| PdfError::Library(format!("{error:?}"));
        let settings =
            SerializeSettings { configuration: configuration(archival)?, ..SerializeSettings::default() };
        let mut document = Document::new_with(settings);
        document.set_metadata(metadata);
        let pages = std::mem::take(&mut self.pages);
        let count = pages.len();
        for (number, mut marks) in (1..).zip(pages) {
            self.furnish(&mut marks, number, count);
            let settings =
                PageSettings::from_wh(self.wide, self.high).ok_or_else(|| library(&"page size"))?;
            let mut page = document.start_page_with(settings);
            let mut surface = page.surface();
            for mark in &marks {
                self.draw(&mut surface, mark);
            }
            surface.finish();
            page.finish();
        }
        document.finish().map_err(|error| library(&error))
    }

    /// What stands on every page.
    fn furnish(&self, marks: &mut Vec<Mark>, number: usize, count: usize) {
        let right = |face, size, text: &str| self.wide - MARGIN - self.fonts.width(face, size, text);
        let text =
            |x, y, face, size, ink, text: &str| Mark::Text { x, y, face, size, ink, text: text.to_owned() };
        marks.push(text(MARGIN, 52.0, Face::Sans, 8.0, Ink::Grey, &self.frame.title));
        marks.push(Mark::Rule { x: MARGIN, y: 56.0, width: self.width(), thick: 0.5, ink: Ink::Grey });
        let y = self.high - 40.0;
        marks.push(Mark::Rule { x: MARGIN, y: y - 9.0, width: self.width(), thick: 0.5, ink: Ink::Grey });
        marks.push(text(MARGIN, y, Face::Mono, TINY, Ink::Black, &self.frame.foot));
        let page = format!("page {number} of {count}");
        marks.push(text(right(Face::Sans, 8.0, &page), y, Face::Sans, 8.0, Ink::Black, &page));
        if self.frame.rehearsal {
            let mark = "REHEARSAL · keys of a test network · guards nothing of value";
            let x = (self.wide - self.fonts.width(Face::Bold, 9.0, mark)) / 2.0;
            for y in [22.0, self.high - 32.0] {
                marks.push(Mark::Area { x: MARGIN, y, width: self.width(), height: 15.0, ink: Ink::Black });
                marks.push(text(x, y + 10.8, Face::Bold, 9.0, Ink::White, mark));
            }
        }
    }

    fn draw(&self, surface: &mut Surface<'_>, mark: &Mark) {
        let area = |x, y, width, height| {
            let mut path = PathBuilder::new();
            path.push_rect(Rect::from_xywh(x, y, width, height)?);
            path.finish()
        };
        match mark {
            Mark::Text { x, y, face, size, ink, text } => {
                let text = self.fonts.written(*face, text);
                let glyphs = self.fonts.glyphs(*face, &text);
                surface.set_stroke(None);
                surface.set_fill(Some(fill(*ink)));
                let start = Point::from_xy(*x, *y);
                surface.draw_glyphs(start, &glyphs, self.fonts.font(*face), &text, *size, false);
            }
            Mark::Rule { x, y, width, thick, ink } => {
                surface.set_stroke(None);
                surface.set_fill(Some(fill(*ink)));
                if let Some(path) = area(*x, *y, *width, *thick) {
                    surface.draw_path(&path);
                }
            }
            Mark::Area { x, y, width, height, ink } => {
                surface.set_stroke(None);
                surface.set_fill(Some(fill(*ink)));
                if let Some(path) = area(*x, *y, *width, *height) {
                    surface.draw_path(&path);
                }
            }
            Mark::Frame { x, y, width, height } => {
                surface.set_fill(None);
                surface.set_stroke(Some(Stroke { width: 0.6, ..Stroke::default() }));
                if let Some(path) = area(*x, *y, *width, *height) {
                    surface.draw_path(&path);
                }
            }
        }
    }
}

fn fill(ink: Ink) -> Fill {
    let lightness = match ink {
        Ink::Black => 0,
        Ink::Grey => 95,
        Ink::Pale => 228,
        Ink::White => 255,
    };
    Fill { paint: luma::Color::new(lightness).into(), opacity: NormalizedF32::ONE, rule: Default::default() }
}

/// PDF/A-2u (ISO 19005-2) for what is filed; it asks for a date. Else PDF 1.7.
fn configuration(archival: bool) -> Result<Configuration, PdfError> {
    let builder = ConfigurationBuilder::new().with_version(PdfVersion::Pdf17);
    let builder = if archival { builder.with_archival_validator(Archival::A2_U) } else { builder };
    builder.finish().map_err(|error| PdfError::Library(format!("{error:?}")))
}
