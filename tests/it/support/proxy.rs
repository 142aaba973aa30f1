//! A cable to a database that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections to a server while it is whole.
pub(crate) struct Cable {
    pub(crate) address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Cable {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, server.clone(), state.clone()));
            }
        });
        Self { address, whole }
    }

    /// Ends all connections and lets no new one through.
    pub(crate) fn cut(&self) {
        self.whole.send(false).unwrap();
    }

    pub(crate) fn mend(&self) {
        self.whole.send(true).unwrap();
    }
}

async fn forward(mut near: TcpStream, server: String, mut state: watch::Receiver<bool>) {
    if !*state.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(server).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = state.wait_for(|whole| !whole) => {}
    }
}
