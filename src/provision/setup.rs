//! What administrators set up, and what they look at: tenants, instances, connections, accounts,
//! groups.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use super::{Error, Provision, Result, transact};
use crate::directory::{
    Account, Connection, ConnectionId, ConnectionKind, ConnectionStatus, Group, InstanceId,
    MemberId, Profile, TenantId,
};
use crate::scim::fold::fold;
use crate::scim::sort::Position;
use crate::scim::{ErrorKind, ScimError};
use crate::store::audit::{self, Author, Category};
use crate::store::instances::Instance;
use crate::store::memberships::{Belonging, Member};
use crate::store::query::{self, Narrow, Page, Purpose, Viewer};
use crate::store::tenants::Tenant;
use crate::store::{StoreError, accounts, connections, groups, instances, memberships, tenants};

/// The characters that the name of a tenant, an instance, a connection or a key may have.
pub const NAME_CHARS_MAX: usize = 100;

/// The rows that an administrator's list shows at most.
pub const ADMIN_PAGE_MAX: i64 = 10_000;

/// What an administrator decides about a new connection.
#[derive(Debug, Clone)]
pub struct NewConnection {
    /// What it is connected to.
    pub kind: ConnectionKind,
    /// What to call it.
    pub name: String,
    /// Whose habits it follows; by default those of its kind.
    pub profile: Option<Profile>,
    /// Whether it may write at once.
    pub status: ConnectionStatus,
}

impl Provision {
    /// The author of what an administrator does at the command line.
    #[must_use]
    pub fn operator(&self) -> Author {
        Author {
            name: "cli".to_owned(),
            client: None,
            connection: None,
            key: None,
            request_id: None,
            run: None,
            rule: None,
            at: self.clock.now(),
            ids: self.ids,
        }
    }

    /// Creates a tenant.
    pub async fn create_tenant(&self, name: &str) -> Result<Tenant> {
        let name = checked_name(name)?;
        let tenant = Tenant {
            id: TenantId(self.ids.fresh()),
            name: name.clone(),
            created_at: self.clock.now(),
        };
        let mut tx = self.store.begin().await?;
        tenants::insert(&mut tx, &tenant, &fold(&name))
            .await
            .map_err(|error| name_taken(error, "tenant", &name))?;
        tx.commit().await?;
        Ok(tenant)
    }

