//! Messages between the program and its worker over a pipe: what is public as JSON, what is secret as
//! bytes that go from locked memory to locked memory.

use std::io::{self, Read, Write};

use keys::locked::{LockError, LockedBytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of the public part of a message: the sealed shares of [`custody::SLOTS_LIMIT`] accounts for
/// sixteen co-signers are a tenth of it.
pub const PUBLIC_LIMIT_BYTES: usize = 4 << 20;

/// Most bytes of the secret part: ten thousand throws of dice, or the words of sixteen components.
pub const SECRET_LIMIT_BYTES: usize = 16 << 10;

/// Why a message was not passed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side is gone, or the pipe failed.
    #[error(
        "the secret half of the ceremony does not answer ({0}): it has ended and all its secrets with it"
    )]
    Pipe(#[from] io::Error),
    /// A message over its limit.
    #[error("a message of {0} bytes is over its limit of {1}")]
    TooLong(usize, usize),
    /// Not a message of this program.
    #[error("a message that is none of this program: {0}")]
    Form(String),
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
}

fn length(bytes: usize, limit: usize) -> Result<[u8; 4], FrameError> {
    let fits = u32::try_from(bytes).ok().filter(|_| bytes <= limit);
    fits.map(u32::to_be_bytes).ok_or(FrameError::TooLong(bytes, limit))
}

/// Sends one message.
///
/// # Errors
/// See [`FrameError`].
pub fn send(out: &mut impl Write, public: &impl Serialize, secret: &[u8]) -> Result<(), FrameError> {
    let public = custody::canon::encode(public).map_err(|error| FrameError::Form(error.to_string()))?;
    out.write_all(&length(public.len(), PUBLIC_LIMIT_BYTES)?)?;
    out.write_all(&length(secret.len(), SECRET_LIMIT_BYTES)?)?;
    out.write_all(&public)?;
    out.write_all(secret)?;
    Ok(out.flush()?)
}

/// Receives one message; none at the end of the pipe between two messages.
///
/// # Errors
/// See [`FrameError`].
pub fn receive<T: Serialize + DeserializeOwned>(
    from: &mut impl Read,
) -> Result<Option<(T, LockedBytes)>, FrameError> {
    let mut first = [0; 1];
    // A signal may interrupt the wait.
    let begun = loop {
        match from.read(&mut first) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if begun == 0 {
        return Ok(None);
    }
    let (mut rest, mut secret) = ([0; 3], [0; 4]);
    from.read_exact(&mut rest)?;
    from.read_exact(&mut secret)?;
    let within = |bytes: u32, limit: usize| match usize::try_from(bytes) {
        Ok(bytes) if bytes <= limit => Ok(bytes),
        other => Err(FrameError::TooLong(other.unwrap_or(usize::MAX), limit)),
    };
    let [a] = first;
    let [b, c, d] = rest;
    let public = within(u32::from_be_bytes([a, b, c, d]), PUBLIC_LIMIT_BYTES)?;
    let secret = within(u32::from_be_bytes(secret), SECRET_LIMIT_BYTES)?;
    let mut bytes = vec![0; public];
    from.read_exact(&mut bytes)?;
    let mut locked = LockedBytes::zeroed(secret.max(1))?;
    locked.truncate(secret);
    from.read_exact(locked.expose_mut())?;
    let message = custody::canon::decode(&bytes).map_err(|error| FrameError::Form(error.to_string()))?;
    Ok(Some((message, locked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(public: &str, secret: &[u8]) -> Result<Option<(String, LockedBytes)>, FrameError> {
        let mut pipe = Vec::new();
        send(&mut pipe, &public, secret)?;
        receive(&mut pipe.as_slice())
    }

    #[test]
    fn both_parts_arrive() {
        for secret in [&b""[..], b"words", &[7; SECRET_LIMIT_BYTES]] {
            let (public, got) = passed("ask", secret).unwrap().unwrap();
            assert_eq!((public.as_str(), got.expose()), ("ask", secret));
        }
        assert!(receive::<String>(&mut &[][..]).unwrap().is_none());
    }

    #[test]
    fn limits_and_cut_pipes() {
        assert!(matches!(passed("", &[7; SECRET_LIMIT_BYTES + 1]), Err(FrameError::TooLong(..))));
        // The quotes of JSON count.
        assert!(passed(&"x".repeat(PUBLIC_LIMIT_BYTES - 2), b"").is_ok());
        assert!(matches!(passed(&"x".repeat(PUBLIC_LIMIT_BYTES - 1), b""), Err(FrameError::TooLong(..))));
        let long = [&u32::MAX.to_be_bytes()[..], &[0; 4]].concat();
        assert!(matches!(receive::<String>(&mut long.as_slice()), Err(FrameError::TooLong(..))));
        let long = [&[0; 4][..], &u32::MAX.to_be_bytes()].concat();
        assert!(matches!(receive::<String>(&mut long.as_slice()), Err(FrameError::TooLong(..))));
        let mut pipe = Vec::new();
        send(&mut pipe, &"ask", b"secret").unwrap();
        for cut in 1..pipe.len() {
            assert!(matches!(receive::<String>(&mut &pipe[..cut]), Err(FrameError::Pipe(_))), "{cut}");
        }
        let other = [&[0, 0, 0, 1, 0, 0, 0, 0][..], b"{"].concat();
        assert!(matches!(receive::<String>(&mut other.as_slice()), Err(FrameError::Form(_))));
    }
}
