//! Groups as a client of the protocol handles them. Their members are in [`super::members`].

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::claims::{self, reach, take_up};
use super::members::{self, ANSWERED_MEMBERS_MAX, MemberChange};
use super::parted::{Held, Related, Sheet, parted};
use super::resource::{Resource, finish, holder, show};
use super::{
    Caller, Provision, Result, Shown, Sought, conflict_on, guard, render, scope, taken, transact,
};
use crate::clock::Ids;
use crate::directory::entering::Rule;
use crate::directory::rules::Claim;
use crate::directory::{
    Approval, ConnectionId, Group, GroupId, InstanceId, Losses, MemberKind, Timestamp,
};
use crate::scim::extension::adopted;
use crate::scim::fold::fold;
use crate::scim::habits::{Habits, Omitted};
use crate::scim::patch::{self, Change};
use crate::scim::project::Projection;
use crate::scim::resource::{
    self, LeftOut, keep_immutable, member, require_attributes, require_fitting, require_indexable,
};
use crate::scim::schema::ResourceType;
use crate::scim::schemas::Schemas;
use crate::scim::sort::Key;
use crate::scim::version::tag;
use crate::scim::{Document, ScimError};
use crate::store::audit::Author;
use crate::store::query::{Column, Narrow, Table};
use crate::store::waist::StillTable;
use crate::store::{self, StoreError, Tx, groups, memberships, schemas};

/// A group as a client sent it: its members are rows, not part of its document.
#[derive(Debug, Clone)]
pub struct SentGroup {
    /// The group without its members.
    pub document: Document,
    /// All members that it shall have, if the client said so; an empty list is said.
    pub members: Option<Vec<String>>,
}

impl SentGroup {
    /// Reads the body of a POST or PUT.
    pub fn read(
        kind: &ResourceType,
        habits: &Habits,
        body: Value,
    ) -> std::result::Result<Self, ScimError> {
        let members = body.as_object().and_then(|body| member(body, "members"));
        let members =
            members.filter(|members| !members.is_null()).map(members::listed).transpose()?;
        let mut document = resource::read(kind, habits, body)?;
        require_attributes(kind, &document)?;
        document.shift_remove("members");
        Ok(Self { document, members })
    }
}

/// Groups of the protocol: groups of the directory.
#[derive(Debug)]
pub struct Groups;

impl Resource for Groups {
    type Row = Group;
    type Sent = SentGroup;
    const SOUGHT: Sought = Sought::Groups;
    const NAME: &'static str = "Group";
    const NOUN: &'static str = "group";
    const MEMBER_KIND: MemberKind = MemberKind::Group;
    const NAME_ATTRIBUTE: &'static str = "displayName";
    const TABLE: Table = groups::TABLE;
    const STILL: StillTable = StillTable::Groups;
    const RELATED: &'static str = "members";
    const IS_DELETED_ALONE: bool = false;

    fn kind(schemas: &Schemas) -> &ResourceType {
        &schemas.group
    }

    fn read_sent(
        schemas: &Schemas,
        habits: &Habits,
        body: Value,
    ) -> std::result::Result<SentGroup, ScimError> {
        SentGroup::read(&schemas.group, habits, body)
    }

    fn id(row: &Group) -> Uuid {
        row.id.0
    }

    fn owner(row: &Group) -> Option<ConnectionId> {
        row.connection
    }

    fn name(row: &Group) -> &str {
        &row.display_name
    }

    fn laid_over(row: Group, document: Document) -> Group {
        Group { document, ..row }
    }

    fn key(row: &Group, column: Column) -> Option<Key> {
        match column {
            Column::DisplayName => Some(Key::Text(fold(&row.display_name).into_owned())),
            Column::ExternalId => row.external_id.clone().map(Key::Text),
            Column::Created => Some(Key::Integer(row.created_at.0)),
            Column::Modified => Some(Key::Integer(row.modified_at.0)),
            // Groups have none, and no schema of theirs names it.
            Column::UserName => None,
        }
    }

    fn version(row: &Group) -> i64 {
        row.version
    }

    fn deletion_held_at(row: &Group) -> Option<Timestamp> {
        row.deletion_held_at
    }

    fn holds_members(row: &Group) -> bool {
        row.removals_held_at.is_some()
    }

    fn live_document(row: &Group) -> Option<&Document> {
        row.deleted_at.is_none().then_some(&row.document)
    }

    fn facets(row: &Group) -> Map<String, Value> {
        let mut facets = row.document.clone();
        facets.insert("deleted".to_owned(), row.deleted_at.is_some().into());
        facets.insert("connection".to_owned(), row.connection.map(|id| id.to_string()).into());
        if row.deletion_held_at.is_some() {
            facets.insert("held".to_owned(), "deletion".into());
        }
        if !row.entered {
            facets.insert("entered".to_owned(), false.into());
        }
        facets
    }

