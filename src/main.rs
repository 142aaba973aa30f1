//! The `scimd` program: reads the command line, does what it says, serves if it is asked to.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use scimd::cli::{self, Cli, Outcome, Output, Serving, Signals};
use scimd::clock::{Clock, Ids};
use scimd::http::{self, App, Farewell, Stopped};
use scimd::pull::worker;
use tikv_jemallocator::Jemalloc;

/// The threads of the runtime and those of SQLite allocate much for a short time; glibc's allocator took a
/// quarter to a third more CPU for the same requests (docs/performance.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has gone; a token that nobody saw is no success.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            // If nobody can be told, the code still says it.
            let _gone = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        // Before anything else: the first process of a container gets no signal that it does not
        // ask for. What a signal cuts here is a transaction, which is kept as a whole or not at all.
        let signals = Signals::listen().context("signals cannot be received")?;
        let mut out = Output::new(Box::new(io::stdout()), cli.form());
        let outcome = tokio::select! {
            outcome = cli.run(&mut out) => outcome?,
            () = signals.seen(1) => bail!("stopped by a signal"),
        };
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Serve(serving) => serve(*serving, &signals).await,
        }
    })
}

async fn serve(serving: Serving, signals: &Signals) -> Result<()> {
    let Serving { settings, store, pulls, listener } = serving;
    let listen = listener.local_addr()?;
    let database = settings.database_url.to_string();
    let front_door = http::Settings {
        public_url: settings.public_url,
        trusted_proxies: settings.trusted_proxies,
        body_bytes_max: settings.body_bytes_max,
        request_timeout: settings.request_timeout,
        requests_running_max: settings.requests_running_max,
        requests_waiting_max: settings.requests_waiting_max,
        ..http::Settings::default()
    };
    let app = App::new(store, Clock::system(), Ids, front_door).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %listen, database, "scimd is serving");
    let worker = tokio::spawn(worker::work(pulls));
    let (stop, pulling) = (signals.seen(1), worker.abort_handle());
    let stop = async move {
        stop.await;
        // What it is at is a transaction; another process goes on from the last one.
        pulling.abort();
        tracing::info!("scimd is stopping; a second signal stops it at once");
    };
    let farewell = Farewell { drain: settings.shutdown_drain, grace: settings.shutdown_grace };
    let stopped = tokio::select! {
        stopped = http::serve(app, listener, stop, farewell) => stopped?,
        () = signals.seen(2) => Stopped::Cut,
    };
    worker.abort();
    match stopped {
        Stopped::Clean => tracing::info!("scimd has stopped"),
        Stopped::Cut => tracing::warn!("scimd has stopped before all requests were finished"),
    }
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
