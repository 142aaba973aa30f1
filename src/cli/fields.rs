//! Fields of the directory.

use anyhow::Result;
use serde_json::{Value, json};

use super::args::FieldsCommand;
use super::scope::full_name;
use super::session::{Session, plain};
use crate::directory::mapping::BUILT_IN;
use crate::store::instances::Instance;

pub(super) async fn run(session: &mut Session<'_>, command: FieldsCommand) -> Result<()> {
    match command {
        FieldsCommand::List { at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            list(session, &instance).await
        }
        FieldsCommand::Define { field, label, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let label = label.as_deref().unwrap_or(&field);
            let author = session.provision.operator();
            let new = session.provision.define_field(&author, instance.id, &field, label).await;
            let new = new.map_err(plain)?;
            let json = json!({ "field": { "name": field, "label": label }, "changed": new });
            let program = session.program.clone();
            session.out.show(&json, |text| {
                let name = full_name(&instance);
                if !new {
                    return text.line(format!("{name} has the field {field} ({label}) already."));
                }
                text.line(format!("{field} ({label}) is a field of {name}."))?;
                text.line(format!("Next: {program} mappings set CONNECTION {field} --from PATH"))
            })?;
            Ok(())
        }
        FieldsCommand::Remove { field, at } => {
            let instance = session.instance(at.instance.as_deref()).await?;
            let author = session.provision.operator();
            let removed = session.provision.remove_field(&author, instance.id, &field).await;
            removed.map_err(plain)?;
            session.out.show(&json!({ "removed": field }), |text| {
                text.line(format!("{field} is no field of {} any more.", full_name(&instance)))
            })?;
            Ok(())
        }
    }
}

async fn list(session: &mut Session<'_>, instance: &Instance) -> Result<()> {
    let own = session.provision.fields(instance.id).await.map_err(plain)?;
    let all = BUILT_IN.iter().map(|field| (field.name, field.label, "scimd"));
    let all = all.chain(own.iter().map(|one| (one.name.as_str(), one.label.as_str(), "instance")));
    let all: Vec<_> = all.collect();
    let json: Vec<Value> = all
        .iter()
        .map(|(name, label, of)| json!({ "name": name, "label": label, "of": of }))
        .collect();
    session.out.show(&json!({ "fields": json }), |text| {
        let rows =
            all.iter().map(|&(name, label, of)| [name, label, of].map(str::to_owned).to_vec());
        text.table(&["FIELD", "LABEL", "DEFINED BY"], rows)
    })?;
    Ok(())
}
