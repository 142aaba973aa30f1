//! What a connection would do with the people whom the directory has, before it does it.

use serde::Serialize;
use uuid::Uuid;

use super::setup::ADMIN_PAGE_MAX;
use super::{Provision, Result as Done};
use crate::directory::connection::words;
use crate::directory::rules::{Claim, claim};
use crate::directory::{Account, Connection, Group};
use crate::scim::fold::fold;
use crate::scim::sort::Position;
use crate::store::query::{self, Narrow, Page, Viewer};
use crate::store::{accounts, connections, groups};

/// The names that are looked up in one statement.
const NAMES_AT_ONCE: usize = 100;

words! {
    /// What the first push of a name would do.
    Prospect {
        /// Nobody has the name: an account is created.
        Created = "created",
        /// It is the connection's own already.
        Own = "own",
        /// It is Local and is picked up.
        PickedUp = "picked up",
        /// It is Local, and an administrator is asked.
        WaitsForApproval = "waits for approval",
        /// It is Local, and the policy is never to pick up.
        RefusedByPolicy = "refused by policy",
        /// It is protected: out of reach of every connection.
        Protected = "protected",
        /// Another connection owns it.
        Foreign = "belongs to another connection",
    }
}

impl From<Claim> for Prospect {
    fn from(claim: Claim) -> Self {
        match claim {
            Claim::Own => Self::Own,
            Claim::PickUp => Self::PickedUp,
            Claim::Ask => Self::WaitsForApproval,
            Claim::Refused => Self::RefusedByPolicy,
            Claim::Protected => Self::Protected,
            Claim::Foreign => Self::Foreign,
        }
    }
}

/// What the first push of one name would do.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The name.
    pub name: String,
    /// What would happen.
    pub prospect: Prospect,
    /// The account or group that has the name.
    pub id: Option<Uuid>,
    /// The connection that owns it.
    pub connection: Option<String>,
}

/// What a policy means for what is Local.
#[derive(Debug, Clone, Serialize)]
pub struct LocalReport {
    /// What a push of any Local account or group would do that is not protected.
    pub prospect: Prospect,
    /// The Local accounts.
    pub accounts: i64,
    /// Those of them that are protected.
    pub protected: i64,
    /// The Local groups.
    pub groups: i64,
    /// A page of the accounts, in the order of creation.
    pub account_page: Vec<Forecast>,
    /// A page of the groups; it begins once the accounts are through.
    pub group_page: Vec<Forecast>,
    /// The id behind which the next page begins.
    pub next: Option<Uuid>,
}

impl Provision {
    /// Says of each user name what its first push by the connection would do.
    pub async fn pick_up_report(
        &self,
        connection: &Connection,
        names: &[String],
    ) -> Done<Vec<Forecast>> {
        let mut tx = self.store.read().await?;
        let instance = connection.instance;
        let owners = connections::list(&mut tx, instance).await?;
        let mut forecasts = Vec::with_capacity(names.len());
        for names in names.chunks(NAMES_AT_ONCE) {
            let keys: Vec<String> = names.iter().map(|name| fold(name).into_owned()).collect();
            let narrow = Narrow::Any(keys.iter().cloned().map(Narrow::UserName).collect());
            let page = Page::by_id(None, i64::MAX);
            let viewer = Viewer::Administrator;
            let found: Vec<Account> =
                query::page(&mut tx, &accounts::TABLE, instance, viewer, &narrow, page).await?;
            for (name, key) in names.iter().zip(&keys) {
                let holder = found.iter().find(|account| fold(&account.user_name) == *key);
                let owner = holder.and_then(|holder| holder.connection);
                let its = owners.iter().find(|other| Some(other.id) == owner);
                forecasts.push(Forecast {
                    name: name.clone(),
                    prospect: holder.map_or(Prospect::Created, |holder| on(connection, holder)),
                    id: holder.map(|holder| holder.id.0),
                    connection: its.map(|other| other.name.clone()),
                });
            }
        }
        Ok(forecasts)
    }

    /// Says what the policy of the connection means for all that is Local: how many there are, and a
    /// page of them from behind `after`.
    pub async fn local_report(
        &self,
        connection: &Connection,
        after: Option<Uuid>,
        limit: i64,
    ) -> Done<LocalReport> {
        let mut tx = self.store.read().await?;
        let (instance, viewer) = (connection.instance, Viewer::Administrator);
        let limit = limit.clamp(1, ADMIN_PAGE_MAX);
        let local = Narrow::Owner(None);
        let protected = Narrow::All(vec![Narrow::Owner(None), Narrow::Protected]);
        let people = query::count(&mut tx, &accounts::TABLE, instance, viewer, &local).await?;
        let shielded =
            query::count(&mut tx, &accounts::TABLE, instance, viewer, &protected).await?;
        let teams = query::count(&mut tx, &groups::TABLE, instance, viewer, &local).await?;
        // Accounts come first: a place among the groups is behind all of them.
        let place = after.map(Position::of);
        let group = Narrow::All(vec![
            Narrow::Owner(None),
            after.map_or(Narrow::Any(Vec::new()), Narrow::Id),
        ]);
        let among_groups =
            query::count(&mut tx, &groups::TABLE, instance, viewer, &group).await? > 0;
        let account_page: Vec<Account> = if among_groups {
            Vec::new()
        } else {
            let page = Page::by_id(place.as_ref(), limit);
            query::page(&mut tx, &accounts::TABLE, instance, viewer, &local, page).await?
        };
        let left = limit - i64::try_from(account_page.len()).unwrap_or(limit);
        let page = Page::by_id(place.as_ref().filter(|_| among_groups), left);
        let group_page: Vec<Group> =
            query::page(&mut tx, &groups::TABLE, instance, viewer, &local, page).await?;
        let rest = left - i64::try_from(group_page.len()).unwrap_or(left);
        let last = group_page.last().map(|group| group.id.0);
        let last = last.or_else(|| account_page.last().map(|account| account.id.0));
        let policy = connection.settings.pick_up;
        let of_group = |group: Group| Forecast {
            prospect: claim(None, connection.id, policy, false).into(),
            id: Some(group.id.0),
            name: group.display_name,
            connection: None,
        };
        let of_account = |account: Account| Forecast {
            prospect: on(connection, &account),
            id: Some(account.id.0),
            name: account.user_name,
            connection: None,
        };
        Ok(LocalReport {
            prospect: claim(None, connection.id, policy, false).into(),
            accounts: people,
            protected: shielded,
            groups: teams,
            account_page: account_page.into_iter().map(of_account).collect(),
            group_page: group_page.into_iter().map(of_group).collect(),
            next: last.filter(|_| rest == 0),
        })
    }
}

/// What a push of the connection would do to an account.
fn on(connection: &Connection, account: &Account) -> Prospect {
    let policy = connection.settings.pick_up;
    claim(account.connection, connection.id, policy, account.protected).into()
}
