//! What it costs to bring people in from a CSV file, beside one bare INSERT for each of them.
//!
//! `cargo bench --bench pull -- 1000000` takes another number of rows than 100,000, and
//! `tests/with-postgres cargo bench --bench pull` measures PostgreSQL too. Every step runs in a process of
//! its own, so that its greatest use of memory is its own; commits are as durable as in production.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to say")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use scimd::clock::{Clock, Ids};
use scimd::directory::source::Place;
use scimd::directory::{ConnectionKind, ConnectionStatus, SourceSettings};
use scimd::provision::Provision;
use scimd::provision::pull::Worker;
use scimd::provision::setup::NewConnection;
use scimd::provision::sources::SourceChange;
use scimd::pull::Pulls;
use scimd::pull::engine::BATCH_LINES;
use scimd::pull::remote::Network;
use scimd::store::row::{Id, Row};
use scimd::store::runs::RunState;
use scimd::store::sql::Bind;
use scimd::store::waist::Dialect;
use scimd::store::{Record, Sql, Store, StoreError, Tx};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The rows of the file, unless the first argument says otherwise.
const ROWS: u64 = 100_000;

/// The file, in the folder of the instance.
const FILE: &str = "people.csv";

/// The word that makes this program a step.
const STEP: &str = "step";

/// The parts of a row that both databases spell alike.
const COLUMNS: usize = 22;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [STEP, url, folder, rows, step] => one_step(url, Path::new(folder), rows, step),
        [rows] => all(rows.parse().expect("a number of rows")),
        _ => all(ROWS),
    };
    done.expect("the benchmark runs to its end");
}

/// Measures one database after the other.
fn all(rows: u64) -> Result<()> {
    let folder = TempDir::new()?;
    let sqlite = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    measure("SQLite", &[sqlite("scimd.db"), sqlite("bare.db")], folder.path(), rows)?;
    drop(folder);
    match environment("TEST_POSTGRES_URL") {
        Some(server) => {
            let folder = TempDir::new()?;
            let runtime = Runtime::new()?;
            let urls = [runtime.block_on(schema(&server, "pull"))?];
            let bare = runtime.block_on(schema(&server, "bare"))?;
            let [pull] = urls;
            measure("PostgreSQL", &[pull, bare], folder.path(), rows)
        }
        None => say("PostgreSQL is left out: TEST_POSTGRES_URL is not set"),
    }
}

