//! When to stop: SIGTERM and Ctrl-C.

use std::future::Future;
use std::io;

use tokio::sync::watch;

/// The signals that end a server: the first one asks it to finish what is in flight, the second one
/// not to wait for that.
#[derive(Debug, Clone)]
pub struct Signals {
    seen: watch::Receiver<u32>,
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> io::Result<Self> {
        let (tell, seen) = watch::channel(0);
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    tell.send_modify(|count| *count += 1);
                }
            });
        }
        #[cfg(not(unix))]
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                tell.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { seen })
    }

    /// Completes at the `count`-th signal.
    pub fn seen(&self, count: u32) -> impl Future<Output = ()> + Send + 'static {
        let mut seen = self.seen.clone();
        async move {
            // It fails only when nobody listens any more, as the process ends.
            let _ended = seen.wait_for(|&number| number >= count).await;
        }
    }
}