    async fn render(
        tx: &mut Tx,
        caller: &Caller,
        rows: &[Group],
        related: Related,
    ) -> std::result::Result<Vec<Sheet>, StoreError> {
        let ids: Vec<GroupId> = rows.iter().map(|group| group.id).collect();
        let held = Held::read(tx, caller, &ids, related).await?;
        let sheet = |row: &Group| {
            let (members, all, is_parted) = held.of(row.id);
            let members = (related != Related::Without).then_some(members);
            let document = render::group(caller, row, members, &all);
            if is_parted { parted(caller, row.id, document) } else { document.into() }
        };
        Ok(rows.iter().map(sheet).collect())
    }

    /// Whatever the size of the group, the answer to a PATCH reads a bounded number of members,
    /// unless the client asks for them by name.
    async fn render_changed(
        tx: &mut Tx,
        caller: &Caller,
        row: Group,
        projection: &Projection,
    ) -> Result<Shown> {
        if projection.asks_for("members") || !projection.wants("members") {
            return show::<Self>(tx, caller, row, projection).await;
        }
        let acknowledged =
            |row: &Group| Shown { id: row.id.0, tag: tag::<u8>(row.version, &[]), sheet: None };
        let limit = ANSWERED_MEMBERS_MAX;
        if memberships::are_more_than(tx, caller.instance, row.id, limit).await? {
            return Ok(acknowledged(&row));
        }
        show::<Self>(tx, caller, row, projection).await
    }

    async fn create(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        ids: Ids,
        sent: SentGroup,
    ) -> Result<Group> {
        let id = GroupId(ids.fresh());
        let mut group = Group { connection: Some(caller.connection), ..blank(id, author.at) };
        group.document = sent.document;
        derive(&mut group)?;
        group.entered = Rule::of(&caller.settings).admits(&group.display_name);
        if groups::insert(tx, caller.instance, &group).await? {
            finish::<Groups>(tx, caller.instance, &caller.schemas, author, None, &group, "created")
                .await?;
            if let Some(members) = sent.members {
                let members = MemberChange::replace_by(members);
                members.apply(tx, caller, author, &group).await?;
            }
            return Ok(group);
        }
        let holder =
            holder::<Self>(tx, caller, Narrow::DisplayName(fold(&group.display_name).into_owned()))
                .await?;
        match holder {
            Some(holder) if holder.connection.is_none() => {
                let holder = take_up::<Self>(tx, caller, holder).await?;
                let sent = SentGroup { document: group.document, members: sent.members };
                Self::replace(tx, caller, author, holder, sent).await
            }
            // To the client it is new: it has those members that it is created with.
            Some(holder) if guard::is_gone_to::<Self>(&holder, caller) => {
                let members = MemberChange::replace_by(sent.members.unwrap_or_default());
                let holder = guard::without_the_gone(tx, caller, author, holder).await?;
                keep(tx, caller, author, holder, group.document, members).await
            }
            _ => Err(taken("displayName", &group.display_name, "group")),
        }
    }

    /// Without `members` the membership stays as it is; an empty list empties the group.
    async fn replace(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Group,
        sent: SentGroup,
    ) -> Result<Group> {
        let SentGroup { mut document, members } = sent;
        if caller.habits.omitted_external_id == Omitted::Kept
            && let (None, Some(id)) =
                (document.get("externalId"), before.document.get("externalId"))
        {
            document.insert("externalId".to_owned(), id.clone());
        }
        let was = adopted(&caller.schemas.group, &before.document);
        keep_immutable(&caller.schemas.group, &was, &mut document, LeftOut::Kept)?;
        let members = members.map(MemberChange::replace_by).unwrap_or_default();
        keep(tx, caller, author, before, document, members).await
    }

    async fn change(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Group,
        changes: Vec<Change<'_>>,
    ) -> Result<Group> {
        let was = adopted(&caller.schemas.group, &before.document);
        let mut document = was.clone();
        let mut members = MemberChange::default();
        for change in changes {
            if change.regards("members") {
                members.fold(tx, caller, before.id, change).await?;
            } else {
                patch::apply(&mut document, change)?;
            }
        }
        keep_immutable(&caller.schemas.group, &was, &mut document, LeftOut::Removed)?;
        if document == was {
            document.clone_from(&before.document);
        } else {
            require_attributes(&caller.schemas.group, &document)?;
        }
        keep(tx, caller, author, before, document, members).await
    }

    async fn accept(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Group,
        asked: Approval,
    ) -> Result<Group> {
        let members = MemberChange::stored(asked.members.as_deref()).unwrap_or_default();
        keep(tx, caller, author, before, asked.document, members).await
    }