#[expect(clippy::disallowed_methods, reason = "as the tests, configured by the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// A schema of its own in a PostgreSQL database.
async fn schema(server: &str, name: &str) -> Result<String> {
    use sqlx::{Connection as _, Executor as _};
    let name = format!("bench_{name}_{}", std::process::id());
    let mut admin = sqlx::PgConnection::connect(server).await?;
    admin.execute(sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {name}")))).await?;
    admin.close().await?;
    let glue = if server.contains('?') { '&' } else { '?' };
    Ok(format!("{server}{glue}options=-csearch_path%3D{name}"))
}

/// The steps on one database, each beside the bare rows.
fn measure(database: &str, [url, bare]: &[String; 2], folder: &Path, rows: u64) -> Result<()> {
    say(&format!("\n{database}, {rows} rows, {BATCH_LINES} in a transaction"))?;
    say("step        seconds      rows/s   bare rows   peak MiB")?;
    Runtime::new()?.block_on(prepare(url, folder))?;
    write_file(folder, rows, 0)?;
    let new = run(url, folder, rows, "new")?;
    let runtime = Runtime::new()?;
    let took = runtime.block_on(load_bare(url, bare))?;
    drop(runtime);
    let print = |step: &str, took: Duration, peak: &str, base: Duration| {
        let seconds = took.as_secs_f64();
        let speed = f64::from(u32::try_from(rows).unwrap_or(u32::MAX)) / seconds;
        let ratio = seconds / base.as_secs_f64();
        say(&format!("{step:10} {seconds:>8.2} {speed:>11.0} {ratio:>10.2}x {peak:>10}"))
    };
    print("bare", took, "", took)?;
    print("new", new.0, &new.1, took)?;
    let same = run(url, folder, rows, "unchanged")?;
    print("unchanged", same.0, &same.1, took)?;
    write_file(folder, rows, 100)?;
    let changed = run(url, folder, rows, "changed")?;
    print("1% changed", changed.0, &changed.1, took)
}

/// Does a step in a process of its own: how long it took, and its greatest use of memory.
fn run(url: &str, folder: &Path, rows: u64, step: &str) -> Result<(Duration, String)> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args([STEP, url]).arg(folder).args([&rows.to_string(), step]);
    let output = child.stderr(std::process::Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let Some((nanos, peak)) = text.trim().split_once(' ').filter(|_| output.status.success())
    else {
        return Err(format!("the step {step} failed: {text}").into());
    };
    Ok((Duration::from_nanos(nanos.parse()?), peak.to_owned()))
}

fn settings() -> SourceSettings {
    SourceSettings::of(Place::Folder { path: FILE.to_owned() })
}

async fn provision(url: &str) -> Result<Provision> {
    let store = Store::open(url, 4).await?;
    Ok(Provision::new(store, Clock::system(), Ids))
}

/// An instance with a connection that is pulled from a folder.
async fn prepare(url: &str, folder: &Path) -> Result<()> {
    let provision = provision(url).await?;
    let author = provision.operator();
    let tenant = provision.create_tenant("Bench").await?;
    let instance = provision.create_instance(&author, &tenant, "Bench").await?;
    let new = NewConnection {
        kind: ConnectionKind::Csv,
        name: "bench".to_owned(),
        profile: None,
        status: ConnectionStatus::Enabled,
    };
    let connection = provision.create_connection(&author, instance.id, new).await?;
    let change = SourceChange { settings: Some(settings()), ..SourceChange::default() };
    provision.set_source(&author, &connection, change).await?;
    fs::create_dir(folder.join(instance.id.to_string()))?;
    Ok(())
}

/// Pulls once, and says how long it took and how much memory.
fn one_step(url: &str, folder: &Path, rows: &str, step: &str) -> Result<()> {
    let took = Runtime::new()?.block_on(pull(url, folder, rows.parse()?, step))?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let peak = peak.map_or("?".to_owned(), |peak| (peak / 1024).to_string());
    say(&format!("{} {peak}", took.as_nanos()))
}

async fn pull(url: &str, folder: &Path, rows: i64, step: &str) -> Result<Duration> {
    let provision = provision(url).await?;
    let author = provision.operator();
    let instances = provision.instances().await?;
    let instance = instances.first().ok_or("no instance")?.id;
    let connections = provision.connections(instance).await?;
    let connection = connections.first().ok_or("no connection")?;
    if step == "unchanged" {
        provision.forget_last_pull(&author, connection).await?;
    }
    let files = Some(PathBuf::from(folder));
    let pulls = Pulls::new(provision.clone(), None, Network::default(), files);
    let began = Instant::now();
    let run = provision.begin_pull(&author, instance, connection.id, false, Worker::Here).await?;
    let run = pulls.work_off(run, &mut |_| ()).await?;
    let took = began.elapsed();
    let pull = run.pull.unwrap_or_default();
    let counts = pull.counts;
    let expected = match step {
        "new" => (rows, 0, 0),
        "unchanged" => (0, 0, rows),
        _ => (0, rows / 100, rows - rows / 100),
    };
    let found = (counts.created, counts.updated, counts.unchanged);
    if run.state != RunState::Done || found != expected {
        return Err(format!("{}: {found:?} {:?}", run.state, pull.reason).into());
    }
    Ok(took)
}

/// A row of accounts, as it is: what a pull has made of a row of the file.
struct Bare([Bind; COLUMNS]);

impl Record for Bare {
    fn read(row: &Row<'_>) -> std::result::Result<Self, StoreError> {
        let id = |column| row.get::<Option<Uuid>>(column).map(Bind::Uuid);
        let text = |column| row.get::<Option<String>>(column).map(Bind::Text);
        let integer = |column| row.get::<Option<i64>>(column).map(Bind::Integer);
        let flag = |column| row.get::<bool>(column).map(Bind::Boolean);
        Ok(Self([
            id("id")?,
            id("instance_id")?,
            id("connection_id")?,
            text("user_name")?,
            text("user_name_key")?,
            text("external_id")?,
            text("display_name")?,
            text("employee_number")?,
            flag("active")?,
            text("status")?,
            text("manager_ref")?,
            text("manager_ref_key")?,
            id("manager_id")?,
            text("document")?,
            integer("version")?,
            integer("created_at")?,
            integer("modified_at")?,
            flag("in_scope")?,
            flag("protected")?,
            text("fields")?,
            text("local_fields")?,
            flag("in_source")?,
        ]))
    }
}

const BARE_ROWS: &str = "SELECT id, instance_id, connection_id, user_name, user_name_key, \
    external_id, display_name, employee_number, active, status, manager_ref, manager_ref_key, \
    manager_id, document, version, created_at, modified_at, in_scope, protected, fields, \
    local_fields, in_source FROM accounts WHERE instance_id = $1 AND id > $2 ORDER BY id LIMIT $3";

const BARE_SQLITE: &str = "CREATE TABLE bare (id BLOB NOT NULL, instance_id BLOB NOT NULL, \
    connection_id BLOB, user_name TEXT NOT NULL, user_name_key TEXT NOT NULL, external_id TEXT, \
    display_name TEXT, employee_number TEXT, active INTEGER NOT NULL, status TEXT NOT NULL, \
    manager_ref TEXT, manager_ref_key TEXT, manager_id BLOB, document TEXT NOT NULL, \
    version INTEGER NOT NULL, created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL, \
    in_scope INTEGER NOT NULL, protected INTEGER NOT NULL, fields TEXT NOT NULL, \
    local_fields TEXT NOT NULL, in_source INTEGER NOT NULL, PRIMARY KEY (instance_id, id), \
    UNIQUE (instance_id, user_name_key)) STRICT";

const BARE_POSTGRES: &str = "CREATE TABLE bare (id UUID NOT NULL, instance_id UUID NOT NULL, \
    connection_id UUID, user_name TEXT NOT NULL, user_name_key TEXT COLLATE \"C\" NOT NULL, \
    external_id TEXT, display_name TEXT, employee_number TEXT, active BOOLEAN NOT NULL, \
    status TEXT NOT NULL, manager_ref TEXT, manager_ref_key TEXT, manager_id UUID, \
    document TEXT NOT NULL, version BIGINT NOT NULL, created_at BIGINT NOT NULL, \
    modified_at BIGINT NOT NULL, in_scope BOOLEAN NOT NULL, protected BOOLEAN NOT NULL, \
    fields TEXT NOT NULL, local_fields TEXT NOT NULL, in_source BOOLEAN NOT NULL, \
    PRIMARY KEY (instance_id, id), UNIQUE (instance_id, user_name_key))";

const BARE_INSERT: &str = "INSERT INTO bare (id, instance_id, connection_id, user_name, \
    user_name_key, external_id, display_name, employee_number, active, status, manager_ref, \
    manager_ref_key, manager_id, document, version, created_at, modified_at, in_scope, protected, \
    fields, local_fields, in_source) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
    $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";

/// Loads the rows that the pull has made into a table without further indexes, in transactions of the same
/// size; how long the loading took, without the reading.
async fn load_bare(from: &str, into: &str) -> Result<Duration> {
    let (from, into) = (Store::open(from, 2).await?, Store::open(into, 2).await?);
    let create = match into.dialect() {
        Dialect::Sqlite => BARE_SQLITE,
        Dialect::Postgres => BARE_POSTGRES,
    };
    let mut tx = into.begin().await?;
    tx.execute(Sql::new(create)).await?;
    tx.commit().await?;
    let instance = Sql::new("SELECT id FROM instances");
    let instance = from.read().await?.fetch_optional::<Id<Uuid>>(instance).await?;
    let Id(instance) = instance.ok_or("no instance")?;
    let (mut last, mut took) = (Uuid::nil(), Duration::ZERO);
    let size = i64::try_from(BATCH_LINES)?;
    loop {
        let page = Sql::new(BARE_ROWS).bind(instance).bind(last).bind(size);
        let rows: Vec<Bare> = from.read().await?.fetch_all(page).await?;
        let Some(Bare([Bind::Uuid(Some(id)), ..])) = rows.last() else { break };
        last = *id;
        let began = Instant::now();
        let tx = into.begin().await?;
        insert(tx, rows).await?;
        took += began.elapsed();
    }
    from.close().await;
    into.close().await;
    Ok(took)
}

async fn insert(mut tx: Tx, rows: Vec<Bare>) -> Result<()> {
    for Bare(values) in rows {
        let bound = values.into_iter().fold(Sql::new(BARE_INSERT), Sql::bind);
        tx.execute(bound).await?;
    }
    Ok(tx.commit().await?)
}

/// Writes the file; one row in `every` has another title, if it is not 0. Most people have a manager, and
/// one in twenty names somebody who comes later.
fn write_file(folder: &Path, rows: u64, every: u64) -> Result<()> {
    const FIRST: [&str; 7] = ["Ann", "Bob", "Cy", "Dörte", "Eve", "Fay", "Gül"];
    const LAST: [&str; 11] =
        ["Adler", "Brandt", "Čapek", "Diaz", "Ek", "Frost", "Gray", "Hahn", "Ito", "Jahn", "Kurz"];
    let inside = fs::read_dir(folder)?.filter_map(std::result::Result::ok);
    let inside = inside.map(|one| one.path()).find(|path| path.is_dir()).ok_or("no folder")?;
    let mut file = BufWriter::new(File::create(inside.join(FILE))?);
    writeln!(
        file,
        "username,first name,last name,email,job title,department,employee number,manager"
    )?;
    let pick = |list: &[&'static str], number: u64| {
        let place = usize::try_from(number).unwrap_or(0) % list.len();
        list.get(place).copied().unwrap_or_default()
    };
    for number in 0..rows {
        let (first, last) = (pick(&FIRST, number), pick(&LAST, number / 3));
        let title = if every > 0 && number % every == 0 { "Head" } else { "Engineer" };
        let manager = match number {
            0 => String::new(),
            _ if number % 20 == 10 && number + 7 < rows => {
                format!("user{:07}@example.com", number + 7)
            }
            _ if number % 5 == 4 => String::new(),
            _ => format!("user{:07}@example.com", number / 10),
        };
        writeln!(
            file,
            "user{number:07}@example.com,{first},{last},{first}.{last}{number}@mail.example.com,\
             {title} {},Department {},E{number:07},{manager}",
            number % 50,
            number % 300
        )?;
    }
    Ok(file.flush()?)
}
