//! Lists: in columns for people, as CSV for spreadsheets.

use approver::{harmless, plain};
use custody::effects::Sats;
use ledger::Amount;
use serde::Serialize;

use crate::args::{Global, Output};
use crate::commands::{emit, print};
use crate::csv;
use crate::failure::Result;

/// Decimals of bitcoin.
const DECIMALS: u8 = 8;

/// Digits of a transaction id or another hash that stand in a column; JSON and CSV have all.
const SHORT_CHARS: usize = 16;

/// What stands in a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Column {
    /// Words.
    Text(&'static str),
    /// An id, of which people see the beginning.
    Id(&'static str),
    /// Base units, as the interface writes them.
    Amount(&'static str),
}

/// A list of things.
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
    empty: &'static str,
}

impl Table {
    /// `empty` is what people read when there is nothing.
    pub(crate) fn new(columns: &'static [Column], empty: &'static str) -> Self {
        Self { columns, rows: Vec::new(), empty }
    }

    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Prints the list, or `value`, which it was made of.
    pub(crate) fn emit<T: Serialize + ?Sized>(&self, global: &Global, value: &T) -> Result<()> {
        match global.output {
            Output::Csv => print(&self.csv()),
            Output::Table | Output::Json => emit(global, &self.text(), value),
        }
    }

    fn csv(&self) -> String {
        let mut heads = Vec::new();
        for column in self.columns {
            match column {
                Column::Text(name) | Column::Id(name) => heads.push(name.replace(' ', "_")),
                Column::Amount(name) => {
                    let name = name.replace(' ', "_");
                    heads.extend([format!("{name}_sat"), format!("{name}_btc")]);
                }
            }
        }
        let mut out = csv::line(heads);
        for row in &self.rows {
            let mut fields = Vec::new();
            for (column, cell) in self.columns.iter().zip(row) {
                fields.push(cell.clone());
                if let Column::Amount(_) = column {
                    fields.push(Units::read(cell).map_or_else(String::new, |units| units.whole()));
                }
            }
            out.push_str(&csv::line(fields));
        }
        out
    }

    fn text(&self) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let head = |column: &Column| match column {
            Column::Text(name) | Column::Id(name) | Column::Amount(name) => name.to_uppercase(),
        };
        let mut lines = vec![self.columns.iter().map(head).collect::<Vec<_>>()];
        let cell = |(column, text): (&Column, &String)| match column {
            Column::Text(_) => plain(text),
            Column::Id(_) => short(&plain(text)),
            Column::Amount(_) => amount(text),
        };
        lines.extend(self.rows.iter().map(|row| self.columns.iter().zip(row).map(cell).collect()));
        let width = |i: usize| {
            let widths = lines.iter().filter_map(|line| line.get(i)).map(|text| text.chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut out = String::new();
        for line in &lines {
            let mut row = String::new();
            for ((text, width), column) in line.iter().zip(&widths).zip(self.columns) {
                match column {
                    Column::Amount(_) => row.push_str(&format!("{text:>width$}  ")),
                    Column::Text(_) | Column::Id(_) => row.push_str(&format!("{text:<width$}  ")),
                }
            }
            out.push_str(row.trim_end());
            out.push('\n');
        }
        out
    }
}

/// One thing, field by field.
#[derive(Default)]
pub(crate) struct Page(String);

/// Characters of a field's name: as many as a time has.
const NAME_CHARS: usize = 20;

impl Page {
    pub(crate) fn row(&mut self, name: &str, text: &str) {
        let (name, text) = (harmless(name), harmless(text));
        self.0.push_str(&format!("{name:<NAME_CHARS$}  {text}\n"));
    }

    pub(crate) fn end(self) -> String {
        self.0
    }
}

/// The beginning of an id; the number of an output stays.
fn short(id: &str) -> String {
    let (hash, rest) = id.split_once(':').map_or((id, String::new()), |(h, n)| (h, format!(":{n}")));
    if hash.chars().count() <= 2 * SHORT_CHARS {
        return id.to_owned();
    }
    hash.chars().take(SHORT_CHARS).collect::<String>() + "…" + &rest
}

/// Base units with a sign.
struct Units {
    below_zero: bool,
    size: Amount,
}

impl Units {
    fn read(text: &str) -> Option<Self> {
        let below_zero = text.starts_with('-');
        let size = text.strip_prefix('-').unwrap_or(text).parse().ok()?;
        Some(Self { below_zero, size })
    }

    fn sign(&self) -> &'static str {
        if self.below_zero { "-" } else { "" }
    }

    fn whole(&self) -> String {
        format!("{}{}", self.sign(), self.size.to_decimal(DECIMALS))
    }
}

/// An amount of the interface as people read it; what is none, as it is.
pub(crate) fn amount(text: &str) -> String {
    let Some(units) = Units::read(text) else { return plain(text) };
    match u64::try_from(units.size.units()) {
        Ok(size) if units.below_zero => format!("-{}", approver::sats(Sats(size)).replacen('(', "(-", 1)),
        Ok(size) => approver::sats(Sats(size)),
        // More than there can ever be: as it is.
        Err(_) => format!("{}{} sat", units.sign(), units.size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::Text("client"), Column::Amount("held back"), Column::Id("deposit")];

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(COLUMNS, "nothing");
        for row in rows {
            table.push(row.map(str::to_owned).to_vec());
        }
        table
    }

    #[test]
    fn columns_line_up_and_a_terminal_obeys_nobody() {
        let id = "ab".repeat(32) + ":12";
        let table = table(&[["cat", "1250000", &id], ["dog\u{1b}[2J", "-5", "short:1"]]);
        let expected = "\
CLIENT                           HELD BACK  DEPOSIT
cat           1,250,000 sat (0.01250000 BTC)  abababababababab…:12
dog\\u{1b}[2J        -5 sat (-0.00000005 BTC)  short:1
";
        let lines: Vec<_> = table.text().lines().map(str::to_owned).collect();
        let expected: Vec<_> = expected.lines().map(str::to_owned).collect();
        assert_eq!(lines[1..], expected[1..]);
        assert!(lines[0].starts_with("CLIENT ") && lines[0].ends_with(" HELD BACK  DEPOSIT"));
    }

    #[test]
    fn an_empty_list_says_so_to_people_and_is_a_heading_for_programs() {
        assert_eq!(table(&[]).text(), "nothing\n");
        assert_eq!(table(&[]).csv(), "client,held_back_sat,held_back_btc,deposit\r\n");
    }

    #[test]
    fn csv_has_base_units_and_whole_bitcoin_without_grouping() {
        let written = table(&[["=cat", "123456789", "x"], ["a,b", "-1", "y"], ["c", "", "z"]]).csv();
        let lines: Vec<_> = written.split("\r\n").skip(1).collect();
        assert_eq!(lines, ["'=cat,123456789,1.23456789,x", "\"a,b\",-1,-0.00000001,y", "c,,,z", ""]);
    }

    #[test]
    fn amounts_are_exact_whatever_their_size() {
        assert_eq!(amount("0"), "0 sat (0.00000000 BTC)");
        assert_eq!(amount("-100000001"), "-100,000,001 sat (-1.00000001 BTC)");
        let most = u128::MAX.to_string();
        assert_eq!(amount(&most), format!("{most} sat"));
        for none in ["", "-", "1.5", "\u{1b}"] {
            assert_eq!(amount(none), plain(none));
        }
    }
}
