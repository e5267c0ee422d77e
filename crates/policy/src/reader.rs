//! Reading TOML by hand, so that each mistake has a place, says what was expected, and shows an example.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest file, in bytes: a document that an envelope holds is a fraction of it.
pub const FILE_LIMIT_BYTES: usize = 1 << 20;

/// A mistake in a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {}{what}{}", self.shown_field(), self.shown_example())]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// The field, for example `rules[0].amount_max`; empty for the whole file.
    pub field: String,
    /// What was found and what was expected.
    pub what: String,
    /// How it is written; may be empty.
    pub example: String,
}

impl Fault {
    fn new(text: &str, at: usize, field: &str, what: impl Into<String>, example: &str) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line, column, field: field.to_owned(), what: what.into(), example: example.to_owned() }
    }

    fn shown_field(&self) -> String {
        if self.field.is_empty() { String::new() } else { format!("{}: ", self.field) }
    }

    fn shown_example(&self) -> String {
        if self.example.is_empty() { String::new() } else { format!("; for example {}", self.example) }
    }
}

/// The closest of some words, if one is close enough to be meant.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|other| (strsim::damerau_levenshtein(word, other), other));
    near.min().filter(|(distance, other)| *distance <= 1 + other.len() / 4).map(|(_, other)| other)
}

/// A file that is TOML.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Source<'a> {
    /// Reads the syntax.
    ///
    /// # Errors
    /// A file that is too large, what is not TOML, and a key that is written twice.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        if text.len() > FILE_LIMIT_BYTES {
            return Err(Fault::new(text, 0, "", format!("a file has at most {FILE_LIMIT_BYTES} bytes"), ""));
        }
        let root = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Fault::new(text, at, "", format!("not TOML: {}", error.message()), "")
        })?;
        Ok(Self { text, root })
    }

    /// The table of the whole file.
    pub fn table(&self) -> Table<'_> {
        Table::new(self.text, 0, String::new(), self.root.get_ref())
    }
}

/// A table of which fields are taken; what is left over at the end is a mistake.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    text: &'a str,
    at: usize,
    field: String,
    left: BTreeMap<&'a str, (usize, &'a Spanned<DeValue<'a>>)>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    fn new(text: &'a str, at: usize, field: String, table: &'a DeTable<'a>) -> Self {
        let left = table.iter().map(|(key, value)| (key.get_ref().as_ref(), (key.span().start, value)));
        Self { text, at, field, left: left.collect(), known: Vec::new() }
    }

    fn path(&self, name: &str) -> String {
        if self.field.is_empty() { name.to_owned() } else { format!("{}.{name}", self.field) }
    }

    /// A mistake of the table as a whole, about one of its fields.
    pub fn fault(&self, name: &str, what: impl Into<String>, example: &str) -> Fault {
        let field = if name.is_empty() { self.field.clone() } else { self.path(name) };
        Fault::new(self.text, self.at, &field, what, example)
    }

    /// Whether a field is there that was not taken.
    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Takes a field that may be left out.
    pub fn take(&mut self, name: &'static str) -> Option<Item<'a>> {
        self.known.push(name);
        let field = self.path(name);
        let (_, value) = self.left.remove(name)?;
        Some(Item::new(self.text, field, value))
    }

    /// Takes a field that must be there.
    ///
    /// # Errors
    /// That it is missing.
    pub fn need(&mut self, name: &'static str, example: &str) -> Result<Item<'a>, Fault> {
        self.take(name).ok_or_else(|| {
            let near = self.left.keys().find(|other| suggestion(other, [name]).is_some());
            let hint = near.map_or_else(String::new, |near| format!("; you wrote {near}"));
            self.fault(name, format!("missing{hint}"), example)
        })
    }

    /// Takes all that is left: the entries of a table whose keys are names, with where each key stands.
    pub fn entries(self) -> Vec<(Key<'a>, Item<'a>)> {
        let Self { text, left, field, .. } = &self;
        let entry = |(name, (at, value)): (&&'a str, &(usize, &'a Spanned<DeValue<'a>>))| {
            let path = if field.is_empty() { (*name).to_owned() } else { format!("{field}.{name}") };
            let key = Key { text, at: *at, field: path.clone(), name };
            (key, Item::new(text, path, value))
        };
        left.iter().map(entry).collect()
    }

    /// Ends the table.
    ///
    /// # Errors
    /// The first field that nobody took, with the spelling that may be meant.
    pub fn finish(self) -> Result<(), Fault> {
        let first = self.left.iter().min_by_key(|(_, (at, _))| *at);
        let Some((name, (at, _))) = first else { return Ok(()) };
        let what = match suggestion(name, self.known.iter().copied()) {
            Some(near) => format!("there is no such field; did you mean {near}?"),
            None => format!("there is no such field; there are {}", self.known.join(", ")),
        };
        Err(Fault::new(self.text, *at, &self.path(name), what, ""))
    }
}

/// A key that is a name, and where it stands.
#[derive(Clone, Debug)]
pub struct Key<'a> {
    text: &'a str,
    at: usize,
    field: String,
    /// The key.
    pub name: &'a str,
}

