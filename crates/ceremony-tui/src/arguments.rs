//! The words of the command line: a command, what it is about, and options with one value each.

/// The words, taken out one after the other, so that none is left over.
#[derive(Debug)]
pub struct Arguments {
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    /// Tells options from other words.
    ///
    /// # Errors
    /// Words that have no place.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut words, mut options) = (Vec::new(), Vec::new());
        let mut arguments = arguments;
        while let Some(word) = arguments.next() {
            match word.strip_prefix("--") {
                None => words.push(word),
                Some(name) => {
                    let value =
                        arguments.next().ok_or_else(|| format!("{word} needs a value; see --help"))?;
                    options.push((name.to_owned(), value));
                }
            }
        }
        words.reverse();
        Ok(Self { words, options })
    }

    /// The next word that is no option.
    pub fn word(&mut self) -> Option<String> {
        self.words.pop()
    }

    /// All values of an option, in order.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (found, rest) = std::mem::take(&mut self.options).into_iter().partition(|(n, _)| n == name);
        self.options = rest;
        let found: Vec<(String, String)> = found;
        found.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of an option that may be left out.
    ///
    /// # Errors
    /// Words that have no place.
    pub fn optional(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(format!("--{name} is given twice; see --help"));
        }
        Ok(values.pop())
    }

    /// The value of an option.
    ///
    /// # Errors
    /// Words that have no place.
    pub fn need(&mut self, name: &str) -> Result<String, String> {
        self.optional(name)?.ok_or_else(|| format!("--{name} is missing; see --help"))
    }

    /// Whether everything was taken.
    ///
    /// # Errors
    /// Words that have no place.
    pub fn finish(self) -> Result<(), String> {
        let option = self.options.first().map(|(name, _)| format!("--{name}"));
        match option.as_ref().or(self.words.last()) {
            None => Ok(()),
            Some(left) => Err(format!("{left:?} has no place here; see --help")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_and_options_in_any_order() {
        let mut arguments = parse("--a 1 show --b 2 file --a 3").unwrap();
        assert_eq!(arguments.word().as_deref(), Some("show"));
        assert_eq!(arguments.word().as_deref(), Some("file"));
        assert_eq!(arguments.all("a"), ["1", "3"]);
        assert_eq!(arguments.need("b").unwrap(), "2");
        assert_eq!(arguments.optional("c").unwrap(), None);
        assert!(arguments.need("c").unwrap_err().contains("--c is missing"));
        arguments.finish().unwrap();
    }

    #[test]
    fn what_is_left_over_or_given_twice_is_refused() {
        assert!(parse("show --a").is_err());
        assert!(parse("--a 1 --a 2").unwrap().optional("a").is_err());
        assert!(parse("--a 1").unwrap().finish().unwrap_err().contains("--a"));
        assert!(parse("extra").unwrap().finish().unwrap_err().contains("extra"));
    }
}
