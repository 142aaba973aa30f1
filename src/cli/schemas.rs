//! Schemas that an instance defines itself.

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use super::args::{DefineArgs, SchemasCommand};
use super::input;
use super::output::Text;
use super::scope::full_name;
use super::session::{Session, plain, quoted};
use crate::directory::InstanceId;
use crate::provision::schemas::Defined;
use crate::scim::definition::{self, Holder};
use crate::scim::schema::Attribute;
use crate::scim::schemas::Password;
use crate::store::instances::Instance;
use crate::store::schemas::Definition;

pub(super) async fn run(session: &mut Session<'_>, command: SchemasCommand) -> Result<()> {
    match command {
        SchemasCommand::List { at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            list(session, &instance).await
        }
        SchemasCommand::Show { urn, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let found = find(session, instance.id, &urn).await?;
            let json = definition::print(&found.schema);
            session.out.show(&json, |text| text.json(&json))?;
            Ok(())
        }
        SchemasCommand::Define(args) => {
            let instance = session.instance(args.at.instance.as_deref()).await?;
            define(session, &instance, &args).await
        }
        SchemasCommand::Remove { urn, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let urn = find(session, instance.id, &urn).await?.schema.id;
            let author = session.provision.operator();
            let removed = session.provision.remove_schema(&author, instance.id, &urn).await;
            let removed = removed.map_err(plain)?;
            session.out.show(&json!({ "removed": removed }), |text| {
                text.line(format!("{urn} is no schema of {} any more.", full_name(&instance)))?;
                text.line(
                    "What was stored under it stays, as data that no schema describes: it is shown \
                     to clients as it is, and cannot be filtered by.",
                )
            })?;
            Ok(())
        }
        SchemasCommand::Password { password, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            set_password(session, &instance, password).await
        }
    }
}

async fn list(session: &mut Session<'_>, instance: &Instance) -> Result<()> {
    let schemas = session.provision.current_schemas(instance.id).await.map_err(plain)?;
    let defined = session.provision.definitions(instance.id).await.map_err(plain)?;
    let has_password = schemas.user.attribute("password").is_some();
    let password = if has_password { Password::Accepted } else { Password::Absent };
    let rows: Vec<_> = schemas
        .types()
        .into_iter()
        .flat_map(|kind| {
            let all = std::iter::once(&kind.schema).chain(&kind.extensions);
            all.map(|schema| (schema, kind.name))
        })
        .map(|(schema, kind)| {
            let own = defined.iter().any(|one| one.schema.id == schema.id);
            let origin = if own { "instance" } else { "scimd" };
            (schema, kind, origin)
        })
        .collect();
    let json: Vec<_> = rows
        .iter()
        .map(|(schema, kind, origin)| {
            json!({ "id": schema.id, "name": schema.name, "resource_type": kind, "of": origin })
        })
        .collect();
    session.out.show(&json!({ "schemas": json, "password": password }), |text| {
        let rows = rows.iter().map(|(schema, kind, origin)| {
            let count = schema.attributes.len().to_string();
            [&schema.id, *kind, &count, *origin].map(str::to_owned).to_vec()
        });
        text.table(&["URN", "OF", "ATTRIBUTES", "DEFINED BY"], rows)?;
        text.line("")?;
        text.line(format!("The attribute password is {}.", password.word()))
    })?;
    Ok(())
}

async fn define(session: &mut Session<'_>, instance: &Instance, args: &DefineArgs) -> Result<()> {
    let due = "write one object with id, name and attributes, as /Schemas shows";
    let definition = input::json(&args.file, due)?;
    let schema = definition::parse(&definition).map_err(|error| anyhow!(error.detail))?;
    let holder = args.resource_type.or_else(|| Holder::of_urn(&schema.id));
    let holder = holder.with_context(|| {
        format!("{} ends with neither User nor Group: say what it is for with --for", schema.id)
    })?;
    let author = session.provision.operator();
    let defined = session.provision.define_schema(&author, instance.id, holder, schema.clone());
    let defined = defined.await.map_err(plain)?;
    let (word, changes) = match &defined {
        Defined::Created => ("defined", Vec::new()),
        Defined::Changed(changes) => ("changed", changes.clone()),
        Defined::Unchanged => ("unchanged", Vec::new()),
    };
    let json = json!({
        "schema": definition::print(&schema),
        "resource_type": holder,
        "result": word,
        "changes": changes,
    });
    let program = session.program.clone();
    session.out.show(&json, |text| {
        let (urn, name, kind) = (&schema.id, full_name(instance), holder.word());
        match &defined {
            Defined::Created => {
                text.line(format!("{urn} is a schema of the {kind}s of {name}."))?;
                attributes(text, &schema.attributes)?;
                text.line("It is in force from the next request on.")?;
                text.line(format!("Next: {program} schemas show {}", quoted(urn)))
            }
            Defined::Changed(changes) => {
                text.line(format!("{urn} is defined differently from the next request on:"))?;
                changes.iter().try_for_each(|change| text.line(format!("  {change}")))
            }
            Defined::Unchanged => text.line(format!("{urn} is defined like this already.")),
        }
    })?;
    Ok(())
}

fn attributes(text: &mut Text, attributes: &[Attribute]) -> std::io::Result<()> {
    let rows = attributes.iter().map(|attribute| {
        let many = if attribute.multi_valued { "many" } else { "one" };
        vec![
            attribute.name.clone(),
            word(attribute.kind),
            many.to_owned(),
            word(attribute.mutability),
            word(attribute.returned),
            word(attribute.uniqueness),
        ]
    });
    text.table(&["ATTRIBUTE", "TYPE", "VALUES", "MUTABILITY", "RETURNED", "UNIQUE"], rows)
}

/// A word of a definition, as JSON has it.
fn word(value: impl serde::Serialize) -> String {
    let word = serde_json::to_value(value).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

async fn set_password(
    session: &mut Session<'_>,
    instance: &Instance,
    password: Password,
) -> Result<()> {
    let author = session.provision.operator();
    let before = session.provision.set_password(&author, instance.id, password).await;
    let before = before.map_err(plain)?;
    session.out.show(&json!({ "password": password, "before": before }), |text| {
        let (name, word) = (full_name(instance), password.word());
        if before == password {
            return text.line(format!("The attribute password of {name} was {word} already."));
        }
        text.line(match password {
            Password::Accepted => format!(
                "The Users of {name} have the attribute password: what clients send is forgotten at \
                 once."
            ),
            Password::Absent => format!(
                "The Users of {name} have no attribute password: lenient clients may still send \
                 one, which is passed over; strict ones are refused."
            ),
        })
    })?;
    Ok(())
}

/// The definition with this URN.
async fn find(session: &Session<'_>, instance: InstanceId, urn: &str) -> Result<Definition> {
    let program = &session.program;
    let defined = session.provision.definitions(instance).await.map_err(plain)?;
    let found = defined.into_iter().find(|one| one.schema.id.eq_ignore_ascii_case(urn));
    found.with_context(|| {
        format!("the instance defines no schema \"{urn}\"; `{program} schemas list` lists them")
    })
}
