//! The schemas of instances: known to every request in their current version, and changed by
//! administrators.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use uuid::Uuid;

use super::resource::Resource;
use super::{Error, Groups, Provision, Result, Users, transact};
use crate::directory::InstanceId;
use crate::scim::definition::{self, Holder, SCHEMAS_MAX};
use crate::scim::extension::{unique_attributes, unique_name, unique_values};
use crate::scim::resource::{member, require_indexable};
use crate::scim::schema::{Attribute, ResourceType, Schema};
use crate::scim::schemas::{Password, Schemas};
use crate::scim::sort::Position;
use crate::scim::{Document, ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::query::{self, Narrow, Page, Viewer};
use crate::store::schemas::{self, Definition};
use crate::store::unique::{self, Held};
use crate::store::{BATCH_MAX, StoreError, Tx};

/// The instances whose schemas are remembered; when there are more, all are read anew.
const REMEMBERED_MAX: usize = 1000;

/// The schemas that were read last, by instance. A version that has passed is read again.
#[derive(Debug, Clone, Default)]
pub struct Remembered(Arc<Mutex<HashMap<InstanceId, Arc<Schemas>>>>);

/// What became of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defined {
    /// It is new.
    Created,
    /// It took the place of another: what is different, in words.
    Changed(Vec<String>),
    /// It says what was there already.
    Unchanged,
}

impl Provision {
    /// The schemas of an instance in this version, which comes with the key of each request: a change is
    /// known to the next request of every replica.
    pub async fn schemas(
        &self,
        instance: InstanceId,
        version: i64,
    ) -> std::result::Result<Arc<Schemas>, StoreError> {
        if version == 0 {
            return Ok(Schemas::standard().clone());
        }
        let known = self.remembered().get(&instance).cloned();
        if let Some(known) = known.filter(|known| known.version == version) {
            return Ok(known);
        }
        let mut tx = self.store.read().await?;
        let fresh = Arc::new(schemas::of_instance(&mut tx, instance).await?);
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(instance, fresh.clone());
        Ok(fresh)
    }

    /// The schemas of an instance as they are now.
    pub async fn current_schemas(&self, instance: InstanceId) -> Result<Schemas> {
        Ok(schemas::of_instance(&mut self.store.read().await?, instance).await?)
    }

    /// The schemas that an instance defines, oldest first.
    pub async fn definitions(&self, instance: InstanceId) -> Result<Vec<Definition>> {
        Ok(schemas::list(&mut self.store.read().await?, instance).await?)
    }

    /// Defines a schema, or defines it differently if what is stored stays readable.
    ///
    /// Data that came under its URN before stays as it is until it is written again. If two resources
    /// have one value of an attribute that shall be unique, nothing is defined.
    pub async fn define_schema(
        &self,
        author: &Author,
        instance: InstanceId,
        holder: Holder,
        schema: Schema,
    ) -> Result<Defined> {
        transact!(self.store, |tx| define(&mut tx, author, instance, holder, &schema).await)
    }

    /// Removes a schema. The data under its URN stays, as data of a schema that nobody knows.
    pub async fn remove_schema(
        &self,
        author: &Author,
        instance: InstanceId,
        urn: &str,
    ) -> Result<Definition> {
        transact!(self.store, |tx| remove(&mut tx, author, instance, urn).await)
    }

