//! Sync groups: which groups bring whom into the scope of a connection.
//!
//! Membership counts through groups in groups, as deep as they go; circles of groups are survived, because
//! each group is visited once. Deleted groups bring nobody.

use std::collections::{HashMap, HashSet};

use super::row::{Count, Id, Record, Row};
use super::sql::Bind;
use super::{BATCH_MAX, Sql, StoreError, Tx};
use crate::directory::{Account, AccountId, ConnectionId, GroupId, InstanceId, MemberId};

/// The sync groups of a connection.
pub async fn groups(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
) -> Result<Vec<GroupId>, StoreError> {
    let sql = Sql::new(
        "SELECT group_id AS id FROM sync_groups WHERE instance_id = $1 AND connection_id = $2 \
         ORDER BY group_id",
    );
    let found = tx.fetch_all::<Id<GroupId>>(sql.bind(instance).bind(connection)).await?;
    Ok(found.into_iter().map(|Id(id)| id).collect())
}

/// Names the sync groups of a connection anew.
pub async fn set_groups(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    groups: &[GroupId],
) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM sync_groups WHERE instance_id = $1 AND connection_id = $2");
    tx.execute(sql.bind(instance).bind(connection)).await?;
    for groups in groups.chunks(BATCH_MAX) {
        let mut sql =
            Sql::new("INSERT INTO sync_groups (instance_id, connection_id, group_id) VALUES ");
        sql.push_rows(
            groups.iter().map(|id| [Bind::from(instance), connection.into(), (*id).into()]),
        );
        tx.execute(sql).await?;
    }
    Ok(())
}

/// The connections whose scope names a group.
pub async fn named_by(
    tx: &mut Tx,
    instance: InstanceId,
    group: GroupId,
) -> Result<Vec<ConnectionId>, StoreError> {
    let sql = Sql::new(
        "SELECT connection_id AS id FROM sync_groups WHERE instance_id = $1 AND group_id = $2",
    );
    let found = tx.fetch_all::<Id<ConnectionId>>(sql.bind(instance).bind(group)).await?;
    Ok(found.into_iter().map(|Id(id)| id).collect())
}

/// Whether some connection of the instance goes by sync groups.
pub async fn is_used(tx: &mut Tx, instance: InstanceId) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "SELECT COUNT(*) AS n FROM connections WHERE instance_id = $1 AND scope = 'groups'",
    );
    let count = tx.fetch_optional::<Count>(sql.bind(instance)).await?;
    Ok(count.is_some_and(|count| count.0 > 0))
}

/// Those of some members that are live accounts whose connection goes by sync groups.
pub async fn accounts_among(
    tx: &mut Tx,
    instance: InstanceId,
    members: &[MemberId],
) -> Result<Vec<AccountId>, StoreError> {
    let mut found = Vec::new();
    for members in members.chunks(BATCH_MAX) {
        let mut sql = Sql::new(
            "SELECT a.id FROM accounts a JOIN connections c \
             ON c.instance_id = a.instance_id AND c.id = a.connection_id AND c.scope = 'groups' \
             WHERE a.instance_id = $1 AND a.deleted_at IS NULL AND a.id IN ",
        )
        .bind(instance);
        sql.push_list(members.iter().copied());
        found.extend(tx.fetch_all::<Id<AccountId>>(sql).await?.into_iter().map(|Id(id)| id));
    }
    Ok(found)
}

/// Those of some accounts that are below one of the sync groups of their connection.
pub async fn in_scope(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[Account],
) -> Result<HashSet<AccountId>, StoreError> {
    let ids: Vec<MemberId> = accounts.iter().map(|account| account.id.into()).collect();
    let ways = Ways::up(tx, instance, ids).await?;
    let sql = Sql::new("SELECT connection_id, group_id FROM sync_groups WHERE instance_id = $1");
    let mut wanted: HashMap<ConnectionId, HashSet<MemberId>> = HashMap::new();
    for Named(connection, group) in tx.fetch_all::<Named>(sql.bind(instance)).await? {
        wanted.entry(connection).or_default().insert(group.into());
    }
    let of_account = |account: &&Account| {
        let wanted = account.connection.and_then(|connection| wanted.get(&connection));
        wanted.is_some_and(|wanted| ways.lead(account.id.into(), wanted))
    };
    Ok(accounts.iter().filter(of_account).map(|account| account.id).collect())
}

