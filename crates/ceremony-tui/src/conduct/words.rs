//! Words of a component as people type them: by their first four letters if they like, and one corrected
//! without typing all others again. Nothing is put right that nobody asked for.

use ceremony::script::ComponentId;
use ceremony::slip39::{self, Mnemonic};
use keys::locked::LockedBytes;

use super::components::{apart, text};
use super::{Conductor, Halt, again, given};
use crate::image::{TYPED_LIMIT_BYTES, Words};

impl Conductor<'_> {
    /// Asks for the words of a component until they are one. What was typed stays to be corrected.
    pub(super) fn typed_words(&mut self, id: ComponentId) -> Result<Words, Halt> {
        let mut so_far: Option<Words> = None;
        loop {
            let prompt = match so_far {
                None => format!("The words of component {id}, or the first four letters of each:"),
                Some(_) => format!(
                    "Component {id}: correct one word, its number before it (7 WORD), or type all again; nothing goes back:"
                ),
            };
            let typed = self.hidden(&format!("words-{id}"), &prompt)?;
            if typed.expose().trim_ascii().is_empty() {
                return again("no words were typed: begin the step again");
            }
            let read = apart(|| {
                let read = match (correction(text(&typed)?), &so_far) {
                    (None, _) => Words::typed(text(&typed)?).map_err(|error| error.to_string()),
                    (Some((number, word)), Some(words)) => corrected(words, number, word),
                    (Some(_), None) => Err("there is nothing to correct yet: type all words".into()),
                };
                let (words, completed) = complete(&read?)?;
                let wrong = Mnemonic::parse(words.as_str()).err();
                let wrong = wrong.map(|error| (error.to_string(), error.likely()));
                Ok::<_, String>((words, completed, wrong))
            })?;
            let (words, completed, wrong) = match read {
                Ok(read) => read,
                Err(why) => {
                    self.front.say(&why)?;
                    continue;
                }
            };
            if completed > 0 {
                self.front.say(&format!("{completed} words were completed from their first four letters"))?;
            }
            let Some((why, likely)) = wrong else { return Ok(words) };
            // The text names words by their number alone.
            self.front.say(&why)?;
            self.hint(id, likely)?;
            so_far = Some(words);
        }
    }

    /// Shows the holder alone which words were likely meant, if any are.
    pub(super) fn hint(&mut self, id: ComponentId, likely: Option<LockedBytes>) -> Result<(), Halt> {
        match likely.filter(|lines| !lines.expose().is_empty()) {
            Some(lines) => given(self.front.hints(&self.actor(), &id.to_string(), lines)?),
            None => Ok(()),
        }
    }
}

/// A number and a word.
fn correction(typed: &str) -> Option<(usize, &str)> {
    let (number, word) = typed.trim().split_once(char::is_whitespace)?;
    Some((number.parse().ok()?, word))
}

fn corrected(words: &Words, number: usize, word: &str) -> Result<Words, String> {
    let count = words.as_str().split(' ').count();
    if number == 0 || number > count {
        return Err(format!("there is no word {number}: {count} were typed"));
    }
    let replaced = (1..).zip(words.as_str().split(' '));
    joined(replaced.map(|(at, old)| if at == number { word } else { old }))
}

/// Each word that is the first four letters of one in the list becomes that one; how many did.
fn complete(words: &Words) -> Result<(Words, usize), String> {
    let mut completed = 0usize;
    let whole = joined(words.as_str().split(' ').map(|word| {
        let whole = slip39::complete(word);
        completed = completed.saturating_add(usize::from(whole.is_some_and(|whole| whole != word)));
        whole.unwrap_or(word)
    }))?;
    Ok((whole, completed))
}

/// Words with spaces between, put together in locked memory.
fn joined<'w>(words: impl Iterator<Item = &'w str>) -> Result<Words, String> {
    let mut line = LockedBytes::zeroed(TYPED_LIMIT_BYTES).map_err(|error| error.to_string())?;
    let mut length = 0usize;
    let mut places = line.expose_mut().iter_mut();
    for byte in words.flat_map(|word| word.bytes().chain([b' '])) {
        *places.next().ok_or("too many words for a component")? = byte;
        length = length.saturating_add(1);
    }
    line.truncate(length);
    Words::typed(text(&line)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_letters_name_a_word_and_nothing_else_is_changed() {
        let (words, completed) = complete(&Words::typed("ACAD acid acade zzzz academic").unwrap()).unwrap();
        assert_eq!((words.as_str(), completed), ("academic acid acade zzzz academic", 1));
    }

    #[test]
    fn one_word_is_corrected() {
        let words = Words::typed("academic acid acne").unwrap();
        assert_eq!(correction(" 2 acquire "), Some((2, "acquire")));
        assert_eq!(correction("academic acid"), None);
        assert_eq!(corrected(&words, 2, "acquire").unwrap().as_str(), "academic acquire acne");
        assert!(corrected(&words, 0, "acquire").is_err());
        assert!(corrected(&words, 4, "acquire").unwrap_err().contains("3 were typed"));
    }
}