    /// Sets whether the core schema of an instance has a password, and says what it was.
    pub async fn set_password(
        &self,
        author: &Author,
        instance: InstanceId,
        password: Password,
    ) -> Result<Password> {
        transact!(self.store, |tx| set_password(&mut tx, author, instance, password).await)
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<InstanceId, Arc<Schemas>>> {
        self.remembered.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The schemas that a write has to obey: those of its request, or newer ones if they have changed since.
pub(super) async fn newest(
    tx: &mut Tx,
    instance: InstanceId,
    known: &Arc<Schemas>,
) -> std::result::Result<Arc<Schemas>, StoreError> {
    if schemas::version(tx, instance).await? == known.version {
        return Ok(known.clone());
    }
    schemas::of_instance(tx, instance).await.map(Arc::new)
}

async fn define(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    holder: Holder,
    schema: &Schema,
) -> Result<Defined> {
    schemas::lock(tx, instance).await?;
    let there = schemas::list(tx, instance).await?;
    let old = there.iter().find(|one| one.schema.id.eq_ignore_ascii_case(&schema.id));
    let current = schemas::of_instance(tx, instance).await?;
    definition::require_room(&current, schema)?;
    match old {
        None if there.len() >= SCHEMAS_MAX => {
            let detail = format!("an instance can define {SCHEMAS_MAX} schemas: remove one first");
            return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
        }
        None => {}
        Some(old) if old.resource_type != holder || old.schema.id != schema.id => {
            let (kind, id) = (old.resource_type.word(), &old.schema.id);
            let detail = format!(
                "{id} is a schema of {kind} already, spelled so: define it as that, or remove it first"
            );
            return Err(ScimError::new(ErrorKind::InvalidValue, detail).into());
        }
        Some(old) if old.schema == *schema => return Ok(Defined::Unchanged),
        Some(old) => definition::require_compatible(&old.schema, schema)?,
    }
    let kept = Definition {
        resource_type: holder,
        schema: schema.clone(),
        created_at: old.map_or(author.at, |old| old.created_at),
        modified_at: author.at,
    };
    schemas::keep(tx, instance, &kept).await?;
    schemas::raise_version(tx, instance).await?;
    let before = old.map(|old| &old.schema);
    settle(tx, instance, holder, before, Some(schema)).await?;
    let action = if old.is_some() { "schema.changed" } else { "schema.defined" };
    record(tx, author, instance, action, old.map(described), Some(described(&kept))).await?;
    Ok(old.map_or(Defined::Created, |old| Defined::Changed(differences(&old.schema, schema))))
}

async fn remove(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    urn: &str,
) -> Result<Definition> {
    schemas::lock(tx, instance).await?;
    let there = schemas::list(tx, instance).await?;
    let old = there.into_iter().find(|one| one.schema.id.eq_ignore_ascii_case(urn));
    let Some(old) = old else {
        let detail = format!("the instance defines no schema {urn}");
        return Err(ScimError::new(ErrorKind::NotFound, detail).into());
    };
    schemas::remove(tx, instance, urn).await?;
    schemas::raise_version(tx, instance).await?;
    settle(tx, instance, old.resource_type, Some(&old.schema), None).await?;
    record(tx, author, instance, "schema.removed", Some(described(&old)), None).await?;
    Ok(old)
}

async fn set_password(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    password: Password,
) -> Result<Password> {
    schemas::lock(tx, instance).await?;
    let current = schemas::of_instance(tx, instance).await?;
    let has_one = current.user.attribute("password").is_some();
    let before = if has_one { Password::Accepted } else { Password::Absent };
    if before != password {
        schemas::set_password(tx, instance, password).await?;
        schemas::raise_version(tx, instance).await?;
        let word = |password: Password| Some(json!({ "password": password }));
        record(tx, author, instance, "schema.password_set", word(before), word(password)).await?;
    }
    Ok(before)
}

/// Makes what is stored fit a change of definitions: the unique values, and what was never to be shown.
async fn settle(
    tx: &mut Tx,
    instance: InstanceId,
    holder: Holder,
    old: Option<&Schema>,
    new: Option<&Schema>,
) -> Result<()> {
    match holder {
        Holder::User => settle_for::<Users>(tx, instance, holder, old, new).await,
        Holder::Group => settle_for::<Groups>(tx, instance, holder, old, new).await,
    }
}

async fn settle_for<R: Resource>(
    tx: &mut Tx,
    instance: InstanceId,
    holder: Holder,
    old: Option<&Schema>,
    new: Option<&Schema>,
) -> Result<()> {
    let kind = |schema: Option<&Schema>| {
        let alone = schema.cloned().map(|schema| (holder, schema));
        holder.kind(&Schemas::with(0, alone, Password::Accepted)).clone()
    };
    let (was, is) = (kind(old), kind(new));
    let revealed = old.map(|old| revealed(old, new)).unwrap_or_default();
    let (gone, fresh) = (unmatched(&was, &is), unmatched(&is, &was));
    if gone.is_empty() && fresh.is_empty() && revealed.is_empty() {
        return Ok(());
    }
    // Whoever writes after this knows the new version; whoever wrote before is seen by the scan.
    tx.hold_still(R::STILL).await?;
    for attribute in gone.iter().chain(&fresh) {
        unique::forget(tx, instance, attribute).await?;
    }
    if fresh.is_empty() && revealed.is_empty() {
        return Ok(());
    }
    let mut after: Option<Position> = None;
    loop {
        let limit = i64::try_from(BATCH_MAX).unwrap_or(i64::MAX);
        let (page, all) = (Page::by_id(after.as_ref(), limit), Narrow::All(Vec::new()));
        let viewer = Viewer::Administrator;
        let rows = query::page::<R::Row>(tx, &R::TABLE, instance, viewer, &all, page).await?;
        let Some(last) = rows.last() else { break };
        after = Some(Position::of(R::id(last)));
        let documents: Vec<_> =
            rows.iter().filter_map(|row| Some((R::id(row), R::live_document(row)?))).collect();
        let holding = old.and_then(|old| holding(old, &revealed, &documents));
        if let Some((id, path)) = holding {
            return Err(would_show::<R>(id, &path).into());
        }
        hold_page::<R>(tx, instance, &is, &fresh, &documents).await?;
    }
    Ok(())
}

/// Keeps the values of attributes that are unique from now on, of some resources.
async fn hold_page<R: Resource>(
    tx: &mut Tx,
    instance: InstanceId,
    kind: &ResourceType,
    fresh: &[String],
    documents: &[(Uuid, &Document)],
) -> Result<()> {
    let mut rows = Vec::new();
    for (id, document) in documents {
        let values = unique_values(kind, document).into_iter();
        for value in values.filter(|value| fresh.contains(&value.attribute)) {
            require_indexable(&format!("{} of the {} {id}", value.name, R::NAME), &value.text)?;
            rows.push((Held { attribute: value.attribute, key: value.key }, *id));
        }
    }
    let Some((held, id)) = unique::hold_all(tx, instance, &rows).await? else {
        return Ok(());
    };
    let other = unique::holder(tx, instance, &held).await?.unwrap_or_default();
    let (kind, Held { attribute, key }) = (R::NAME, held);
    let detail = format!(
        "{attribute} cannot be unique: {kind}s {other} and {id} have the same value \"{key}\"; change \
         one of them first"
    );
    Err(ScimError::new(ErrorKind::Uniqueness, detail).into())
}

/// The unique attributes of one side that the other does not have, or compares differently.
fn unmatched(one: &ResourceType, other: &ResourceType) -> Vec<String> {
    let named = |kind| -> Vec<_> {
        let unique = unique_attributes(kind);
        unique.map(|(urn, one)| (unique_name(urn, one), one.case_exact)).collect()
    };
    let theirs = named(other);
    named(one).into_iter().filter(|one| !theirs.contains(one)).map(|(name, _)| name).collect()
}

/// The paths of attributes that were never returned, and would be from now on.
fn revealed(old: &Schema, new: Option<&Schema>) -> Vec<(String, Option<String>)> {
    let mut paths = Vec::new();
    for was in &old.attributes {
        let is = new.and_then(|new| new.attribute(&was.name));
        if was.is_hidden() {
            if is.is_none_or(|is| !is.is_hidden()) {
                paths.push((was.name.clone(), None));
            }
            continue;
        }
        for part in was.sub_attributes.iter().filter(|part| part.is_hidden()) {
            let hidden = |is: &Attribute| {
                is.is_hidden() || is.sub(&part.name).is_some_and(Attribute::is_hidden)
            };
            if !is.is_some_and(hidden) {
                paths.push((was.name.clone(), Some(part.name.clone())));
            }
        }
    }
    paths
}

/// A resource that has a value at one of these paths, and the path.
fn holding(
    schema: &Schema,
    paths: &[(String, Option<String>)],
    documents: &[(Uuid, &Document)],
) -> Option<(Uuid, String)> {
    for (id, document) in documents {
        let Some(Value::Object(parts)) = member(document, &schema.id) else { continue };
        for (name, part) in paths {
            let Some(value) = member(parts, name) else { continue };
            let Some(part) = part else { return Some((*id, name.clone())) };
            let elements = match value {
                Value::Array(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            let has = |one: &Value| one.as_object().is_some_and(|one| member(one, part).is_some());
            if elements.iter().any(has) {
                return Some((*id, format!("{name}.{part}")));
            }
        }
    }
    None
}

fn would_show<R: Resource>(id: Uuid, path: &str) -> ScimError {
    let detail = format!(
        "{path} was never returned, and its values would be from now on: let the identity provider \
         remove them first, for example that of the {} {id}",
        R::NAME
    );
    ScimError::new(ErrorKind::Mutability, detail)
}

/// What is different, one sentence for each attribute.
fn differences(old: &Schema, new: &Schema) -> Vec<String> {
    let mut said = Vec::new();
    if (&old.name, &old.description) != (&new.name, &new.description) {
        said.push("the name or the description changed".to_owned());
    }
    for was in &old.attributes {
        match new.attribute(&was.name) {
            None => said.push(format!("{} is gone; its values stay", was.name)),
            Some(is) if is != was => said.push(format!("{} changed", was.name)),
            Some(_) => {}
        }
    }
    let fresh = new.attributes.iter().filter(|is| old.attribute(&is.name).is_none());
    said.extend(fresh.map(|is| format!("{} is new", is.name)));
    if said.is_empty() {
        said.push("the order of the attributes changed".to_owned());
    }
    said
}

fn described(definition: &Definition) -> Value {
    json!({ "resource_type": definition.resource_type, "schema": definition.schema })
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
    let event = audit::Event { before, after, ..event };
    audit::append(tx, instance, &[event]).await.map_err(Error::from)
}