impl Key<'_> {
    /// A mistake of the key.
    pub fn fault(&self, what: impl Into<String>, example: &str) -> Fault {
        Fault::new(self.text, self.at, &self.field, what, example)
    }
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    text: &'a str,
    at: Range<usize>,
    field: String,
    value: &'a DeValue<'a>,
}

impl<'a> Item<'a> {
    fn new(text: &'a str, field: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { text, at: value.span(), field, value: value.get_ref() }
    }

    /// A mistake of the value.
    pub fn fault(&self, what: impl Into<String>, example: &str) -> Fault {
        Fault::new(self.text, self.at.start, &self.field, what, example)
    }

    /// That something else was expected than stands there.
    pub fn expected(&self, what: &str, example: &str) -> Fault {
        let found = match self.value {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            _ => self.text.get(self.at.clone()).unwrap_or_default().to_owned(),
        };
        self.fault(format!("expected {what}, found {found}"), example)
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// The table that it is.
    ///
    /// # Errors
    /// That it is none.
    pub fn table(&self, example: &str) -> Result<Table<'a>, Fault> {
        let table = self.value.as_table().ok_or_else(|| self.expected("a table", example))?;
        Ok(Table::new(self.text, self.at.start, self.field.clone(), table))
    }

    /// The values of the list that it is.
    ///
    /// # Errors
    /// That it is none.
    pub fn list(&self, example: &str) -> Result<Vec<Item<'a>>, Fault> {
        let list = self.value.as_array().ok_or_else(|| self.expected("a list", example))?;
        let item = |(i, value)| Item::new(self.text, format!("{}[{i}]", self.field), value);
        Ok(list.iter().enumerate().map(item).collect())
    }

    /// Each value of the list that it is, read.
    ///
    /// # Errors
    /// That it is none, or the first that cannot be read.
    pub fn each<T>(
        &self,
        example: &str,
        read: impl FnMut(&Item<'a>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.list(example)?.iter().map(read).collect()
    }

    /// The text that it is.
    ///
    /// # Errors
    /// That it is none.
    pub fn text(&self, what: &str, example: &str) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| self.expected(what, example))
    }

    /// What its text means.
    ///
    /// # Errors
    /// That it is no text, or why it means nothing.
    pub fn read<T, E: ToString>(
        &self,
        what: &str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        read(self.text(what, example)?).map_err(|why| self.fault(why.to_string(), example))
    }

    /// The date that it is: of TOML's own form, or in quotes. As written.
    ///
    /// # Errors
    /// That it is none.
    pub fn date(&self, example: &str) -> Result<String, Fault> {
        match self.value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Datetime(date) if date.time.is_none() => Ok(date.to_string()),
            _ => Err(self.expected("a date", example)),
        }
    }

    /// The whole number that it is.
    ///
    /// # Errors
    /// That it is none, or out of range.
    pub fn number<T: TryFrom<u64>>(&self, what: &str, example: &str) -> Result<T, Fault> {
        let wrong = || self.expected(what, example);
        let digits = self.value.as_integer().filter(|number| number.radix() == 10).ok_or_else(wrong)?;
        let number: u64 = digits.as_str().parse().map_err(|_| wrong())?;
        T::try_from(number).map_err(|_| wrong())
    }

    /// One of some words.
    ///
    /// # Errors
    /// That it is none of them, with the spelling that may be meant.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Fault> {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let what = format!("one of {}", list.join(", "));
        let word = self.text(&what, "")?;
        let found = words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
        found.ok_or_else(|| match suggestion(word, list.iter().copied()) {
            Some(near) => self.fault(format!("there is no {word:?}; did you mean {near:?}?"), ""),
            None => self.expected(&what, ""),
        })
    }
}
