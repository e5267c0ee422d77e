//! Where sheets are printed: a printer device or a descriptor, written to directly. A spool would keep a copy.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
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
    /// Opens it for one sheet.
    ///
    /// # Errors
    /// No printer, or a path that would leave the sheet on a disk.
    pub fn open(&self) -> io::Result<File> {
        self.check()?;
        let Self::Device(path) = self else {
            return Err(io::Error::other("no printer was named: start again with --printer DEVICE"));
        };
        let (tell, opened) = mpsc::channel();
        let device = path.clone();
        // A pipe without a reader would hold up whoever opens it, and the watch goes on meanwhile.
        thread::spawn(move || tell.send(OpenOptions::new().write(true).open(device)));
        let late = || io::Error::other("nobody takes the sheet: switch the printer on");
        let opened = opened.recv_timeout(OPEN_LIMIT).map_err(|_| late()).and_then(|opened| opened);
        opened.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    /// Whether what was named can be a printer; it may be switched off still.
    ///
    /// # Errors
    /// A path that would leave sheets on a disk.
    pub fn check(&self) -> io::Result<()> {
        let Self::Device(path) = self else { return Ok(()) };
        let kind = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?.file_type(),
        };
        if kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
            return Ok(());
        }
        let path = path.display();
        Err(io::Error::other(format!(
            "{path} is no device: a sheet in a file would be a component on the disk"
        )))
    }
}
