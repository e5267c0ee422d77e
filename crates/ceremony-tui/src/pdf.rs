//! The runbook and the report of a ceremony as PDF (DACS GEN-02, GEN-09): to rehearse with, to sign by hand, to file.
//!
//! Both are printed from the same types that the program runs on. The same input gives the same bytes; the fonts are
//! embedded.

mod font;
mod page;
mod report;
mod runbook;
mod words;

pub use report::report;
pub use runbook::runbook;

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// The fonts that the program brings along cannot be read: it is damaged.
    #[error("the program's own fonts cannot be read: get a sound copy of the program")]
    Font,
    /// The library refused the document.
    #[error("the PDF cannot be written ({0}): use the JSON file, which says the same")]
    Library(String),
}
