//! Moving accounts from one directory to another by a file, and the file of all accounts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read as _, Write};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

use super::accounts::ALL;
use super::args::{ExportArgs, MigrateArgs};
use super::input;
use super::output::{Text, or_dash, private_file};
use super::runs::work_off;
use super::session::{Session, plain};
use crate::directory::migration::{Directories, Line, Move, Plan, Planned};
use crate::directory::source::Outcome;
use crate::provision::migration::{MIGRATION_LINES_MAX, Migration};
use crate::pull::migration::{Exporter, MIGRATION_BYTES_MAX, read};
use crate::pull::report::{harmless, push_row};
use crate::store::query::Narrow;
use crate::store::runs::Run;

/// The lines with errors, and the others, that the text lists at most.
const LISTED_MAX: usize = 100;

/// The accounts that are read at once for an export.
const EXPORT_PAGE: i64 = 1_000;

/// Says what a file comes to, or does it.
pub(super) async fn migrate(session: &mut Session<'_>, wanted: &MigrateArgs) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    let confirmed = wanted.confirm.iter().map(|pair| {
        let (written, meant) = pair.rsplit_once('=').with_context(|| {
            format!("\"{pair}\" has no =: write the name in the file, = and the directory")
        })?;
        Ok((written.to_owned(), meant.to_owned()))
    });
    let migration = Migration {
        lines: lines(&wanted.file)?,
        target: wanted.target.clone(),
        confirmed: confirmed.collect::<Result<_>>()?,
    };
    let mut plan = session.provision.plan_migration(instance, migration).await.map_err(plain)?;
    let errors = plan.count(Move::Error);
    let ready = plan.proposals.is_empty() && (errors == 0 || wanted.skip_errors);
    let mut run = None;
    if wanted.yes && ready && !plan.steps.is_empty() {
        let author = session.provision.operator();
        let begun = session.provision.begin_migration(&author, instance, &plan).await;
        let done = work_off(session, begun.map_err(plain)?).await?;
        take_over(session, &done, &mut plan).await?;
        run = Some(done);
    }
    if let Some(file) = &wanted.report {
        write_report(&plan.lines, file)?;
    }
    show(session, &plan, run.as_ref())?;
    if wanted.yes && !ready {
        bail!(if plan.proposals.is_empty() {
            format!(
                "nothing was done: there are errors on {}; correct them, or leave them out with \
                 --skip-errors",
                in_lines(errors)
            )
        } else {
            "nothing was done: confirm what the names of the directories mean".to_owned()
        });
    }
    let left_out = plan.count(Move::Error) - errors;
    if run.is_some() && left_out > 0 {
        bail!("{} could no longer be done; the reasons are above", in_lines(left_out));
    }
    Ok(())
}

