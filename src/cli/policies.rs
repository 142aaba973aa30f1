//! What connections pick up, require and bring into the directory.

use std::io::{BufRead as _, BufReader, Read};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::output::or_dash;
use super::policy_args::{PickUpReportArgs, PreviewArgs, SettingsArgs};
use super::session::{Session, plain};
use crate::directory::{ApprovalState, Connection, ConnectionSettings, Entering};
use crate::provision::report::{Forecast, Prospect};
use crate::provision::settings::SettingsChange;
use crate::store::claims::Wanted;

/// The names that a report looks up.
const NAMES_MAX: usize = 100_000;

/// The bytes that a file of names may have.
const NAMES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Which groups enter, in words.
pub(super) fn entering(settings: &ConnectionSettings) -> String {
    match (settings.entering, &settings.entering_pattern) {
        (Entering::Matching, Some(pattern)) => format!("matching {pattern}"),
        (entering, _) => entering.to_string(),
    }
}

/// How many approvals of a connection wait.
pub(super) async fn waiting(session: &Session<'_>, connection: &Connection) -> Result<i64> {
    let wanted = Wanted {
        connection: Some(connection.id),
        state: Some(ApprovalState::Waiting),
        ..Wanted::default()
    };
    session.provision.approval_count(connection.instance, &wanted).await.map_err(plain)
}

/// Sets what the command names.
pub(super) async fn set(session: &mut Session<'_>, args: SettingsArgs) -> Result<()> {
    let instance = session.instance(args.connection.at.instance.as_deref()).await?;
    let connection = session.connection(instance.id, &args.connection.connection).await?;
    let before = &connection.settings;
    let end = args.delete_after_days.filter(|end| !args.yes && *end != before.delete_after_days);
    let aged = session.provision.count_aged(&connection, end.unwrap_or_default()).await;
    let aged = aged.map_err(plain)?;
    if aged > 0 {
        bail!(
            "{aged} people of {} are suspended for so long already: the server would delete them within a \
             minute; set it all the same with --yes",
            connection.name
        );
    }
    let change = SettingsChange {
        pick_up: args.pick_up,
        entering: args.entering,
        pattern: args.pattern,
        required: args.required,
        incomplete: args.incomplete,
        recreate: args.recreate,
        delete_after_days: args.delete_after_days,
        guard: None,
        profile: args.profile,
    };
    let author = session.provision.operator();
    let set = session.provision.set_connection_settings(&author, &connection, change).await;
    let set = set.map_err(plain)?;
    let waiting = waiting(session, &set.connection).await?;
    let json = json!({
        "connection": set.connection,
        "groups_changed": set.groups,
        "accounts_changed": set.accounts,
        "waiting_approvals": waiting,
    });
    let program = &session.program;
    session.out.show(&json, |text| {
        let settings = &set.connection.settings;
        text.line(format!("Connection {} is set:", set.connection.name))?;
        text.fields(&[
            ("profile", set.connection.profile.to_string()),
            ("picks up", settings.pick_up.to_string()),
            ("groups entering", entering(settings)),
            ("required", settings.required.join(", ")),
            ("incomplete", settings.incomplete.to_string()),
            ("created again", settings.recreate.to_string()),
            ("delete after", settings.delete_after_days.to_string()),
        ])?;
        if set.groups + set.accounts > 0 {
            text.line(format!(
                "That changed {} groups and {} accounts.",
                set.groups, set.accounts
            ))?;
        }
        if waiting > 0 {
            text.line(format!("{waiting} approvals wait: `{program} approvals list`"))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Says which groups would enter.
pub(super) async fn preview(session: &mut Session<'_>, args: PreviewArgs) -> Result<()> {
    let instance = session.instance(args.connection.at.instance.as_deref()).await?;
    let connection = session.connection(instance.id, &args.connection.connection).await?;
    let pattern = args.pattern.as_deref();
    let seen = session.provision.preview_entering(&connection, args.entering, pattern).await;
    let seen = seen.map_err(plain)?;
    session.out.show(&json!(seen), |text| {
        text.line(format!(
            "{} of {} groups of {} would enter: {} would come, {} would leave.",
            seen.entering, seen.groups, connection.name, seen.coming, seen.leaving
        ))?;
        let word = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        let rows = seen
            .named
            .iter()
            .map(|group| vec![group.display_name.clone(), word(group.enters), word(group.entered)]);
        text.table(&["NAME", "WOULD ENTER", "IN DIRECTORY"], rows)
    })?;
    Ok(())
}

/// Reports what the first push of people would do.
pub(super) async fn report(session: &mut Session<'_>, args: PickUpReportArgs) -> Result<()> {
    let instance = session.instance(args.connection.at.instance.as_deref()).await?;
    let connection = session.connection(instance.id, &args.connection.connection).await?;
    let Some(file) = &args.file else {
        return report_local(session, &connection, &args).await;
    };
    let names = names(file)?;
    let forecasts = session.provision.pick_up_report(&connection, &names).await.map_err(plain)?;
    let counts: Vec<(Prospect, usize)> = Prospect::ALL
        .iter()
        .map(|prospect| {
            (*prospect, forecasts.iter().filter(|one| one.prospect == *prospect).count())
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    let counted: serde_json::Map<_, _> =
        counts.iter().map(|(prospect, count)| (prospect.to_string(), json!(count))).collect();
    session.out.show(&json!({ "counts": counted, "names": forecasts }), |text| {
        for (prospect, count) in &counts {
            text.line(format!("{count} {prospect}"))?;
        }
        table(text, &forecasts)
    })?;
    Ok(())
}

async fn report_local(
    session: &mut Session<'_>,
    connection: &Connection,
    args: &PickUpReportArgs,
) -> Result<()> {
    let page = &args.page;
    let report = session.provision.local_report(connection, page.after, page.limit).await;
    let report = report.map_err(plain)?;
    session.out.show(&json!(report), |text| {
        text.line(format!(
            "{} Local accounts ({} of them protected) and {} Local groups; what {} pushes of them: {} \
             (policy {}).",
            report.accounts,
            report.protected,
            report.groups,
            connection.name,
            report.prospect,
            connection.settings.pick_up
        ))?;
        table(text, &report.account_page)?;
        if !report.group_page.is_empty() {
            text.line("Groups:")?;
            table(text, &report.group_page)?;
        }
        report.next.map_or(Ok(()), |next| text.line(super::accounts::more(next)))
    })?;
    Ok(())
}

fn table(text: &mut super::output::Text, forecasts: &[Forecast]) -> std::io::Result<()> {
    let rows = forecasts.iter().map(|one| {
        vec![
            one.name.clone(),
            one.prospect.to_string(),
            or_dash(one.connection.as_ref()),
            or_dash(one.id),
        ]
    });
    text.table(&["NAME", "WOULD BE", "CONNECTION", "ID"], rows)
}

/// The names in a file, one on each line that is not blank.
fn names(file: &str) -> Result<Vec<String>> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        file => Box::new(
            std::fs::File::open(file).with_context(|| format!("the file {file} cannot be read"))?,
        ),
    };
    let mut names = Vec::new();
    for line in BufReader::new(source.take(NAMES_BYTES_MAX)).lines() {
        let line = line.with_context(|| format!("{file} is no text file of user names"))?;
        let name = line.trim_start_matches('\u{feff}').trim();
        if !name.is_empty() {
            names.push(name.to_owned());
        }
        if names.len() > NAMES_MAX {
            bail!("{file} has more than {NAMES_MAX} names: cut it into several");
        }
    }
    Ok(names)
}
