//! The electronic form of a component (DACS REC-08): what its sheet says, as canonical JSON, in an age file that
//! its holder's own identity opens and nothing else. `docs/spec/sheet.md` describes it.
//!
//! The words go from locked memory into the cipher and back; nothing in the clear is ever a file.

use std::fmt;
use std::io::{self, Read, Write};
use std::iter;
use std::str::FromStr;

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, IdentityFile, scrypt, x25519};
use ceremony::sheet::Label;
use custody::canon;
use keys::locked::{LockError, LockedBytes};
use serde::{Deserialize, Serialize};

use crate::image::{TypedError, Words};

/// The format that this program reads and writes.
pub const FORMAT: &str = "keyward/component/v1";

/// What every version of the format begins with.
const FORMATS: &str = "keyward/component/v";

/// Largest file in bytes: a component takes less than 2,000.
pub const FILE_LIMIT_BYTES: usize = 16 << 10;

/// Most work that opening an identity may take, as the binary logarithm of scrypt's N: the age program uses 18
/// (256 MiB); 20 takes 1 GiB.
const WORK_LIMIT_LOG2: u8 = 20;

/// What stands between label and words. The label has no field after `words` in the order of names.
const BETWEEN: &[u8] = b",\"words\":\"";

/// What stands after the words.
const END: &[u8] = b"\"}";

/// To whom a component is encrypted: the public half of an age identity (X25519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("{text:?} is no age recipient ({why}): give the line age1… of age-keygen");
        text.parse().map(Self).map_err(wrong)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A holder's own identities, as an identity file of age has them.
pub struct Identity(Vec<Box<dyn age::Identity + Send + Sync>>);

/// Why an identity file opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The file is encrypted with a passphrase, and none was given.
    #[error("the identity file has a passphrase: type it")]
    Passphrase,
    /// Another passphrase.
    #[error("the passphrase does not open the identity file: type it again")]
    WrongPassphrase,
    /// More work than [`WORK_LIMIT_LOG2`] allows.
    #[error(
        "the identity file asks for scrypt with N = 2^{0}, over the limit of 2^{WORK_LIMIT_LOG2}: encrypt it anew"
    )]
    Work(u8),
    /// Not an identity file, or one that was damaged.
    #[error("not an identity file of age: use the one that age-keygen wrote, with a line AGE-SECRET-KEY-1…")]
    Form,
}

/// Why a component was not written, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The medium took no more.
    #[error("writing the file: {0}; put in another medium and write it again")]
    Write(io::Error),
    /// The medium cannot be read.
    #[error("reading the file: {0}; use another copy")]
    Read(io::Error),
    /// More than [`FILE_LIMIT_BYTES`].
    #[error("the file has more than {FILE_LIMIT_BYTES} bytes: it is no component")]
    Large,
    /// Not in the format of age.
    #[error("not an age file, or its head was damaged: use another copy, or the sheet")]
    NotAge,
    /// Encrypted to somebody else.
    #[error("this identity does not open the file: use that of the component's holder")]
    OtherIdentity,
    /// It ends early.
    #[error("the file ends early: use another copy, or the sheet")]
    Truncated,
    /// Its bytes changed.
    #[error("the file was altered or damaged: use another copy, or the sheet")]
    Altered,
    /// A later version of the format.
    #[error("the file is of a later version than {FORMAT}: use the program that wrote it, or a later one")]
    Version,
    /// Decrypted, but something else than a component.
    #[error("the file holds no component ({0}): use the file that the ceremony wrote")]
    Form(String),
    /// See [`TypedError`].
    #[error("the file holds no component: {0}")]
    Words(#[from] TypedError),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

/// What the file says before the words.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    label: Label,
}

/// Writes a component, encrypted to its holder. `out` is whole only if this succeeds.
///
/// # Errors
/// [`FileError::Write`], [`FileError::Form`] for a label without canonical form.
pub fn write(label: &Label, words: &str, to: &Recipient, out: &mut dyn Write) -> Result<(), FileError> {
    let form = |why: &dyn fmt::Display| FileError::Form(why.to_string());
    let head = Head { format: FORMAT.to_owned(), label: label.clone() };
    let head = canon::encode(&head).map_err(|error| form(&error))?;
    let head = head.strip_suffix(b"}").unwrap_or_default();
    let to: &dyn age::Recipient = &to.0;
    let encryptor = Encryptor::with_recipients(iter::once(to)).map_err(|error| form(&error))?;
    let mut cipher = encryptor.wrap_output(&mut *out).map_err(FileError::Write)?;
    for part in [head, BETWEEN, words.as_bytes(), END] {
        cipher.write_all(part).map_err(FileError::Write)?;
    }
    cipher.finish().and_then(|out| out.flush()).map_err(FileError::Write)
}

