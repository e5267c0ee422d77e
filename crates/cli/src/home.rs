//! The home of one person on one host: the pinned genesis, the profile, what was seen of the log.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use approver::Head;
use custody::Hash;
use custody::name::{Label, Name};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Class, Failure, Result};

/// Where to find whom. Nothing in it is trusted: keys come from genesis and the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Profile {
    /// `HOST:PORT` of the server.
    pub(crate) server: Option<String>,
    /// The device key file; relative to the home.
    pub(crate) device: Option<PathBuf>,
    /// `HOST:PORT` of co-signers.
    pub(crate) cosigners: BTreeMap<Name, String>,
}

pub(crate) struct Home {
    dir: PathBuf,
}

/// What is kept of the log: all of it stood under a final head.
#[derive(Default)]
pub(crate) struct Cache {
    pub(crate) batches: Vec<Vec<u8>>,
    pub(crate) note: String,
}

impl Home {
    /// `--home`, or `.keyward` in the person's home directory.
    pub(crate) fn at(dir: Option<&Path>) -> Result<Self> {
        let own = || std::env::home_dir().map(|home| home.join(".keyward"));
        let dir = dir.map(Path::to_owned).or_else(own);
        let dir =
            dir.ok_or_else(|| Failure::usage("there is no home directory", "name one by --home DIR"))?;
        Ok(Self { dir })
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// The bytes of genesis and the hash that a person entered.
    pub(crate) fn genesis(&self) -> Result<(Vec<u8>, Hash)> {
        let (file, pin) = (self.path("genesis.json"), self.path("genesis.hash"));
        if !file.exists() || !pin.exists() {
            let next = "keyward genesis pin FILE, with the hash that the others read out to you";
            return Err(Failure::usage(format!("no genesis is pinned in {}", self.dir.display()), next));
        }
        let pinned = String::from_utf8(read(&pin)?).unwrap_or_default();
        let pinned = Hash::from_hex(pinned.trim());
        let pinned = pinned.ok_or_else(|| Failure::content(&pin, "holds no hash"))?;
        Ok((read(&file)?, pinned))
    }

    pub(crate) fn pin(&self, genesis: &[u8], hash: &Hash) -> Result<()> {
        let pin = self.path("genesis.hash");
        if pin.exists() && read(&pin)?.trim_ascii() != hash.to_string().as_bytes() {
            let next = "one home belongs to one deployment: use another --home";
            let what = format!("another genesis is pinned in {}", self.dir.display());
            return Err(Failure::new(Class::Unverified, what, next));
        }
        write(&self.path("genesis.json"), genesis)?;
        write(&pin, format!("{hash}\n").as_bytes())
    }

    pub(crate) fn profile(&self) -> Result<Profile> {
        let path = self.path("profile.toml");
        if !path.exists() {
            return Ok(Profile::default());
        }
        let text = String::from_utf8(read(&path)?).unwrap_or_default();
        toml::from_str(&text).map_err(|e| Failure::content(&path, e))
    }

    pub(crate) fn set_profile(&self, profile: &Profile) -> Result<()> {
        let path = self.path("profile.toml");
        let text = toml::to_string(profile).map_err(|e| Failure::content(&path, e))?;
        write(&path, text.as_bytes())
    }

    /// The highest final head that was seen here.
    pub(crate) fn seen(&self) -> Result<Option<Head>> {
        self.read_json("head.json")
    }

    pub(crate) fn cache(&self) -> Result<Cache> {
        let (log, note) = (self.path("log"), self.path("checkpoint"));
        if !log.exists() || !note.exists() {
            return Ok(Cache::default());
        }
        let batches =
            read(&log)?.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
        let note = String::from_utf8(read(&note)?).unwrap_or_default();
        Ok(Cache { batches, note })
    }

    /// Keeps what now stands under a final head, unless another process has kept more already. `old` of
    /// the batches were kept before.
    pub(crate) fn keep(&self, cache: &Cache, old: usize, head: &Head) -> Result<()> {
        fs::create_dir_all(&self.dir).map_err(|e| Failure::file(&self.dir, e))?;
        let path = self.path("lock");
        let lock = fs::File::create(&path).map_err(|e| Failure::file(&path, e))?;
        lock.lock().map_err(|e| Failure::file(&path, e))?;
        if self.seen()?.is_some_and(|seen| seen.size > head.size) {
            return Ok(());
        }
        let log = self.path("log");
        let lines = |batches: &[Vec<u8>]| {
            let mut out = Vec::new();
            for batch in batches {
                out.extend(batch);
                out.push(b'\n');
            }
            out
        };
        let kept = if log.exists() { self.cache()?.batches.len() } else { 0 };
        if kept == old && log.exists() {
            let mut file =
                fs::OpenOptions::new().append(true).open(&log).map_err(|e| Failure::file(&log, e))?;
            file.write_all(&lines(&cache.batches[old..])).map_err(|e| Failure::file(&log, e))?;
            file.sync_all().map_err(|e| Failure::file(&log, e))?;
        } else {
            write(&log, &lines(&cache.batches))?;
        }
        write(&self.path("checkpoint"), cache.note.as_bytes())?;
        self.write_json("head.json", head)
    }

    pub(crate) fn labels(&self) -> Result<Vec<Label>> {
        Ok(self.read_json("labels.json")?.unwrap_or_default())
    }

    pub(crate) fn add_labels(&self, new: &[Label]) -> Result<()> {
        let mut labels = self.labels()?;
        let before = labels.len();
        for label in new {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        if labels.len() == before {
            return Ok(());
        }
        self.write_json("labels.json", &labels)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(None);
        }
        serde_json::from_slice(&read(&path)?).map(Some).map_err(|e| Failure::content(&path, e))
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        write_json(&self.path(name), value)
    }
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Failure::file(path, e))
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read(path)?).map_err(|e| Failure::content(path, e))
}

/// Writes a JSON file for people to look at.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Failure::content(path, e))?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let wrong = |e| Failure::file(path, e);
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(wrong)?;
    }
    let new = path.with_added_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new).map_err(wrong)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(wrong)?;
    fs::rename(&new, path).map_err(wrong)
}