/// Those of some accounts that are below one of these groups.
pub async fn below_any(
    tx: &mut Tx,
    instance: InstanceId,
    accounts: &[AccountId],
    groups: &[GroupId],
) -> Result<HashSet<AccountId>, StoreError> {
    let wanted: HashSet<MemberId> = groups.iter().map(|group| (*group).into()).collect();
    let ways = Ways::up(tx, instance, accounts.iter().map(|id| (*id).into()).collect()).await?;
    Ok(accounts.iter().copied().filter(|id| ways.lead((*id).into(), &wanted)).collect())
}

/// An account, and the groups that it is about to leave and to join.
#[derive(Debug, Clone)]
pub struct Move {
    /// The account.
    pub account: AccountId,
    /// The groups that it leaves.
    pub leaving: HashSet<GroupId>,
    /// The groups that it joins.
    pub joining: Vec<GroupId>,
}

/// Those of some accounts of a connection that would be below one of its sync groups.
pub async fn in_scope_after(
    tx: &mut Tx,
    instance: InstanceId,
    connection: ConnectionId,
    moves: &[Move],
) -> Result<HashSet<AccountId>, StoreError> {
    let joining = moves.iter().flat_map(|one| &one.joining).map(|group| (*group).into());
    let members = moves.iter().map(|one| one.account.into()).chain(joining).collect();
    let ways = Ways::up(tx, instance, members).await?;
    let named = groups(tx, instance, connection).await?;
    let wanted: HashSet<MemberId> = named.into_iter().map(Into::into).collect();
    let leads = |group: &MemberId| wanted.contains(group) || ways.lead(*group, &wanted);
    let stays = |one: &&Move| {
        let left = |group: &&MemberId| !one.leaving.contains(&GroupId(group.0));
        let kept = ways.0.get(&one.account.into()).into_iter().flatten().filter(left);
        kept.copied().chain(one.joining.iter().map(|group| (*group).into())).any(|id| leads(&id))
    };
    Ok(moves.iter().filter(stays).map(|one| one.account).collect())
}

/// The live groups above some members: to which groups each of them and each of those groups belongs.
struct Ways(HashMap<MemberId, Vec<MemberId>>);

impl Ways {
    /// Reads them level by level, one statement for each: a recursion in SQL reads all memberships of the
    /// instance where the planner takes the first level for a large one.
    async fn up(
        tx: &mut Tx,
        instance: InstanceId,
        members: Vec<MemberId>,
    ) -> Result<Self, StoreError> {
        let mut ways: HashMap<MemberId, Vec<MemberId>> = HashMap::new();
        let mut level = members;
        let mut seen: HashSet<MemberId> = level.iter().copied().collect();
        while !level.is_empty() {
            let mut next = Vec::new();
            for members in level.chunks(BATCH_MAX) {
                let mut sql = Sql::new(
                    "SELECT m.member_id, m.group_id FROM memberships m CROSS JOIN groups g \
                     WHERE m.instance_id = $1 AND g.instance_id = $1 AND g.id = m.group_id \
                     AND g.deleted_at IS NULL AND m.member_id IN ",
                )
                .bind(instance);
                sql.push_list(members.iter().copied());
                for Belongs(member, group) in tx.fetch_all::<Belongs>(sql).await? {
                    ways.entry(member).or_default().push(group);
                    if seen.insert(group) {
                        next.push(group);
                    }
                }
            }
            level = next;
        }
        Ok(Self(ways))
    }

    /// Whether a way leads from a member up to one of the groups that are wanted.
    fn lead(&self, from: MemberId, wanted: &HashSet<MemberId>) -> bool {
        let (mut open, mut seen) = (vec![from], HashSet::from([from]));
        while let Some(member) = open.pop() {
            for group in self.0.get(&member).into_iter().flatten() {
                if wanted.contains(group) {
                    return true;
                }
                if seen.insert(*group) {
                    open.push(*group);
                }
            }
        }
        false
    }
}

struct Belongs(MemberId, MemberId);

impl Record for Belongs {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("member_id")?, row.get("group_id")?))
    }
}

struct Named(ConnectionId, GroupId);

impl Record for Named {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self(row.get("connection_id")?, row.get("group_id")?))
    }
}