/// Reads a component with its holder's identity.
///
/// # Errors
/// See [`FileError`].
pub fn read(file: impl Read, identity: &Identity) -> Result<(Label, Words), FileError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_LIMIT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(FileError::Read)?;
    if bytes.len() > FILE_LIMIT_BYTES {
        return Err(FileError::Large);
    }
    let identities = identity.0.iter().map(|identity| identity.as_ref() as &dyn age::Identity);
    let mut plain = Decryptor::new_buffered(bytes.as_slice())?.decrypt(identities)?;
    // Encryption adds bytes, so what it hides is shorter than the file.
    let mut text = LockedBytes::zeroed(FILE_LIMIT_BYTES)?;
    let mut length = 0;
    while let Some(rest) = text.expose_mut().get_mut(length..).filter(|rest| !rest.is_empty()) {
        match plain.read(rest).map_err(DecryptError::Io)? {
            0 => break,
            more => length += more,
        }
    }
    text.truncate(length);
    parse(text.expose())
}

/// Takes label and words apart. The form is canonical, so the words stand last, and nothing in them is escaped.
fn parse(text: &[u8]) -> Result<(Label, Words), FileError> {
    let form = |why: &str| FileError::Form(why.to_owned());
    let version = format!("\"format\":\"{FORMAT}\"");
    let holds = |wanted: &str| text.windows(wanted.len()).any(|part| part == wanted.as_bytes());
    if !holds(&version) {
        let later = holds(&format!("\"format\":\"{FORMATS}"));
        return Err(if later { FileError::Version } else { form("it names no format") });
    }
    let at = text.windows(BETWEEN.len()).rposition(|part| part == BETWEEN);
    let (head, words) = at.map(|at| text.split_at(at)).ok_or_else(|| form("it has no words"))?;
    let words = words.strip_prefix(BETWEEN).and_then(|words| words.strip_suffix(END));
    let words =
        words.and_then(|words| std::str::from_utf8(words).ok()).ok_or_else(|| form("it has no words"))?;
    let head: Head = canon::decode(&[head, b"}"].concat()).map_err(|error| form(&error.to_string()))?;
    if head.format != FORMAT {
        return Err(FileError::Version);
    }
    let read = Words::typed(words)?;
    match read.as_str() == words {
        true => Ok((head.label, read)),
        false => Err(form("its words are not in lower case with one space between")),
    }
}

impl From<DecryptError> for FileError {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::NoMatchingKeys => Self::OtherIdentity,
            DecryptError::UnknownFormat => Self::Version,
            DecryptError::InvalidHeader => Self::NotAge,
            DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            DecryptError::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::Altered,
            DecryptError::Io(error) => Self::Read(error),
            _ => Self::Altered,
        }
    }
}

impl Identity {
    /// Reads an identity file, with its passphrase if it is encrypted with one.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn open(file: &[u8], passphrase: Option<SecretString>) -> Result<Self, IdentityError> {
        if !file.starts_with(b"age-encryption.org/") {
            return Self::parse(file);
        }
        let decryptor = Decryptor::new_buffered(file).map_err(|_| IdentityError::Form)?;
        if !decryptor.is_scrypt() {
            return Err(IdentityError::Form);
        }
        let mut lock = scrypt::Identity::new(passphrase.ok_or(IdentityError::Passphrase)?);
        lock.set_max_work_factor(WORK_LIMIT_LOG2);
        let mut plain =
            decryptor.decrypt(iter::once(&lock as &dyn age::Identity)).map_err(|error| match error {
                DecryptError::ExcessiveWork { required, .. } => IdentityError::Work(required),
                DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
                    IdentityError::WrongPassphrase
                }
                _ => IdentityError::Form,
            })?;
        let mut text = zeroize::Zeroizing::new(Vec::with_capacity(file.len()));
        plain.read_to_end(&mut text).map_err(|_| IdentityError::Form)?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self, IdentityError> {
        let file = IdentityFile::from_buffer(text).map_err(|_| IdentityError::Form)?;
        match file.into_identities() {
            Ok(identities) if !identities.is_empty() => Ok(Self(identities)),
            _ => Err(IdentityError::Form),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(<secret>)")
    }
}
