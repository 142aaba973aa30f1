//! What a client reads: the document as the identity provider said it, and what the server adds.

use serde_json::{Map, Value, json};

use super::Caller;
use crate::directory::{Account, Group, GroupId, MemberKind, Timestamp};
use crate::scim::Document;
use crate::scim::resource::is_urn;
use crate::scim::schema::ResourceType;
use crate::scim::schemas::DIRECTORY_USER;
use crate::scim::version::{Fingerprint, tag};
use crate::store::memberships::{Belonging, Member};
use scim_v2::schema_urns;

/// The User of an account, with the groups it belongs to.
pub(super) fn user(caller: &Caller, account: &Account, groups: &[Belonging]) -> Document {
    let mut document = account.document.clone();
    if let (Some(manager), Some(enterprise)) =
        (account.manager.account, document.get_mut(schema_urns::ENTERPRISE_USER))
        && let Some(Value::Object(parts)) = enterprise.get_mut("manager")
    {
        parts.insert("$ref".to_owned(), location(caller, &caller.schemas.user, manager).into());
    }
    if !groups.is_empty() {
        let groups = groups.iter().map(|group| belonging(caller, group)).collect();
        document.insert("groups".to_owned(), Value::Array(groups));
    }
    document.insert(DIRECTORY_USER.to_owned(), directory_view(caller, account));
    let shown: Vec<_> = groups.iter().map(|group| (group.group, &group.display)).collect();
    let meta = Meta {
        created: account.created_at,
        modified: account.modified_at,
        version: tag(account.version, &shown),
    };
    resource(caller, &caller.schemas.user, account.id, document, &meta)
}

/// The Group of a group, with its members if they were asked for, and the fingerprint of all there are.
pub(super) fn group(
    caller: &Caller,
    group: &Group,
    members: Option<&[Member]>,
    all: &Fingerprint,
) -> Document {
    let mut document = group.document.clone();
    if let Some(members) = members {
        let members = members.iter().map(|shown| member(caller, shown)).collect();
        document.insert("members".to_owned(), Value::Array(members));
    }
    let meta = Meta {
        created: group.created_at,
        modified: group.modified_at,
        version: all.tag(group.version),
    };
    resource(caller, &caller.schemas.group, group.id, document, &meta)
}

/// A member of a group, as it is shown in the group: what RFC 7643 §8.7.1 defines and no more, because
/// strict clients compare a member with what they sent.
pub(super) fn member(caller: &Caller, member: &Member) -> Value {
    let (kind, name) = match member.kind {
        MemberKind::Account => (&caller.schemas.user, "User"),
        MemberKind::Group => (&caller.schemas.group, "Group"),
    };
    json!({
        "value": member.id,
        "$ref": location(caller, kind, member.id),
        "type": name,
    })
}

/// The absolute address of a resource.
pub(super) fn location(caller: &Caller, kind: &ResourceType, id: impl std::fmt::Display) -> String {
    format!("{}{}/{id}", caller.base, kind.endpoint)
}

fn belonging(caller: &Caller, belonging: &Belonging) -> Value {
    let id: GroupId = belonging.group;
    json!({
        "value": id,
        "$ref": location(caller, &caller.schemas.group, id),
        "display": belonging.display,
        "type": "direct",
    })
}

/// The read-only extension: what the rules made of the account.
fn directory_view(caller: &Caller, account: &Account) -> Value {
    let mut view = Map::new();
    view.insert("status".to_owned(), account.status.word().into());
    if let Some(reason) = account.reason {
        view.insert("statusReason".to_owned(), reason.word().into());
    }
    if account.connection.is_some() {
        view.insert("directoryKey".to_owned(), caller.directory_key.clone().into());
    }
    view.into()
}

/// What differs from resource to resource in its `meta`.
struct Meta {
    created: Timestamp,
    modified: Timestamp,
    version: String,
}

/// Puts around a document what every resource has (RFC 7643 §3.1).
fn resource(
    caller: &Caller,
    kind: &ResourceType,
    id: impl std::fmt::Display + Copy,
    document: Document,
    meta: &Meta,
) -> Document {
    let urns = document.keys().filter(|key| is_urn(key));
    let schemas: Vec<Value> =
        std::iter::once(&kind.schema.id).chain(urns).map(|urn| urn.as_str().into()).collect();
    let mut shown = Document::new();
    shown.insert("schemas".to_owned(), schemas.into());
    shown.insert("id".to_owned(), id.to_string().into());
    shown.extend(document);
    shown.insert(
        "meta".to_owned(),
        json!({
            "resourceType": kind.name,
            "created": meta.created,
            "lastModified": meta.modified,
            "location": location(caller, kind, id),
            "version": meta.version,
        }),
    );
    shown
}
