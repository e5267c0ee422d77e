//! Where sheets are printed: a printer device or a descriptor, written to directly. A spool would keep a copy.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A printer that understands PostScript.
#[derive(Clone, Debug)]
pub enum Printer {
    /// A device, such as `/dev/usb/lp0`; for a rehearsal a pipe.
    Device(PathBuf),
    /// None: sheets cannot be printed.
    None,
}

/// How long a printer may take to be opened. One that is there is opened at once; a pipe waits for a reader.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

impl Printer {
    /// Opens it for one sheet; only for a rehearsal a pipe.
    ///
    /// # Errors
    /// No printer, or something that would keep the sheet or show it.
    pub fn open(&self, rehearsal: bool) -> io::Result<File> {
        self.check(rehearsal)?;
        let Self::Device(path) = self else {
            return Err(io::Error::other("no printer was named: start again with --printer DEVICE"));
        };
        let (tell, opened) = mpsc::channel();
        let device = path.clone();
        // A pipe without a reader would hold up whoever opens it, and the watch goes on meanwhile.
        thread::spawn(move || tell.send(OpenOptions::new().write(true).open(device)));
        let late = || io::Error::other("nobody takes the sheet: switch the printer on");
        let opened = opened.recv_timeout(OPEN_LIMIT).map_err(|_| late()).and_then(|opened| opened);
        // What was opened, and not what had that path before.
        opened.and_then(|opened| takes_sheets(opened, rehearsal)).map_err(|error| named(path, &error))
    }

    /// Whether what was named can be a printer; it may be switched off still.
    ///
    /// # Errors
    /// A path that would leave sheets on a disk, or give them to a program.
    pub fn check(&self, rehearsal: bool) -> io::Result<()> {
        let Self::Device(path) = self else { return Ok(()) };
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other
                .and_then(|found| is_printer(found.file_type(), rehearsal))
                .map_err(|error| named(path, &error)),
        }
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

fn is_printer(kind: FileType, rehearsal: bool) -> io::Result<()> {
    if kind.is_char_device() || (kind.is_fifo() && rehearsal) {
        return Ok(());
    }
    Err(io::Error::other(if kind.is_fifo() {
        "a pipe: whoever reads it could keep the component; only a rehearsal prints there"
    } else {
        "this is no device: a sheet in a file would be a component on the disk"
    }))
}

fn takes_sheets(opened: File, rehearsal: bool) -> io::Result<File> {
    is_printer(opened.metadata()?.file_type(), rehearsal)?;
    if opened.is_terminal() {
        return Err(io::Error::other("a terminal: the words would stay on it; name the printer"));
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_printer_is_a_device_and_only_for_a_rehearsal_a_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let (pipe, file) = (directory.path().join("pipe"), directory.path().join("file"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::write(&file, b"").unwrap();
        // Open at both ends, so that nobody waits.
        let _reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        for rehearsal in [true, false] {
            let at = |path: &Path| Printer::Device(path.into());
            at(Path::new("/dev/null")).open(rehearsal).unwrap();
            assert_eq!(at(&pipe).check(rehearsal).is_ok(), rehearsal);
            assert_eq!(at(&pipe).open(rehearsal).is_ok(), rehearsal);
            for no_printer in [&file, directory.path()] {
                let why = at(no_printer).check(rehearsal).unwrap_err().to_string();
                assert!(why.contains("would be a component on the disk"), "{why}");
                assert!(at(no_printer).open(rehearsal).is_err());
            }
            let why = at(Path::new("/dev/ptmx")).open(rehearsal).unwrap_err().to_string();
            assert!(why.contains("a terminal"), "{why}");
            // One that is switched off is asked for when it is needed.
            at(&directory.path().join("off")).check(rehearsal).unwrap();
        }
    }

    #[test]
    fn what_was_opened_counts_whatever_the_path_was_before() {
        let directory = tempfile::tempdir().unwrap();
        let (pipe, file) = (directory.path().join("pipe"), directory.path().join("file"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let opened = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        assert!(takes_sheets(opened.try_clone().unwrap(), true).is_ok());
        assert!(takes_sheets(opened, false).is_err());
        assert!(takes_sheets(File::create(&file).unwrap(), true).is_err());
    }
}