    /// The memberships stay with the tombstone; all reads leave them out.
    async fn delete(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Group,
    ) -> Result<Losses> {
        let after = Group {
            deleted_at: Some(author.at),
            deletion_held_at: None,
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        let (instance, schemas) = (caller.instance, &caller.schemas);
        let removals = store::guard::member_count(tx, instance, before.id).await?;
        groups::update(tx, instance, &before, &after).await?;
        let suspensions =
            scope::group_came_or_went(tx, instance, author, &after, "deleted").await?;
        finish::<Groups>(tx, instance, schemas, author, Some(&before), &after, "deleted").await?;
        Ok(Losses { suspensions, deletions: 1, removals })
    }

    async fn hold_deletion(
        tx: &mut Tx,
        caller: &Caller,
        author: &Author,
        before: Group,
    ) -> Result<()> {
        let after = Group {
            deletion_held_at: Some(author.at),
            version: before.version + 1,
            modified_at: author.at,
            ..before.clone()
        };
        let (instance, schemas) = (caller.instance, &caller.schemas);
        groups::update(tx, instance, &before, &after).await?;
        let done = "held_change";
        finish::<Groups>(tx, instance, schemas, author, Some(&before), &after, done).await
    }
}

impl Provision {
    /// Creates a group that no connection owns: one that the intranet has already.
    pub async fn create_local_group(
        &self,
        instance: InstanceId,
        author: &Author,
        document: Document,
    ) -> Result<Group> {
        let mut group = blank(GroupId(self.ids.fresh()), author.at);
        group.document = document;
        derive(&mut group)?;
        transact!(self.store, |tx| insert_local(&mut tx, instance, author, &group).await)?;
        Ok(group)
    }
}

async fn insert_local(
    tx: &mut Tx,
    instance: InstanceId,
    author: &Author,
    group: &Group,
) -> Result<()> {
    let schemas = Arc::new(schemas::of_instance(tx, instance).await?);
    if !groups::insert(tx, instance, group).await? {
        return Err(taken("displayName", &group.display_name, "group"));
    }
    finish::<Groups>(tx, instance, &schemas, author, None, group, "created").await
}

/// Keeps a new document and a new membership of a group; writes nothing if nothing is new.
pub(super) async fn keep(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    before: Group,
    document: Document,
    members: MemberChange,
) -> Result<Group> {
    let reached = reach::<Groups>(&before, caller)?;
    if reached != Claim::Own {
        scope::require_unnamed(tx, caller, &before).await?;
    }
    if reached == Claim::Ask {
        return ask(tx, caller, author, before, document, members).await;
    }
    let picked_up = reached == Claim::PickUp;
    let moved = members.apply(tx, caller, author, &before).await?;
    let edited = picked_up || before.document != document || before.deletion_held_at.is_some();
    if !edited && !moved.is_different {
        return Ok(before);
    }
    let mut after = Group {
        connection: Some(caller.connection),
        deletion_held_at: None,
        removals_held_at: moved.removals_held_at,
        version: before.version + 1,
        modified_at: author.at,
        document,
        ..before.clone()
    };
    derive(&mut after)?;
    after.entered = Rule::of(&caller.settings).admits(&after.display_name);
    groups::update(tx, caller.instance, &before, &after)
        .await
        .map_err(|error| conflict_on(error, "displayName", &after.display_name, "group"))?;
    if edited {
        if picked_up {
            claims::settle(tx, caller, author.at, after.id.0).await?;
        }
        let action = if picked_up { "picked_up" } else { "changed" };
        finish::<Groups>(
            tx,
            caller.instance,
            &caller.schemas,
            author,
            Some(&before),
            &after,
            action,
        )
        .await?;
    }
    Ok(after)
}

/// Keeps a new document and a new membership of a Local group for an administrator to decide.
async fn ask(
    tx: &mut Tx,
    caller: &Caller,
    author: &Author,
    before: Group,
    document: Document,
    members: MemberChange,
) -> Result<Group> {
    derive(&mut Group { document: document.clone(), ..before.clone() })?;
    members.check(tx, caller, author, &before).await?;
    let members = (!members.is_empty()).then_some(members);
    claims::ask::<Groups>(tx, caller, author, before, document, members).await
}

/// Reads out of the document what the directory keeps in columns of its own.
pub(super) fn derive(group: &mut Group) -> Result<()> {
    require_fitting(&group.document)?;
    let text = |name: &str| group.document.get(name).and_then(Value::as_str).map(str::to_owned);
    group.display_name = text("displayName").unwrap_or_default();
    group.external_id = text("externalId");
    require_indexable("displayName", &group.display_name)?;
    group.external_id.as_deref().map_or(Ok(()), |text| require_indexable("externalId", text))?;
    Ok(())
}

fn blank(id: GroupId, at: Timestamp) -> Group {
    Group {
        id,
        connection: None,
        document: Map::new(),
        display_name: String::new(),
        entered: true,
        external_id: None,
        version: 1,
        created_at: at,
        modified_at: at,
        deleted_at: None,
        deletion_held_at: None,
        removals_held_at: None,
    }
}
