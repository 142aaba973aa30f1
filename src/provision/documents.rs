//! The document store: files that are uploaded for a source, by administrators or by the systems that
//! make them.

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

use super::setup::checked_name;
use super::{Provision, Result, not_found};
use crate::directory::{InstanceId, ids::hex};
use crate::scim::fold::fold;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::documents::{self, Document};
use crate::store::{StoreError, Tx};

/// The versions of a document that are kept; an older one goes when a new one comes.
pub const DOCUMENT_VERSIONS_MAX: i64 = 10;

/// The bytes of a document.
pub const DOCUMENT_BYTES_MAX: i64 = 256 << 20;

/// The bytes that are written and read at once.
pub const DOCUMENT_PART_BYTES: usize = 1 << 20;

/// The versions of documents that a list shows at most.
pub const DOCUMENTS_SHOWN_MAX: i64 = 10_000;

/// A part of a file that is being uploaded, or why there is no more.
pub type Part = std::io::Result<Vec<u8>>;

impl Provision {
    /// Keeps a new version of a document, all of it or nothing. If the newest version has the same
    /// bytes, that one is answered and nothing is kept.
    ///
    /// The parts should be at hand: while they come, nobody else can write to SQLite.
    pub async fn upload(
        &self,
        author: &Author,
        instance: InstanceId,
        name: &str,
        parts: Receiver<Part>,
    ) -> Result<Document> {
        let name = checked_name(name)?;
        let mut tx = self.store.begin().await?;
        match upload(&mut tx, author, instance, name, parts).await {
            Ok(Uploaded::New(document)) => {
                tx.commit().await?;
                Ok(document)
            }
            Ok(Uploaded::Known(document)) => {
                tx.rollback().await;
                Ok(document)
            }
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    /// The newest version of a document.
    pub async fn document(&self, instance: InstanceId, name: &str) -> Result<Option<Document>> {
        let mut tx = self.store.read().await?;
        let versions = documents::versions(&mut tx, instance, &fold(name)).await?;
        Ok(versions.into_iter().next())
    }

    /// The documents of an instance, by name, each in all its versions, newest first.
    pub async fn documents(&self, instance: InstanceId) -> Result<Vec<Document>> {
        let mut tx = self.store.read().await?;
        Ok(documents::list(&mut tx, instance, DOCUMENTS_SHOWN_MAX).await?)
    }

    /// A part of a version of a document, counted from 0; `None` behind the last one.
    pub async fn document_part(
        &self,
        instance: InstanceId,
        document: &Document,
        position: i64,
    ) -> Result<Option<Vec<u8>>> {
        let mut tx = self.store.read().await?;
        let key = fold(&document.name);
        Ok(documents::part(&mut tx, instance, &key, document.version, position).await?)
    }

    /// Removes a document in all its versions.
    pub async fn remove_document(
        &self,
        author: &Author,
        instance: InstanceId,
        name: &str,
    ) -> Result<()> {
        let found = self.document(instance, name).await?;
        let document = found.ok_or_else(|| not_found("document", name))?;
        let mut tx = self.store.begin().await?;
        documents::remove_to(&mut tx, instance, &fold(name), document.version).await?;
        record(&mut tx, author, instance, "document.removed", &document).await?;
        Ok(tx.commit().await?)
    }
}

enum Uploaded {
    New(Document),
    Known(Document),
}

async fn upload(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    name: String,
    mut parts: Receiver<Part>,
) -> Result<Uploaded> {
    let key = fold(&name).into_owned();
    tx.serialize_on(&[format!("{instance} document {key}")]).await?;
    let newest = documents::versions(tx, instance, &key).await?.into_iter().next();
    let version = newest.as_ref().map_or(1, |newest| newest.version + 1);
    let mut document = Document {
        name,
        version,
        bytes: 0,
        checksum: String::new(),
        author: author.name.clone(),
        created_at: author.at,
    };
    documents::insert(tx, instance, &key, &document).await?;
    let (mut context, mut position) = (Context::new(&SHA256), 0);
    while let Some(part) = parts.recv().await {
        let part = part.map_err(|error| cut_short(&document.name, &error))?;
        document.bytes += i64::try_from(part.len()).unwrap_or(i64::MAX);
        if document.bytes > DOCUMENT_BYTES_MAX {
            return Err(too_large(&document.name).into());
        }
        context.update(&part);
        documents::insert_part(tx, instance, &key, version, position, part).await?;
        position += 1;
    }
    document.checksum = hex(context.finish().as_ref());
    if let Some(known) = newest.filter(|newest| newest.checksum == document.checksum) {
        return Ok(Uploaded::Known(known));
    }
    documents::complete(tx, instance, &key, &document).await?;
    documents::remove_to(tx, instance, &key, version - DOCUMENT_VERSIONS_MAX).await?;
    record(tx, author, instance, "document.uploaded", &document).await?;
    Ok(Uploaded::New(document))
}

async fn record(
    tx: &mut Tx,
    author: &Author,
    instance: InstanceId,
    action: &str,
    document: &Document,
) -> std::result::Result<(), StoreError> {
    let event = author.event(Category::Settings, action, "instance", instance.0);
    let after = json!({
        "document": document.name,
        "version": document.version,
        "bytes": document.bytes,
        "checksum": document.checksum,
    });
    audit::append(tx, instance, &[audit::Event { after: Some(after), ..event }]).await
}

fn cut_short(name: &str, error: &std::io::Error) -> super::Error {
    let detail = format!(
        "the upload of \"{name}\" was cut short ({error}): nothing of it was kept; send it again"
    );
    ScimError::invalid_value("the document", &detail).into()
}

fn too_large(name: &str) -> ScimError {
    let detail = format!(
        "the document \"{name}\" is larger than {DOCUMENT_BYTES_MAX} bytes: serve it at an https \
         address, or put it into the folder of files",
    );
    ScimError::new(ErrorKind::TooLarge, detail)
}
