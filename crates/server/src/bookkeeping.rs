//! The half of the server that keeps books: the database, the clerk, and the REST interface. All that is
//! asynchronous runs on a runtime of its own beside the threads of the post office.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use api::{Caller, HttpsListener};
use custody::{Blob, Hash};
use ledger::{Asset, Books};
use tokio::runtime::{Builder, Handle, Runtime};
use wire::message::FromServer;

use crate::clerk::deposits::Settings;
use crate::clerk::{Blocking, Clerk, Setting};
use crate::counter::Counter;
use crate::desk::Desk;
use crate::machine::{Keys, hosts};
use crate::node::Client;
use crate::run::{RunError, Setup};

/// Threads of the runtime: the writer of the books and the requests, which wait for the disk.
const THREADS: usize = 2;

/// What a server with books has.
pub(crate) struct Bookkeeping {
    pub(crate) clerk: Clerk,
    pub(crate) tunnel: Tunnel,
    https: Option<HttpsListener>,
    runtime: Runtime,
}

/// The way of people's programs to the REST interface: their connection instead of HTTP.
#[derive(Clone)]
pub(crate) struct Tunnel {
    router: axum::Router,
    runtime: Handle,
}

impl Tunnel {
    /// Answers one question of the holder of a key.
    pub(crate) fn answer(
        &self,
        caller: Caller,
        method: &str,
        path: &str,
        key: Option<String>,
        body: Option<Blob>,
    ) -> FromServer {
        let body = body.map(|blob| blob.0);
        let (status, body) =
            self.runtime.block_on(api::answer(self.router.clone(), caller, method, path, key, body));
        FromServer::Api { status, body: Blob(body) }
    }
}

impl std::fmt::Debug for Bookkeeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bookkeeping").field("clerk", &self.clerk).finish_non_exhaustive()
    }
}

impl Bookkeeping {
    /// Opens the books, if the server has some, and binds the listener.
    pub(crate) fn open(desk: &Arc<Desk>, setup: &Setup) -> Result<Option<Self>, RunError> {
        let Some(address) = &setup.books else { return Ok(None) };
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let runtime = runtime.map_err(RunError::Thread)?;
        let books = runtime.block_on(Books::open(address))?;
        let asset: Asset = setup.genesis.asset().parse().map_err(|e| RunError::Api(format!("{e}")))?;
        let alarm = setup.alarm.as_deref().map(Keys::open).transpose()?;
        // Until the clerk has looked, nothing is reserved.
        desk.core().funded = Some(Arc::default());
        let node = Client::new(setup.node, setup.node_cookie.clone());
        let setting = Setting {
            directory: setup.directory.clone(),
            asset,
            alarm,
            consolidator: setup.consolidator.clone(),
            deposits: Settings {
                screening: setup.screening.clone(),
                rules: setup.deposit_rules.clone(),
                keys: Some(setup.directory.join("derived-keys")),
                rescan: setup.rescan,
            },
        };
        let clerk = Clerk::new(
            Arc::clone(desk),
            Blocking::new(books.clone(), runtime.handle().clone()),
            node,
            setting,
        )
        .map_err(|error| RunError::Api(error.to_string()))?;
        let counter = Counter::new(Arc::clone(desk), books, clerk.own(), clerk.shelf());
        let router = api::router(Arc::new(counter));
        let https = setup.api.map(|address| https(desk, setup, address, &router)).transpose()?;
        let tunnel = Tunnel { router, runtime: runtime.handle().clone() };
        Ok(Some(Self { clerk, tunnel, https, runtime }))
    }

    /// Where HTTPS is served.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(HttpsListener::local_addr)
    }

    /// Serves HTTPS on the runtime, which then lives as long as the process.
    pub(crate) fn serve(self) -> (Clerk, Tunnel) {
        if let Some(https) = self.https {
            self.runtime.spawn(async move {
                // It ends only when the socket is taken away.
                let Err(error) = https.serve().await;
                eprintln!("keyward-server: {error}");
            });
        }
        std::mem::forget(self.runtime);
        (self.clerk, self.tunnel)
    }
}

/// Binds the HTTPS listener.
fn https(
    desk: &Arc<Desk>,
    setup: &Setup,
    address: SocketAddr,
    router: &axum::Router,
) -> Result<HttpsListener, RunError> {
    let wrong = |error: &dyn std::fmt::Display| RunError::Api(error.to_string());
    let certificate = desk.keys.certificate(&hosts(&setup.directory)?).map_err(|e| wrong(&e))?;
    let tcp = TcpListener::bind(address).map_err(|e| wrong(&format!("cannot listen on {address}: {e}")))?;
    // Weak, so that the listener's closure does not keep the desk alive.
    let known = Arc::downgrade(desk);
    let admit = move |key: &[u8; 32]| known.upgrade()?.caller(&Hash(*key));
    HttpsListener::new(tcp, &certificate, router.clone(), Arc::new(admit)).map_err(|e| wrong(&e))
}
