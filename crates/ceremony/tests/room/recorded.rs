//! Machines that were recorded, as files of one text each; `laptop.tree` says how they are written.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;

use ceremony::room::Tree;

/// What is at a path.
#[derive(Clone, Debug)]
enum Entry {
    File(String),
    Link(String),
    Directory,
    Denied,
}

/// A recorded machine. It remembers which paths it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    entries: BTreeMap<String, Entry>,
    asked: Mutex<Vec<String>>,
}

/// The text of a tree in this directory.
pub(crate) fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/room").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The findings that a tree must give, as its lines `= kind: detail` say.
pub(crate) fn expected(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("= ")).map(str::to_owned).collect()
}

impl Recorded {
    /// The clean laptop.
    pub(crate) fn laptop() -> Self {
        Self::default().with(&text("laptop.tree"))
    }

    /// The same machine with the changes of another text.
    pub(crate) fn with(mut self, changes: &str) -> Self {
        let mut file = None;
        for line in changes.lines() {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            let entry = match mark {
                "#" | "=" => continue,
                "@" => {
                    file = Some(rest.to_owned());
                    Entry::File(String::new())
                }
                "/" => Entry::Directory,
                "!" => Entry::Denied,
                ">" => {
                    let (path, target) = rest.split_once(' ').unwrap();
                    self.entries.insert(path.to_owned(), Entry::Link(target.to_owned()));
                    continue;
                }
                "-" => {
                    let below = format!("{rest}/");
                    self.entries.retain(|path, _| path != rest && !path.starts_with(&below));
                    continue;
                }
                _ => {
                    let path = file.as_ref().unwrap_or_else(|| panic!("{line:?} is of no file"));
                    let Some(Entry::File(contents)) = self.entries.get_mut(path) else { panic!("{path}") };
                    contents.push_str(line);
                    contents.push('\n');
                    continue;
                }
            };
            self.entries.insert(rest.to_owned(), entry);
        }
        self
    }

    /// What was asked for, each path once.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }

    fn get(&self, path: &str) -> io::Result<Option<&Entry>> {
        self.asked.lock().unwrap().push(path.to_owned());
        // A directory that cannot be read hides what is below.
        let above = path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
        for above in above {
            if let Some(Entry::Denied) = self.entries.get(above) {
                return Err(ErrorKind::PermissionDenied.into());
            }
        }
        Ok(self.entries.get(path))
    }

    /// The names below a path, one level down.
    fn below(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let names = self.entries.keys().filter_map(|path| path.strip_prefix(&below)?.split('/').next());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Tree for Recorded {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match self.get(path)? {
            Some(Entry::File(contents)) => Ok(Some(contents.clone().into_bytes())),
            Some(_) => Err(ErrorKind::IsADirectory.into()),
            None if self.below(path).is_empty() => Ok(None),
            None => Err(ErrorKind::IsADirectory.into()),
        }
    }

    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        let names = self.below(path);
        match self.get(path)? {
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            Some(_) => Ok(Some(names)),
            None if names.is_empty() => Ok(None),
            None => Ok(Some(names)),
        }
    }

    fn link(&self, path: &str) -> io::Result<Option<String>> {
        match self.get(path)? {
            Some(Entry::Link(target)) => Ok(Some(target.clone())),
            Some(_) => Err(ErrorKind::InvalidInput.into()),
            None => Ok(None),
        }
    }
}