/// The lines of a file.
fn lines(file: &str) -> Result<Vec<Line>> {
    let name = input::name(file);
    let lines = if file == "-" {
        let mut bytes = Vec::new();
        io::stdin()
            .take(MIGRATION_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{name} cannot be read"))?;
        require_fitting(name, bytes.len() as u64)?;
        read(Cursor::new(bytes), MIGRATION_LINES_MAX)
    } else {
        let opened = File::open(file).with_context(|| format!("{name} cannot be read"))?;
        let bytes = opened.metadata().with_context(|| format!("{name} cannot be read"))?.len();
        require_fitting(name, bytes)?;
        read(opened, MIGRATION_LINES_MAX)
    };
    lines.map_err(|stop| anyhow!(stop.reason).context(format!("{name} is no file of a migration")))
}

fn require_fitting(name: &str, bytes: u64) -> Result<()> {
    if bytes > MIGRATION_BYTES_MAX {
        bail!("{name} has more than {MIGRATION_BYTES_MAX} bytes: take it apart");
    }
    Ok(())
}

/// Says of the lines that could not be done any more why.
async fn take_over(session: &Session<'_>, run: &Run, plan: &mut Plan) -> Result<()> {
    let mut left_out: HashMap<i64, String> = HashMap::new();
    let mut from: i64 = 0;
    loop {
        let page = session.provision.report(run, from).await.map_err(plain)?;
        if page.is_empty() {
            break;
        }
        from += i64::try_from(page.len())?;
        let skipped = page.into_iter().filter(|item| item.outcome == Outcome::Skipped);
        left_out.extend(skipped.filter_map(|item| {
            let reason = item.detail.as_ref().and_then(|detail| detail.get("reason")?.as_str());
            Some((item.line?, reason.unwrap_or_default().to_owned()))
        }));
    }
    for line in &mut plan.lines {
        if let Some(reason) = left_out.remove(&line.line) {
            (line.outcome, line.reason) = (Move::Error, Some(reason));
        }
    }
    Ok(())
}

/// The report as a CSV file, a row for each line.
fn write_report(lines: &[Planned], file: &Path) -> Result<()> {
    let mut into = BufWriter::new(private_file(file)?);
    let mut text =
        "line,existing_username,new_username,target_directory,outcome,reason\r\n".to_owned();
    for line in lines {
        let cells = [
            line.line.to_string(),
            harmless(&line.existing_username),
            harmless(&line.new_username),
            harmless(&line.target_directory),
            line.outcome.to_string(),
            harmless(line.reason.as_deref().unwrap_or_default()),
        ];
        push_row(&mut text, cells);
        into.write_all(text.as_bytes())?;
        text.clear();
    }
    into.write_all(text.as_bytes())?;
    Ok(into.flush()?)
}

fn show(session: &mut Session<'_>, plan: &Plan, run: Option<&Run>) -> Result<()> {
    let counts: Vec<(&str, usize)> =
        Move::ALL.iter().map(|&outcome| (outcome.word(), plan.count(outcome))).collect();
    let named: serde_json::Map<String, Value> =
        counts.iter().map(|(word, count)| (word.replace(' ', "_"), json!(count))).collect();
    let json = json!({
        "migration": {
            "run": run, "counts": named, "proposals": plan.proposals, "lines": plan.lines,
        },
    });
    let (program, errors) = (session.program.clone(), plan.count(Move::Error));
    session.out.show(&json, |text| {
        match run {
            Some(run) => text.line(format!("Migration {} is {}.", run.id, run.state))?,
            None => text.line("Nothing was changed.")?,
        }
        let counts: Vec<String> =
            counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
        text.line(format!("{}: {}.", in_lines(plan.lines.len()), counts.join(", ")))?;
        table(text, &plan.lines)?;
        for proposal in &plan.proposals {
            text.line(format!(
                "\"{}\" on {} is no directory. If \"{}\" is meant, add --confirm \"{}={}\".",
                proposal.written,
                in_lines(proposal.lines),
                proposal.name,
                proposal.written,
                proposal.meant
            ))?;
        }
        match run {
            Some(run) => text
                .line(format!("What became of each account: `{program} runs report {}`.", run.id)),
            None if plan.steps.is_empty() => text.line("There is nothing to do."),
            None if !plan.proposals.is_empty() => Ok(()),
            None if errors > 0 => text.line("To do the others, add --skip-errors --yes."),
            None => text.line("To do it, add --yes."),
        }
    })?;
    Ok(())
}

/// A number of lines in words.
fn in_lines(count: usize) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{count} lines") }
}

/// A row for each line, those with errors before the others where they are too many for all.
fn table(text: &mut Text, lines: &[Planned]) -> io::Result<()> {
    let of = |error: bool| {
        let wanted = move |line: &&Planned| (line.outcome == Move::Error) == error;
        lines.iter().filter(wanted).take(LISTED_MAX)
    };
    let mut listed: Vec<&Planned> = of(true).chain(of(false)).collect();
    listed.sort_by_key(|line| line.line);
    let rows = listed.iter().map(|line| {
        vec![
            line.line.to_string(),
            line.existing_username.clone(),
            line.new_username.clone(),
            line.target_directory.clone(),
            line.outcome.to_string(),
            or_dash(line.reason.as_ref()),
        ]
    });
    text.table(&["LINE", "EXISTING", "NEW", "DIRECTORY", "OUTCOME", "REASON"], rows)?;
    if lines.len() > listed.len() {
        text.line(format!(
            "… and {} more; --report FILE has them all.",
            lines.len() - listed.len()
        ))?;
    }
    Ok(())
}

/// Writes the accounts of an instance as a file that [`migrate`] reads.
pub(super) async fn export(session: &mut Session<'_>, wanted: &ExportArgs) -> Result<()> {
    let instance = session.instance(wanted.at.instance.as_deref()).await?.id;
    if !wanted.migration {
        let program = &session.program;
        bail!(
            "say in which form: --migration; `{program} csv export` writes what is known of people"
        );
    }
    let narrow = match &wanted.connection {
        Some(name) => Narrow::Owner(Some(session.connection(instance, name).await?.id)),
        None if wanted.local => Narrow::Owner(None),
        None => ALL,
    };
    let connections = session.provision.connections(instance).await.map_err(plain)?;
    let directories = Directories::of(&connections);
    let into: Box<dyn Write + Send> = if wanted.file == "-" {
        Box::new(io::stdout())
    } else {
        Box::new(private_file(Path::new(&wanted.file))?)
    };
    let mut exporter =
        Exporter::begin(BufWriter::new(into)).map_err(|stop| anyhow!(stop.reason))?;
    let mut after = None;
    loop {
        let page = session.provision.accounts(instance, &narrow, after, EXPORT_PAGE).await;
        let page = page.map_err(plain)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.0);
        for account in &page {
            let written =
                exporter.write(&account.user_name, &directories.named(account.connection));
            written.map_err(|stop| anyhow!(stop.reason))?;
        }
    }
    exporter.end().map_err(|stop| anyhow!(stop.reason))
}
