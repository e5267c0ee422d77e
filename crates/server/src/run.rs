//! The process: threads around the desk.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use custody::Hash;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::rule::Refusal;
use wire::{Listener, WireError};

use crate::bookkeeping::Bookkeeping;
use crate::desk::Desk;
use crate::disk::DiskError;
use crate::machine::{Keys, KeysError};
use crate::node::Client;
use crate::worker::Worker;
use crate::{client, link};

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Genesis.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its files.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its listener.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The books.
    #[error("the books: {0}")]
    Books(#[from] ledger::OpenError),
    /// The REST interface.
    #[error("the REST interface: {0}")]
    Api(String),
}

/// How a server is set up.
#[derive(Debug)]
pub struct Setup {
    /// The data directory, with the keys in it.
    pub directory: PathBuf,
    /// The deployment.
    pub genesis: Genesis,
    /// Where to listen for clients.
    pub listen: SocketAddr,
    /// Where the co-signers listen.
    pub cosigners: Vec<(Name, String)>,
    /// Where the node's RPC listens.
    pub node: SocketAddr,
    /// The node's cookie file.
    pub node_cookie: PathBuf,
    /// Where the clients' books are (see [`Books::open`]); a server without them is a post office.
    pub books: Option<String>,
    /// Where to listen for HTTPS.
    pub api: Option<SocketAddr>,
    /// The directory with the keys of a machine that may freeze and nothing else.
    pub alarm: Option<PathBuf>,
    /// The directory with the keys of a machine that may request, and the rules by which it asks for
    /// consolidations.
    pub consolidator: Option<PathBuf>,
    /// A file of deposits to hold.
    pub screening: Option<PathBuf>,
    /// A file of the confirmations and least amounts of deposits.
    pub deposit_rules: Option<PathBuf>,
    /// A block that an operator vouches for, to look at the chain from there again.
    pub rescan: Option<(u32, Hash)>,
}

/// A server whose listener is bound and whose log is replayed.
#[derive(Debug)]
pub struct Server {
    desk: Arc<Desk>,
    listener: Listener,
    worker: Worker,
    /// For what clients ask about blocks: a long search holds up nobody else.
    node: Arc<Client>,
    bookkeeping: Option<Bookkeeping>,
    cosigners: Vec<(Name, String)>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Desk(height {})", self.core().replica.height())
    }
}

impl Server {
    /// Opens the data directory and binds the listener; nobody is served yet.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn open(setup: Setup) -> Result<Self, RunError> {
        let keys = Keys::open(&setup.directory)?;
        // Those of genesis, and those that joined since or are to join (P30).
        let first = setup.genesis.cosigners.iter().map(|card| &card.name);
        let names: BTreeSet<&Name> = first.chain(setup.cosigners.iter().map(|(name, _)| name)).collect();
        let names = names.into_iter().cloned().collect();
        let (desk, places) = Desk::open(&setup.directory, setup.genesis.clone(), keys, names)?;
        let bookkeeping = Bookkeeping::open(&desk, &setup)?;
        let machine = desk.keys.machine();
        if desk.core().replica.state().tls_owner(&machine.tls).is_none() {
            eprintln!(
                "keyward-server: machine {} with these keys is not enrolled: co-signers will not let it in",
                machine.id
            );
        }
        // Weak, so that the listener's closure does not keep the desk alive.
        let known = Arc::downgrade(&desk);
        let allow =
            move |key: &[u8; 32]| known.upgrade().is_some_and(|desk| desk.caller(&Hash(*key)).is_some());
        let listener = Listener::bind(setup.listen, desk.keys.tls(), Arc::new(allow))?;
        let searched = Client::new(setup.node, setup.node_cookie.clone());
        let node = Client::new(setup.node, setup.node_cookie);
        let worker = Worker::new(Arc::clone(&desk), node, places);
        Ok(Self { desk, listener, worker, node: Arc::new(searched), bookkeeping, cosigners: setup.cosigners })
    }

    /// Where clients are served.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Where HTTPS is served.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.bookkeeping.as_ref().and_then(Bookkeeping::local_addr)
    }

    /// Serves until the process ends. Everything that must outlive it is on disk at any moment.
    ///
    /// # Errors
    /// [`RunError::Thread`].
    pub fn serve(self) -> Result<(), RunError> {
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map(drop).map_err(RunError::Thread)
        };
        for (name, address) in self.cosigners {
            let desk = Arc::clone(&self.desk);
            start("link", Box::new(move || link::keep_up(&desk, &name, &address)))?;
        }
        let worker = self.worker;
        start("worker", Box::new(move || worker.run()))?;
        let mut tunnel = None;
        if let Some(bookkeeping) = self.bookkeeping {
            let (clerk, way) = bookkeeping.serve();
            start("clerk", Box::new(move || clerk.run()))?;
            tunnel = Some(way);
        }
        client::accept(&self.desk, &self.node, tunnel.as_ref(), &self.listener);
        Ok(())
    }
}
