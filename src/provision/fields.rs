//! The fields of the directory: those that an instance adds, and what administrators write into them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::mapping::{field_event, mapping_of};
use super::setup::checked_name;
use super::{Provision, Result, transact};
use crate::directory::mapping::{
    BUILT_IN, Effective, FIELD_NAME_CHARS_MAX, FIELD_VALUE_CHARS_MAX, FIELDS_MAX, built_in,
    effective, is_name, is_owned,
};
use crate::directory::{Account, InstanceId};
use crate::scim::fold::fold;
use crate::scim::resource::require_storable;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::fields::Field;
use crate::store::query::{self, Narrow, Purpose, Viewer};
use crate::store::{Tx, accounts, connections, fields, mappings, schemas};

impl Provision {
    /// The fields that an instance adds to those that every instance has, by name.
    pub async fn fields(&self, instance: InstanceId) -> Result<Vec<Field>> {
        Ok(fields::list(&mut self.store.read().await?, instance).await?)
    }

    /// Defines a field, or gives it another label; says whether anything is new.
    pub async fn define_field(
        &self,
        author: &Author,
        instance: InstanceId,
        name: &str,
        label: &str,
    ) -> Result<bool> {
        if !is_name(name) {
            return Err(ScimError::invalid_value(
                "the name of the field",
                &format!(
                    "must be a small letter, then small letters, digits and _, at most \
                     {FIELD_NAME_CHARS_MAX} characters, as in cost_centre"
                ),
            )
            .into());
        }
        if built_in(name).is_some() {
            let detail = format!("every instance has the field {name}: take another name");
            return Err(ScimError::new(ErrorKind::Uniqueness, detail).into());
        }
        let field =
            Field { name: name.to_owned(), label: checked_name(label)?, created_at: author.at };
        transact!(self.store, |tx| define(&mut tx, author, instance, &field).await)
    }

    /// Removes a field that no connection fills. What administrators wrote into it is shown no more.
    pub async fn remove_field(
        &self,
        author: &Author,
        instance: InstanceId,
        name: &str,
    ) -> Result<()> {
        transact!(self.store, |tx| remove(&mut tx, author, instance, name).await)
    }

    /// The fields of an account as the directory shows them.
    pub async fn directory_fields(
        &self,
        instance: InstanceId,
        account: &Account,
    ) -> Result<Vec<Effective>> {
        let mut tx = self.store.read().await?;
        shown(&mut tx, instance, account).await
    }

    /// Writes fields of an account, by id or user name; no value removes one. What the account's
    /// connection maps is refused, naming the connection. All or none are written.
    pub async fn set_local_fields(
        &self,
        author: &Author,
        instance: InstanceId,
        account: &str,
        values: &BTreeMap<String, Option<String>>,
    ) -> Result<(Account, Vec<Effective>)> {
        transact!(self.store, |tx| set(&mut tx, author, instance, account, values).await)
    }
}

async fn define(tx: &mut Tx, author: &Author, instance: InstanceId, field: &Field) -> Result<bool> {
    schemas::lock(tx, instance).await?;
    let there = fields::list(tx, instance).await?;
    let old = there.iter().find(|one| one.name == field.name);
    match old {
        Some(old) if old.label == field.label => return Ok(false),
        None if there.len() >= FIELDS_MAX => {
            let detail = format!("an instance can add {FIELDS_MAX} fields: remove one first");
            return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
        }
        _ => {}
    }
    fields::keep(tx, instance, field).await?;
    let action = if old.is_some() { "field.changed" } else { "field.defined" };
    let before = old.map(described);
    record(tx, author, instance, action, before, Some(described(field))).await?;
    Ok(true)
}

async fn remove(tx: &mut Tx, author: &Author, instance: InstanceId, name: &str) -> Result<()> {
    schemas::lock(tx, instance).await?;
    let there = fields::list(tx, instance).await?;
    let Some(old) = there.iter().find(|one| one.name == name) else {
        let detail = match built_in(name) {
            Some(_) => format!("every instance has the field {name}: it cannot be removed"),
            None => format!("the instance defines no field {name}"),
        };
        return Err(ScimError::new(ErrorKind::NotFound, detail).into());
    };
    let mapped = mappings::all_in_force(tx, instance).await?.into_iter();
    let using: Vec<_> = mapped
        .filter(|mapped| mapped.mapping.row(name).is_some())
        .map(|mapped| format!("\"{}\"", mapped.connection))
        .collect();
    if !using.is_empty() {
        let using = using.join(", ");
        let detail = format!("the field {name} is filled by {using}: unset it there first");
        return Err(ScimError::new(ErrorKind::Conflict, detail).into());
    }
    fields::remove(tx, instance, name).await?;
    record(tx, author, instance, "field.removed", Some(described(old)), None).await
}

