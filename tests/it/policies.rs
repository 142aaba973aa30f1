//! What connections may take over, and what not: pick-up, approval, protection, settings.

mod approval;
mod protection;
mod settings;

use scimd::directory::{ApprovalState, Connection, ConnectionKind, PickUp};
use scimd::provision::settings::{SettingsChange, SettingsChanged};
use scimd::provision::{Decision, Error};
use scimd::store::claims::Wanted;
use serde_json::json;

use super::support::{Client, TestInstance, assert_gone, assert_refused, both, person, team};

/// A client and its connection.
pub(crate) struct Actor {
    pub(crate) client: Client,
    pub(crate) connection: Connection,
}

impl TestInstance {
    pub(crate) async fn actor(&self, kind: ConnectionKind, name: &str, pick_up: PickUp) -> Actor {
        let connection = self.connection(kind, name).await;
        let client = Client { app: self.app.clone(), token: self.token(&connection).await };
        let change = SettingsChange { pick_up: Some(pick_up), ..SettingsChange::default() };
        let connection = self.set(&connection, change).await.unwrap().connection;
        Actor { client, connection }
    }

    async fn set(
        &self,
        connection: &Connection,
        change: SettingsChange,
    ) -> Result<SettingsChanged, Error> {
        let author = self.app.provision.operator();
        self.app.provision.set_connection_settings(&author, connection, change).await
    }

    async fn waiting(&self) -> Vec<scimd::directory::Approval> {
        let wanted = Wanted { state: Some(ApprovalState::Waiting), ..Wanted::default() };
        self.app.provision.approvals(self.id, &wanted, None, 100).await.unwrap()
    }

    async fn decide(
        &self,
        approval: &scimd::directory::Approval,
        decision: Decision,
    ) -> Result<scimd::directory::Approval, Error> {
        let author = self.app.provision.operator();
        self.app.provision.decide(&author, self.id, approval.id, decision).await
    }

    async fn account(&self, name: &str) -> scimd::directory::Account {
        self.app.provision.account(self.id, name).await.unwrap().unwrap().0
    }

    async fn actions(&self, id: &str) -> Vec<String> {
        self.trail(id).await.into_iter().map(|event| event.action).collect()
    }
}

/// The detail of a refusal.
#[track_caller]
fn detail<T: std::fmt::Debug>(refused: Result<T, Error>) -> String {
    match refused.unwrap_err() {
        Error::Refused(refusal) | Error::NoSeat(refusal) => refusal.detail,
        Error::Store(error) => panic!("{error:?}"),
    }
}

both! {
    async fn a_connection_that_never_picks_up_sees_nothing_local(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.actor(ConnectionKind::Okta, "Okta", PickUp::Never).await.client;
        let ann = test.local_person("ann", json!({ "externalId": "x1" })).await;
        let staff = test.local_group("Staff").await;
        assert_gone(&okta, "/Users", &ann).await;
        assert_gone(&okta, "/Groups", &staff).await;
        for filter in ["userName eq \"ann\"", "externalId eq \"x1\"", "userName pr"] {
            assert_eq!(okta.count("/Users", filter).await, 0, "{filter}");
        }
        for (path, body) in [("/Users", person("ANN", json!({}))), ("/Groups", team("STAFF", &[]))] {
            let detail = assert_refused(&okta.post(path, body).await, 409, "uniqueness");
            assert!(detail.contains("\"never\"") && detail.contains("with_approval"), "{detail}");
        }
        let own = okta.user("own").await;
        let team = okta.group("Own", &[&own, &ann]).await;
        assert_eq!(okta.members(&team).await, [own.as_str()]);
        assert_eq!(okta.get("/Users").await.at("/totalResults"), 1);
        assert_eq!(test.account("ann").await.connection, None);
        assert_eq!(test.actions(&ann).await, ["account.created"]);
    }

    /// The report says of each name what its first push does, and the push does it.
    async fn a_report_says_what_the_first_push_will_do(database) {
        let test = TestInstance::on(&database).await;
        let entra = test.entra().await;
        entra.user("theirs").await;
        test.local_person("local", json!({})).await;
        let boss = test.local_person("boss", json!({})).await;
        let staff = test.local_group("Staff").await;
        let author = test.app.provision.operator();
        test.app.provision.set_protected(&author, test.id, boss.parse().unwrap(), true).await.unwrap();
        for (policy, word) in [
            (PickUp::ByUserName, "picked up"),
            (PickUp::WithApproval, "waits for approval"),
            (PickUp::Never, "refused by policy"),
        ] {
            let okta = test.actor(ConnectionKind::Okta, policy.word(), policy).await;
            let names = ["new", "LOCAL", "boss", "theirs"].map(str::to_owned);
            let report = test.app.provision.pick_up_report(&okta.connection, &names).await.unwrap();
            let told: Vec<_> = report.iter().map(|one| one.prospect.word()).collect();
            assert_eq!(told, ["created", word, "protected", "belongs to another connection"]);
            assert_eq!(report[3].connection.as_deref(), Some("entra test"));
            let local = test.app.provision.local_report(&okta.connection, None, 2).await.unwrap();
            assert_eq!((local.accounts, local.protected, local.groups), (2, 1, 1));
            assert_eq!(local.prospect.word(), word);
            assert_eq!(local.account_page.len(), 2);
            let rest = test.app.provision.local_report(&okta.connection, local.next, 2).await.unwrap();
            assert_eq!(rest.account_page.len(), 0);
            assert_eq!(rest.group_page[0].id.unwrap().to_string(), staff);
            assert_eq!(rest.next, None);
        }
        assert_eq!(test.waiting().await, []);
    }
}