    /// All tenants.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        Ok(tenants::list(&mut self.store.read().await?).await?)
    }

    /// Creates an instance of a tenant.
    pub async fn create_instance(
        &self,
        author: &Author,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Instance> {
        let name = checked_name(name)?;
        let instance = Instance {
            id: InstanceId(self.ids.fresh()),
            tenant: tenant.id,
            tenant_name: tenant.name.clone(),
            name: name.clone(),
            created_at: self.clock.now(),
        };
        let mut tx = self.store.begin().await?;
        instances::insert(&mut tx, &instance, &fold(&name))
            .await
            .map_err(|error| name_taken(error, "instance", &name))?;
        let event = author.event(Category::Settings, "instance.created", "instance", instance.id.0);
        let event = audit::Event { after: Some(json!({ "name": name })), ..event };
        audit::append(&mut tx, instance.id, &[event]).await?;
        tx.commit().await?;
        Ok(instance)
    }

    /// All instances of all tenants.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        Ok(instances::list(&mut self.store.read().await?).await?)
    }

    /// Creates a connection of an instance.
    pub async fn create_connection(
        &self,
        author: &Author,
        instance: InstanceId,
        new: NewConnection,
    ) -> Result<Connection> {
        let name = checked_name(&new.name)?;
        let id = ConnectionId(self.ids.fresh());
        let connection = Connection {
            id,
            instance,
            kind: new.kind,
            name: name.clone(),
            directory_key: directory_key(new.kind, id),
            status: new.status,
            profile: new.profile.unwrap_or(new.kind.profile()),
            settings: new.kind.settings(),
            created_at: self.clock.now(),
        };
        let mut tx = self.store.begin().await?;
        connections::insert(&mut tx, &connection, &fold(&name))
            .await
            .map_err(|error| name_taken(error, "connection", &name))?;
        let event = author.event(Category::Settings, "connection.created", "connection", id.0);
        let after = serde_json::to_value(&connection).ok();
        audit::append(&mut tx, instance, &[audit::Event { after, ..event }]).await?;
        tx.commit().await?;
        Ok(connection)
    }

    /// All connections of an instance.
    pub async fn connections(&self, instance: InstanceId) -> Result<Vec<Connection>> {
        Ok(connections::list(&mut self.store.read().await?, instance).await?)
    }

    /// Enables or pauses a connection.
    pub async fn set_connection_status(
        &self,
        author: &Author,
        connection: &Connection,
        status: ConnectionStatus,
    ) -> Result<()> {
        let (instance, id) = (connection.instance, connection.id);
        transact!(self.store, |tx| {
            let event =
                author.event(Category::Settings, "connection.status_set", "connection", id.0);
            let before = Some(json!({ "status": connection.status }));
            let after = Some(json!({ "status": status }));
            let event = audit::Event { before, after, ..event };
            match connections::set_status(&mut tx, instance, id, status).await {
                Ok(()) => audit::append(&mut tx, instance, &[event]).await.map_err(Error::from),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Accounts of an instance in the order of creation, from behind `after`.
    pub async fn accounts(
        &self,
        instance: InstanceId,
        narrow: &Narrow,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Account>> {
        let mut tx = self.store.read().await?;
        let after = after.map(Position::of);
        let page = Page::by_id(after.as_ref(), limit.clamp(0, ADMIN_PAGE_MAX));
        Ok(query::page(&mut tx, &accounts::TABLE, instance, Viewer::Administrator, narrow, page)
            .await?)
    }

    /// People of an instance, or of one of its connections, in the order of creation, from behind
    /// `after`, each with the names of the groups of that connection that he belongs to directly.
    pub async fn people(
        &self,
        instance: InstanceId,
        connection: Option<ConnectionId>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<(Account, Vec<String>)>> {
        let mut tx = self.store.read().await?;
        let viewer = connection.map_or(Viewer::Administrator, Viewer::Own);
        let limit = limit.clamp(0, ADMIN_PAGE_MAX);
        let page = if let Some(connection) = connection {
            accounts::page_of(&mut tx, instance, connection, after, limit).await?
        } else {
            let after = after.map(Position::of);
            let page = Page::by_id(after.as_ref(), limit);
            let all = Narrow::All(Vec::new());
            query::page(&mut tx, &accounts::TABLE, instance, viewer, &all, page).await?
        };
        let ids: Vec<MemberId> = page.iter().map(|account: &Account| account.id.into()).collect();
        let mut groups: HashMap<MemberId, Vec<String>> = HashMap::new();
        for one in memberships::of_members(&mut tx, instance, viewer, &ids).await? {
            groups.entry(one.member).or_default().push(one.display);
        }
        let with_groups = |account: Account| {
            let groups = groups.remove(&account.id.into()).unwrap_or_default();
            (account, groups)
        };
        Ok(page.into_iter().map(with_groups).collect())
    }

    /// One account by its id or its user name, and the groups it belongs to.
    pub async fn account(
        &self,
        instance: InstanceId,
        name: &str,
    ) -> Result<Option<(Account, Vec<Belonging>)>> {
        let mut tx = self.store.read().await?;
        let viewer = Viewer::Administrator;
        let narrow = match name.parse() {
            Ok(id) => Narrow::Id(id),
            Err(_) => Narrow::UserName(fold(name).into_owned()),
        };
        let found =
            query::one(&mut tx, &accounts::TABLE, instance, viewer, &narrow, Purpose::Look).await?;
        let Some(account): Option<Account> = found else {
            return Ok(None);
        };
        let groups =
            memberships::of_members(&mut tx, instance, viewer, &[account.id.into()]).await?;
        Ok(Some((account, groups)))
    }

    /// Groups of an instance in the order of creation, from behind `after`.
    pub async fn groups(
        &self,
        instance: InstanceId,
        narrow: &Narrow,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Group>> {
        let mut tx = self.store.read().await?;
        let after = after.map(Position::of);
        let page = Page::by_id(after.as_ref(), limit.clamp(0, ADMIN_PAGE_MAX));
        Ok(query::page(&mut tx, &groups::TABLE, instance, Viewer::Administrator, narrow, page)
            .await?)
    }

    /// One group by its id or its name, and its members up to `members_max`.
    pub async fn group(
        &self,
        instance: InstanceId,
        name: &str,
        members_max: i64,
    ) -> Result<Option<(Group, Vec<Member>)>> {
        let mut tx = self.store.read().await?;
        let viewer = Viewer::Administrator;
        let narrow = match name.parse() {
            Ok(id) => Narrow::Id(id),
            Err(_) => Narrow::DisplayName(fold(name).into_owned()),
        };
        let found =
            query::one(&mut tx, &groups::TABLE, instance, viewer, &narrow, Purpose::Look).await?;
        let Some(group): Option<Group> = found else {
            return Ok(None);
        };
        let members =
            memberships::of_groups(&mut tx, instance, viewer, &[group.id], members_max).await?;
        Ok(Some((group, members)))
    }
}

/// The automatic name of a connection's directory: the kind and the random end of the id.
fn directory_key(kind: ConnectionKind, id: ConnectionId) -> String {
    let id = id.0.simple().to_string();
    format!("{kind}-{}", id.get(20..).unwrap_or_default())
}

/// A name as an administrator may give it.
pub fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(ScimError::invalid_value(
            "the name",
            &format!(
                "must have 1 to {NAME_CHARS_MAX} characters, none of them a control character"
            ),
        )
        .into());
    }
    Ok(name.to_owned())
}

fn name_taken(error: StoreError, kind: &str, name: &str) -> super::Error {
    match error {
        StoreError::Conflict => {
            let detail = format!("there is a {kind} named \"{name}\" already");
            ScimError::new(ErrorKind::Uniqueness, detail).into()
        }
        other => other.into(),
    }
}