fn described(field: &Field) -> Value {
    json!({ "name": field.name, "label": field.label })
}

async fn record(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    action: &str,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<()> {
    let event = author.event(Category::Settings, action, "instance", instance.0);
    Ok(audit::append(tx, instance, &[audit::Event { before, after, ..event }]).await?)
}

async fn shown(tx: &mut Tx, instance: InstanceId, account: &Account) -> Result<Vec<Effective>> {
    let mapping = mapping_of(tx, instance, account).await?;
    let own = fields::list(tx, instance).await?;
    let own = own.iter().map(|field| field.name.as_str());
    let names: Vec<_> = BUILT_IN.iter().map(|field| field.name).chain(own).collect();
    Ok(effective(account, &mapping, &names))
}

async fn set(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    name: &str,
    values: &BTreeMap<String, Option<String>>,
) -> Result<(Account, Vec<Effective>)> {
    let narrow = match name.parse() {
        Ok(id) => Narrow::Id(id),
        Err(_) => Narrow::UserName(fold(name).into_owned()),
    };
    let viewer = Viewer::Administrator;
    let found: Option<Account> =
        query::one(tx, &accounts::TABLE, instance, viewer, &narrow, Purpose::Change).await?;
    let before = found.ok_or_else(|| {
        ScimError::new(ErrorKind::NotFound, format!("there is no account \"{name}\""))
    })?;
    require_writable(tx, instance, &before, values).await?;
    let mut after = before.clone();
    for (field, value) in values {
        match value.as_deref().filter(|value| !value.trim().is_empty()) {
            Some(value) => after.local_fields.insert(field.clone(), value.into()),
            None => after.local_fields.shift_remove(field),
        };
    }
    if before.local_fields != after.local_fields {
        after.version += 1;
        after.modified_at = author.at;
        accounts::update(tx, instance, &before, &after).await?;
        let (was, is) = (&before.local_fields, &after.local_fields);
        let event = field_event(author, "account.fields_set", &after, was, is);
        audit::append(tx, instance, &[event]).await?;
    }
    let shown = shown(tx, instance, &after).await?;
    Ok((after, shown))
}

/// Refuses fields that the instance does not have, that somebody else owns, and values that do not fit.
async fn require_writable(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
    values: &BTreeMap<String, Option<String>>,
) -> Result<()> {
    let own = fields::list(tx, instance).await?;
    let mapping = mapping_of(tx, instance, account).await?;
    for (field, value) in values {
        if built_in(field).is_none() && !own.iter().any(|one| one.name == *field) {
            let known = BUILT_IN.iter().map(|one| one.name);
            let known: Vec<_> = known.chain(own.iter().map(|one| one.name.as_str())).collect();
            let known = known.join(", ");
            let detail = format!("there is no field \"{field}\"; there are {known}");
            return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
        }
        if is_owned(account, &mapping, field) {
            return Err(owned(tx, instance, account, field).await?.into());
        }
        let Some(value) = value else { continue };
        require_storable(field, value)?;
        if value.chars().count() > FIELD_VALUE_CHARS_MAX {
            let detail = format!("must have at most {FIELD_VALUE_CHARS_MAX} characters");
            return Err(ScimError::invalid_value(field, &detail).into());
        }
    }
    Ok(())
}

async fn owned(
    tx: &mut Tx,
    instance: InstanceId,
    account: &Account,
    field: &str,
) -> Result<ScimError> {
    let owner = match account.connection {
        Some(id) => connections::find(tx, instance, id).await?,
        None => None,
    };
    let name = &account.user_name;
    let detail = match owner {
        Some(owner) => format!(
            "{field} of {name} belongs to the connection \"{}\", which fills it: change it in its \
             source, or take the field out of the connection's mapping",
            owner.name
        ),
        None => format!("{field} is the name that {name} signs in with: it cannot be edited"),
    };
    Ok(ScimError::new(ErrorKind::Mutability, detail))
}
