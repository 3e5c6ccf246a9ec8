//! A served double.

use crate::client::Client;
use crate::double::{Cluster, Door, Store};
use hypercache::http::{self, HttpState};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use stdx::Clock;
use tokio::sync::watch;

/// Largest body that the served double takes.
pub(crate) const BODY_MAX: usize = 256 * 1024;

/// An HTTP server in a thread of its own, stopped when dropped.
pub(crate) struct Server {
    pub(crate) store: Arc<Store>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) door: Arc<Door>,
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (store, cluster, door) =
            (Arc::<Store>::default(), Arc::<Cluster>::default(), Arc::<Door>::default());
        let state = HttpState {
            backend: Arc::clone(&store) as Arc<_>,
            admin: Arc::clone(&cluster) as Arc<_>,
            gate: Arc::clone(&door) as Arc<_>,
            clock: Clock::system(),
            node_name: "node-1".to_owned(),
            max_body: BODY_MAX,
        };
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(http::serve(listener, state, stopped)).expect("the listener works");
        });
        Server { store, cluster, door, address, stop, thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Begins to stop.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until everything has stopped.
    pub(crate) fn join(&mut self) {
        self.thread.take().expect("joined once").join().expect("the server does not panic");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
